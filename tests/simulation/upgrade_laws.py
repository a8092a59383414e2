"""What has to be true of upgrades: of the arbiter that this one starts, and of this one if another has started it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Order
from pyfork.arbiter.events import Verb
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState
from pyfork.arbiter.policy import QUIT_GRACE
from tests.simulation.figures import ready_workers
from tests.simulation.processes import EPSILON

if TYPE_CHECKING:
    from pyfork.arbiter.figures import Statistics
    from tests.simulation.model import Model
    from tests.simulation.processes import Configuration


class UpgradeLaws:
    """A model of the upgrade, and the laws about it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._configuration: Configuration = model.world.configuration
        self._started = 0.0
        self._told: dict[Order, float] = {}
        self._owed: set[Order] = set()  # what came while the new arbiter started, and is its own to hear
        self._is_ordered = False
        self._is_ready = self._is_ordered_over = self._is_refused = False
        self._is_hurried = False
        self._stops = 0
        self._pid: int | None = None
        self.is_asked = False
        self.is_handed_over = False
        self.owes_report = model.world.previous is not None

    @property
    def is_under_way(self) -> bool:
        """Whether there is a new arbiter that has not taken over, or one is ordered."""
        return not self.is_handed_over and (self._is_ordered or self._pid is not None)

    # The model.

    def note(self, event: ev.Event) -> None:
        """Note an event before the core sees it."""
        match event:
            case ev.VerbReceived(Verb.UPGRADE):
                self.is_asked |= not self._model.is_stopping and not self.is_under_way
            case ev.VerbReceived(Verb.STOP | Verb.STOP_NOW as verb):
                self._stops += 1
                self._is_hurried |= verb is Verb.STOP_NOW or self._stops > 1
            case ev.UpgradeStarted(pid):
                self._pid, self._started, self._is_ordered = pid, self._model.world.now, False
                self._owed = set()
                self._told = {}
                self._is_ready = self._is_ordered_over = self._is_refused = False
                self._configuration = self._model.world.generations[self._model.world.current]
            case ev.UpgradeRefused():
                self._is_ordered = False
            case ev.UpgradeReady() if not self._told:
                self._is_ready = True
            case ev.VerbReceived(Verb.REOPEN_LOGS) if self.is_under_way:
                self._owed |= {Order.USR1}
            case ev.HandedOver():
                self.is_handed_over = True
                self._owed = {Order.HUP} if self._model.is_asked else self._owed
                self._model.is_stopping = True
            case ev.HandOverRefused():
                self._is_refused = True
            case ev.UpgradeExited():
                self._pid = None
            case ev.Stalled(seconds):
                self._started += seconds
                self._told = {order: moment + seconds for order, moment in self._told.items()}

    @property
    def _overdue_at(self) -> float:
        """When its time to get ready is over; infinity: never."""
        limit = self._configuration.boot_timeout
        return self._started + limit if limit else math.inf

    @property
    def _kill_at(self) -> float:
        """When its time to end is over; infinity while it has not been told to."""
        last = Order.QUIT if Order.QUIT in self._told else Order.TERM
        if last not in self._told:
            return math.inf
        grace = self._configuration.graceful_timeout if last is Order.TERM else 0.0
        return self._told[last] + max(grace, QUIT_GRACE) + QUIT_GRACE

    # The laws.

    def check_order(self, action: act.Action, after: Statistics) -> None:
        """Check one action of an answer."""
        match action:
            case act.StartUpgrade():
                self._check_start(after)
            case act.HandOver(pid):
                assert self._is_ready, "an arbiter that is not ready is handed everything"
                assert pid == self._pid, "somebody else is handed everything"
                assert not self._is_ordered_over, "everything is handed over twice"
                self._is_ordered_over = True
            case act.SignalWorker(pid, order) if pid == self._pid:
                self._check_signal(order)
            case act.StopAccepting():
                assert not self.is_handed_over, "sockets are closed that are the new arbiter's"
            case act.ReportReady():
                assert self.owes_report, "the old arbiter is told again"
                self.owes_report = False
                served = {one.number for one in ready_workers(after)}
                is_served = self._model.is_drained or served >= set(range(self._model.wanted))
                assert is_served, "the old arbiter is told too early"
            case act.Exit():
                assert not self.is_under_way, "the arbiter exits before the new one is gone"

    def _check_start(self, after: Statistics) -> None:
        assert self.is_asked, "nobody has asked for an upgrade"
        assert not self.is_under_way, "two new arbiters are tried at once"
        assert not self.owes_report, "an arbiter is replaced that is not ready itself"
        assert after.state is ArbiterState.UPGRADING
        assert after.reload is ReloadState.IDLE, "an upgrade beside a reload"
        self.is_asked = False
        self._is_ordered = True

    def _check_signal(self, order: Order) -> None:
        if self.is_handed_over:
            assert order in self._owed, f"the new arbiter is told {order} after it has taken over"
            self._owed = set()
            return
        assert order not in self._told, "a new arbiter is told something twice"
        assert Order.KILL not in self._told, "a killed arbiter is told something"
        if order is Order.KILL:
            assert self._model.world.now >= self._kill_at - EPSILON, "a new arbiter is killed before its time"
        elif order is Order.TERM:
            assert not self._told, "a new arbiter that hurries is told to take its time"
            is_overdue = self._model.world.now >= self._overdue_at - EPSILON
            is_due = self._model.is_stopping or is_overdue or self._is_refused
            assert is_due, "a new arbiter is ended before its time"
        else:
            assert order is Order.QUIT, f"a new arbiter is told {order}"
            assert self._is_hurried, "a new arbiter is hurried for no reason"
        self._told[order] = self._model.world.now

    def check_answer(self, event: ev.Event, after: Statistics) -> None:
        """Check what the core has made of an event."""
        if isinstance(event, ev.UpgradeReady) and self._is_ready:
            assert self._is_ordered_over, "a new arbiter is ready and gets nothing"
        if isinstance(event, ev.HandOverRefused):
            assert self._told, "a new arbiter that gets nothing is not told"
        if isinstance(event, ev.HandedOver):
            assert not self._owed, "an order that came during the upgrade is lost"
        if self.is_handed_over:
            assert after.state is ArbiterState.STOPPING, "an arbiter goes on that is replaced"
        elif not self._model.is_stopping:
            assert (after.state is ArbiterState.UPGRADING) == self.is_under_way

    def check_step(self, event: ev.Event, after: Statistics) -> None:
        """Check what has come of an event and all answers."""
        if self._model.is_stopping and self.is_under_way:
            assert self._told, "the arbiter stops, and the new one is not told"
            if self._is_hurried:
                assert self._told.keys() & {Order.QUIT, Order.KILL}, "a new arbiter is not hurried"
        if isinstance(event, ev.TimePassed) and self.is_under_way:
            now = self._model.world.now
            assert self._told or now < self._overdue_at + EPSILON, "a new arbiter that is overdue is overlooked"
            is_killed = Order.KILL in self._told
            assert is_killed or now < self._kill_at + EPSILON, "a new arbiter that does not end is overlooked"
        if self.is_asked and not self._model.is_stopping and not self.owes_report:
            assert after.state is not ArbiterState.RUNNING, "an upgrade was asked for and forgotten"
        if self.owes_report and not self._model.is_stopping:
            served = {one.number for one in ready_workers(after)}
            is_served = self._model.ever_ready and served >= set(range(self._model.wanted))
            assert not is_served, "the old arbiter waits for word that all is well"
