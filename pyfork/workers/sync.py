"""The sync worker: one connection at a time, the application in line, every connection closed after its response.

One poller watches the listeners, the lifeline, the signals and the lingering sockets. A woken worker accepts until the
queue is empty, and looks at the rest in between whenever a signal, a beat or a lingering socket is due. Load is not
balanced: whoever waits has no connection, and whoever has one does not wait.
"""

import contextlib
import logging
import os
import select
import socket
from time import monotonic

from pyfork.connection.blocking import Outcome
from pyfork.connection.context import READABLE
from pyfork.connection.handshake import begin_blocking
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.scoreboard import Slot
from pyfork.process import lifeline, title
from pyfork.workers.accepting import Accepted, Acceptor
from pyfork.workers.base import Worker
from pyfork.workers.contexts import make_contexts
from pyfork.workers.lingering import LingeringSockets
from pyfork.workers.loader import Application
from pyfork.workers.poller import make_poller

LONGEST_PATH = 256
"""Octets of a path that the process title shows."""

_log = logging.getLogger("pyfork.error")


class TitledProgress:
    """The scoreboard's slot, but the process title shows the request as well."""

    __slots__ = ("_slot", "_title", "end_request", "enter_application", "leave_application")

    def __init__(self, slot: Slot, shown: str) -> None:
        self._slot = slot
        self._title = shown
        self.enter_application = slot.enter_application
        self.leave_application = slot.leave_application
        self.end_request = slot.end_request

    def begin_request(self, method: str, path: bytes) -> None:
        """Record the request and show it; a title has room for the beginning of a path."""
        title.set_title(f"{self._title} {method} {path[:LONGEST_PATH].decode('latin-1')}")
        self._slot.begin_request(method, path)


class SyncWorker(Worker):
    """See the head of the module."""

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self._poller = make_poller()
        self._acceptor = Acceptor(self, self._poller, is_balanced=False)
        self._lingering = LingeringSockets(self._poller)
        self._serving: socket.socket | None = None

    def boot(self, application: Application) -> None:
        """Make the contexts in which connections run; one for each listener, as the environ differs."""
        progress = TitledProgress(self.slot, self.title)
        self._contexts = make_contexts(self, application, lambda: progress, self._wait)

    def run(self) -> None:
        """Serve until told to drain or orphaned."""
        self._poller.register(self.signals.fd, READABLE)
        self._poller.register(self.handoff.lifeline_fd, READABLE)
        if self.promotion.fd is not None:
            self._poller.register(self.promotion.fd, READABLE)
        self._acceptor.watch()
        self.begin_serving()
        while not self.is_draining and not self.is_orphaned:
            title.set_title(f"{self.title} idle")
            self.signals.take_wakeup_back()
            if self.signals.is_pending:
                self.take_signals()
                continue
            self._turn(min(self.heartbeat.next_beat, self._acceptor.next_deadline()))
            self._acceptor.tend(monotonic())
            if self.promotion.is_ordered:
                self.promotion.carry_out()
        if self.is_draining:
            self._drain()

    def _turn(self, wake_at: float) -> None:
        """Wait, at most until ``wake_at``, for what comes next, and deal with it."""
        wake_at = min(wake_at, self._lingering.next_deadline())
        for fd, _ in self._poller.poll(max(0.0, wake_at - monotonic())):
            self.beat_if_due()
            if fd == self.signals.fd:
                self.take_signals()
            elif fd == self.handoff.lifeline_fd:
                self.is_orphaned = lifeline.is_cut(fd)
            elif fd == self.promotion.fd:
                if not self.promotion.take_order():
                    self._poller.unregister(fd)
            elif fd in self._acceptor:
                self._serve_from(fd)
            else:
                self._lingering.read(fd)
        self._lingering.sweep(monotonic())
        self.beat_if_due()

    def _serve_from(self, listener_fd: int) -> None:
        """Serve what waits, until nothing does or something else is due."""
        for accepted in self._acceptor.accept_from(listener_fd):
            self._serve(accepted)
            if self.signals.is_pending or self.is_draining or self.is_orphaned:
                return
            if self._lingering or monotonic() >= self.heartbeat.next_beat:
                return

    def _serve(self, accepted: Accepted) -> None:
        """Serve one connection to its end."""
        self._serving, peer, listener_fd = accepted
        shell = begin_blocking(self._serving, peer, self._contexts[listener_fd])
        try:
            if shell.serve() is Outcome.LINGER:
                self._lingering.add(shell.sock)
            if self.is_copy:  # it came back from the application, where it was forked
                os._exit(0)
        except Exception:  # noqa: BLE001 - our fault or a log handler's: it ends this connection, not the worker
            shell.sock.close()
            with contextlib.suppress(Exception):  # the handler may raise again; our own has written the line by then
                _log.exception("a connection ended by a fault of the server")
        self._acceptor.adjust(len(self._lingering), has_room=True)

    def _wait(self, connection: socket.socket, events: int, deadline: float) -> bool:
        """Wait for the client until ``deadline``, beating; return False when it has passed."""
        poll = select.poll()
        poll.register(connection, events)
        while True:
            now = monotonic()
            if now >= deadline:
                return False
            if poll.poll(max(0.0, min(deadline, self.heartbeat.next_beat) - now) * 1000):
                return True
            self.beat_if_due()

    def _drain(self) -> None:
        """Serve what this worker owes, then see the lingering sockets off."""
        self.promotion.refuse()
        for accepted in self._acceptor.owed():
            self._serve(accepted)
            self.beat_if_due()
        self._lingering.hurry()
        while self._lingering and not self.is_orphaned:
            self._turn(self.heartbeat.next_beat)
        self._lingering.close()

    def let_go(self) -> None:
        """See `Worker.let_go`."""
        self._poller.close()
        super().let_go()
        self._lingering.abandon()
        self._acceptor.abandon()

    def _on_copied(self) -> None:
        """Leave the client to the process that this one was forked from, which answers it."""
        super()._on_copied()
        if self._serving is not None:
            self._serving.close()
