"""When a worker accepts: its listeners in its loop, and out of it. Every type's loop has one `Acceptor`.

Rules:

- Listeners are shared by all workers and watched with EPOLLEXCLUSIVE, so that a connection wakes one sleeping worker.
  A wake-up that is declined is lost, not passed on: whatever happened since, a woken worker accepts one at least.
- So whoever should not accept takes its listeners out of the loop *beforehand*, and the kernel wakes somebody else:
  a worker without room until it has some, one above its fair share (`balance`) until it is not, or for `PAUSE`, and
  one that is busy while another is not.
- Putting listeners back looks at the queue: what waits wakes the worker at once. It also puts the worker at the end of
  the kernel's list, so that whoever has just paused is woken last.
- Where a connection wakes everybody (no EPOLLEXCLUSIVE, or a poller that another one watches, as gevent's hub does),
  nothing is lost when one declines: a worker above its share pauses first, and accepts what still waits afterwards.
- Only a worker that has just accepted pauses; one that nobody visits has no timer. A pause that ends with a connection
  still waiting is a hint that the others do not accept, see `balance`.
- A worker that has no descriptor left was woken too, and nobody else will be for that client. It gives up a descriptor
  that it kept for this and serves the client with it, then pauses until it can have that descriptor again. (A client
  left in the queue would wait for the next connection to wake somebody, and one accepted and closed is lost.) An
  application that opens files may fail it with 500; so would the next one. At its limit a worker pauses for each
  connection that ends and leaves room for one: the error line is one in ten seconds, with the number of the pauses.

What does not work: to pass a wake-up on by putting the listener into the loop again (the kernel wakes whoever does it,
not the others), and EPOLL_CTL_MOD on an exclusive listener (EINVAL).
"""

import errno
import logging
import math
import os
import select
import socket
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

from pyfork.ipc.passing import close_all
from pyfork.process.queues import is_refused, known_queued, most_queued
from pyfork.workers.balance import PAUSE, Balance
from pyfork.workers.base import Worker

Accepted = tuple[socket.socket, object, int]
"""A connection (blocking, as the kernel gives it), its peer's address, and the descriptor of its listener."""

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
DESCRIPTOR_PAUSE = 0.5
"""Seconds without accepting after the kernel had no descriptor left, unless connections have ended before."""
COMPLAINT_INTERVAL = 10.0
"""Seconds between two error lines about that."""
STILL_WAITING = 0.001
"""Seconds after a pause within which a connection is taken for one that waited all the time."""
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
        is_nested: whether another poller watches ``poller``: a connection then wakes all workers.
    """

    def __init__(self, worker: Worker, poller: Poller, *, is_balanced: bool, is_nested: bool = False) -> None:
        self._set_connections = worker.slot.set_connections
        self._set_load = worker.slot.set_load
        self._scoreboard = worker.handoff.scoreboard
        self._poller = poller
        self._listeners = {listener.fileno(): listener for listener, _ in worker.sockets}
        self._is_balanced = is_balanced
        self._wakes_all = is_nested or not _EXCLUSIVE
        self._balance = Balance(worker.handoff.slot)
        if self._wakes_all:
            self._balance.at_once = 0  # all race for each connection: only exact shares hold the fastest back
        self._connections = 0
        self._is_serving = False
        self._is_watching = False
        self._is_open = False
        """This worker can take a connection, though it may leave it to others."""
        self._has_room = True
        self._is_unweighed = False
        """A connection came since the loads were last looked at."""
        self._is_busy = False
        self._is_pausing = False
        """This worker leaves connections to the others."""
        self._pause_ends = math.inf
        """When it puts its listeners back in any case; infinity when it does not pause, or only while it is busy."""
        self._returned_at = 0.0
        """When the last pause had lasted its time; 0.0 once that has been made use of."""
        self._spare = _open_spare()
        self._shortage_ends = math.inf
        """When to try for the spare descriptor again; infinity when nothing is wanting."""
        self._connections_at_shortage = 0
        self._shortages = 0  # not yet told of
        self._complain_at = -math.inf

    def __contains__(self, fd: object) -> bool:
        """Whether ``fd`` is a listener's."""
        return fd in self._listeners

    def limit_threads(self, threads: int) -> None:
        """Say how many connections can be served at the same time; no limit is assumed."""
        self._balance.at_once = threads

    def watch(self) -> None:
        """Begin to accept; the listeners are put into the loop."""
        self._is_serving = True
        self._settle()

    def unwatch(self) -> None:
        """Accept nothing until the next `watch`; the listeners are taken out of the loop, and nothing is due."""
        self._is_serving = False
        self._end_pause()

    def accept_from(self, fd: int) -> Iterator[Accepted]:
        """Yield what waits at the listener ``fd``: one if it is this worker's to take, then as many as it may have.

        The caller may stop early, after the first one: what is left is reported again.
        """
        if self._wakes_all and self._is_balanced and self._leaves_it():
            return
        listener = self._listeners[fd]
        while (accepted := self._accept(listener)) is not None:
            self._connections += 1
            self._is_unweighed = self._is_balanced
            self._tell()
            yield accepted
            if self._is_unweighed:
                self._weigh()
            if not self._is_watching:
                return

    def adjust(self, connections: int, *, has_room: bool, is_busy: bool = False) -> None:
        """Say how it stands; called after connections came or went, or one of the others changed. Cheap if none did.

        Args:
            connections: how many are open.
            has_room: whether another may come. Without room the listeners are out of the loop, without a timer.
            is_busy: another could only wait here (no thread is free): it is left to workers that are not busy, if there
                are any, without a timer: it would not be served before this worker is asked again.
        """
        is_fewer = connections < self._connections
        if connections != self._connections:
            self._connections = connections
            self._tell()
        if has_room != self._has_room or is_busy != self._is_busy:
            self._is_unweighed |= is_busy != self._is_busy and self._is_balanced
            self._has_room = has_room
            self._is_busy = is_busy
            self._settle()
        if is_fewer and self._shortage_ends < math.inf and connections < self._connections_at_shortage:
            self._end_shortage(monotonic())
        if self._is_unweighed or (self._is_pausing and (is_fewer or is_busy)):
            self._weigh()

    def next_deadline(self) -> float:
        """Return when `tend` has something to do (monotonic seconds); infinity when nothing is due."""
        return min(self._pause_ends, self._shortage_ends)

    def tend(self, now: float) -> None:
        """Put the listeners back if their time has come; ``now`` is monotonic."""
        if now >= self._pause_ends:
            self._returned_at = now
            self._end_pause()
        if now >= self._shortage_ends:
            self._end_shortage(now)

    def owed(self) -> Iterator[Accepted]:
        """Take the listeners out for good, and yield what this worker still has to serve.

        When all of pyfork stops, or a reload has removed the address, that is everything that is queued; each of the
        workers accepts until nothing is left. Otherwise it is the one connection that it may have been woken for.
        """
        self.unwatch()
        for listener in self._listeners.values():
            is_last = self._scoreboard.is_stopping or is_refused(listener)
            allowed = most_queued(listener) if is_last else LAST_ACCEPTS
            while allowed > 0 and (accepted := self._accept(listener)) is not None:
                allowed -= 1
                yield accepted

    def abandon(self) -> None:
        """Close what is not a listener, in a copy of the worker; the loop is not told."""
        if self._spare >= 0:
            close_all([self._spare])

    # Whether the listeners are in the loop.

    def _settle(self) -> None:
        """Have the listeners in the loop if nothing is against it, and out of it otherwise."""
        self._is_open = self._is_serving and self._has_room and self._shortage_ends == math.inf
        self._tell()
        is_wanted = self._is_open and not self._is_pausing
        if is_wanted == self._is_watching:
            return
        self._is_watching = is_wanted
        for fd in self._listeners:
            if is_wanted:
                self._poller.register(fd, _READABLE | _EXCLUSIVE)
            else:
                self._poller.unregister(fd)

    def _tell(self) -> None:
        self._set_connections(self._connections)
        if self._is_balanced:
            self._set_load(self._connections + 1 if self._is_open and not self._is_busy else 0)

    def _weigh(self) -> None:
        """Pause if this worker is above its share, and no longer if it is not."""
        if not self._is_open:
            return
        self._is_unweighed = False
        balance = self._balance
        loads = self._scoreboard.loads()
        now = monotonic()
        if self._returned_at:
            if now - self._returned_at < PAUSE:
                balance.note_missed(loads, now)
            self._returned_at = 0.0
        is_above = balance.is_above(loads, now)
        if is_above:  # what waits is asked for only if it matters
            is_above = balance.is_above(loads, now, max(1, sum(map(known_queued, self._listeners.values()))))
        if not is_above:
            if self._is_pausing:
                self._end_pause()
        elif self._is_busy:
            if not self._is_pausing or self._pause_ends < math.inf:
                self._begin_pause(math.inf)
        elif not self._is_pausing or self._pause_ends == math.inf:
            balance.begin_pause(loads)
            self._begin_pause(now + PAUSE)

    def _leaves_it(self) -> bool:
        """Return whether a connection that has woken everybody is left to the others, for a pause."""
        if not self._is_pausing and monotonic() - self._returned_at > STILL_WAITING:
            self._returned_at = 0.0
            self._weigh()
        return self._is_pausing

    def _begin_pause(self, ends: float) -> None:
        self._is_pausing = True
        self._pause_ends = ends
        self._settle()

    def _end_pause(self) -> None:
        self._is_pausing = False
        self._pause_ends = math.inf
        self._settle()

    # One connection.

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
                if self._give_up_spare(error):
                    continue
                return None
            return connection, peer, listener.fileno()

    def _give_up_spare(self, error: OSError) -> bool:
        """Begin to pause for want of descriptors; return whether there is one now for the connection that waits."""
        if self._shortage_ends == math.inf:
            now = monotonic()
            self._complain(error, now)
            self._shortage_ends = now + DESCRIPTOR_PAUSE
            self._connections_at_shortage = self._connections
            self._settle()
        if self._spare < 0:
            return False
        os.close(self._spare)
        self._spare = -1
        return True

    def _complain(self, error: OSError, now: float) -> None:
        self._shortages += 1
        if now >= self._complain_at:
            _log.error(
                "cannot accept: %s; trying again in %g s (the limit is RLIMIT_NOFILE, see `ulimit -n`)%s",
                error.strerror,
                DESCRIPTOR_PAUSE,
                f"; {self._shortages} times since this was last told" if self._shortages > 1 else "",
            )
            self._shortages = 0
            self._complain_at = now + COMPLAINT_INTERVAL

    def _end_shortage(self, now: float) -> None:
        self._spare = _open_spare()
        self._shortage_ends = now + DESCRIPTOR_PAUSE if self._spare < 0 else math.inf
        self._settle()


def _open_spare() -> int:
    """Return a descriptor that is good for nothing but to be given up, or -1 when there is none."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return -1
