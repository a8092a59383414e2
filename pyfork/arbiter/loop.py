"""The arbiter's shell: it alone waits, forks, kills, reads pipes and reaps; what to do, the core decides.

One turn: wait until the core's next deadline (never a tick), then hand over what happened in this order:

1. a stall of our own, if the wait ended more than a second after its deadline, so that nobody is judged by it;
2. words on the heartbeat pipes, those of all workers when a signal came: who has become ready meanwhile must not be
   ended as one that boots; 3. signals; 4. the dead, each after the last words on its pipe; 5. the time, when it
   is the deadline's.

Each answer of the core is carried out before the next event is handed over. Idle, the only system calls are those that
a beat causes: ``epoll_wait`` returns and the pipe is read.

What does not work: reading the pipes only until the first EAGAIN of a turn and reaping first (a worker that says why it
cannot boot and exits in the same millisecond would be a silent death).
"""

import logging
import os
import select
import signal
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.children import Child, Children, read_words
from pyfork.arbiter.core import Core
from pyfork.arbiter.generations import Generation, Generations
from pyfork.arbiter.listeners import BoundListener
from pyfork.arbiter.spawn import spawn_worker
from pyfork.arbiter.verbs import VERBS, WARNINGS
from pyfork.errors import ConfigurationError
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import GarbledPipeError, Handoff
from pyfork.ipc.scoreboard import Scoreboard
from pyfork.process.signals import SignalQueue, name_of
from pyfork.process.stacks import STACKS_SIGNAL

STALL = 1.0
"""Seconds: an arbiter that wakes later than this after its deadline was not running."""

_log = logging.getLogger("pyfork.error")


class ArbiterLoop:
    """Runs the arbiter until the core says `actions.Exit`.

    Args:
        core: decides.
        generation: the first one: its settings and listeners.
        load_generation: reads the configuration anew, given the newest generation and all listeners that are open,
            and opens what is new; raises ConfigurationError and leaves everything as it was when something is wrong.
        reopen_logs: opens the log files anew.
        restore: makes what `load_generation` changed in the arbiter (its logs) that of the given generation again.
    """

    def __init__(
        self,
        core: Core,
        generation: Generation,
        load_generation: Callable[[Generation, Sequence[BoundListener]], Generation],
        reopen_logs: Callable[[], None],
        restore: Callable[[Generation], None],
    ) -> None:
        self._core = core
        self._generations = Generations(generation)
        self._load_generation = load_generation
        self._reopen_logs = reopen_logs
        self._restore = restore
        self._scoreboard = Scoreboard()
        self._children = Children(self._scoreboard)
        self._signals = SignalQueue()
        self._epoll = select.epoll()
        self._todo: deque[act.Action] = deque()
        self._exit: ExitStatus | None = None
        self._awake = monotonic()
        self._execute_by_type: dict[type, Callable[..., None]] = {
            act.SpawnWorker: self._spawn,
            act.SignalWorker: self._signal,
            act.DumpStacks: self._dump_stacks,
            act.LoadConfiguration: self._load_configuration,
            act.AdoptGeneration: self._adopt_generation,
            act.DropGeneration: self._drop_generation,
            act.StopAccepting: self._stop_accepting,
            act.ReopenLogs: self._reopen,
            act.Log: self._write_log,
            act.Exit: self._leave,
        }

    def run(self) -> ExitStatus:
        """Supervise until everything has ended.

        Raises:
            BecameWorker: in a child, and there only.
        """
        self._signals.install(VERBS)
        self._epoll.register(self._signals.fd, select.EPOLLIN)
        self._handle(ev.Started())
        while self._exit is None:
            self._turn()
        return self._exit

    def close(self) -> None:
        """Close the listeners and let go of everything; called in the arbiter at its end."""
        for listener in self._generations.listeners():
            if listener.is_inherited:
                listener.accept_again()
            listener.close()
        self._epoll.close()

    def abandon(self) -> None:
        """Let go of what was the arbiter's; called in a child.

        Objects that own a descriptor would close its number again when they go, whoever has it by then. The epoll is
        shared with the arbiter: it is closed, never changed.
        """
        self._epoll.close()
        for listener in self._generations.listeners():
            listener.socket.detach()

    # One turn.

    def _turn(self) -> None:
        deadline = self._core.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - monotonic())
        ready = self._epoll.poll(timeout)
        now = monotonic()
        if deadline is not None and now - deadline > STALL:
            _log.warning(
                "the arbiter did not run for %.1f s (stopped, frozen or paused): all deadlines are moved",
                now - self._awake,
            )
            self._handle(ev.Stalled(now - self._awake))
        self._awake = now
        has_signals = any(fd == self._signals.fd for fd, _ in ready)
        for child in list(self._children) if has_signals else self._heard(ready):
            self._listen_to(child)
        child_ended = has_signals and self._take_signals()
        if child_ended:
            self._reap()
        deadline = self._core.next_deadline()
        now = monotonic()
        if now - self._awake > STALL:
            return  # stopped in this very turn: what has been said meanwhile is read before anybody is judged
        if deadline is not None and now >= deadline:
            self._handle(ev.TimePassed(self._children.in_application()))

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
            elif number in WARNINGS:
                _log.warning("signal %s: %s", number.name, WARNINGS[number])
            elif verb is not None:
                _log.info("signal %s: %s", number.name, verb.value)
                self._handle(ev.VerbReceived(verb))
        return child_ended

    def _listen_to(self, child: Child) -> None:
        if child.has_hung_up:
            return
        try:
            events, is_over = read_words(child)
        except GarbledPipeError as error:
            _log.error("%s (pid %d): %s; it is killed", child.name, child.pid, error)
            if not child.is_reaped:
                self._kill(child.pid, signal.SIGKILL)
            events, is_over = [], True
        if is_over:
            child.has_hung_up = True
            self._epoll.unregister(child.heartbeat_fd)
        for event in events:
            self._handle(event)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.find(pid)
            if child is None:
                _log.debug("reaped pid %d, which is none of our workers", pid)
                continue
            child.is_reaped = True
            self._listen_to(child)
            self._children.remove(child)
            self._generations.release(self._children.generations())
            code = os.waitstatus_to_exitcode(status)
            ended_by = name_of(-code) if code < 0 else None
            self._handle(ev.WorkerExited(pid, None if code < 0 else code, ended_by))

    def _handle(self, event: ev.Event) -> None:
        self._todo.extend(self._core.handle(event, monotonic()))
        while self._todo:
            action = self._todo.popleft()
            self._execute_by_type[type(action)](action)

    # The actions, one method each.

    def _spawn(self, action: act.SpawnWorker) -> None:
        generation = self._generations[action.generation]
        try:
            slot_index = self._children.free_slot()
            self._scoreboard.reserve(slot_index)
            spawned = spawn_worker(
                lambda heartbeat_fd, lifeline_fd: Handoff(
                    number=action.number,
                    generation=action.generation,
                    slot=slot_index,
                    scoreboard=self._scoreboard,
                    listeners=tuple(listener.describe() for listener in generation.listeners),
                    heartbeat_fd=heartbeat_fd,
                    lifeline_fd=lifeline_fd,
                    settings=generation.loaded.settings,
                    worker_class=generation.worker_class,
                ),
                [
                    self._signals.fd,
                    self._signals.write_fd,
                    *self._children.descriptors(),
                    *self._generations.foreign_fds(action.generation),
                ],
            )
        except OSError as error:
            self._answer(ev.SpawnFailed(action.number, action.generation, str(error)))
            return
        child = self._children.add(spawned, action.number, action.generation, slot_index)
        self._epoll.register(child.heartbeat_fd, select.EPOLLIN)
        self._answer(ev.WorkerSpawned(action.number, action.generation, child.pid))

    def _answer(self, event: ev.Event) -> None:
        """Tell the core how an action ended, before its next one is carried out."""
        self._todo.extendleft(reversed(self._core.handle(event, monotonic())))

    def _signal(self, action: act.SignalWorker) -> None:
        self._kill(action.pid, getattr(signal, f"SIG{action.order.value}"))

    def _kill(self, pid: int, number: signal.Signals) -> None:
        try:
            os.kill(pid, number)
        except PermissionError as error:  # root without CAP_KILL, and a worker that became another user
            _log.error("cannot send %s to pid %d: %s", number.name, pid, error.strerror)

    def _dump_stacks(self, action: act.DumpStacks) -> None:
        child = self._children.find(action.pid)
        if child is None:
            return
        oldest = child.slot.oldest_request()
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
        try:
            candidate = self._load_generation(self._generations.newest, self._generations.listeners())
        except ConfigurationError as error:
            self._answer(ev.ConfigurationRefused(error.problems))
            return
        self._generations.add(action.generation, candidate)
        self._answer(ev.ConfigurationLoaded(candidate.plan()))

    def _adopt_generation(self, action: act.AdoptGeneration) -> None:
        self._generations.adopt(action.generation, self._children.generations())

    def _drop_generation(self, action: act.DropGeneration) -> None:
        self._generations.drop(action.generation, self._children.generations())
        self._restore(self._generations.newest)

    def _stop_accepting(self, action: act.StopAccepting) -> None:
        del action
        self._scoreboard.set_stopping()
        for listener in self._generations.listeners():
            try:
                listener.refuse()
            except OSError as error:
                _log.debug("%s: cannot refuse new connections early: %s", listener.describe().text, error)

    def _reopen(self, action: act.ReopenLogs) -> None:
        del action
        self._reopen_logs()

    def _write_log(self, action: act.Log) -> None:
        _log.log(logging.getLevelNamesMapping()[action.level.name], "%s", action.message)

    def _leave(self, action: act.Exit) -> None:
        self._exit = action.status


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal: tty(4), opening /dev/tty fails with ENXIO when not."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
