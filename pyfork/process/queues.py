"""How many connections wait at a listener, where the kernel tells."""

import ctypes
import os
import socket
import sys

MOST_QUEUED = 65536
"""More than any backlog, where the length of the queue cannot be asked for."""
_TCP_INFO_UNACKED = slice(24, 28)
"""``tcpi_unacked`` of struct tcp_info: for a listening socket, the length of its queue (linux/tcp.h)."""
_TCP_INFO_SACKED = slice(28, 32)
"""``tcpi_sacked`` of struct tcp_info: for a listening socket, how long its queue may be (linux/tcp.h)."""
_SO_GET_FILTER = 26
"""asm-generic/socket.h; without room for an answer, it tells how many instructions there are."""
_UNIX_SOCKETS = "/proc/net/unix"
_CONNECTING = b"02"
"""The state of a connection's other end that no process has accepted (``unix_seq_show`` in net/unix/af_unix.c)."""


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


def is_refused(listener: socket.socket) -> bool:
    """Whether the arbiter lets nothing new into the queue (`arbiter.listeners`); asked in a worker.

    Then what is queued is all that will ever be, and nobody but this process and its like will take it.
    """
    if listener.family == socket.AF_UNIX:
        path = listener.getsockname()
        return isinstance(path, str) and not os.path.lexists(path)
    if not hasattr(socket, "TCP_INFO"):
        return False
    instructions = ctypes.c_uint32(0)
    libc = ctypes.CDLL(None)
    libc.getsockopt(listener.fileno(), socket.SOL_SOCKET, _SO_GET_FILTER, None, ctypes.byref(instructions))
    information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SACKED.stop)
    return instructions.value > 0 or int.from_bytes(information[_TCP_INFO_SACKED], sys.byteorder) == 0


def count_queued(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, also at a unix socket; 0 where nobody can say (macOS).

    For a unix socket the kernel lists all those of the network namespace: some 10 microseconds and 1 for each.
    """
    if listener.family != socket.AF_UNIX:
        return known_queued(listener)
    try:
        with open(_UNIX_SOCKETS, "rb") as file:
            lines = file.read().splitlines()
    except OSError:  # no /proc, or no Linux
        return 0
    name = _listed_name(listener.getsockname())
    # Num RefCount Protocol Flags Type St Inode Path: proc(5); the path has what an accepted end would be bound to
    fields = (line.split(None, 7) for line in lines if line.endswith(name))
    return sum(len(field) == 8 and field[5] == _CONNECTING and field[7] == name for field in fields)


def _listed_name(address: str | bytes) -> bytes:
    """Return a unix socket's address as the kernel lists it: abstract names begin with @, and so do their zeros."""
    octets = address.encode(errors="surrogateescape") if isinstance(address, str) else address
    return octets.replace(b"\0", b"@")
