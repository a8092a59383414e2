"""What happens to an upgrade, and what the core does about it; `succession` has the rules."""

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Level, Order, SignalWorker, UpgradeFailed
from pyfork.arbiter.context import EventContext
from pyfork.arbiter.crashes import CrashLog
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import ArbiterMove, ArbiterState, UpgradeState
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.reports import describe_failed_upgrade
from pyfork.arbiter.rollout import Rollout
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.succession import Succession


class UpgradeEvents:
    """The handlers of an upgrade's events, and its part of the settling.

    Args:
        context: where orders are put, and the arbiter's state.
        succession: how far it has come.
        rollout: whose current plan limits it.
        headcount: which the new arbiter gets as it is when that is started.
        pacing: at rest once this arbiter is replaced.
        crashes: at rest from then on, too.
    """

    def __init__(
        self,
        context: EventContext,
        succession: Succession,
        rollout: Rollout,
        headcount: Headcount,
        pacing: Pacing,
        crashes: CrashLog,
    ) -> None:
        self._context = context
        self._succession = succession
        self._rollout = rollout
        self._headcount = headcount
        self._pacing = pacing
        self._crashes = crashes
        self._steps = 0
        self._has_old_logs = False

    def ask(self) -> None:
        """USR2."""
        self._context.log(Level.INFO, self._succession.ask(self._context.state))

    def on_started(self, event: ev.UpgradeStarted) -> None:
        """The new arbiter's process exists."""
        plan = self._rollout.plan(self._rollout.current)
        self._steps = self._headcount.steps
        self._has_old_logs = False
        self._context.order(*self._succession.started(event.pid, plan, self._context.now))

    def on_refused(self, event: ev.UpgradeRefused) -> None:
        """There will be no new arbiter."""
        self._context.order(*self._succession.refused(event.reason), UpgradeFailed(event.reason))
        self._context.move(ArbiterMove.UPGRADE_FAILED)

    def on_ready(self, event: ev.UpgradeReady) -> None:
        """The new arbiter serves: this one hands over, unless that has crossed our order to end."""
        self._context.order(*self._succession.got_ready(event.pid))

    def note_reopened(self) -> None:
        """USR1 has come: a new arbiter that starts has opened the logs already, and goes on with the old ones."""
        self._has_old_logs = True

    def on_handed_over(self, event: ev.HandedOver) -> None:
        """The new arbiter is in charge: from here on this one stops, without stopping the sockets."""
        self._succession.handed_over()
        self._pass_on(event.pid)
        self._context.move(ArbiterMove.HANDED_OVER)
        self._pacing.rest()
        self._crashes.rest()

    def on_hand_over_refused(self, event: ev.HandOverRefused) -> None:
        """This arbiter is in charge still."""
        self._context.order(*self._succession.not_handed_over(event.reason, self._context.now))

    def on_exited(self, event: ev.UpgradeExited) -> None:
        """The new arbiter is gone."""
        why = describe_failed_upgrade(event, was_told=self._succession.state is not UpgradeState.TRYING)
        self._context.order(*self._succession.exited(event.code, event.signal, is_stopping=self._context.is_stopping))
        if self._context.state is ArbiterState.UPGRADING:
            self._context.order(UpgradeFailed(why))
            self._context.move(ArbiterMove.UPGRADE_FAILED)

    def _pass_on(self, pid: int) -> None:
        """Give the new arbiter the orders that came while it started."""
        if self._rollout.is_asked:
            self._rollout.is_asked = False
            self._context.log(Level.INFO, f"upgrade: the HUP that came meanwhile is passed on to pid {pid}")
            self._context.order(SignalWorker(pid, Order.HUP))  # which opens the logs anew, too
        elif self._has_old_logs:
            self._context.order(SignalWorker(pid, Order.USR1))
        if self._headcount.steps != self._steps:
            lost = f"upgrade: TTIN and TTOU that came meanwhile are lost: say them again, to pid {pid}"
            self._context.log(Level.WARNING, lost)

    def settle(self, roster: Roster) -> None:
        """Report to the old arbiter, and start a new one when it is asked for and nothing else is under way."""
        served = {worker.number for worker in roster if worker.is_ready}
        if not self._context.is_starting and served.issuperset(range(self._headcount.places)):
            self._context.order(*self._succession.report())
        if self._context.state is ArbiterState.RUNNING and self._succession.can_begin:
            self._context.move(ArbiterMove.UPGRADE)
            self._context.order(*self._succession.begin())
