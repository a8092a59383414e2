"""The arbiter's decisions: events in, actions out. No I/O, no clock, no process: `loop` carries out what this says.

Each event is handled in two steps. First its own handler notes what happened and orders what only that event calls for
(a log line, the kill of the worker whose time is over). Then `Core._settle` compares the roster with the aim and orders
what is missing for it; it has no memory of the event, so whatever comes in whatever order ends in the same place, and a
second look at an unchanged world orders nothing.

Where to look:

- a worker misses a deadline (stuck, boot overdue, drain overdue): `_on_time_passed`; stuck while its loop lives:
  `_on_beat`
- a worker cannot boot, at the first start, during a reload, later: `_boot_failed`
- HUP: `_ask_reload`, then `_settle_reload`; the rules are in `rollout`
- who is retired and who is spawned: `placement`
- TERM, INT: `_stop`, then `stopping`

What does not work: orders that are given where the event is seen ("the replacement is ready, so retire number 2"). With
two dozen kinds of things that can happen in between, some of them are always forgotten.
"""

from collections.abc import Callable
from random import Random

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import Level
from pyfork.arbiter.figures import Statistics, WorkerStatistics
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import (
    ARBITER_TRANSITIONS,
    ArbiterMove,
    ArbiterState,
    ReloadMove,
    ReloadState,
    WorkerMove,
    WorkerState,
    advance,
)
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.placement import Aim, find_surplus, find_vacancies, is_reached
from pyfork.arbiter.policy import SETTLED
from pyfork.arbiter.reports import (
    describe_boot_failure,
    describe_exit,
    report_exit,
    report_kill,
    report_stuck,
    report_stuck_alive,
)
from pyfork.arbiter.rollout import Rollout
from pyfork.arbiter.roster import Roster, WorkerHandle
from pyfork.arbiter.stopping import Stopping
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind


class Core:
    """Decides what the arbiter does.

    Args:
        plan: of the first generation.
        random: for the jitter of delays.
    """

    def __init__(self, plan: ev.Plan, *, random: Random) -> None:
        self._state = ArbiterState.STARTING
        self._roster = Roster()
        self._rollout = Rollout(plan)
        self._headcount = Headcount(plan.count)
        self._pacing = Pacing(random)
        self._stopping = Stopping()
        self._now = 0.0
        self._actions: list[act.Action] = []
        self._handlers: dict[type, Callable[..., None]] = {
            ev.Started: self._on_started,
            ev.VerbReceived: self._on_verb,
            ev.WorkerSpawned: self._on_spawned,
            ev.SpawnFailed: self._on_spawn_failed,
            ev.WorkerReady: self._on_ready,
            ev.WorkerBeat: self._on_beat,
            ev.BootFailed: self._on_boot_failed,
            ev.WorkerExited: self._on_exited,
            ev.ConfigurationLoaded: self._on_loaded,
            ev.ConfigurationRefused: self._on_refused,
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
        }

    def handle(self, event: ev.Event, now: float) -> list[act.Action]:
        """Take note of ``event`` and return what is to be done, in order.

        Raises:
            IllegalMoveError: the shell answered what nobody had asked.
        """
        self._now = now
        self._actions = []
        self._handlers[type(event)](event)
        if self._actions or not isinstance(event, ev.WorkerBeat):  # the commonest event seldom changes anything
            self._settle()
        return self._actions

    def next_deadline(self) -> float | None:
        """Return the moment for the next `events.TimePassed`, or None when only other events can change anything."""
        moments = (self._roster.next_deadline(), self._pacing.next_try())
        return min((moment for moment in moments if moment is not None), default=None)

    def statistics(self) -> Statistics:
        """Return what there is to know."""
        return Statistics(
            state=self._state,
            reload=self._rollout.state,
            generation=self._rollout.current,
            wanted=self._headcount.wanted,
            is_drained=self._headcount.is_drained,
            workers=tuple(
                WorkerStatistics(worker.number, worker.generation, worker.pid, worker.state) for worker in self._roster
            ),
        )

    # Workers come and go.

    def _on_started(self, _event: ev.Started) -> None:
        """Leave it to `_settle`: all places are empty."""

    def _on_spawned(self, event: ev.WorkerSpawned) -> None:
        worker = self._roster.find_spawning(event.number, event.generation)
        worker.spawned(event.pid, self._now)
        self._log(Level.INFO, f"{worker} is booting")

    def _on_spawn_failed(self, event: ev.SpawnFailed) -> None:
        worker = self._roster.find_spawning(event.number, event.generation)
        self._roster.remove(worker, WorkerMove.REFUSED)
        why = f"worker {event.number} gen {event.generation} could not be forked: {event.reason}"
        if self._state is ArbiterState.STARTING:
            self._give_up_start(why, ExitStatus.BOOT)
        elif self._state is not ArbiterState.STOPPING:
            self._back_off(event.generation, why)

    def _on_ready(self, event: ev.WorkerReady) -> None:
        worker = self._roster.find(event.pid)
        if worker is None or worker.state is not WorkerState.BOOTING:
            return  # it crossed our order to end
        self._log(Level.INFO, f"{worker} is ready")
        self._actions += worker.got_ready(self._now)
        self._pacing.succeed(worker.generation)
        if self._state is ArbiterState.STARTING:
            self._move(ArbiterMove.SERVING)
        if worker.generation == self._rollout.trial:
            self._log(Level.INFO, f"reload: generation {worker.generation} is ready to replace the others")
            if self._rollout.prove():
                self._log(Level.INFO, self._headcount.follow_file(worker.plan.count))

    def _on_beat(self, event: ev.WorkerBeat) -> None:
        worker = self._roster.find(event.pid)
        if worker is not None and worker.silence is not None and worker.silence.hear(self._now, event.entered):
            self._actions.append(report_stuck_alive(worker))
            self._actions += worker.dump_and_drain(self._now)
            self._pacing.lose(worker.number)

    def _on_boot_failed(self, event: ev.BootFailed) -> None:
        worker = self._roster.find(event.pid)
        if worker is None or worker.state is not WorkerState.BOOTING:
            return  # it crossed our order to end
        worker.gave_up(self._now)
        self._boot_failed(worker, describe_boot_failure(event.message, event.traceback), event.kind)

    def _on_exited(self, event: ev.WorkerExited) -> None:
        worker = self._roster.find(event.pid)
        if worker is None:
            return
        if worker.state is WorkerState.BOOTING:
            is_import = event.code == ExitStatus.APPLICATION
            kind = FailureKind.APPLICATION if is_import else FailureKind.BOOT
            self._boot_failed(worker, f"it {describe_exit(event.code, event.signal)} before it was ready", kind)
        else:
            self._actions.append(report_exit(worker, event.code, event.signal))
        if worker.is_ready:
            self._lost(worker)
        self._roster.remove(worker, WorkerMove.EXITED)

    def _on_time_passed(self, event: ev.TimePassed) -> None:
        for worker in self._roster:
            entered = None if worker.pid is None else event.in_application.get(worker.pid)
            if worker.is_overdue(self._now, entered):
                self._deal_with_overdue(worker)

    def _on_stalled(self, event: ev.Stalled) -> None:
        self._roster.shift(event.seconds, self._now)
        self._pacing.shift(event.seconds)

    def _deal_with_overdue(self, worker: WorkerHandle) -> None:
        if worker.state is WorkerState.READY:
            self._actions.append(report_stuck(worker))
            self._actions += worker.dump(self._now)
            self._pacing.lose(worker.number)
        elif worker.state is WorkerState.BOOTING:
            self._actions += worker.dump(self._now)
            timeout = worker.plan.boot_timeout
            why = f"it was not ready within {timeout:g} s (workers.boot_timeout); its stacks are in the log"
            self._boot_failed(worker, why, FailureKind.BOOT)
        else:
            if worker.state is WorkerState.DRAINING:
                self._actions.append(report_kill(worker))
            self._actions += worker.kill()

    def _boot_failed(self, worker: WorkerHandle, why: str, kind: FailureKind) -> None:
        """Judge a worker that will not become ready: it ends the start, fails the reload, or is tried again later."""
        why = f"{worker} could not boot: {why}"
        if self._state is ArbiterState.STOPPING:
            return
        if self._state is ArbiterState.STARTING:
            is_application = kind is FailureKind.APPLICATION
            self._give_up_start(why, ExitStatus.APPLICATION if is_application else ExitStatus.BOOT)
        elif worker.generation == self._rollout.candidate:
            self._log(Level.ERROR, why)
            self._fail_reload(ReloadMove.FAILED)
        else:
            self._back_off(worker.generation, why)

    def _lost(self, worker: WorkerHandle) -> None:
        """Have a ready worker that died replaced: at once, unless it died so soon that its successor may die too."""
        if worker.has_settled(self._now) or worker.generation not in {self._rollout.target, self._rollout.trial}:
            self._pacing.lose(worker.number)
        else:
            why = f"{worker} died within {SETTLED:g} s of getting ready"
            self._back_off(worker.generation, why, Level.WARNING)  # its exit is in the log already

    def _back_off(self, generation: int, why: str, level: Level = Level.ERROR) -> None:
        if generation not in {self._rollout.target, self._rollout.trial}:
            self._log(Level.WARNING, f"{why}\nit is not needed any more")
            return
        delay = self._pacing.fail(generation, self._now)
        self._log(level, f"{why}\nthe next try is in {delay:.1f} s")

    # What an operator asks.

    def _on_verb(self, event: ev.VerbReceived) -> None:
        self._verbs[event.verb]()

    def _scale(self, step: int) -> None:
        if self._state is not ArbiterState.STOPPING:
            self._log(Level.INFO, self._headcount.scale(step))

    def _drain_workers(self) -> None:
        if self._state is not ArbiterState.STOPPING:
            self._headcount.is_drained = True
            self._log(Level.INFO, "all workers are retired; HUP or TTIN brings them back")

    def _reopen_logs(self) -> None:
        self._actions.append(act.ReopenLogs())
        for worker in self._roster:
            self._actions += worker.reopen_logs()

    def _stop(self, move: ArbiterMove, *, at_once: bool = False) -> None:
        is_second = self._state is ArbiterState.STOPPING
        self._stopping.is_hurried |= at_once or is_second
        if is_second:
            return
        self._move(move)
        self._pacing.rest()
        self._actions.append(act.StopAccepting())

    def _give_up_start(self, why: str, status: ExitStatus) -> None:
        self._log(Level.CRITICAL, f"{why}\nno worker has ever been ready: pyfork ends")
        self._stopping.status = status
        self._stop(ArbiterMove.BOOT_FAILED)

    # Reload.

    def _ask_reload(self) -> None:
        if self._state is ArbiterState.STOPPING:
            return
        self._headcount.is_drained = False
        self._rollout.is_asked = True
        if self._state is ArbiterState.STARTING or self._rollout.state is ReloadState.REPLACING:
            self._log(Level.INFO, "reload: it begins when what is under way has ended")

    def _on_loaded(self, event: ev.ConfigurationLoaded) -> None:
        if self._state is ArbiterState.STOPPING:
            return
        self._rollout.load(event.plan)
        self._reopen_logs()
        self._log(Level.INFO, f"reload: generation {self._rollout.newest} is tried with one worker")

    def _on_refused(self, event: ev.ConfigurationRefused) -> None:
        if self._state is ArbiterState.STOPPING:
            return
        self._rollout.refuse()
        self._reopen_logs()
        for problem in event.problems:
            self._log(Level.ERROR, f"reload refused: {problem}")
        self._log(Level.ERROR, f"reload refused: generation {self._rollout.current} goes on")

    def _fail_reload(self, move: ReloadMove) -> None:
        failed = self._rollout.fail(move)
        self._headcount.take_back()
        current = self._rollout.current
        level = Level.ERROR if move is ReloadMove.FAILED else Level.INFO
        self._log(level, f"reload {move.name.lower()}: generation {failed} is ended, {current} goes on")

    # From what is to what shall be.

    def _settle(self) -> None:
        if self._state is ArbiterState.STOPPING:
            self._actions += self._stopping.settle(self._roster, self._now)
            return
        if self._rollout.state is ReloadState.TRYING and (self._rollout.is_asked or self._headcount.is_drained):
            self._fail_reload(ReloadMove.ABANDONED)
        for worker in find_surplus(self._roster, self._aim()):
            self._actions += worker.retire(self._now)
        for vacancy in self._pacing.admit(find_vacancies(self._roster, self._aim()), self._now):
            self._roster.add(vacancy.number, vacancy.generation, self._rollout.plan(vacancy.generation))
            self._actions.append(act.SpawnWorker(vacancy.number, vacancy.generation))
        self._settle_reload()

    def _aim(self) -> Aim:
        rollout = self._rollout
        return Aim(self._headcount.places, rollout.target, rollout.trial, frozenset(rollout.failed))

    def _settle_reload(self) -> None:
        rollout = self._rollout
        for generation in sorted(rollout.failed):
            if not self._roster.has_active(generation):
                rollout.drop(generation)
                self._pacing.succeed(generation)
                self._actions.append(act.DropGeneration(generation))
        if rollout.state is ReloadState.REPLACING and is_reached(self._roster, self._aim()):
            self._headcount.keep()
            adopted = rollout.adopt()
            self._actions.append(act.AdoptGeneration(adopted))
            self._log(Level.INFO, f"reload: generation {adopted} has replaced the others")
        elif rollout.state is ReloadState.ROLLING_BACK and not rollout.failed:
            rollout.undo()
        if rollout.is_asked and rollout.can_begin and self._state is not ArbiterState.STARTING:
            self._actions.append(act.LoadConfiguration(rollout.begin()))
        self._note_reload()

    def _note_reload(self) -> None:
        is_reloading = self._rollout.state is not ReloadState.IDLE
        if is_reloading and self._state is ArbiterState.RUNNING:
            self._move(ArbiterMove.RELOAD)
        elif not is_reloading and self._state is ArbiterState.RELOADING:
            self._move(ArbiterMove.RELOADED)

    def _move(self, move: ArbiterMove) -> None:
        self._state = advance(ARBITER_TRANSITIONS, self._state, move)

    def _log(self, level: Level, message: str) -> None:
        self._actions.append(act.Log(level, message))
