"""How soon an empty place may be filled again: at once after a loss, with growing delays after failed boots.

The delays belong to a generation, because what makes a boot fail (the application, the settings) is common to its
workers. A ready worker that was lost is no sign of that: it is replaced at once, whatever delay is under way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from pyfork.arbiter.placement import Vacancy

_FIRST_DELAY = 1.0
_GROWTH = 1.5
_LONGEST_DELAY = 30.0
_JITTER = 0.2


@dataclass(slots=True)
class Backoff:
    """When a generation that failed to boot may try again: after 1 s, then 1.5 times longer each time, at most 30 s.

    Each delay is up to a fifth shorter or longer, so that servers that failed together do not all come back together.

    Attributes:
        failures: boots that failed since the last that did not.
        not_before: the moment of the next try.
    """

    failures: int = 0
    not_before: float = 0.0

    def fail(self, now: float, random: Random) -> float:
        """Note a failure; return the seconds until the next try."""
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * _GROWTH ** min(self.failures, 20))
        delay = min(_LONGEST_DELAY, delay * random.uniform(1 - _JITTER, 1 + _JITTER))
        self.failures += 1
        self.not_before = now + delay
        return delay


class Pacing:
    """Which vacancies may be filled now, and when to look at the others.

    Args:
        random: for the jitter.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._backoffs: dict[int, Backoff] = {}
        self._lost: set[int] = set()
        self._waiting: set[int] = set()

    def fail(self, generation: int, now: float) -> float:
        """Note that a worker of ``generation`` could not be started; return the seconds until the next try."""
        return self._backoffs.setdefault(generation, Backoff()).fail(now, self._random)

    def succeed(self, generation: int) -> None:
        """Note that a worker of ``generation`` became ready, or that no more of it will be started."""
        self._backoffs.pop(generation, None)
        self._waiting.discard(generation)

    def lose(self, number: int) -> None:
        """Note that the ready worker in place ``number`` was lost: until `admit`, its place need not wait."""
        self._lost.add(number)

    def admit(self, vacancies: Iterable[Vacancy], now: float) -> list[Vacancy]:
        """Return the vacancies to fill now; the others wait for `next_try`."""
        admitted = []
        self._waiting.clear()
        for vacancy in vacancies:
            backoff = self._backoffs.get(vacancy.generation)
            is_lost = vacancy.is_empty and vacancy.number in self._lost
            if backoff is None or now >= backoff.not_before or is_lost:
                admitted.append(vacancy)
            else:
                self._waiting.add(vacancy.generation)
        self._lost.clear()
        return admitted

    def may_begin(self, generation: int, now: float) -> bool:
        """Return whether a mold of ``generation`` may be started now; if not it waits for `next_try`. After `admit`."""
        backoff = self._backoffs.get(generation)
        if backoff is None or now >= backoff.not_before:
            return True
        self._waiting.add(generation)
        return False

    def failures(self, generation: int) -> int:
        """Return how many starts of ``generation`` have failed since one that did not."""
        backoff = self._backoffs.get(generation)
        return 0 if backoff is None else backoff.failures

    def rest(self) -> None:
        """Note that no vacancy will ever be filled again."""
        self._waiting.clear()

    def next_try(self) -> float | None:
        """Return the moment for which a vacancy waits, or None when none does."""
        return min((self._backoffs[generation].not_before for generation in self._waiting), default=None)

    def shift(self, seconds: float) -> None:
        """Move the next tries by a stall of the arbiter."""
        for backoff in self._backoffs.values():
            backoff.not_before += seconds
