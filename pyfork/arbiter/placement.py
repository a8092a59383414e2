"""Which workers are missing and which are too many: a comparison of the roster with the aim, without memory of its own.

Every number below the wanted count is a *place*, and each place is to have one ready worker of the target generation.
One rule covers a worker's death, a reload, its roll-back, recycling, reforking and a change of the count alike:

- A place without any ready worker is refilled as soon as possible. A place that has one of another generation, or an
  outworn one, gets its replacement in turn, at most `policy.surge` at once: another generation's first, then the
  outworn in the order in which they asked. So nobody waits for ever behind workers that wear out again and again.
- Such a worker goes when the target's worker in the same place is ready, never before.
- Workers beyond the last place go last: when every place has a ready worker of the target.
- No ready worker goes while fewer than wanted would be left: it stands in for a place that is still empty.
- A worker that still boots goes when nobody waits for it: its generation failed, its place is gone or served.

Workers that drain, are stuck or killed are not counted: their place is empty.
"""

import math
from collections.abc import Callable, Iterable

from msgspec import Struct

from pyfork.arbiter.handles import WorkerHandle
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.policy import surge


class Aim(Struct, frozen=True):
    """What the arbiter wants at the moment.

    Attributes:
        places: ready workers wanted.
        target: the generation that each place is to have.
        trial: a generation that is tried by one more worker in place 0, or None.
        failed: generations that are not to boot any more.
    """

    places: int
    target: int
    trial: int | None = None
    failed: frozenset[int] = frozenset()

    @property
    def generations(self) -> frozenset[int]:
        """The generations that workers are started of."""
        return frozenset({self.target} if self.trial is None else {self.target, self.trial})


class Vacancy(Struct, frozen=True):
    """A worker that is missing.

    Attributes:
        number: its place.
        generation: to spawn it of.
        is_empty: no ready worker holds the place meanwhile.
    """

    number: int
    generation: int
    is_empty: bool


def find_vacancies(workers: Iterable[WorkerHandle], aim: Aim) -> list[Vacancy]:
    """Return the missing workers: the empty places, then as many replacements as may boot at once, then the trial."""
    active = [worker for worker in workers if worker.is_active]
    held = {worker.number for worker in active if worker.is_ready}
    of_target = [worker for worker in active if _fills_place(worker, aim)]
    missing = sorted(set(range(aim.places)) - {worker.number for worker in of_target})
    empty = [Vacancy(number, aim.target, is_empty=True) for number in missing if number not in held]
    under_way = sum(not worker.is_ready and worker.number in held for worker in of_target)
    allowed = max(0, surge(aim.places) - under_way)
    waiting = sorted((number for number in missing if number in held), key=_turns(active, aim))
    replaced = [Vacancy(number, aim.target, is_empty=False) for number in waiting]
    tried = []
    if aim.trial is not None and not any(worker.generation == aim.trial for worker in active):
        tried = [Vacancy(0, aim.trial, is_empty=False)]
    return [*empty, *replaced[:allowed], *tried]


def find_surplus(workers: Iterable[WorkerHandle], aim: Aim) -> list[WorkerHandle]:
    """Return the workers to retire now, oldest first. One that has no process yet is left until it has."""
    active = [worker for worker in workers if worker.is_active and worker.generation != aim.trial]
    served, covered = served_places(active, aim), covered_places(active, aim)
    surplus = [worker for worker in active if _is_surplus(worker, aim, served, covered)]
    booting = [worker for worker in surplus if not worker.is_ready]
    ready = [worker for worker in surplus if worker.is_ready]
    spare = max(0, sum(worker.is_ready for worker in active) - aim.places)
    return [*booting, *ready[:spare]]


def served_places(workers: Iterable[WorkerHandle], aim: Aim) -> set[int]:
    """Return the places that have a ready worker of the target that is not outworn."""
    return {worker.number for worker in workers if worker.is_ready and _fills_place(worker, aim)}


def covered_places(workers: Iterable[WorkerHandle], aim: Aim) -> set[int]:
    """Return the places that have a ready worker of the target, be it outworn."""
    ready = (worker for worker in workers if worker.is_ready and worker.generation == aim.target)
    return {worker.number for worker in ready if worker.number < aim.places}


def is_reached(workers: Iterable[WorkerHandle], aim: Aim) -> bool:
    """Whether each place has a ready worker of the target, and nothing of another generation serves or boots."""
    active = [worker for worker in workers if worker.is_active]
    is_pure = all(worker.generation == aim.target for worker in active)
    return is_pure and len(covered_places(active, aim)) == aim.places


def _turns(active: Iterable[WorkerHandle], aim: Aim) -> Callable[[int], tuple[float, int]]:
    """Return the order in which places get replacements: by the moment from which each has waited, then by number."""
    outworn = [worker for worker in active if worker.is_ready and worker.generation == aim.target]
    since = {worker.number: worker.outworn_since or 0.0 for worker in outworn}
    return lambda number: (since.get(number, -math.inf), number)


def _fills_place(worker: WorkerHandle, aim: Aim) -> bool:
    """Whether an active worker is what its place is to have, now or soon."""
    is_fresh = not worker.is_outworn or worker.state is WorkerState.SPAWNING  # that one cannot be told apart yet
    return worker.generation == aim.target and worker.number < aim.places and is_fresh


def _is_surplus(worker: WorkerHandle, aim: Aim, served: set[int], covered: set[int]) -> bool:
    is_placed = worker.number < aim.places
    is_outdone = worker.number in served and (worker.generation != aim.target or worker.is_outworn)
    if worker.state is WorkerState.BOOTING:
        return not is_placed or is_outdone or worker.generation in aim.failed
    if worker.state is WorkerState.READY:
        return is_outdone if is_placed else len(covered) == aim.places
    return False
