"""The workers that the arbiter knows: one handle for each, from the order to spawn it until it is reaped."""

from collections.abc import Iterator

from pyfork.arbiter.events import Plan
from pyfork.arbiter.handles import WorkerHandle
from pyfork.arbiter.lifecycle import IllegalMoveError, WorkerMove, WorkerState


class Roster:
    """All workers that are not GONE, in the order in which they were spawned."""

    def __init__(self) -> None:
        self._workers: list[WorkerHandle] = []

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(tuple(self._workers))

    def __bool__(self) -> bool:
        return bool(self._workers)

    def add(self, number: int, generation: int, plan: Plan) -> WorkerHandle:
        """Add a worker that the shell is about to spawn, and return it."""
        worker = WorkerHandle(number=number, generation=generation, plan=plan)
        self._workers.append(worker)
        return worker

    def find_spawning(self, number: int, generation: int) -> WorkerHandle:
        """Return the worker whose spawn the shell answers.

        Raises:
            IllegalMoveError: none such was ordered.
        """
        for worker in self._workers:
            if worker.state is WorkerState.SPAWNING and (worker.number, worker.generation) == (number, generation):
                return worker
        raise IllegalMoveError(f"nobody ordered worker {number} gen {generation}")

    def find(self, pid: int) -> WorkerHandle | None:
        """Return the worker with ``pid``, or None when there is none (any more)."""
        return next((worker for worker in self._workers if worker.pid == pid), None)

    def remove(self, worker: WorkerHandle, move: WorkerMove) -> None:
        """Forget a worker that is GONE by ``move``."""
        worker.gone(move)
        self._workers.remove(worker)

    def has_active(self, generation: int) -> bool:
        """Whether a worker of ``generation`` serves or is going to."""
        return any(worker.generation == generation for worker in self._workers if worker.is_active)

    def shift(self, seconds: float, now: float) -> None:
        """Move all deadlines by a stall that ended ``now``."""
        for worker in self._workers:
            worker.shift(seconds, now)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of all workers."""
        deadlines = (worker.next_deadline() for worker in self._workers)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
