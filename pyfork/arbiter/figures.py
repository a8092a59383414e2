"""What an onlooker may know of the arbiter: frozen values that the core hands out and nobody can change it by."""

from collections.abc import Mapping

import msgspec

from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, UpgradeState, WorkerState


class WorkerStatistics(msgspec.Struct, frozen=True):
    """One worker, for whoever looks on.

    ``pid`` is None until it is known; ``deadline`` is when its time to boot or to end is over (monotonic), None while
    it has none.
    """

    number: int
    generation: int
    pid: int | None
    state: WorkerState
    mold: int | None = None
    is_outworn: bool = False
    deadline: float | None = None


class MoldStatistics(msgspec.Struct, frozen=True):
    """One mold, for whoever looks on; ``deadline`` as a worker's."""

    serial: int
    generation: int
    pid: int | None
    state: WorkerState
    layer: int
    deadline: float | None = None


class Statistics(msgspec.Struct, frozen=True):
    """The arbiter at a moment, for whoever looks on.

    Attributes:
        state: the arbiter's.
        reload: how far a reload has come.
        generation: the one adopted last.
        wanted: workers wanted (while drained by WINCH: wanted again afterwards).
        is_drained: WINCH has retired all workers.
        workers: all that are not gone, oldest first.
        molds: likewise.
        steps: how far TTIN and TTOU have moved that number, or its bounds, from what the file says.
        is_reload_asked: a HUP waits for what is under way.
        upgrade: how far the replacement of this arbiter by a new one has come.
        upgrade_deadline: when the new one's time to get ready or to end is over (monotonic), None while it has none.
    """

    state: ArbiterState
    reload: ReloadState
    generation: int
    wanted: int
    is_drained: bool
    workers: tuple[WorkerStatistics, ...]
    molds: tuple[MoldStatistics, ...] = ()
    steps: int = 0
    is_reload_asked: bool = False
    upgrade: UpgradeState = UpgradeState.NONE
    upgrade_deadline: float | None = None


class Work(msgspec.Struct, frozen=True):
    """What one worker has done and does, as it says on the scoreboard.

    Attributes:
        requests: answered in its life.
        in_flight: begun and not ended.
    """

    requests: int
    in_flight: int


class Look(msgspec.Struct, frozen=True):
    """All that an onlooker sees at a moment.

    Attributes:
        statistics: the core's.
        work: of the living workers, by pid.
    """

    statistics: Statistics
    work: Mapping[int, Work]
