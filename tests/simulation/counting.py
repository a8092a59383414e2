"""How many workers are wanted, as far as the laws know, and the laws about that and about looks at the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfork.arbiter.events import Verb
from pyfork.arbiter.scaling import PERIOD
from tests.simulation.processes import EPSILON

if TYPE_CHECKING:
    from pyfork.arbiter.figures import Statistics
    from pyfork.arbiter.succession import PreviousCount
    from tests.simulation.processes import Configuration

MOST = 512

Bounds = tuple[int, int]


class Count:
    """The wanted count and its bounds: set by the file, moved by operators, and between the bounds by the load."""

    def __init__(self, configuration: Configuration, previous: PreviousCount | None) -> None:
        begin, self._moved = configuration.count, 0  # by operators since the file was followed
        if previous is not None and (previous.count, previous.bounds) == (configuration.count, configuration.bounds):
            begin, self._moved = previous.wanted, previous.steps
        self._file = configuration.bounds or (configuration.count, configuration.count)
        self.wanted = _nearest(begin, self.bounds)
        self.is_drained = False
        self._undo: tuple[int, int, Bounds] | None = None
        self._measured: float | None = None

    @property
    def bounds(self) -> Bounds:
        """The file's, moved as far as they can."""
        return _moved(self._file, self._moved)

    @property
    def is_choice(self) -> bool:
        """Whether the load has a say."""
        return self.bounds[0] < self.bounds[1]

    def obey(self, verb: Verb) -> None:
        """Note what an operator wants of an arbiter that does not stop."""
        match verb:
            case Verb.SCALE_UP if self.is_drained:
                self.is_drained = False
            case Verb.SCALE_UP:
                self._move(+1)
            case Verb.SCALE_DOWN:
                self._move(-1)
            case Verb.DRAIN_WORKERS:
                self.is_drained = True
            case Verb.RELOAD:
                self.is_drained = False

    def follow_file(self, old: Configuration, new: Configuration) -> None:
        """Note that a reload's first worker is ready."""
        if (old.count, old.bounds) != (new.count, new.bounds):
            self._undo = self.wanted, self._moved, self._file
            self._moved, self._file = 0, new.bounds or (new.count, new.count)
            self.wanted = _nearest(self.wanted, self.bounds)

    def take_back(self) -> None:
        """Note that the reload has failed: operators' steps since stay, and so does what the load has made of it."""
        if self._undo is not None:
            wanted, moved, self._file = self._undo
            low, high = _moved(self._file, moved)
            if low == high:
                self.wanted = wanted
            self._moved += moved
            self.wanted = _nearest(self.wanted, self.bounds)
            self._undo = None

    def keep(self) -> None:
        """Note that the reload is complete."""
        self._undo = None

    def _move(self, step: int) -> None:
        if _moved(self._file, self._moved + step) != self.bounds:
            self._moved += step
        self.wanted = _nearest(self.wanted, self.bounds)

    # The laws.

    def check_look(self, now: float, *, serves: bool) -> None:
        """The load is measured at most once a second, and only by an arbiter that may act on it."""
        assert serves, "the load is measured by an arbiter that does not serve"
        assert self.is_choice, "the load is measured although it has no say"
        assert not self.is_drained, "the load is measured while drained"
        assert self._measured is None or now >= self._measured + PERIOD - EPSILON, "the load is measured without pause"
        self._measured = now

    def check_measured(self, after: Statistics) -> None:
        """The load moves the count within the bounds, and a load that has no say does not."""
        if self.is_choice:
            low, high = self.bounds
            assert low <= after.wanted <= high, f"{after.wanted} workers are wanted, of {low} to {high}"
            self.wanted = after.wanted

    def check_figures(self, after: Statistics) -> None:
        """Nothing else moves it but what `Count` knows of."""
        assert after.wanted == self.wanted, f"{after.wanted} workers are wanted instead of {self.wanted}"
        assert after.is_drained == self.is_drained

    def check_deadline(self, now: float, deadline: float | None, *, serves: bool) -> None:
        """The next look is never more than a second away."""
        if serves and self.is_choice and not self.is_drained:
            assert deadline is not None, "nobody looks at the load"
            assert deadline <= now + PERIOD + EPSILON, "the load is looked at too late"


def _moved(bounds: Bounds, step: int) -> Bounds:
    low, high = (min(MOST, max(1, bound + step)) for bound in bounds)
    return low, high


def _nearest(count: int, bounds: Bounds) -> int:
    return sorted((bounds[0], count, bounds[1]))[1]
