"""When the load is looked at, and what follows; `scaling` has the rules. Only while the bounds leave a choice."""

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Level, MeasureLoad
from pyfork.arbiter.context import EventContext
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.scaling import PERIOD, Scaling

_SERVING = frozenset({ArbiterState.RUNNING, ArbiterState.RELOADING, ArbiterState.UPGRADING})


class LoadEvents:
    """The handlers of what concerns the load; one for each core.

    Args:
        context: for orders.
        roster: the workers.
        headcount: what is changed.
    """

    def __init__(self, context: EventContext, roster: Roster, headcount: Headcount) -> None:
        self._context = context
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
        is_wanted = self._context.state in _SERVING and not headcount.bounds.is_fixed and not headcount.is_drained
        if not is_wanted:
            self._look_at = None
        elif self._look_at is None:
            self._look_at = self._context.now + PERIOD

    def on_time_passed(self) -> None:
        """Have the load measured, if it is time."""
        if self._look_at is not None and self._context.now >= self._look_at:
            self._look_at = self._context.now + PERIOD
            self._context.order(MeasureLoad())

    def on_measured(self, event: ev.LoadMeasured) -> None:
        """Want more workers, or fewer."""
        headcount = self._headcount
        if self._context.is_stopping:
            return
        self._scaling.bound(headcount.bounds.minimum, headcount.bounds.maximum)
        ready = sum(worker.is_ready for worker in self._roster)
        count = self._scaling.observe(self._context.now, event.utilisation, event.queued, ready, headcount.wanted)
        if count != headcount.wanted:
            self._context.log(Level.INFO, headcount.follow_load(count, event.utilisation, event.queued))

    def shift(self, seconds: float) -> None:
        """Move the next look by a stall of the arbiter."""
        self._scaling.shift(seconds)
        if self._look_at is not None:
            self._look_at += seconds
