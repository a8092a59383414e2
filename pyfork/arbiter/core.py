"""The arbiter's decisions: events in, actions out. No I/O, no clock, no process: `loop` carries out what this says.

Each event is handled in two steps. First its own handler notes what happened and orders what only that event calls for
(a log line, the kill of the worker whose time is over). Then `Core._settle` compares the roster with the aim and orders
what is missing for it; it has no memory of the event, so whatever comes in whatever order ends in the same place, and a
second look at an unchanged world orders nothing.

Where to look:

- a worker misses a deadline (stuck, boot overdue, drain overdue): `_on_time_passed`; stuck while its loop lives:
  `_on_beat`
- a worker or mold cannot boot, at the first start, during a reload, later: `failures`
- a mold's life: `mold_events`
- HUP: `_ask_reload`, then `_settle_reload`; the rules are in `rollout`
- who is retired and who is spawned: `staffing`, by the rules of `placement` and `molds`
- TERM, INT: `_stop`, then `stopping`
- USR2: `upgrade_events`; the rules are in `succession`

What does not work: orders that are given where the event is seen ("the replacement is ready, so retire number 2"). With
two dozen kinds of things that can happen in between, some of them are always forgotten.
"""

from collections.abc import Callable
from random import Random

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Level
from pyfork.arbiter.context import EventContext
from pyfork.arbiter.failures import Failures, early_death, overdue_boot
from pyfork.arbiter.figures import MoldStatistics, Statistics, WorkerStatistics
from pyfork.arbiter.handles import MoldHandle, WorkerHandle
from pyfork.arbiter.headcount import Bounds, Headcount
from pyfork.arbiter.lifecycle import (
    ArbiterMove,
    ArbiterState,
    ReloadMove,
    ReloadState,
    WorkerMove,
    WorkerState,
)
from pyfork.arbiter.load_events import LoadEvents
from pyfork.arbiter.mold_events import MoldEvents
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.placement import Aim, is_reached
from pyfork.arbiter.reports import (
    describe_boot_failure,
    report_exit,
    report_kill,
    report_stuck,
    report_stuck_alive,
)
from pyfork.arbiter.rollout import Rollout
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.staffing import Staffing
from pyfork.arbiter.stopping import Stopping
from pyfork.arbiter.succession import Succession
from pyfork.arbiter.upgrade_events import UpgradeEvents
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind

_UNTIL_THE_END = {ev.Verb.STOP, ev.Verb.STOP_NOW, ev.Verb.REOPEN_LOGS}
"""What an arbiter that stops still does."""


class Core:
    """Decides what the arbiter does.

    Args:
        plan: of the first generation.
        random: for the jitter of delays.
        succession: this arbiter's part in upgrades; None for one that was not started by an upgrade.
    """

    def __init__(self, plan: ev.Plan, *, random: Random, succession: Succession | None = None) -> None:
        self._context = context = EventContext()
        self._roster = Roster()
        self._rollout = Rollout(plan)
        self._succession = succession or Succession()
        self._headcount = Headcount(plan.count, _bounds_of(plan), self._succession.inherited_count(plan))
        self._pacing = Pacing(random)
        self._molds = Molds()
        self._staffing = Staffing(self._roster, self._molds, self._pacing, self._rollout)
        self._stopping = Stopping()
        self._failures = Failures(context, self._rollout, self._headcount, self._pacing, self._give_up)
        load = self._load_events = LoadEvents(context, self._roster, self._headcount)
        molds = self._mold_events = MoldEvents(context, self._roster, self._molds, self._failures)
        upgrade = self._upgrade = UpgradeEvents(
            context, self._succession, self._rollout, self._headcount, self._pacing, self._failures.crashes
        )
        self._handlers: dict[type, Callable[..., None]] = {
            ev.Started: self._on_started,
            ev.VerbReceived: self._on_verb,
            ev.WorkerSpawned: self._on_spawned,
            ev.SpawnFailed: self._on_spawn_failed,
            ev.WorkerReady: self._on_ready,
            ev.WorkerBeat: self._on_beat,
            ev.WorkerWorn: self._on_worn,
            ev.WorkerRipe: self._on_ripe,
            ev.LoadMeasured: load.on_measured,
            ev.MoldSpawned: molds.on_spawned,
            ev.MoldRefused: molds.on_refused,
            ev.MoldReady: molds.on_ready,
            ev.MoldExited: molds.on_exited,
            ev.BootFailed: self._on_boot_failed,
            ev.PipeGarbled: self._on_garbled,
            ev.WorkerExited: self._on_exited,
            ev.ConfigurationLoaded: self._on_loaded,
            ev.ConfigurationRefused: self._on_refused,
            ev.UpgradeStarted: upgrade.on_started,
            ev.UpgradeRefused: upgrade.on_refused,
            ev.UpgradeReady: upgrade.on_ready,
            ev.HandedOver: upgrade.on_handed_over,
            ev.HandOverRefused: upgrade.on_hand_over_refused,
            ev.UpgradeExited: upgrade.on_exited,
            ev.TimePassed: self._on_time_passed,
            ev.Stalled: self._on_stalled,
        }
        self._verbs: dict[ev.Verb, Callable[[], None]] = {
            ev.Verb.STOP: lambda: self._stop(ArbiterMove.STOP),
            ev.Verb.STOP_NOW: lambda: self._stop(ArbiterMove.STOP, at_once=True),
            ev.Verb.RELOAD: self._ask_reload,
            ev.Verb.SCALE_UP: lambda: self._scale(+1),
            ev.Verb.SCALE_DOWN: lambda: self._scale(-1),
            ev.Verb.REOPEN_LOGS: self._reopen_logs,
            ev.Verb.DRAIN_WORKERS: self._drain_workers,
            ev.Verb.REFORK: self._ask_refork,
            ev.Verb.UPGRADE: upgrade.ask,
        }

    def handle(self, event: ev.Event, now: float) -> list[act.Action]:
        """Take note of ``event`` and return what is to be done, in order.

        Raises:
            IllegalMoveError: the shell answered what nobody had asked.
        """
        self._context.begin(now)
        self._handlers[type(event)](event)
        if self._context.actions or not isinstance(event, ev.WorkerBeat):  # the commonest event seldom changes anything
            self._settle()
        return self._context.actions

    def next_deadline(self) -> float | None:
        """Return the moment for the next `events.TimePassed`, or None when only other events can change anything."""
        moments = [self._roster.next_deadline(), self._molds.next_deadline(), self._pacing.next_try()]
        moments += [
            self._succession.deadline,
            self._load_events.next_deadline(),
            self._failures.crashes.next_deadline(),
        ]
        if self._can_refork():
            moments.append(self._molds.next_try(self._roster, self._rollout.current, self._context.now))
        return min((moment for moment in moments if moment is not None), default=None)

    def statistics(self) -> Statistics:
        """Return what there is to know."""
        return Statistics(
            state=self._context.state,
            reload=self._rollout.state,
            is_reload_asked=self._rollout.is_asked,
            upgrade=self._succession.state,
            upgrade_deadline=self._succession.deadline,
            generation=self._rollout.current,
            wanted=self._headcount.wanted,
            steps=self._headcount.steps,
            is_drained=self._headcount.is_drained,
            workers=tuple(
                WorkerStatistics(
                    worker.number,
                    worker.generation,
                    worker.pid,
                    worker.state,
                    worker.mold,
                    worker.is_outworn,
                    worker.deadline,
                )
                for worker in self._roster
            ),
            molds=tuple(
                MoldStatistics(mold.serial, mold.generation, mold.pid, mold.state, mold.layer, mold.deadline)
                for mold in self._molds
            ),
        )

    # Workers come and go.

    def _on_started(self, _event: ev.Started) -> None:
        """Leave it to `_settle`: all places are empty."""

    def _on_spawned(self, event: ev.WorkerSpawned) -> None:
        worker = self._roster.find_spawning(event.number, event.generation)
        worker.spawned(event.pid, self._context.now)
        self._context.log(Level.INFO, f"{worker} is booting")

    def _on_spawn_failed(self, event: ev.SpawnFailed) -> None:
        worker = self._roster.find_spawning(event.number, event.generation)
        self._roster.remove(worker, WorkerMove.REFUSED)
        self._failures.spawn_refused(worker, event.reason)

    def _on_ready(self, event: ev.WorkerReady) -> None:
        worker = self._roster.find(event.pid)
        if worker is None:
            return
        if worker.state is not WorkerState.BOOTING:
            worker.serves_after_all(self._context.now)  # it crossed our order to end
            return
        self._context.log(Level.INFO, f"{worker} is ready")
        self._context.order(*worker.got_ready(self._context.now))
        self._pacing.succeed(worker.generation, self._context.now)
        self._failures.crashes.recovered(worker.generation, self._context.now)
        if self._context.is_starting:
            self._context.move(ArbiterMove.SERVING)
        if worker.generation == self._rollout.trial:
            self._context.log(Level.INFO, f"reload: generation {worker.generation} is ready to replace the others")
            if self._rollout.prove():
                self._context.log(Level.INFO, self._headcount.follow_file(worker.plan.count, _bounds_of(worker.plan)))

    def _on_beat(self, event: ev.WorkerBeat) -> None:
        worker = self._roster.find(event.pid)
        if worker is not None and worker.silence is not None and worker.silence.hear(self._context.now, event.entered):
            self._context.order(report_stuck_alive(worker))
            self._context.order(*worker.dump_and_drain(self._context.now))
            self._pacing.lose(worker.number)

    def _on_worn(self, event: ev.WorkerWorn) -> None:
        worker = self._roster.find(event.pid)
        if worker is not None and worker.is_ready and not worker.is_outworn:
            worker.wear_out(self._context.now)
            self._context.log(Level.INFO, f"{worker} is to be replaced: {event.reason}")

    def _on_ripe(self, event: ev.WorkerRipe) -> None:
        worker = self._roster.find(event.pid)
        if worker is not None:
            worker.is_ripe = True

    def _on_boot_failed(self, event: ev.BootFailed) -> None:
        process = self._roster.find(event.pid) or self._molds.find(event.pid)
        if process is None or process.state is not WorkerState.BOOTING:
            return  # it crossed our order to end
        process.gave_up(self._context.now)
        why = f"{process} could not boot: {describe_boot_failure(event.message, event.traceback)}"
        if isinstance(process, MoldHandle):
            self._mold_events.on_boot_failed(process, why, event.kind)
        else:
            self._failures.boot_failed(process, why, event.kind)

    def _on_garbled(self, event: ev.PipeGarbled) -> None:
        process = self._roster.find(event.pid) or self._molds.find(event.pid)
        if process is None or process.state is WorkerState.KILLED:
            return
        was_booting, was_ready = process.state is WorkerState.BOOTING, process.is_ready
        self._context.log(Level.ERROR, f"{process}: {event.reason}; it is killed")
        self._context.order(*process.kill(WorkerMove.GARBLED))
        if isinstance(process, MoldHandle):
            if was_booting:
                self._mold_events.on_boot_failed(process, f"{process} could not boot: {event.reason}", FailureKind.BOOT)
            elif was_ready:
                self._mold_events.on_lost(process)
        elif was_booting:
            self._failures.boot_failed(process, f"{process} could not boot: {event.reason}", FailureKind.BOOT)
        elif was_ready:
            self._failures.worker_lost(process)

    def _on_exited(self, event: ev.WorkerExited) -> None:
        worker = self._roster.find(event.pid)
        if worker is None:
            return
        if worker.state is WorkerState.BOOTING:
            self._failures.boot_failed(worker, *early_death(worker, event.code, event.signal, event.oom_kills))
        else:
            is_settled = worker.has_settled(self._context.now)
            self._context.order(report_exit(worker, event.code, event.signal, event.oom_kills, is_settled=is_settled))
        if worker.is_ready:
            self._failures.worker_lost(worker)
        self._roster.remove(worker, WorkerMove.EXITED)

    # What the time tells.

    def _on_time_passed(self, event: ev.TimePassed) -> None:
        self._mold_events.on_time_passed()
        self._load_events.on_time_passed()
        for line in self._failures.crashes.on_time(self._context.now):
            self._context.log(*line)
        for worker in self._roster:
            entered = None if worker.pid is None else event.in_application.get(worker.pid)
            if worker.is_overdue(self._context.now, entered):
                self._deal_with_overdue(worker)
        self._context.order(*self._succession.look(self._context.now))

    def _on_stalled(self, event: ev.Stalled) -> None:
        self._roster.shift(event.seconds, self._context.now)
        self._molds.shift(event.seconds, self._context.now)
        self._pacing.shift(event.seconds)
        self._failures.crashes.shift(event.seconds)
        self._load_events.shift(event.seconds)
        self._succession.shift(event.seconds)

    def _deal_with_overdue(self, worker: WorkerHandle) -> None:
        if worker.state is WorkerState.READY:
            self._context.order(report_stuck(worker))
            self._context.order(*worker.dump(self._context.now))
            self._pacing.lose(worker.number)
        elif worker.state is WorkerState.SPAWNING:
            worker.deadline = None
            self._mold_events.on_late_fork(worker)
            self._context.order(act.CancelSpawn(worker.number, worker.generation))
        elif worker.state is WorkerState.BOOTING:
            self._context.order(*worker.dump(self._context.now))
            self._failures.boot_failed(worker, overdue_boot(worker), FailureKind.BOOT)
        else:
            if worker.state is WorkerState.DRAINING:
                self._context.order(report_kill(worker))
            self._context.order(*worker.kill())

    # What an operator asks.

    def _on_verb(self, event: ev.VerbReceived) -> None:
        if self._context.is_stopping and event.verb not in _UNTIL_THE_END:
            what = event.verb.name.lower().replace("_", " ")
            self._context.log(Level.INFO, f"{what}: ignored, {self._succession.describe_end()}")
        else:
            self._verbs[event.verb]()

    def _scale(self, step: int) -> None:
        self._context.log(Level.INFO, self._headcount.scale(step))

    def _drain_workers(self) -> None:
        self._headcount.is_drained = True
        self._context.log(Level.INFO, "all workers are retired; HUP or TTIN brings them back")

    def _ask_refork(self) -> None:
        if self._rollout.plan(self._rollout.current).can_refork:
            self._molds.ask_refork()
        else:
            why = "it takes workers.preload = true and workers of type sync or async"
            self._context.log(Level.WARNING, f"refork: no worker can become a mold here: {why}")

    def _reopen_logs(self) -> None:
        self._context.order(act.ReopenLogs())
        self._upgrade.note_reopened()
        for process in (*self._roster, *self._molds):
            self._context.order(*process.reopen_logs())

    def _stop(self, move: ArbiterMove, *, at_once: bool = False) -> None:
        self._stopping.is_hurried |= at_once or self._stopping.is_asked
        self._stopping.is_asked = True
        if self._context.is_stopping:
            return
        self._context.move(move)
        self._pacing.rest()
        self._failures.crashes.rest()
        self._context.order(act.StopAccepting())

    def _give_up(self, status: ExitStatus) -> None:
        self._stopping.status = status
        self._stop(ArbiterMove.BOOT_FAILED)

    # Reload.

    def _ask_reload(self) -> None:
        self._headcount.is_drained = False
        self._rollout.is_asked = True
        is_busy = self._context.state in {ArbiterState.STARTING, ArbiterState.UPGRADING}
        if is_busy or self._rollout.state is ReloadState.REPLACING:
            self._context.log(Level.INFO, "reload: it begins when what is under way has ended")

    def _on_loaded(self, event: ev.ConfigurationLoaded) -> None:
        if self._context.is_stopping:
            return
        self._rollout.load(event.plan)
        self._reopen_logs()
        self._context.log(Level.INFO, f"reload: generation {self._rollout.newest} is tried with one worker")

    def _on_refused(self, event: ev.ConfigurationRefused) -> None:
        if self._context.is_stopping:
            return
        self._rollout.refuse()
        self._reopen_logs()
        for problem in event.problems:
            self._context.log(Level.ERROR, f"reload refused: {problem}")
        self._context.log(Level.ERROR, f"reload refused: generation {self._rollout.current} goes on")
        self._context.order(act.ReloadEnded("\n".join(event.problems)))

    # From what is to what shall be.

    def _settle(self) -> None:
        if self._context.is_stopping:
            self._load_events.settle()
            self._context.order(*self._succession.end(self._context.now, is_hurried=self._stopping.is_hurried))
            if not (self._succession.is_under_way and self._stopping.is_complete(self._roster, self._molds)):
                self._context.order(*self._stopping.settle(self._roster, self._molds, self._context.now))
            return
        if self._rollout.state is ReloadState.TRYING and (self._rollout.is_asked or self._headcount.is_drained):
            self._failures.fail_reload(ReloadMove.ABANDONED)
        self._context.order(*self._staffing.settle(self._aim(), self._context.now))
        self._settle_reload()
        self._upgrade.settle(self._roster)
        self._load_events.settle()
        if self._can_refork():
            self._context.order(*self._staffing.promote(self._context.now))

    def _can_refork(self) -> bool:
        return self._context.state is ArbiterState.RUNNING and not self._headcount.is_drained

    def _aim(self) -> Aim:
        rollout = self._rollout
        return Aim(self._headcount.places, rollout.target, rollout.trial, frozenset(rollout.failed))

    def _settle_reload(self) -> None:
        rollout = self._rollout
        drops: list[act.Action] = []
        for generation in sorted(rollout.failed):
            if not self._roster.has_active(generation) and not self._molds.has_active(generation):
                rollout.drop(generation)
                self._pacing.forget(generation)
                self._failures.crashes.forget(generation)
                drops.append(act.DropGeneration(generation))
        if rollout.state is ReloadState.REPLACING and is_reached(self._roster, self._aim()):
            self._headcount.keep()
            adopted = rollout.adopt()
            self._pacing.forget_others(adopted)
            self._failures.crashes.forget_others(adopted)
            self._molds.forget_others(adopted)
            # Before the last of the old ones are told to end: at an address that goes they take all that is queued.
            self._context.order_first(*drops, act.AdoptGeneration(adopted))
            drops.clear()
            self._context.log(Level.INFO, f"reload: generation {adopted} has replaced the others")
            self._context.order(act.ReloadEnded(None))
            self._context.order(
                *self._staffing.settle(self._aim(), self._context.now)
            )  # the old mold is not kept any more
        elif rollout.state is ReloadState.ROLLING_BACK and not rollout.failed:
            rollout.undo()
        self._context.order(*drops)
        is_settled = self._context.state in {ArbiterState.RUNNING, ArbiterState.RELOADING}
        if rollout.is_asked and rollout.can_begin and is_settled:
            generation = rollout.begin()
            self._note_reload()  # before the answer to the next order, which may end the reload at once
            self._context.order(act.LoadConfiguration(generation))
        self._note_reload()

    def _note_reload(self) -> None:
        is_reloading = self._rollout.state is not ReloadState.IDLE
        if is_reloading and self._context.state is ArbiterState.RUNNING:
            self._context.move(ArbiterMove.RELOAD)
        elif not is_reloading and self._context.state is ArbiterState.RELOADING:
            self._context.move(ArbiterMove.RELOADED)


def _bounds_of(plan: ev.Plan) -> Bounds | None:
    return None if plan.bounds is None else Bounds(*plan.bounds)
