"""When the load is looked at, and what follows; `scaling` has the rules. Only while the bounds leave a choice."""

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Level, MeasureLoad
from pyfork.arbiter.desk import Desk
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.scaling import PERIOD, Scaling

_SERVING = frozenset({ArbiterState.RUNNING, ArbiterState.RELOADING, ArbiterState.UPGRADING})


class LoadEvents:
    """The handlers of what concerns the load; one for each core.

    Args:
        desk: for orders.
        roster: the workers.
        headcount: what is changed.
    """

    def __init__(self, desk: Desk, roster: Roster, headcount: Headcount) -> None:
        self._desk = desk
        self._roster = roster
        self._headcount = headcount
        self._scaling = Scaling(headcount.bounds.minimum, headcount.bounds.maximum)
        self._look_at: float | None = None

    def next_deadline(self) -> float | None:
        """Return when to look, or None while nothing is to be decided."""
        return self._look_at

    def settle(self) -> None:
        """Begin or cease to look."""
        headcount = self._headcount
        is_wanted = self._desk.state in _SERVING and not headcount.bounds.is_fixed and not headcount.is_drained
        if not is_wanted:
            self._look_at = None
        elif self._look_at is None:
            self._look_at = self._desk.now + PERIOD

    def on_time_passed(self) -> None:
        """Have the load measured, if it is time."""
        if self._look_at is not None and self._desk.now >= self._look_at:
            self._look_at = self._desk.now + PERIOD
            self._desk.order(MeasureLoad())

    def on_measured(self, event: ev.LoadMeasured) -> None:
        """Want more workers, or fewer."""
        headcount = self._headcount
        if self._desk.is_stopping:
            return
        self._scaling.bound(headcount.bounds.minimum, headcount.bounds.maximum)
        ready = sum(worker.is_ready for worker in self._roster)
        count = self._scaling.observe(self._desk.now, event.utilisation, event.queued, ready, headcount.wanted)
        if count != headcount.wanted:
            self._desk.log(Level.INFO, headcount.follow_load(count, event.utilisation, event.queued))

    def shift(self, seconds: float) -> None:
        """Move the next look by a stall of the arbiter."""
        self._scaling.shift(seconds)
        if self._look_at is not None:
            self._look_at += seconds
