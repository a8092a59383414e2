"""The arbiter's shell: it alone waits, forks, kills, reads pipes and reaps; what to do, the core decides.

One turn: wait until the core's next deadline (never a tick), then hand over what happened in this order:

1. a stall of our own, if the wait ended more than a second after its deadline, so that nobody is judged by it;
2. words on the heartbeat pipes, those of all workers when a signal came: who has become ready meanwhile must not be
   ended as one that boots; then what the other arbiter of an upgrade says,
3. signals,
4. the dead, each after the last words on its pipe,
5. the time, when it is the deadline's.

Each answer of the core is carried out before the next event is handed over. Idle, the only system calls are those that
a beat causes: ``epoll_wait`` returns and the pipe is read.

What does not work: reading the pipes only until the first EAGAIN of a turn and reaping first (a worker that says why it
cannot boot and exits in the same millisecond would be a silent death).
"""

import logging
import os
import select
import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from msgspec import Struct

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.children import Child, Children, Role
from pyfork.arbiter.core import Core
from pyfork.arbiter.development import Development
from pyfork.arbiter.figures import Look
from pyfork.arbiter.generations import Generation, Generations
from pyfork.arbiter.hook_runner import HookRunner
from pyfork.arbiter.hook_waits import HookWaits
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.listeners import BoundListener, count_lost
from pyfork.arbiter.measure import LoadMeter, Measured
from pyfork.arbiter.policy import STALL
from pyfork.arbiter.reaper import Reaper
from pyfork.arbiter.reports import describe_boot_failure
from pyfork.arbiter.spawn import spawn_hook
from pyfork.arbiter.spawner import Spawner
from pyfork.arbiter.systemd import Notifier
from pyfork.arbiter.upgrade import Upgrades
from pyfork.arbiter.verbs import VERBS
from pyfork.config.schema import Settings
from pyfork.errors import ConfigurationError
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import HookHandoff
from pyfork.ipc.scoreboard import Scoreboard
from pyfork.process.cgroup import OomKills
from pyfork.process.signals import SignalQueue, raise_again, unblock_all
from pyfork.process.stacks import STACKS_SIGNAL

_log = logging.getLogger("pyfork.error")


class Provisions(Struct, frozen=True):
    """What the composition root does for the loop.

    Attributes:
        load_generation: reads the configuration anew, given the newest generation and all listeners that are open,
            and opens what is new; raises and leaves everything as it was when something is wrong, a
            ConfigurationError where that is in the configuration.
        reopen_logs: opens the log files anew.
        restore: makes what `load_generation` changed in the arbiter (its logs) that of the given generation again.
    """

    load_generation: Callable[[Generation, Sequence[BoundListener]], Generation]
    reopen_logs: Callable[[], None]
    restore: Callable[[Generation], None]


class ArbiterLoop:
    """Runs the arbiter until the core says `actions.Exit`.

    Args:
        core: decides.
        generation: the first one: its settings and listeners.
        provisions: what the composition root does for it.
        upgrades: the arbiter that this one replaces, and the one that replaces it.
        notifier: is told what happens, for the service manager.
    """

    def __init__(
        self,
        core: Core,
        generation: Generation,
        provisions: Provisions,
        upgrades: Upgrades,
        notifier: Notifier,
    ) -> None:
        self._core = core
        self._generations = Generations(generation)
        self._provisions = provisions
        self._upgrades = upgrades
        self._notifier = notifier
        self._scoreboard = Scoreboard()
        self._children = Children(self._scoreboard)
        self._signals = SignalQueue()
        self._epoll = select.epoll()
        self._development = Development(generation.loaded, self._epoll, monotonic())
        self._load_meter = LoadMeter()
        self._hooks = HookRunner(self._fork_hook)
        self._has_served = False
        self._spawner = Spawner(
            self._scoreboard,
            self._children,
            self._generations,
            private=self._own_descriptors,
            fault=self._development.fault,
            watch=lambda fd: self._epoll.register(fd, select.EPOLLIN),
        )
        oom_kills = OomKills()
        self._reaper = Reaper(
            self._children,
            handle=self._hear,
            unwatch=self._epoll.unregister,
            on_gone=lambda: self._generations.release(self._children.generations()),
            count_oom_kills=lambda: oom_kills.claim(monotonic()),
            is_known=self._take_exit,
        )
        self._todo: deque[act.Action] = deque()
        self._exit: ExitStatus | None = None
        self._awake = monotonic()
        self._execute_by_type: dict[type, Callable[..., None]] = {
            act.SpawnWorker: lambda action: self._answer(self._spawn_worker(action)),
            act.CancelSpawn: lambda action: self._answer(self._spawner.cancel_worker(action)),
            act.SpawnMold: lambda action: self._answer(self._spawner.spawn_mold(action)),
            act.PromoteWorker: lambda action: self._answer(self._spawner.promote(action)),
            act.CancelMold: lambda action: self._answer(self._spawner.cancel_mold(action)),
            act.MeasureLoad: self._measure_load,
            act.SignalWorker: self._signal,
            act.DumpStacks: self._dump_stacks,
            act.LoadConfiguration: self._load_configuration,
            act.AdoptGeneration: self._adopt_generation,
            act.DropGeneration: self._drop_generation,
            act.StopAccepting: self._stop_accepting,
            act.StartUpgrade: self._start_upgrade,
            act.HandOver: self._hand_over,
            act.ReportReady: self._report_ready,
            act.ReopenLogs: self._reopen,
            act.StateChanged: self._tell_state,
            act.ReloadEnded: self._tell_reload,
            act.UpgradeFailed: lambda action: self._notifier.upgrade_failed(action.reason),
            act.Log: self._write_log,
            act.Exit: self._leave,
        }

    def run(self) -> ExitStatus:
        """Supervise until everything has ended.

        Signals are accepted from here on: what came while all were blocked is obeyed like what comes later.

        Raises:
            BecameChild: in a child, and there only.
            QuitNow: it was told to end before the loop began.
        """
        self._signals.install(VERBS)
        unblock_all()
        raise_again()
        self._epoll.register(self._signals.fd, select.EPOLLIN)
        waits = HookWaits(self._hooks, self._signals, self._reaper.reap, self._notifier.extend)
        failed = waits.start(self._settings)
        if failed is not None:
            return failed
        self._upgrades.attach(self._epoll, self._generations.listeners, self._take_over)
        self._notifier.keep(self._generations.current.listeners)
        self._handle(ev.Started())
        self._tend_development()
        while self._exit is None:
            self._turn()
        is_over = self._upgrades.is_in_charge  # otherwise pyfork goes on, in another arbiter
        waits.finish(self._settings, self._exit if is_over else None)
        return self._exit

    def close(self) -> None:
        """Close the listeners and let go of everything; called in the arbiter at its end.

        What systemd still holds then, because the arbiter has failed, the next one gets: its path stays.
        """
        self._development.close()
        for listener in self._generations.listeners():
            if listener.is_inherited and listener.is_owned:
                listener.accept_again()
            if self._notifier.holds(listener):
                listener.socket.close()
            else:
                listener.close()
        self._notifier.close()
        self._epoll.close()

    def abandon(self) -> None:
        """Let go of what was the arbiter's; called in a child.

        Objects that own a descriptor would close its number again when they go, whoever has it by then. The epoll is
        shared with the arbiter: it is closed, never changed.
        """
        self._epoll.close()
        self._notifier.abandon()
        for listener in self._generations.listeners():
            listener.socket.detach()
        self._upgrades.abandon()

    # One turn.

    def _turn(self) -> None:
        deadline = self._next_deadline()
        ready = self._epoll.poll(_until(deadline, self._notifier.next_deadline()))
        now = monotonic()
        if deadline is not None and now - deadline > STALL:
            _log.warning(
                "the arbiter did not run for %.1f s (stopped, frozen or paused): all deadlines are moved",
                now - self._awake,
            )
            self._handle(ev.Stalled(now - self._awake))
            self._hooks.shift(now - self._awake)
        self._awake = now
        has_signals = any(fd == self._signals.fd for fd, _ in ready)
        for child in list(self._children) if has_signals else self._heard(ready):
            self._reaper.listen_to(child)
        for event in self._upgrades.listen():
            self._handle(event)
        child_ended = has_signals and self._take_signals()
        if child_ended:
            self._reaper.reap()
        self._tend_development()
        deadline = self._core.next_deadline()
        now = monotonic()
        was_held_up = now - self._awake > STALL  # in this very turn: what was said meanwhile is read before judging
        if deadline is not None and now >= deadline and not was_held_up:
            self._handle(ev.TimePassed(self._children.in_application()))
        self._hooks.on_time(monotonic())
        self._notifier.on_time(self._look)

    def _look(self) -> Look:
        return Look(self._core.statistics(), self._children.work())

    def _take_over(self) -> None:
        """Take note that this arbiter is in charge now, which an upgrade has started."""
        self._notifier.take_over(self._generations.current.listeners, self._look)

    def _next_deadline(self) -> float | None:
        moments = (self._core.next_deadline(), self._hooks.next_deadline(), self._development.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def _tend_development(self) -> None:
        if self._development.take_changes():
            self._handle(ev.VerbReceived(ev.Verb.RELOAD))
        self._development.on_time(monotonic(), self._all_descriptors)

    def _descriptors(self) -> list[int]:
        """Return the arbiter's descriptors that no child may keep, beside listeners."""
        return [*self._own_descriptors(), *self._children.descriptors()]

    def _own_descriptors(self) -> list[int]:
        own = (self._signals.fd, self._signals.write_fd)
        return [*own, *self._development.descriptors(), *self._upgrades.descriptors(), *self._hooks.descriptors()]

    def _all_descriptors(self) -> list[int]:
        listeners = (listener.socket.fileno() for listener in self._generations.listeners())
        return [*self._descriptors(), *listeners]

    def _heard(self, ready: list[tuple[int, int]]) -> list[Child]:
        found = (self._children.by_heartbeat(fd) for fd, _ in ready)
        return [child for child in found if child is not None]

    def _take_signals(self) -> bool:
        child_ended = False
        for number in self._signals.drain():
            verb = VERBS[number]
            if number == signal.SIGCHLD:
                child_ended = True
            elif number == signal.SIGWINCH and _has_terminal():
                _log.debug("SIGWINCH is ignored: pyfork has a controlling terminal, whose window was resized")
            elif verb is not None:
                _log.info("signal %s: %s", number.name, verb.value)
                if verb is ev.Verb.RELOAD:
                    self._notifier.reload_asked()
                self._obey(verb, number)
        return child_ended

    def _take_exit(self, pid: int, code: int) -> bool:
        """Return whether a process that has been reaped was started beside workers and molds, and take note of it.

        Args:
            pid: its own.
            code: its exit status, or the number of the signal that ended it, negative.
        """
        if self._development.take_exit(pid, code, monotonic()) or self._hooks.reaped(pid, code):
            return True
        events = self._upgrades.reaped(pid, code)
        for event in events:
            self._handle(event)
        return bool(events)

    def _obey(self, verb: ev.Verb, number: signal.Signals) -> None:
        """Tell the core; whoever is in a hurry does not want to wait for the hooks that run either."""
        is_stopping = self._core.statistics().state is ArbiterState.STOPPING
        if verb is ev.Verb.STOP_NOW or (verb is ev.Verb.STOP and is_stopping):
            self._hooks.kill_all(f"signal {number.name}")
        self._handle(ev.VerbReceived(verb))

    def _hear(self, event: ev.Event) -> None:
        """Tell the core what a child has said, or that it has ended, and the hooks that are for that."""
        self._handle(event)
        if isinstance(event, ev.WorkerReady) and not self._has_served:
            self._note_first(event.pid)
        elif isinstance(event, ev.WorkerExited):
            self._hooks.run(self._settings, "child_exit", event.pid, event.signal or event.code)

    def _note_first(self, pid: int) -> None:
        """Tell the hook when the worker ``pid`` is the first that serves."""
        self._has_served = self._core.statistics().state not in {ArbiterState.STARTING, ArbiterState.STOPPING}
        if self._has_served:
            self._hooks.run(self._settings, "when_ready", pid)

    def _handle(self, event: ev.Event) -> None:
        self._todo.extend(self._core.handle(event, monotonic()))
        while self._todo:
            action = self._todo.popleft()
            self._execute_by_type[type(action)](action)

    # The actions, one method each.

    @property
    def _settings(self) -> Settings:
        """Those in force: a candidate's are not yet."""
        return self._generations.current.loaded.settings

    def _spawn_worker(self, action: act.SpawnWorker) -> ev.Event | None:
        self._hooks.run(self._generations[action.generation].loaded.settings, "pre_fork")
        return self._spawner.spawn_worker(action)

    def _fork_hook(self, handoff: HookHandoff) -> tuple[int, int]:
        return spawn_hook(handoff, self._all_descriptors())

    def _answer(self, event: ev.Event | None) -> None:
        """Tell the core how an action ended, before its next one is carried out; None: that is heard later."""
        if event is None:
            return
        self._todo.extendleft(reversed(self._core.handle(event, monotonic())))

    def _signal(self, action: act.SignalWorker) -> None:
        child = self._children.find(action.pid)
        if child is not None:
            _log.debug("%s (pid %d) is sent SIG%s", child.name, child.pid, action.order.value)
            child.is_killed |= action.order is act.Order.KILL
        self._kill(action.pid, getattr(signal, f"SIG{action.order.value}"))

    def _kill(self, pid: int, number: signal.Signals) -> None:
        try:
            os.kill(pid, number)
        except PermissionError as error:  # root without CAP_KILL, and a worker that became another user
            _log.error("cannot send %s to pid %d: %s", number.name, pid, error.strerror)

    def _measure_load(self, action: act.MeasureLoad) -> None:
        del action
        generation = self._generations.current
        workers = [
            Measured(child.pid, child.slot, of.worker_class, of.loaded.settings.workers)
            for child in self._children
            if child.pid is not None and child.slot is not None
            for of in [self._generations.find(child.generation) or generation]
        ]
        listeners = (listener.socket for listener in generation.listeners)
        self._answer(ev.LoadMeasured(*self._load_meter.measure(workers, listeners, monotonic())))

    def _dump_stacks(self, action: act.DumpStacks) -> None:
        child = self._children.find(action.pid)
        if child is None:
            return
        if child.role is Role.WORKER:
            self._hooks.run(self._settings, "worker_stuck", child.pid)
        oldest = None if child.slot is None else child.slot.oldest_request()
        if oldest is not None:
            took = monotonic() - oldest.started_ns / 1e9
            path = oldest.path.encode("unicode_escape").decode("ascii")
            _log.error(
                "%s (pid %d): its oldest request is %s %s, for %.1f s; the stacks show what runs:",
                child.name,
                child.pid,
                oldest.method,
                path,
                took,
            )
        else:
            _log.error("%s (pid %d) is silent outside of any request; its stacks:", child.name, child.pid)
        self._kill(action.pid, STACKS_SIGNAL)

    def _load_configuration(self, action: act.LoadConfiguration) -> None:
        self._development.begin_reload(action.generation)
        self._hooks.run(self._settings, "on_reload", os.getpid())
        try:
            candidate = self._provisions.load_generation(self._generations.newest, self._generations.listeners())
        except ConfigurationError as error:
            self._answer(ev.ConfigurationRefused(error.problems))
            return
        except Exception as error:  # noqa: BLE001 - a module that has gone from the disk, say: the old ones serve on
            what, where = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
            self._answer(ev.ConfigurationRefused((describe_boot_failure(what, where),)))
            return
        self._generations.add(action.generation, candidate)
        self._development.follow(candidate.loaded, monotonic())
        self._answer(ev.ConfigurationLoaded(candidate.plan()))

    def _adopt_generation(self, action: act.AdoptGeneration) -> None:
        self._notifier.keep(self._generations[action.generation].listeners)
        self._generations.adopt(action.generation, self._children.generations())

    def _drop_generation(self, action: act.DropGeneration) -> None:
        self._generations.drop(action.generation, self._children.generations())
        self._provisions.restore(self._generations.newest)
        self._development.follow(self._generations.newest.loaded, monotonic())

    def _stop_accepting(self, action: act.StopAccepting) -> None:
        del action
        self._development.close()
        if not self._upgrades.is_in_charge:
            return  # the sockets are the old arbiter's still, whose workers serve what is queued
        self._scoreboard.set_stopping()
        for listener in self._generations.listeners():
            try:
                listener.refuse()
            except OSError as error:
                _log.debug("%s: cannot refuse new connections early: %s", listener.describe().text, error)

    def _start_upgrade(self, action: act.StartUpgrade) -> None:
        del action
        statistics = self._core.statistics()
        self._answer(self._upgrades.start(self._generations.current, statistics.wanted, statistics.steps))

    def _hand_over(self, action: act.HandOver) -> None:
        answer = self._upgrades.hand_over(action.pid)
        if isinstance(answer, ev.HandedOver):
            self._development.close()  # the new one watches
        self._answer(answer)

    def _report_ready(self, action: act.ReportReady) -> None:
        del action
        self._upgrades.report_ready()

    def _reopen(self, action: act.ReopenLogs) -> None:
        del action
        self._provisions.reopen_logs()

    def _tell_state(self, action: act.StateChanged) -> None:
        self._notifier.state_changed(action.state, self._look)

    def _tell_reload(self, action: act.ReloadEnded) -> None:
        self._development.end_reload(action.error)
        self._notifier.reload_ended(action.error, self._core.statistics().generation)

    def _write_log(self, action: act.Log) -> None:
        if action.level is act.Level.CRITICAL:
            self._notifier.failed(action.message)
        _log.log(logging.getLevelNamesMapping()[action.level.name], "%s", action.message)

    def _leave(self, action: act.Exit) -> None:
        self._exit = action.status
        if self._upgrades.is_in_charge and (count := count_lost(self._generations.listeners())):
            who = "1 client that was" if count == 1 else f"{count} clients that were"
            _log.warning("stop: the connections of %s still queued are reset: no worker was left to take them", who)


def _until(*deadlines: float | None) -> float | None:
    """Return the seconds until the earliest of these moments, None when there is none."""
    moments = [deadline for deadline in deadlines if deadline is not None]
    return max(0.0, min(moments) - monotonic()) if moments else None


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal: tty(4), opening /dev/tty fails with ENXIO when not."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
