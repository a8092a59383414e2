"""How long the simulation runs: ``--hypothesis-profile=soak`` for hours' worth, otherwise the same short run each time."""

import pytest
from hypothesis import HealthCheck, settings

_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "simulation",
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    database=None,
    derandomize=True,  # the normal run is the same for everybody; the soak looks for the new
    suppress_health_check=_CHECKS,
)
settings.register_profile(
    "soak",
    max_examples=40_000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=_CHECKS,
)


@pytest.fixture(scope="session")
def simulation_settings(pytestconfig: pytest.Config) -> settings:
    """The settings of the chosen profile."""
    name = pytestconfig.getoption("--hypothesis-profile", default=None)
    return settings.get_profile(name or "simulation")
