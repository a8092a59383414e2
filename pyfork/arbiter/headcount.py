"""How many workers are wanted: the file says it at the start; operators, the load and a reload may change it."""

from msgspec import Struct

from pyfork.arbiter.policy import MAXIMUM_COUNT


class Bounds(Struct, frozen=True):
    """Between how many and how many workers the load may want; equal where their number is fixed.

    ``count`` of the file is both, unless ``min`` and ``max`` are set.
    """

    minimum: int
    maximum: int

    @property
    def is_fixed(self) -> bool:
        """Whether the load has no say."""
        return self.minimum == self.maximum

    def moved(self, step: int) -> "Bounds":
        """Return both bounds, ``step`` higher, each as far as its limit lets it."""
        return Bounds(_within_limits(self.minimum + step), _within_limits(self.maximum + step))

    def clamp(self, count: int) -> int:
        """Return the number nearest to ``count`` that is not out of bounds."""
        return min(self.maximum, max(self.minimum, count))

    def say_wanted(self) -> str:
        """Return that so many workers are wanted."""
        return _say_wanted(self.minimum) if self.is_fixed else f"{self.minimum} to {_say_wanted(self.maximum)}"


class Headcount:
    """The wanted count, its bounds, and who set them.

    TTIN and TTOU move both bounds by one, and where they are equal the count with them. A bound that is at its limit
    stays there while the other moves, and the way back is the same. All of it survives a reload, unless
    ``workers.count``, ``min`` or ``max`` have changed in the file: then the file wins. If that reload fails later, its
    change is taken back, and what operators changed meanwhile stays. Between the bounds, the load decides.

    Args:
        count: ``workers.count`` of the first generation.
        bounds: what ``workers.min`` and ``workers.max`` say; fixed at ``count`` by default.
        previous: what was wanted of the arbiter that this one replaces, where it had the same numbers in its file.

    Attributes:
        wanted: workers, also while they are drained.
        bounds: within which the load may change that.
        steps: those of operators since the file was followed.
        is_drained: WINCH has sent them all away.
    """

    def __init__(self, count: int, bounds: Bounds | None = None, previous: tuple[int, int] | None = None) -> None:
        wanted, self.steps = previous or (count, 0)
        self._file = bounds or Bounds(count, count)
        self.bounds = self._file.moved(self.steps)
        self.wanted = self.bounds.clamp(wanted)
        self.is_drained = False
        self._before_file: tuple[int, int, Bounds] | None = None

    @property
    def places(self) -> int:
        """How many workers there are to be now."""
        return 0 if self.is_drained else self.wanted

    def scale(self, step: int) -> str:
        """Move the bounds by ``step``, or call the drained workers back; return what to tell the operator."""
        if self.is_drained and step > 0:
            self.is_drained = False
            return f"{_say_wanted(self.wanted)} again"
        before = self.bounds
        if self._file.moved(self.steps + step) != before:
            self.steps += step
        self._set()
        return f"{self.bounds.say_wanted()}{self._now()}" + (
            ", as before: it is the limit" if self.bounds == before else ""
        )

    def follow_load(self, count: int, utilisation: float, queued: int) -> str:
        """Want as many workers as the load calls for; return what to tell the operator.

        Args:
            count: the new number; out of bounds it is the nearest within.
            utilisation: how busy the workers were, 0 to 1.
            queued: connections that waited.
        """
        before, self.wanted = self.wanted, self.bounds.clamp(count)
        waiting = f" and {queued} {_be(queued, 'connection waits', 'connections wait')}" if queued else ""
        return (
            f"scaling: the workers are busy for {utilisation:.0%} of the time{waiting}: {self.wanted} "
            f"{_be(self.wanted, 'is', 'are')} wanted, {before} {_be(before, 'was', 'were')} "
            f"({self.bounds.minimum} to {self.bounds.maximum})"
        )

    def follow_file(self, count: int, bounds: Bounds | None = None) -> str:
        """Let the file win, whose numbers a reload has changed; return what to tell the operator.

        A count that the load decides stays, if it is within the new bounds: the load has not changed.
        """
        before = self.wanted
        self._before_file = self.wanted, self.steps, self._file
        self._file, self.steps = bounds or Bounds(count, count), 0
        self._set()
        changed = "workers.count has" if self.bounds.is_fixed else "workers.min or workers.max have"
        return f"{changed} changed: {self.bounds.say_wanted()}{self._now()}, {before} {_be(before, 'was', 'were')}"

    def take_back(self) -> None:
        """Undo what the file changed, as its reload has failed."""
        if self._before_file is None:
            return
        wanted, steps, self._file = self._before_file
        self._before_file = None
        self.wanted = wanted if self._file.moved(steps).is_fixed else self.wanted
        self.steps += steps
        self._set()

    def keep(self) -> None:
        """Let what the file changed stand, as its reload is complete."""
        self._before_file = None

    def _set(self) -> None:
        self.bounds = self._file.moved(self.steps)
        self.wanted = self.bounds.clamp(self.wanted)

    def _now(self) -> str:
        return "" if self.bounds.is_fixed else f" ({self.wanted} now)"


def _say_wanted(count: int) -> str:
    return f"{count} {_be(count, 'worker is', 'workers are')} wanted"


def _be(count: int, one: str, many: str) -> str:
    """Return the words that fit ``count``."""
    return one if count == 1 else many


def _within_limits(count: int) -> int:
    return min(MAXIMUM_COUNT, max(1, count))
