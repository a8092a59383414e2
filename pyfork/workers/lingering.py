"""Lingering close (RFC 9112, section 9.6).

Closing a socket that still has octets to read resets it, and the reset can destroy the answer before the client has
read it. So the writing side is shut down first, and the loop reads and forgets what
comes until the client closes too, the deadline passes or too much has come. It costs the worker a place in its epoll,
and nothing else.
"""

import contextlib
import math
import select
import socket
from time import monotonic

MOST_SOCKETS = 64
LINGER_TIMEOUT = 5.0
"""Seconds; nginx's lingering_timeout is 5 s as well."""
MOST_OCTETS = 16 * 1024 * 1024
"""A client that goes on sending beyond this is closed on: reading it for ever would be its attack."""
_READ = 65536


class LingeringSockets:
    """The sockets of one worker that have said all, and wait for their clients to have heard it.

    Args:
        epoll: the loop's; sockets are added to it and removed from it here.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._sockets: dict[int, tuple[socket.socket, float]] = {}
        self._octets: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, connection: socket.socket) -> None:
        """Take over a socket whose writing side is shut down; the oldest makes room if there are too many."""
        if len(self._sockets) >= MOST_SOCKETS:
            self._close(next(iter(self._sockets)))
        fd = connection.fileno()
        connection.setblocking(False)
        self._sockets[fd] = (connection, monotonic() + LINGER_TIMEOUT)
        self._octets[fd] = 0
        self._epoll.register(fd, select.EPOLLIN)

    def read(self, fd: int) -> None:
        """Read and forget what came on ``fd``; close it at its end."""
        if fd not in self._sockets:
            return
        connection, _ = self._sockets[fd]
        try:
            received = len(connection.recv(_READ))
        except BlockingIOError:
            return
        except OSError:  # reset by the client: it has gone
            received = 0
        self._octets[fd] += received
        if received == 0 or self._octets[fd] > MOST_OCTETS:
            self._close(fd)

    def sweep(self, now: float) -> None:
        """Close those whose time is up; ``now`` is monotonic."""
        for fd in [fd for fd, (_, deadline) in self._sockets.items() if deadline <= now]:
            self._close(fd)

    def next_deadline(self) -> float:
        """Return when the first one's time is up; infinity when there is none."""
        return next((deadline for _, deadline in self._sockets.values()), math.inf)

    def close(self) -> None:
        """Close them all."""
        for fd in list(self._sockets):
            self._close(fd)

    def _close(self, fd: int) -> None:
        connection, _ = self._sockets.pop(fd)
        del self._octets[fd]
        with contextlib.suppress(OSError):  # closing removes it from the epoll in any case
            self._epoll.unregister(fd)
        connection.close()
