"""How soon an empty place may be filled again: at once after a loss, with growing delays after failed boots.

The delays belong to a generation, because what makes a boot fail (the application, the settings) is common to its
workers. A ready worker that was lost is no sign of that: it is replaced at once, whatever delay is under way.
"""

from collections.abc import Iterable
from random import Random

from msgspec import Struct

from pyfork.arbiter.placement import Vacancy
from pyfork.arbiter.policy import CALM

_FIRST_DELAY = 1.0
_GROWTH = 1.5
_LONGEST_DELAY = 30.0
_JITTER = 0.2


class Backoff(Struct):
    """When a generation that failed to start may try again: after 1 s, then 1.5 times longer each time, at most 30 s.

    Each delay is up to a fifth shorter or longer, so that servers that failed together do not all come back together.
    What fails while a delay is under way was started before it, and belongs to the same try: sixteen workers that find
    the database gone are one failure. A start that becomes ready ends the delay, unless it was for workers that died as
    soon as they were ready: that another is ready, too, says nothing of how long it will live. The next delay is longer
    in any case, unless nothing has failed for `CALM` since.

    Attributes:
        failures: tries that failed since a start that became ready.
        not_before: the moment of the next try.
    """

    failures: int = 0
    not_before: float = 0.0
    _outlasts_readiness: bool = False
    _growth: int = 0
    _failed_at: float | None = None  # the try whose delay is under way
    _ready_at: float | None = None  # the first one that became ready after the last failure

    def fail(self, now: float, random: Random, *, was_ready: bool = False) -> float:
        """Note a failure, of a start that had become ready or not; return the seconds until the next try."""
        if self._failed_at is not None and now < self._failed_at + (1 - _JITTER) * _delay(self._growth - 1):
            self._outlasts_readiness |= was_ready
            self._ready_at = None
            return self.not_before - now
        if self._ready_at is not None and now >= self._ready_at + CALM:
            self._growth = 0
        delay = min(_LONGEST_DELAY, _delay(self._growth) * random.uniform(1 - _JITTER, 1 + _JITTER))
        self.failures += 1
        self._growth += 1
        self._outlasts_readiness = was_ready
        self._failed_at, self._ready_at = now, None
        self.not_before = now + delay
        return delay

    def succeed(self, now: float) -> None:
        """Note that a start became ready."""
        self.failures = 0
        if not self._outlasts_readiness:
            self.not_before = now
            self._failed_at = None
        if self._ready_at is None:
            self._ready_at = now

    def shift(self, seconds: float) -> None:
        """Move everything by a stall of the arbiter."""
        self.not_before += seconds
        if self._failed_at is not None:
            self._failed_at += seconds
        if self._ready_at is not None:
            self._ready_at += seconds


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

    def fail(self, generation: int, now: float, *, was_ready: bool = False) -> float:
        """Note that a worker failed, as `Backoff.fail` has it; return the seconds until the next try."""
        return self._backoffs.setdefault(generation, Backoff()).fail(now, self._random, was_ready=was_ready)

    def succeed(self, generation: int, now: float) -> None:
        """Note that a worker of ``generation`` became ready."""
        if generation in self._backoffs:
            self._backoffs[generation].succeed(now)
        self._waiting.discard(generation)

    def forget(self, generation: int) -> None:
        """Note that no more of ``generation`` will be started."""
        self._backoffs.pop(generation, None)
        self._waiting.discard(generation)

    def forget_others(self, generation: int) -> None:
        """Note that no more of any generation but this one will be started."""
        for other in [one for one in self._backoffs if one != generation]:
            self.forget(other)

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
        """Return how many tries of ``generation`` have failed since one that did not."""
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
            backoff.shift(seconds)


def _delay(failures: int) -> float:
    """Return the seconds to wait after so many failures before this one, without the jitter."""
    return min(_LONGEST_DELAY, _FIRST_DELAY * _GROWTH ** min(failures, 20))
