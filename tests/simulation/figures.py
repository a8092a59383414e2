"""What a law asks of the core's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfork.arbiter import events as ev
from pyfork.arbiter.lifecycle import WorkerState

if TYPE_CHECKING:
    from pyfork.arbiter.figures import MoldStatistics, Statistics, WorkerStatistics

ACTIVE = {WorkerState.SPAWNING, WorkerState.BOOTING, WorkerState.READY}


def is_plain_beat(event: ev.Event) -> bool:
    return isinstance(event, ev.WorkerBeat) and event.entered is None


def active_workers(statistics: Statistics, generation: int | None = None) -> list[WorkerStatistics]:
    return [
        worker for worker in statistics.workers if worker.state in ACTIVE and generation in {None, worker.generation}
    ]


def is_outrun(worker: WorkerStatistics) -> bool:
    """Whether another one is to have its place; while it is being forked nobody can tell the two apart."""
    return worker.is_outworn and worker.state is not WorkerState.SPAWNING


def molds_of(statistics: Statistics, generation: int) -> list[MoldStatistics]:
    """Return the molds of a generation that are ready or going to be."""
    return [mold for mold in statistics.molds if mold.generation == generation and mold.state in ACTIVE]


def ready_workers(statistics: Statistics) -> list[WorkerStatistics]:
    return [worker for worker in statistics.workers if worker.state is WorkerState.READY]
