"""Room for others, in a worker that has as many connections as it may.

Its listeners are out of its loop then, so nothing wakes it when somebody comes: it looks at the queues every 25 ms.
As many as wait there take the places of connections that have been idle or slow for the longest, or have taken the
least; which, the connections know. Without that, a few thousand silent clients would keep everybody out until their
deadlines.

A worker with room does not look at all. One without looks at each of its connections when somebody waits, and asks the
kernel about each reader that may yield, for less than 10 us each: the more places it has, the more seldom it looks.
"""

import math
from collections.abc import Sequence
from socket import socket

from pyfork.ipc.messages import Listener
from pyfork.process.queues import count_queued

SHORTEST_INTERVAL = 0.025
LONGEST_INTERVAL = 0.1
"""Seconds between two looks."""
_INTERVAL_EACH = 0.00001
"""Seconds between two looks, for each place."""
_PARTS = 16
"""Of a worker's connections, this part may be ended at once: those who come want to be served, and not only let in."""


class Room:
    """When to make room, and how much.

    Args:
        sockets: the worker's listeners.
        limit: ``workers.connections``.

    Attributes:
        interval: seconds between two looks.
        most: how many connections may be ended at once.
    """

    __slots__ = ("_limit", "_look_at", "_sockets", "interval", "most")

    def __init__(self, sockets: Sequence[tuple[socket, Listener]], limit: int) -> None:
        self._sockets = sockets
        self._limit = limit
        self._look_at = 0.0
        self.interval = min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, limit * _INTERVAL_EACH))
        self.most = 1 + limit // _PARTS

    def next_deadline(self, count: int) -> float:
        """Return when to ask `wanted`, having ``count`` connections (monotonic seconds); infinity: not at all."""
        return self._look_at if count >= self._limit else math.inf

    def wanted(self, count: int, now: float) -> int:
        """Return how many of ``count`` connections are to end now, for those who wait; ``now`` is monotonic.

        Workers that share a listener all count those who wait at it. They do not look at the same moment, and whoever
        looks first has let them in before the next one looks.
        """
        if count < self._limit or now < self._look_at:
            return 0
        self._look_at = now + self.interval
        return min(self.most, sum(count_queued(listener) for listener, _ in self._sockets))
