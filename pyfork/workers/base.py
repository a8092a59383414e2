"""What every worker does: beat, drain, exit. A type adds how it waits and how it runs a connection.

The contract of a type is the class `Worker`; everything here runs in the worker, after the fork. How one comes to be is
`pyfork.workers.boot`.
"""

import errno
import gc
import logging
import os
import select
import signal
import socket
from collections.abc import Iterable
from time import monotonic
from typing import ClassVar

from pyfork.errors import QuitNow
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff, Listener
from pyfork.ipc.scoreboard import SlotState
from pyfork.log import error as error_log
from pyfork.process import lifeline, title
from pyfork.process.signals import SignalQueue, raise_again, raise_in_main_thread, reset_in_child
from pyfork.workers.copies import watch_copies
from pyfork.workers.fork_hygiene import begin_anew
from pyfork.workers.hook_loader import NO_HOOKS, WorkerHooks
from pyfork.workers.loader import Application
from pyfork.workers.promotion import Promotion
from pyfork.workers.signals import IGNORED_SIGNALS
from pyfork.workers.wear import Wear

_log = logging.getLogger("pyfork.error")


class Worker:
    """The base of every worker type.

    A type implements `boot` and `run`, calls `beat_if_due` from the loop that serves, looks at `is_draining` and
    `is_orphaned` there, and calls `take_signals` when `signals` is readable. `wait` does the latter by itself.
    docs/custom_workers.md is the long form.

    Args:
        handoff: what the arbiter gave.
        heartbeat: the pipe to it.

    Attributes:
        sockets: the listeners, non-blocking, beside what is known of them.
        signals: the queue of signals; its ``fd`` belongs into the loop.
        wear: whether it has served for long enough.
        is_draining: TERM came: finish and return from `run`.
        is_orphaned: the arbiter is gone: finish what is in flight and return.
        promotion: how this worker forks a mold, if it can; its ``fd`` belongs into the loop then.
        is_copy: this process is one that the application forked: it must not serve.
        has_served: the worker has told the arbiter that it is ready.
        hooks: those of the user's that the worker calls; set before `boot`.
        needs_application: whether the type serves ``server.app``; without, `boot` is not called.
        is_multithread: whether the application runs in several threads at once (``wsgi.multithread``).
        can_keep_alive: whether connections outlive a response.
    """

    needs_application: ClassVar[bool] = True
    is_multithread: ClassVar[bool] = False
    can_keep_alive: ClassVar[bool] = False

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        settings = handoff.settings
        self.handoff = handoff
        self.settings = settings
        self.heartbeat = heartbeat
        self.slot = handoff.scoreboard.slot(handoff.slot)
        self.wear = Wear(settings.workers, self.slot, heartbeat)
        self.signals = SignalQueue()
        self.promotion = Promotion(handoff, self._become_mold)
        self.is_draining = False
        self.is_orphaned = False
        self.is_copy = False
        self.has_served = False
        self.hooks: WorkerHooks = NO_HOOKS
        self.title = f"pyfork: worker {handoff.number} gen {handoff.generation} [{settings.label}]"
        self.sockets: list[tuple[socket.socket, Listener]] = [
            (socket.socket(fileno=listener.fd), listener) for listener in handoff.listeners
        ]
        lifeline.arm(handoff.lifeline_fd, settings.workers.graceful_timeout, self._on_orphaned)

    def boot(self, application: Application) -> None:
        """Prepare to serve ``application``; must not accept yet.

        Raises:
            BootError: it cannot; the worker ends with status 3.
        """
        raise NotImplementedError

    def run(self) -> None:
        """Serve until `is_draining` or `is_orphaned`, and until what is in flight has ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the listeners; called last."""
        for listener, _ in self.sockets:
            listener.close()

    def begin_serving(self) -> None:
        """Tell the arbiter that this worker serves; called by the type at the head of `run`.

        Raises:
            HookError: the hook `worker_ready` does not want it to; let it pass.
        """
        if self.hooks.worker_ready is not None:
            self.hooks.worker_ready.call(*self.identity)
        gc.collect()
        self._install_signals()
        raise_again()
        watch_copies(self._on_copied)
        self.slot.set_state(SlotState.READY)
        self.heartbeat.say_ready()
        self.has_served = True
        title.set_title(f"{self.title} idle")  # behind the word: who is killed now has served, and is replaced
        self.wear.begin(monotonic(), refork_at=self.handoff.refork_at)
        _log.debug("ready")

    def beat_if_due(self) -> None:
        """Beat if it is time; cheap enough to be called after each request."""
        now = monotonic()
        if now >= self.heartbeat.next_beat:
            self.beat(now)

    def beat(self, now: float) -> None:
        """Beat, and see whether this worker is to be replaced; ``now`` is monotonic."""
        self.heartbeat.beat(now)
        self.wear.look(now)
        raise_again()

    def wait(self, fds: Iterable[int] = (), timeout: float | None = None) -> list[int]:
        """Wait until one of ``fds`` is readable; beat and take signals. A whole loop for types with few descriptors.

        It ends early when a beat is due, a signal has come or the arbiter is gone: look at `is_draining` and
        `is_orphaned` after each call.

        Returns:
            The readable ones of ``fds``, also at the end of a stream.
        """
        self.beat_if_due()
        poll = select.poll()
        for fd in (watched := [*fds, self.signals.fd, self.handoff.lifeline_fd]):
            poll.register(fd, select.POLLIN)
        rest = max(0.0, self.heartbeat.next_beat - monotonic())
        ready = {fd for fd, _ in poll.poll(1000 * (rest if timeout is None else min(rest, timeout)))}
        self.beat_if_due()
        if self.signals.fd in ready:
            self.take_signals()
        if self.handoff.lifeline_fd in ready:
            self.is_orphaned = lifeline.is_cut(self.handoff.lifeline_fd)
        return [fd for fd in watched[:-2] if fd in ready]

    def accept(self, fd: int) -> socket.socket | None:
        """Accept one connection from the listener ``fd``; for types without an `Acceptor`.

        Returns:
            The connection, in blocking mode; None when there is none: another worker was faster, or the client has
            gone, or this process has no descriptor left (then after a pause, so that a loop does not spin).
        """
        try:
            return next(listener for listener, _ in self.sockets if listener.fileno() == fd).accept()[0]
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                _log.error("cannot accept: %s", error.strerror)
                self.wait(timeout=1.0)
            return None

    @property
    def identity(self) -> tuple[int, int, int]:
        """What the hooks of a worker are called with: its number, its generation, its pid."""
        return self.handoff.number, self.handoff.generation, os.getpid()

    @property
    def is_stopping(self) -> bool:
        """Whether the whole server stops: what is queued is then for this worker to answer, before it closes."""
        return self.handoff.scoreboard.is_stopping

    def take_signals(self) -> None:
        """Do what the queued signals ask for; called by the loop."""
        for number in self.signals.drain_all():
            if number == signal.SIGTERM:
                self.is_draining = True
                self.slot.set_state(SlotState.DRAINING)
            elif number == signal.SIGUSR1:
                error_log.reopen()

    def _install_signals(self) -> None:
        self.signals.install((signal.SIGTERM, signal.SIGUSR1, *IGNORED_SIGNALS))
        raise_in_main_thread(signal.SIGQUIT, QuitNow)

    def let_go(self) -> None:
        """Close what only this worker needs, in a mold that it has forked; the types that can do so add what is theirs.

        The listeners stay open, for the mold's workers. A poller is closed first of all, and never changed: the worker
        waits in it.
        """
        for listener, _ in self.sockets:
            listener.detach()

    def _become_mold(self) -> None:
        """Make a copy of this worker a mold's process; called in it, with all signals blocked."""
        handoff, signals = self.handoff, self.signals
        pipes = (signals.fd, signals.write_fd, handoff.heartbeat_fd, handoff.lifeline_fd, handoff.control_fd)
        begin_anew([fd for fd in pipes if fd is not None])
        self.let_go()

    def _on_copied(self) -> None:
        """Make a process that the application forks its own: in multiprocessing, for one, TERM must end it.

        It keeps neither the addresses open nor orders to us, and a signal to it is not queued for the worker.
        """
        reset_in_child()
        self.is_copy = True
        self.wear.forget()
        self.promotion.let_go()
        for listener, _ in self.sockets:
            listener.close()

    def _on_orphaned(self) -> None:
        self.is_orphaned = True
