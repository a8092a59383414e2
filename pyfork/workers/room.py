"""Room for others, in a worker that has as many connections as it may.

Its listeners are out of its loop then, so nothing wakes it when somebody comes: it looks at the queues ten times a
second. While somebody waits there, it ends some of the connections that have been idle or slow for the longest; which,
the connections know. Without that, a few thousand silent clients would keep everybody out until their deadlines.
"""

import math
from collections.abc import Sequence
from socket import socket

from pyfork.ipc.messages import Listener
from pyfork.process.queues import count_queued

ROOM_INTERVAL = 0.1
"""Seconds between two looks."""
_PARTS = 16
"""Of a worker's connections, this part may be ended at once: those who come want to be served, and not only let in."""


class Room:
    """When to make room, and how much.

    Args:
        sockets: the worker's listeners.
        limit: ``workers.connections``.

    Attributes:
        most: how many connections may be ended at once.
    """

    __slots__ = ("_limit", "_look_at", "_sockets", "most")

    def __init__(self, sockets: Sequence[tuple[socket, Listener]], limit: int) -> None:
        self._sockets = sockets
        self._limit = limit
        self._look_at = 0.0
        self.most = 1 + limit // _PARTS

    def next_deadline(self, count: int) -> float:
        """Return when to ask `is_wanted`, having ``count`` connections (monotonic seconds); infinity: not at all."""
        return self._look_at if count >= self._limit else math.inf

    def is_wanted(self, count: int, now: float) -> bool:
        """Return whether room is to be made now, having ``count`` connections; ``now`` is monotonic."""
        if count < self._limit or now < self._look_at:
            return False
        self._look_at = now + ROOM_INTERVAL
        return any(count_queued(listener) for listener, _ in self._sockets)
