"""The numbers and rules by which the core judges: how long, how many, how soon again. No decision is made here.

Times are seconds of the monotonic clock. A *stall* is a stretch in which the arbiter itself did not run: it moves every
moment that is remembered here, because what the workers did meanwhile, nobody heard.
"""

from msgspec import Struct, field

from pyfork.arbiter.events import Plan

STALL = 1.0
"""Seconds: an arbiter that wakes later than this after its deadline was not running."""
QUIT_GRACE = 2.0
"""Seconds from QUIT, which ends a worker without its requests, to KILL."""
DUMP_GRACE = 1.0
"""Seconds that a stuck worker has for writing its stacks before it is killed."""
SETTLED = 1.0
"""Seconds after which a ready worker has shown that it can serve; to die sooner is as good as a failed boot."""
CALM = 5 * SETTLED
"""Seconds without a failure after which a generation has recovered: longer than a worker takes to die of its start."""
SPAWN_TIMEOUT = 10.0
"""Seconds that a mold may take to fork a worker, and a worker beyond its request to fork a mold."""
SPAWN_TRIES = 3
"""Forks from a mold that fail in a row before its generation is given up, if it has yet to prove itself."""
REFORK_PAUSE = 10.0
"""Seconds after a worker could not be made a mold before the next may try; pitchfork's. Twice as long each time."""
LONGEST_REFORK_PAUSE = 600.0
"""Seconds that this grows to: what a promotion fails of, a hook or the memory, seldom mends itself."""
MAXIMUM_COUNT = 512
"""Workers: the scoreboard's 1 024 slots hold two generations of them."""


def surge(count: int) -> int:
    """Return how many ready workers of ``count`` may be in replacement at once."""
    return max(1, count // 4)


def refork_threshold(plan: Plan, layer: int) -> int | None:
    """Return the requests after which a worker becomes a mold, None for never.

    Args:
        plan: its generation's.
        layer: how many times its mold's line has been reforked.
    """
    steps = plan.refork_after
    if not steps or (layer >= len(steps) and not plan.refork_repeats):
        return None
    return steps[min(layer, len(steps) - 1)]


class Silence(Struct):
    """How long a ready worker has gone without a sign of progress, and when that is too long.

    Where the application runs beside the loop (in threads, in greenlets), a worker beats while a request of its is
    stuck. Then a beat tells: that by which its oldest stretch in the application has outlasted ``timeout``.

    Otherwise it is silent. It is stuck ``timeout`` after the later of its last beat and the start of its present
    stretch in the application. A silence of two beats makes it *suspect* first. Nothing is done about that, but the
    arbiter has then looked at the silence itself, and the rest of the timeout counts from that look at the earliest:
    an arbiter that was held up for a moment too short to be called a stall cannot take its own absence for the
    worker's.

    Attributes:
        plan: its generation's.
        heard: the moment of its last beat (or of its readiness).
        entered: the start of its stretch in the application, as last seen, or None outside of it.
        suspected: when the arbiter noticed the silence, or None.
    """

    plan: Plan
    heard: float
    entered: float | None = None
    suspected: float | None = None
    _stalls: list[tuple[float, float]] = field(default_factory=list)  # those that may matter still: (end, length)

    def hear(self, now: float, entered: float | None = None) -> bool:
        """Note a beat and what the scoreboard said with it; return whether the worker is stuck although it lives."""
        self.heard = now
        self.suspected = None
        self.entered = entered
        if entered is None:
            self._stalls.clear()
            return False
        self._stalls = [stall for stall in self._stalls if entered < stall[0]]
        return bool(self.plan.timeout) and now >= self._moved(entered) + self.plan.timeout

    def look(self, now: float, entered: float | None) -> bool:
        """Note what the scoreboard says at ``now``; return whether the worker is stuck."""
        self.entered = entered
        if not self.plan.timeout:
            return False
        if self.suspected is None and now >= self._suspicion():
            self.suspected = now
        return self.suspected is not None and now >= self._verdict(self.suspected)

    def deadline(self) -> float | None:
        """Return when to look next, or None when the worker may take as long as it likes."""
        if not self.plan.timeout:
            return None
        return self._suspicion() if self.suspected is None else self._verdict(self.suspected)

    def shift(self, seconds: float, now: float) -> None:
        """Move everything by a stall that ended ``now``."""
        self.heard += seconds
        if self.suspected is not None:
            self.suspected += seconds
        self._stalls.append((now, seconds))

    def _suspicion(self) -> float:
        return self.heard + 2 * self.plan.beat_interval

    def _verdict(self, suspected: float) -> float:
        watched = suspected + self.plan.timeout - 2 * self.plan.beat_interval
        return max(self._progress() + self.plan.timeout, watched)

    def _progress(self) -> float:
        if self.entered is None:
            return self.heard
        return max(self.heard, self._moved(self.entered))

    def _moved(self, entered: float) -> float:
        """Return a moment of the scoreboard's, moved by the stalls since; one that was under way, by its rest."""
        return entered + sum(min(seconds, end - entered) for end, seconds in self._stalls if entered < end)
