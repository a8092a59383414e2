"""How many connections wait at a listener, where the kernel tells."""

import socket
import sys

MOST_QUEUED = 65536
"""More than any backlog, where the length of the queue cannot be asked for."""
_TCP_INFO_UNACKED = slice(24, 28)
"""``tcpi_unacked`` of struct tcp_info: for a listening socket, the length of its queue (linux/tcp.h)."""


def known_queued(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted; 0 where that cannot be asked for (unix sockets, macOS)."""
    if listener.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
        return 0
    information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_UNACKED.stop)
    return int.from_bytes(information[_TCP_INFO_UNACKED], sys.byteorder)


def most_queued(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, at least: those whose clients must not be lost at a stop.

    Where nobody can be kept from queueing anew (a filter needs privileges on some kernels), the queue as it is now
    bounds the stop. A unix socket's path is gone by now, so its queue ends by itself.
    """
    if listener.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
        return MOST_QUEUED
    return known_queued(listener)
