"""The core, in tens of thousands of steps of a world where everything goes wrong, breaks no law."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import SUBJECTS, machine_for


@pytest.mark.slow
@pytest.mark.parametrize("subject", [None, *SUBJECTS], ids=lambda subject: subject or "everything")
def test_no_law_is_broken(
    subject: str | None,
    simulation_settings: settings,
    simulation_steps: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Whatever happens in whatever order, no law of `tests.simulation.laws` is broken, peace is found, stops end."""
    machine = machine_for(subject)
    least = max(5_000, simulation_steps // (1 + len(SUBJECTS)))
    run_state_machine_as_test(machine, settings=simulation_settings)
    while simulation_steps and machine.steps < least:
        run_state_machine_as_test(machine, settings=simulation_settings)
    record_property("simulated", f"{subject or 'everything'}: {machine.steps} steps, {machine.events} events")
    assert machine.steps >= least
