"""The sync worker: one connection at a time, the application in line, every connection closed after its response.

One epoll watches the listeners (EPOLLEXCLUSIVE: a connection wakes one worker, not all), the lifeline, the signals and
the lingering sockets. A woken worker accepts until the queue is empty, so a wake-up that was meant for another is never
lost, and looks at the rest in between whenever a signal, a beat or a lingering socket is due.

A retiring worker first takes its listeners out of the epoll, so that the kernel wakes somebody else from then on, and
then accepts what it may have been woken for: a wake-up that is declined is lost, not passed on.
"""

import contextlib
import errno
import logging
import os
import select
import socket
import sys
from time import monotonic

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.scoreboard import Slot
from pyfork.process import lifeline, title
from pyfork.workers.base import Worker
from pyfork.workers.contexts import make_contexts
from pyfork.workers.lingering import LingeringSockets
from pyfork.workers.loader import Application

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
DESCRIPTOR_PAUSE = 0.5
"""Seconds without accepting after the kernel had no descriptor left; the queue waits meanwhile."""
LONGEST_PATH = 256
"""Octets of a path that the process title shows."""
LAST_ACCEPTS = 1
"""Connections of a listener that a retiring worker still takes, if others go on serving: the one wake-up it may owe."""
GONE_MEANWHILE = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.EPERM,
}
"""Errors of the connection that was to be accepted, not of the listener: accept(2), "Error handling"."""
MOST_QUEUED = 65536
"""More than any backlog, where the length of the queue cannot be asked for."""
_TCP_INFO_UNACKED = slice(24, 28)
"""``tcpi_unacked`` of struct tcp_info: for a listening socket, the length of its queue (linux/tcp.h)."""

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
        self._epoll = select.epoll()
        self._lingering = LingeringSockets(self._epoll)
        self._by_fd = {listener.fileno(): listener for listener, _ in self.sockets}
        self._accept_again_at = 0.0

    def boot(self, application: Application) -> None:
        """Make the contexts in which connections run; one for each listener, as the environ differs."""
        progress = TitledProgress(self.slot, self.title)
        self._contexts = make_contexts(self, application, lambda: progress, self._wait)

    def run(self) -> None:
        """Serve until told to drain or orphaned."""
        self._epoll.register(self.signals.fd, select.EPOLLIN)
        self._epoll.register(self.handoff.lifeline_fd, select.EPOLLIN)
        self._watch_listeners()
        self.begin_serving()
        while not self.is_draining and not self.is_orphaned:
            self._turn()
        if self.is_draining:
            self._drain()

    def _turn(self) -> None:
        title.set_title(f"{self.title} idle")
        self.signals.take_wakeup_back()
        if self.signals.is_pending:
            self.take_signals()
            return
        now = monotonic()
        wake_at = min(self.heartbeat.next_beat, self._lingering.next_deadline())
        if self._accept_again_at:
            wake_at = min(wake_at, self._accept_again_at)
        ready = self._epoll.poll(max(0.0, wake_at - now))
        self.beat_if_due()
        for fd, _ in ready:
            if fd == self.signals.fd:
                self.take_signals()
            elif fd == self.handoff.lifeline_fd:
                self.is_orphaned = lifeline.is_cut(fd)
            elif fd in self._by_fd:
                self._accept_from(self._by_fd[fd])
            else:
                self._lingering.read(fd)
        self._lingering.sweep(monotonic())
        if self._accept_again_at and monotonic() >= self._accept_again_at:
            self._watch_listeners()

    def _accept_from(self, listener: socket.socket) -> None:
        """Serve what waits, until nothing does or something else is due."""
        while self._accept_one(listener) and not self.signals.is_pending:
            if self.is_draining or self.is_orphaned:
                return
            if self._lingering or monotonic() >= self.heartbeat.next_beat:
                return

    def _accept_one(self, listener: socket.socket) -> bool:
        """Serve one connection; return whether another may wait."""
        try:
            connection, peer = listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in GONE_MEANWHILE:
                return True
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
            self._pause_accepting(error)
            return False
        self.slot.set_connections(1)
        shell = BlockingConnection(connection, peer, self._contexts[listener.fileno()])
        try:
            if shell.serve() is Outcome.LINGER:
                self._lingering.add(connection)
            if self.is_copy:  # it came back from the application, where it was forked
                os._exit(0)
        except Exception:  # noqa: BLE001 - our fault or a log handler's: it ends this connection, not the worker
            connection.close()
            with contextlib.suppress(Exception):  # the handler may raise again; our own has written the line by then
                _log.exception("a connection ended by a fault of the server")
        self.slot.set_connections(len(self._lingering))
        return True

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

    # The listeners.

    def _watch_listeners(self) -> None:
        self._accept_again_at = 0.0
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _pause_accepting(self, error: OSError) -> None:
        if self._accept_again_at:
            return
        _log.error(
            "cannot accept: %s; trying again in %g s (the limit is RLIMIT_NOFILE, see `ulimit -n`)",
            error.strerror,
            DESCRIPTOR_PAUSE,
        )
        self._accept_again_at = monotonic() + DESCRIPTOR_PAUSE
        for fd in self._by_fd:
            self._epoll.unregister(fd)

    def _drain(self) -> None:
        """Serve what this worker owes, then see the lingering sockets off.

        When all of pyfork stops, that is everything that is queued; each of the workers accepts until nothing is left.
        """
        if not self._accept_again_at:
            for fd in self._by_fd:
                self._epoll.unregister(fd)
        for listener, _ in self.sockets:
            allowed = _queue_length(listener) if self.handoff.scoreboard.is_stopping else LAST_ACCEPTS
            while allowed > 0 and self._accept_one(listener):
                allowed -= 1
                self.beat_if_due()
        self._lingering.hurry()
        while self._lingering and not self.is_orphaned:
            for fd, _ in self._epoll.poll(max(0.0, self._lingering.next_deadline() - monotonic())):
                if fd == self.handoff.lifeline_fd:
                    self.is_orphaned = lifeline.is_cut(fd)
                elif fd == self.signals.fd:
                    self.take_signals()
                else:
                    self._lingering.read(fd)
            self._lingering.sweep(monotonic())
            self.beat_if_due()
        self._lingering.close()


def _queue_length(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, at least: those whose clients must not be lost at a stop.

    Where nobody can be kept from queueing anew (a filter needs privileges on some kernels), the queue as it is now
    bounds the stop. A unix socket's path is gone by now, so its queue ends by itself.
    """
    if listener.family != socket.AF_UNIX and hasattr(socket, "TCP_INFO"):
        information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED.stop)
        return int.from_bytes(information[_TCP_INFO_UNACKED], sys.byteorder)
    return MOST_QUEUED
