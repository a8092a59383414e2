"""What an onlooker may know of the arbiter: frozen values that the core hands out and nobody can change it by."""

from dataclasses import dataclass

from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, UpgradeState, WorkerState


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """One worker, for whoever looks on. ``pid`` is None until it is known."""

    number: int
    generation: int
    pid: int | None
    state: WorkerState
    mold: int | None = None
    is_outworn: bool = False


@dataclass(frozen=True, slots=True)
class MoldStatistics:
    """One mold, for whoever looks on."""

    serial: int
    generation: int
    pid: int | None
    state: WorkerState
    layer: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The arbiter at a moment, for whoever looks on.

    Attributes:
        state: the arbiter's.
        reload: how far a reload has come.
        upgrade: how far the replacement of this arbiter by a new one has come.
        generation: the one adopted last.
        wanted: workers wanted (while drained by WINCH: wanted again afterwards).
        is_drained: WINCH has retired all workers.
        workers: all that are not gone, oldest first.
        molds: likewise.
    """

    state: ArbiterState
    reload: ReloadState
    upgrade: UpgradeState
    generation: int
    wanted: int
    is_drained: bool
    workers: tuple[WorkerStatistics, ...]
    molds: tuple[MoldStatistics, ...] = ()
