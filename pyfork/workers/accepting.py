"""When a worker accepts: its listeners in its loop, and out of it. Every type's loop has one `Acceptor`.

Rules:

- Listeners are shared by all workers and watched with EPOLLEXCLUSIVE, so that a connection wakes one sleeping worker.
  A wake-up that is declined is lost, not passed on: whatever happened since, a woken worker accepts one at least.
- Whoever should not accept takes its listeners out of the loop *beforehand*, so that the kernel wakes somebody else.
- Putting them back looks at the queue: what waits already wakes the worker at once.
"""

import errno
import logging
import math
import select
import socket
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

from pyfork.workers.base import Worker

Accepted = tuple[socket.socket, object, int]
"""A connection (blocking, as the kernel gives it), its peer's address, and the descriptor of its listener."""

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
DESCRIPTOR_PAUSE = 0.5
"""Seconds without accepting after the kernel had no descriptor left; the queue waits meanwhile."""
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
_READABLE: int = getattr(select, "EPOLLIN", 1)
_EXCLUSIVE: int = getattr(select, "EPOLLEXCLUSIVE", 0)

_log = logging.getLogger("pyfork.error")


class Poller(Protocol):
    """What an `Acceptor` needs of a loop; `select.epoll` is one."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Report when ``fd`` can be read; ``eventmask`` is epoll's (1, and EPOLLEXCLUSIVE where there is epoll)."""

    def unregister(self, fd: int, /) -> None:
        """Report it no longer."""


class Acceptor:
    """The listeners of one worker; lives in its loop's thread.

    A type calls `watch` at the head of `run`, gives every descriptor that its loop reports and that is ``in`` the
    acceptor to `accept_from`, calls `adjust` after connections came or went, does not sleep beyond `next_deadline`, and
    calls `tend` in each turn. When it drains, it serves what `owed` yields.

    Args:
        worker: whose listeners and slot they are.
        poller: where the listeners are watched; for gevent an epoll of their own.
        is_balanced: whether to leave connections to workers that have fewer.
    """

    def __init__(self, worker: Worker, poller: Poller, *, is_balanced: bool) -> None:
        self._worker = worker
        self._poller = poller
        self._is_balanced = is_balanced
        self._listeners = {listener.fileno(): listener for listener, _ in worker.sockets}
        self._is_watching = False
        self._has_room = True
        self._paused_until = math.inf

    def __contains__(self, fd: object) -> bool:
        """Whether ``fd`` is a listener's."""
        return fd in self._listeners

    def watch(self) -> None:
        """Put the listeners into the loop, if they are not there."""
        if not self._is_watching:
            self._is_watching = True
            for fd in self._listeners:
                self._poller.register(fd, _READABLE | _EXCLUSIVE)

    def unwatch(self) -> None:
        """Take the listeners out of the loop, if they are there."""
        if self._is_watching:
            self._is_watching = False
            for fd in self._listeners:
                self._poller.unregister(fd)

    def accept_from(self, fd: int) -> Iterator[Accepted]:
        """Yield what waits at the listener ``fd``: one at least if anything does, then as many as this worker may have.

        The caller may stop early, after the first one: what is left is reported again.
        """
        listener = self._listeners[fd]
        while True:
            accepted = self._accept(listener)
            if accepted is None:
                return
            yield accepted
            if not self._is_watching:
                return

    def adjust(self, connections: int, *, has_room: bool) -> None:
        """Say how many connections are open and whether another may come; call it after connections came or went.

        Without room the listeners stay out of the loop until there is some, without a timer.
        """
        self._worker.slot.set_connections(connections)
        if has_room != self._has_room:
            self._has_room = has_room
            self._settle()

    def next_deadline(self) -> float:
        """Return when `tend` has something to do (monotonic seconds); infinity when nothing is due."""
        return self._paused_until

    def tend(self, now: float) -> None:
        """Put the listeners back if their time has come; ``now`` is monotonic."""
        if now >= self._paused_until:
            self._paused_until = math.inf
            self._settle()

    def owed(self) -> Iterator[Accepted]:
        """Take the listeners out for good, and yield what this worker still has to serve.

        When all of pyfork stops, that is everything that is queued; each of the workers accepts until nothing is left.
        Otherwise it is the one connection that it may have been woken for.
        """
        self.unwatch()
        self._has_room = False
        self._paused_until = math.inf
        for listener in self._listeners.values():
            allowed = _queue_length(listener) if self._worker.handoff.scoreboard.is_stopping else LAST_ACCEPTS
            while allowed > 0:
                allowed -= 1
                accepted = self._accept(listener)
                if accepted is None:
                    break
                yield accepted

    def _settle(self) -> None:
        if self._has_room and self._paused_until == math.inf:
            self.watch()
        else:
            self.unwatch()

    def _accept(self, listener: socket.socket) -> Accepted | None:
        """Return the next connection, or None when there is none to be had."""
        while True:
            try:
                connection, peer = listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in GONE_MEANWHILE:
                    continue
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                self._pause(error)
                return None
            return connection, peer, listener.fileno()

    def _pause(self, error: OSError) -> None:
        _log.error(
            "cannot accept: %s; trying again in %g s (the limit is RLIMIT_NOFILE, see `ulimit -n`)",
            error.strerror,
            DESCRIPTOR_PAUSE,
        )
        if self._has_room:
            self._paused_until = monotonic() + DESCRIPTOR_PAUSE
        self._settle()


def _queue_length(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, at least: those whose clients must not be lost at a stop.

    Where nobody can be kept from queueing anew (a filter needs privileges on some kernels), the queue as it is now
    bounds the stop. A unix socket's path is gone by now, so its queue ends by itself.
    """
    if listener.family != socket.AF_UNIX and hasattr(socket, "TCP_INFO"):
        information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED.stop)
        return int.from_bytes(information[_TCP_INFO_UNACKED], sys.byteorder)
    return MOST_QUEUED
