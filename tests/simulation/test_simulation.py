"""The core, in ten thousand steps of a world where everything goes wrong, breaks no law."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import ArbiterMachine


@pytest.mark.slow
def test_no_law_is_broken(simulation_settings: settings) -> None:
    """Whatever happens in whatever order, no law of `tests.simulation.laws` is broken, peace is found, stops end."""

    class CountedMachine(ArbiterMachine):
        """Counts for itself, as the planted bugs run machines too."""

        steps = 0
        events = 0

    run_state_machine_as_test(CountedMachine, settings=simulation_settings)
    print(f"{CountedMachine.steps} steps, {CountedMachine.events} events")
    assert CountedMachine.steps >= 10_000
