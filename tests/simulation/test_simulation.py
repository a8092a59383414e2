"""The core, in tens of thousands of steps of a world where everything goes wrong, breaks no law."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import SUBJECTS, machine_for


@pytest.mark.slow
@pytest.mark.parametrize("subject", [None, *SUBJECTS], ids=lambda subject: subject or "everything")
def test_no_law_is_broken(subject: str | None, simulation_settings: settings) -> None:
    """Whatever happens in whatever order, no law of `tests.simulation.laws` is broken, peace is found, stops end."""
    machine = machine_for(subject)
    run_state_machine_as_test(machine, settings=simulation_settings)
    print(f"{machine.steps} steps, {machine.events} events")
    assert machine.steps >= 5_000
