"""Lingering close (RFC 9112, section 9.6).

Closing a socket that still has octets to read resets it, and the reset can destroy the answer before the client has
read it. So the writing side is shut down first, and the loop reads and forgets what comes until the client closes too,
sends nothing for `IDLE_TIMEOUT`, or has had `LINGER_TIMEOUT` in all. It costs the worker a place in its epoll, and
nothing else. What comes while the worker is busy with a request waits in the kernel, and is read before anything is
closed for being late.
"""

import contextlib
import math
import socket
from dataclasses import dataclass
from time import monotonic

from pyfork.connection.context import READABLE
from pyfork.workers.poller import Poller

MOST_SOCKETS = 64
"""At once, in a worker that serves one connection at a time."""
MOST_OF_MANY = 1024
"""At once, in a worker that holds many: it may have to refuse as many."""
IDLE_TIMEOUT = 5.0
"""Seconds without an octet from the client; nginx's lingering_timeout is 5 s as well."""
LINGER_TIMEOUT = 30.0
"""Seconds in all: reading a client for ever would be its attack. nginx's lingering_time is 30 s."""
HURRIED_TIMEOUT = 1.0
"""Seconds, in place of both, for a worker that is told to end."""
_READ = 65536
_MOST_READS = 16
"""Reads of one socket in a row, so that a fast client does not keep the loop from its work."""


@dataclass(slots=True)
class _Lingering:
    connection: socket.socket
    idle_deadline: float
    deadline: float


class LingeringSockets:
    """The sockets of one worker that have said all, and wait for their clients to have heard it.

    Args:
        epoll: the loop's; sockets are added to it and removed from it here.
        most: how many there may be; beyond that the oldest is closed.
    """

    def __init__(self, epoll: Poller, most: int = MOST_SOCKETS) -> None:
        self._epoll = epoll
        self._most = most
        self._sockets: dict[int, _Lingering] = {}
        self._sweep_at = math.inf  # no deadline is earlier
        self._longest = LINGER_TIMEOUT

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, connection: socket.socket) -> None:
        """Take over a socket whose writing side is shut down; the oldest makes room if there are too many."""
        if len(self._sockets) >= self._most:
            self._close(next(iter(self._sockets)))
        now = monotonic()
        lingering = _Lingering(connection, now + IDLE_TIMEOUT, now + self._longest)
        self._sweep_at = min(self._sweep_at, lingering.idle_deadline, lingering.deadline)
        connection.setblocking(False)
        self._sockets[connection.fileno()] = lingering
        self._epoll.register(connection.fileno(), READABLE)

    def read(self, fd: int) -> None:
        """Read and forget what came on ``fd``; close it at its end."""
        lingering = self._sockets.get(fd)
        if lingering is None:
            return
        try:
            for _ in range(_MOST_READS):
                if not lingering.connection.recv(_READ):
                    self._close(fd)
                    return
                lingering.idle_deadline = monotonic() + IDLE_TIMEOUT
        except BlockingIOError:
            return
        except OSError:  # reset by the client: it has gone
            self._close(fd)

    def sweep(self, now: float) -> None:
        """Close those whose time is up, after a last look at what they sent; ``now`` is monotonic."""
        if now < self._sweep_at:
            return
        for fd in [fd for fd, one in self._sockets.items() if min(one.idle_deadline, one.deadline) <= now]:
            self.read(fd)
            lingering = self._sockets.get(fd)
            if lingering is not None and min(lingering.idle_deadline, lingering.deadline) <= now:
                self._close(fd)
        self._sweep_at = min((min(one.idle_deadline, one.deadline) for one in self._sockets.values()), default=math.inf)

    def hurry(self) -> None:
        """Leave the clients little time from now on, those to come too, because the worker is to end."""
        self._longest = HURRIED_TIMEOUT
        deadline = monotonic() + HURRIED_TIMEOUT
        self._sweep_at = min(self._sweep_at, deadline)
        for lingering in self._sockets.values():
            lingering.deadline = min(lingering.deadline, deadline)

    def next_deadline(self) -> float:
        """Return when to sweep next; infinity when there is none."""
        return self._sweep_at if self._sockets else math.inf

    def abandon(self) -> None:
        """Close them in a copy of the worker, whose loop is the worker's: it is not told."""
        for lingering in self._sockets.values():
            lingering.connection.close()

    def close(self) -> None:
        """Close them all."""
        for fd in list(self._sockets):
            self._close(fd)

    def _close(self, fd: int) -> None:
        lingering = self._sockets.pop(fd)
        with contextlib.suppress(OSError):  # closing removes it from the epoll in any case
            self._epoll.unregister(fd)
        lingering.connection.close()
