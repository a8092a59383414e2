"""What happens to molds, and what that calls for at once; what follows from it in the end, `staffing` orders."""

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import CancelMold, Level
from pyfork.arbiter.context import EventContext
from pyfork.arbiter.crashes import Kind
from pyfork.arbiter.failures import Failures, early_death, overdue_boot
from pyfork.arbiter.handles import MoldHandle, WorkerHandle
from pyfork.arbiter.lifecycle import WorkerMove, WorkerState
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.policy import SETTLED, SPAWN_TIMEOUT
from pyfork.arbiter.reports import report_mold_exit
from pyfork.arbiter.roster import Roster
from pyfork.ipc.messages import FailureKind


class MoldEvents:
    """The handlers of events about molds; one for each core."""

    def __init__(self, context: EventContext, roster: Roster, molds: Molds, failures: Failures) -> None:
        self._context = context
        self._roster = roster
        self._molds = molds
        self._failures = failures

    def on_spawned(self, event: ev.MoldSpawned) -> None:
        """The process exists."""
        mold = self._molds.find_spawning(event.serial)
        mold.spawned(event.pid, self._context.now)
        what = "is made of a worker" if mold.is_promoted else "is booting"
        self._context.log(Level.INFO, f"{mold} {what}")

    def on_refused(self, event: ev.MoldRefused) -> None:
        """The process does not exist."""
        mold = self._molds.find_spawning(event.serial)
        self._molds.remove(mold, WorkerMove.REFUSED)
        if self._context.is_stopping:
            return
        if mold.is_promoted:
            why = f"refork: mold {mold.serial} gen {mold.generation} could not be forked: {event.reason}"
            self._failures.put_refork_off(self._molds, mold.generation, why)
        else:
            self._failures.mold_refused(mold, event.reason)

    def on_ready(self, event: ev.MoldReady) -> None:
        """Workers can be forked from it."""
        mold = self._molds.find(event.pid)
        if mold is None or mold.state is not WorkerState.BOOTING:
            return  # it crossed our order to end
        self._context.log(Level.INFO, f"{mold} is ready")
        self._context.order(*mold.got_ready(self._context.now))
        if mold.is_promoted:
            self._molds.promoted(mold.generation)
            for worker in self._roster:
                if worker.generation == mold.generation:
                    worker.wear_out(self._context.now)
            self._context.log(Level.INFO, f"refork: the workers of generation {mold.generation} are replaced in turn")

    def on_boot_failed(self, mold: MoldHandle, why: str, kind: FailureKind) -> None:
        """It will not become ready."""
        if mold.is_promoted and not self._context.is_stopping:
            self._failures.put_refork_off(self._molds, mold.generation, why)
        else:
            self._failures.boot_failed(mold, why, kind)

    def on_exited(self, event: ev.MoldExited) -> None:
        """It was reaped."""
        mold = self._molds.find(event.pid)
        if mold is None:
            return
        was_ready = mold.is_ready
        if mold.state is WorkerState.BOOTING:
            self.on_boot_failed(mold, *early_death(mold, event.code, event.signal, event.oom_kills))
        else:
            self._context.order(report_mold_exit(mold, event.code, event.signal, event.oom_kills))
        self._molds.remove(mold, WorkerMove.EXITED)
        if was_ready:
            self.on_lost(mold)

    def on_lost(self, mold: MoldHandle) -> None:
        """It was ready, and is no longer, though nobody had told it to end: one that died so soon may do so again."""
        if not mold.has_settled(self._context.now):
            why = f"{mold} died within {SETTLED:g} s of getting ready"
            self._failures.boot_failed(mold, why, FailureKind.BOOT, Kind.EARLY_DEATH)

    def on_time_passed(self) -> None:
        """Look at their deadlines."""
        for mold in self._molds:
            if mold.is_overdue(self._context.now):
                self._deal_with_overdue(mold)

    def on_late_fork(self, worker: WorkerHandle) -> None:
        """End the mold that has not forked ``worker`` in time; another is made."""
        for mold in self._molds:
            if mold.serial == worker.mold and mold.is_ready:
                self._context.log(
                    Level.ERROR, f"{mold} has not forked a worker within {SPAWN_TIMEOUT:g} s: it is killed"
                )
                self._context.order(*mold.dump(self._context.now))

    def _deal_with_overdue(self, mold: MoldHandle) -> None:
        if mold.state is WorkerState.SPAWNING:
            mold.deadline = None
            self._context.order(CancelMold(mold.generation, mold.serial))
        elif mold.state is WorkerState.BOOTING:
            self._context.order(*mold.dump(self._context.now))
            self.on_boot_failed(mold, overdue_boot(mold), FailureKind.BOOT)
        else:
            self._context.order(*mold.kill())
