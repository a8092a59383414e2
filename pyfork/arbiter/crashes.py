"""What the log says of workers that fail again and again: enough to act on, and no flood.

The first failure of each kind (`Kind`) is told in full, with its traceback: a worker that is killed just before the
application stops to import must not hide why. While a generation goes on failing, one line a minute has the count and
the last reason. One more says when it is over: workers have been ready for `CALM` without another
failure (a worker that dies as soon as it is ready is no recovery). What fails again within a minute of the last line
is counted in the next one, so that a generation that fails and recovers in turn tells no more than that either.

Pure, as the core is: times are seconds of the monotonic clock.
"""

from enum import Enum

from msgspec import Struct, field

from pyfork.arbiter.actions import Level
from pyfork.arbiter.policy import CALM

MINUTE = 60.0
"""Seconds between two lines about the same generation, at least; the sentences say "in the last minute"."""

Line = tuple[Level, str]


class Kind(Enum):
    """What has failed."""

    FORK = "the kernel or the mold did not fork"
    BOOT = "it did not become ready"
    EARLY_DEATH = "it died as soon as it was ready"


class _Crashes(Struct):
    """The failures of one generation.

    Attributes:
        why: the last one, in full.
        next_try: when the next worker is to be started.
        began: the moment of the first one.
        told_at: the moment of the last line about it.
        total: failures since it began.
        untold: those since the last line.
        calm_since: when a worker became ready after the last failure, or None.
        is_over: the last line said so.
        kinds: those that were told in full.
    """

    why: str
    next_try: float
    began: float
    told_at: float
    total: int = 1
    untold: int = 0
    calm_since: float | None = None
    is_over: bool = False
    kinds: set[Kind] = field(default_factory=set)

    def due_at(self) -> float | None:
        """Return when there is something to say."""
        if self.calm_since is not None and not self.is_over:
            return self.calm_since + CALM
        if not self.untold:
            return None
        return max(self.told_at + MINUTE, 0.0 if self.calm_since is None else self.calm_since + CALM)


class CrashLog:
    """Words the lines about failing workers, for all generations. Each method is called at the moment ``now``."""

    def __init__(self) -> None:
        self._by_generation: dict[int, _Crashes] = {}

    def note(self, generation: int, why: str, delay: float, now: float, kind: Kind = Kind.BOOT) -> list[Line]:
        """Note that a worker has failed to start, or died as good as at its start.

        Args:
            generation: whose.
            why: a sentence; further lines are told the first time only, for each kind.
            delay: seconds until the next try.
            now: the moment.
            kind: what has failed.

        Returns:
            The lines to log: one for the first failure of its kind, or a minute after the last line; none for those
            between.
        """
        crashes = self._by_generation.get(generation)
        if crashes is None or (crashes.is_over and not crashes.untold and now >= crashes.told_at + MINUTE):
            self._by_generation[generation] = _Crashes(why, now + delay, now, now, kinds={kind})
            return [_tell_first(kind, why, delay)]
        crashes.why = why
        crashes.next_try = now + delay
        crashes.total += 1
        crashes.calm_since = None
        if kind not in crashes.kinds:
            crashes.kinds.add(kind)
            crashes.is_over = False  # whoever is told of a failure is told of its end
            return [_tell_first(kind, why, delay)]
        crashes.untold += 1
        return [_tell(generation, crashes, now)] if now >= crashes.told_at + MINUTE else []

    def recovered(self, generation: int, now: float) -> None:
        """Note that a worker of the generation is ready; if nothing fails soon, `on_time` says that it is over."""
        crashes = self._by_generation.get(generation)
        if crashes is not None and crashes.calm_since is None:
            crashes.calm_since = now

    def forget(self, generation: int) -> None:
        """Say nothing more about a generation: no worker of it will be started any more."""
        self._by_generation.pop(generation, None)

    def forget_others(self, generation: int) -> None:
        """Say nothing more about any generation but this one."""
        self._by_generation = {one: crashes for one, crashes in self._by_generation.items() if one == generation}

    def rest(self) -> None:
        """Say nothing more about any generation: nothing will be started any more."""
        self._by_generation.clear()

    def next_deadline(self) -> float | None:
        """Return when `on_time` has something to say, or None."""
        moments = (crashes.due_at() for crashes in self._by_generation.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def on_time(self, now: float) -> list[Line]:
        """Return the lines that are due."""
        lines = []
        for generation, crashes in self._by_generation.items():
            due_at = crashes.due_at()
            if due_at is not None and now >= due_at:
                lines.append(_tell(generation, crashes, now))
        return lines

    def shift(self, seconds: float) -> None:
        """Move everything by a stall of the arbiter."""
        for crashes in self._by_generation.values():
            crashes.next_try += seconds
            crashes.began += seconds
            crashes.told_at += seconds
            if crashes.calm_since is not None:
                crashes.calm_since += seconds


def _tell_first(kind: Kind, why: str, delay: float) -> Line:
    level = Level.WARNING if kind is Kind.EARLY_DEATH else Level.ERROR  # its exit is in the log already
    return level, f"{why}\nthe next try is in {delay:.1f} s"


def _tell(generation: int, crashes: _Crashes, now: float) -> Line:
    untold, crashes.untold, crashes.told_at = crashes.untold, 0, now
    crashes.is_over = crashes.calm_since is not None
    last = crashes.why.partition("\n")[0]
    if crashes.is_over:
        since = (crashes.calm_since or now) - crashes.began
        return Level.INFO, (
            f"generation {generation}: workers start again, after {_times(crashes.total, 'failure')} in {since:.0f} s"
        )
    rest = crashes.next_try - now
    trial = f"the next try is in {rest:.1f} s" if rest > 0 else "it is being tried again"
    return Level.ERROR, (
        f"generation {generation}: workers have failed {_times(untold, 'time')} in the last minute; "
        f"the last: {last}; {trial}"
    )


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
