"""Faults of every kind meet a server under load: no request is lost, and everything comes back.

Each worker type plays for a quarter of a minute with a seed that never changes, and as long with a new one, which the
closing lines of the run show. PYFORK_FAULT_SEED plays one again; PYFORK_FAULT_SECONDS is the time for all four types
together, in place of the minute (`make soak`).
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.conftest import WORKER_TYPES
from tests.faults.episode import play

FIXED_SEED = "20240229"
_run = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # the same in all processes of a run; None without xdist
FRESH_SEED = str(random.Random(_run).randrange(10**9))
EPISODE = 15.0
"""Seconds of one server's life."""
SEED = os.environ.get("PYFORK_FAULT_SEED")
SECONDS = float(os.environ.get("PYFORK_FAULT_SECONDS", EPISODE * len(WORKER_TYPES)))
SEEDS = ["given"] if SEED else ["fresh"] if "PYFORK_FAULT_SECONDS" in os.environ else ["fixed", "fresh"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_nothing_is_lost_and_everything_comes_back(
    kind: str, worker_type: str, new_directory: Callable[[], Path], record_property: Callable[[str, object], None]
) -> None:
    """See `tests.faults.scene.Scene.settle` for what is checked after each fault."""
    first = {"given": SEED, "fixed": FIXED_SEED, "fresh": FRESH_SEED}[kind] or ""
    ends = monotonic() + SECONDS / len(WORKER_TYPES)
    seed, _, number = first.partition(".")
    episode = int(number or 0)
    while True:
        seconds = min(EPISODE, ends - monotonic())
        line = f"PYFORK_FAULT_SEED={seed}.{episode} make test ARGS='tests/faults -k \"[{worker_type}-given]\"'"
        record_property("play again", line)
        report = play(new_directory(), worker_type, f"{seed}.{episode}", seconds)
        assert report.answered.total() > 100
        left_out = f"not possible here: {', '.join(report.left_out)}; " if report.left_out else ""
        told = f"{report.answered.total()} answered, {report.excused} died with their worker, {dict(report.apart)}"
        record_property("faults", f"{worker_type}: {', '.join(report.faults)}; {left_out}{told}")
        episode += 1
        if monotonic() + EPISODE / 2 > ends:
            return
