"""What has to be true once all faults have stopped for long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from tests.simulation.figures import ready_workers

if TYPE_CHECKING:
    from tests.simulation.laws import Laws


def has_peace(laws: Laws) -> bool:
    """Whether nothing is under way."""
    after = laws.world.core.statistics()
    is_quiet = not any(process.hangs or process.entered for process in laws.world.processes.values())
    fresh = [one for one in ready_workers(after) if not one.is_outworn]
    is_full = sorted(one.number for one in fresh) == _places(laws) and len(fresh) == len(after.workers)
    has_molds = [one.state for one in after.molds] == [WorkerState.READY] * _molds_wanted(laws)
    return is_quiet and is_full and has_molds and after.reload is ReloadState.IDLE and not laws.upgrade.is_under_way


def _molds_wanted(laws: Laws) -> int:
    return int(laws.world.generations[laws.world.current].preload and not laws.is_drained)


def _places(laws: Laws) -> list[int]:
    return [] if laws.is_drained else list(range(laws.wanted))


def check_peace(laws: Laws) -> None:
    """After faults have stopped for long enough, everything is as it is wanted."""
    after = laws.world.core.statistics()
    expected = ArbiterState.RUNNING if laws.ever_ready else ArbiterState.STARTING
    assert after.state is expected, f"the arbiter is still {after.state}"
    assert after.reload is ReloadState.IDLE
    assert not (laws.is_asked and laws.ever_ready), "a reload was asked for and forgotten"
    assert not laws.upgrade.is_under_way, "an upgrade is still under way"
    assert not (laws.upgrade.owes_report and laws.ever_ready), "the old arbiter was never told"
    assert not (laws.upgrade.is_asked and laws.ever_ready), "an upgrade was asked for and forgotten"
    assert {one.state for one in after.workers} <= {WorkerState.READY}, "somebody is still on the way"
    assert all(one.generation == laws.world.current for one in after.workers)
    assert not any(one.is_outworn for one in after.workers), "an outworn worker is never replaced"
    assert len(after.molds) == _molds_wanted(laws), f"there are {len(after.molds)} molds"
    assert all(one.state is WorkerState.READY for one in after.molds), "a mold is still on the way"
    assert all(one.generation == laws.world.current for one in after.molds), "a mold of another generation is kept"
    numbers = sorted(one.number for one in after.workers)
    assert numbers == _places(laws), f"the places are {numbers}"
    assert list(laws.world.generations) == [laws.world.current], "settings of another generation are kept"
