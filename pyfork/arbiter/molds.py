"""The molds that workers are forked from: which is taken, which is missing, and when a worker is made one.

A mold belongs to a generation. Where a generation preloads:

- Its workers are forked from its newest ready mold (`source`); while there is none they wait, and one is started that
  imports the application. The mold of the generation that serves stays until its successor has replaced it whole, so
  that a reload that fails half-way goes back to the old code and not to what is on the disk by then.
- A mold that dies is missed and rebuilt; the workers do not need it.
- A worker that is *ripe*, or any when an operator asks, is promoted: a copy of it becomes the next mold, one *layer*
  warmer. When that is ready, the old mold goes and all workers of it are outworn: `placement` replaces them in turn.
  When it fails the old mold stays, and the next try of that generation waits for `policy.REFORK_PAUSE`, and twice as
  long after each further failure. An operator's order does not wait.
"""

from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct

from pyfork.arbiter.events import Plan
from pyfork.arbiter.handles import MoldHandle, WorkerHandle
from pyfork.arbiter.lifecycle import IllegalMoveError, WorkerMove, WorkerState
from pyfork.arbiter.policy import LONGEST_REFORK_PAUSE, REFORK_PAUSE, SPAWN_TIMEOUT


class _Pause(Struct):
    """Of a generation whose promotions fail.

    Attributes:
        failures: in a row.
        not_before: the moment of the next try.
    """

    failures: int = 0
    not_before: float = 0.0


class Molds:
    """All molds that are not GONE, in the order in which they were ordered.

    Attributes:
        is_refork_asked: an operator wants a warmer mold, and has not got it yet.
    """

    def __init__(self) -> None:
        self.is_refork_asked = False
        self._molds: list[MoldHandle] = []
        self._serial = 0
        self._pauses: dict[int, _Pause] = {}

    def __iter__(self) -> Iterator[MoldHandle]:
        return iter(tuple(self._molds))

    def __bool__(self) -> bool:
        return bool(self._molds)

    def add(self, generation: int, plan: Plan) -> MoldHandle:
        """Add a mold that the shell is about to spawn, and return it."""
        self._serial += 1
        mold = MoldHandle(generation=generation, plan=plan, serial=self._serial)
        self._molds.append(mold)
        return mold

    def add_promoted(self, worker: WorkerHandle, layer: int, now: float) -> MoldHandle:
        """Add a mold that ``worker`` is asked to fork once it is between two requests, and return it."""
        mold = self.add(worker.generation, worker.plan)
        mold.layer = layer
        mold.deadline = now + worker.plan.timeout + SPAWN_TIMEOUT
        self.is_refork_asked = False
        return mold

    def find(self, pid: int) -> MoldHandle | None:
        """Return the mold with ``pid``, or None when there is none (any more)."""
        return next((mold for mold in self._molds if mold.pid == pid), None)

    def find_spawning(self, serial: int) -> MoldHandle:
        """Return the mold whose spawn the shell answers.

        Raises:
            IllegalMoveError: none such was ordered.
        """
        for mold in self._molds:
            if mold.state is WorkerState.SPAWNING and mold.serial == serial:
                return mold
        raise IllegalMoveError(f"nobody ordered mold {serial}")

    def remove(self, mold: MoldHandle, move: WorkerMove) -> None:
        """Forget a mold that is GONE by ``move``."""
        mold.gone(move)
        self._molds.remove(mold)

    def source(self, generation: int) -> MoldHandle | None:
        """Return the mold to fork workers of ``generation`` from, None while there is none."""
        return max(
            (mold for mold in self._molds if mold.generation == generation and mold.is_ready),
            key=lambda mold: mold.serial,
            default=None,
        )

    def has_active(self, generation: int) -> bool:
        """Whether a mold of ``generation`` is ready or is going to be."""
        return any(mold.generation == generation for mold in self._molds if mold.is_active)

    def find_missing(self, generations: Iterable[int]) -> list[int]:
        """Return those of ``generations`` that have no mold and none under way."""
        return [generation for generation in generations if not self.has_active(generation)]

    def find_surplus(self, kept: Collection[int], asked: Collection[int | None] = ()) -> list[MoldHandle]:
        """Return the molds to end: those of generations that are not ``kept``, and those with a warmer successor.

        One that has no process yet is left until it has, and one that is ``asked`` for workers, by their serials, until
        it has forked them.
        """
        surplus = []
        for mold in self._molds:
            if mold.serial in asked:
                continue
            source = self.source(mold.generation)
            is_outdone = source is not None and mold.serial < source.serial
            if mold.state in {WorkerState.BOOTING, WorkerState.READY} and (mold.generation not in kept or is_outdone):
                surplus.append(mold)
        return surplus

    def find_candidate(self, workers: Iterable[WorkerHandle], generation: int, now: float) -> WorkerHandle | None:
        """Return the worker to promote now: a ripe one, or the one that has served longest when an operator asks.

        None when nobody is due, or the pause after a failure is not over, or a mold is under way.
        """
        source = self.source(generation)
        is_busy = any(mold.generation == generation and not mold.is_ready for mold in self._molds if mold.is_active)
        if source is None or is_busy or now < self._not_before(generation):
            return None
        due = self._due(workers, source)
        return min(due, key=lambda worker: worker.ready_since, default=None)

    def next_try(self, workers: Iterable[WorkerHandle], generation: int, now: float) -> float | None:
        """Return the end of the pause if a worker waits for it."""
        source, not_before = self.source(generation), self._not_before(generation)
        if source is None or now >= not_before or not self._due(workers, source):
            return None
        return not_before

    def ask_refork(self) -> None:
        """Note an operator's order, which ends every pause."""
        self.is_refork_asked = True
        for pause in self._pauses.values():
            pause.not_before = 0.0

    def put_off(self, generation: int, now: float) -> float:
        """Note that a promotion has failed; return the seconds until the next may be tried."""
        pause = self._pauses.setdefault(generation, _Pause())
        seconds = min(LONGEST_REFORK_PAUSE, REFORK_PAUSE * 2.0 ** min(pause.failures, 10))
        pause.failures += 1
        pause.not_before = now + seconds
        return seconds

    def promoted(self, generation: int) -> None:
        """Note that a promotion has succeeded."""
        self._pauses.pop(generation, None)

    def forget_others(self, generation: int) -> None:
        """Note that no worker of any generation but this one will be promoted."""
        self._pauses = {one: pause for one, pause in self._pauses.items() if one == generation}

    def _not_before(self, generation: int) -> float:
        return self._pauses[generation].not_before if generation in self._pauses else 0.0

    def shift(self, seconds: float, now: float) -> None:
        """Move all deadlines by a stall that ended ``now``."""
        for pause in self._pauses.values():
            pause.not_before += seconds
        for mold in self._molds:
            mold.shift(seconds, now)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of all molds."""
        return min((mold.deadline for mold in self._molds if mold.deadline is not None), default=None)

    def _due(self, workers: Iterable[WorkerHandle], source: MoldHandle) -> list[WorkerHandle]:
        if not source.plan.can_refork:
            return []
        ready = (worker for worker in workers if worker.is_ready and worker.generation == source.generation)
        return [worker for worker in ready if not worker.is_outworn and (worker.is_ripe or self.is_refork_asked)]
