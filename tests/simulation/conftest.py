"""How long the simulation runs: the same short run each time, or ``--hypothesis-profile=soak`` for as many steps as wanted.

``PYFORK_SIMULATION_STEPS`` says how many in all (`make simulate`); each subject has its share of them.
"""

import os

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
    max_examples=500,  # one run of many: hypothesis grows slow when it remembers more
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


@pytest.fixture(scope="session")
def simulation_steps() -> int:
    """The least number of steps over all subjects, 0 for one run of each."""
    return int(os.environ.get("PYFORK_SIMULATION_STEPS", "0"))
