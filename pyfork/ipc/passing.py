"""Messages with descriptors, over the control sockets (unix(7), SCM_RIGHTS).

The sockets are bare descriptors on both sides: an object that owned one would close its number again when it goes, in a
process that was forked meanwhile as well.

A message is sent whole or not at all (SOCK_SEQPACKET). What was sent and never received is closed by the kernel when
the receiver's end goes: a mold that dies over an order cannot keep a pipe from ending.

What does not work: ``socket.send_fds`` and ``recv_fds``, which take flags and forget them (Python 3.11).
"""

import array
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pyfork.ipc.orders import LONGEST_ORDER, MOST_DESCRIPTORS

_Socket, _close = socket.socket, os.close
"""The kernel's own, as this is imported in the arbiter: gevent replaces them in a mold. Its ``os.close`` waits for a
hub to run, and a pipe would not end meanwhile."""
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def control_pair() -> tuple[int, int]:
    """Return the two ends of a new control socket; neither outlives an ``exec``.

    Raises:
        OSError: there are no descriptors left.
    """
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return one.detach(), other.detach()


def send_message(fd: int, message: bytes, descriptors: Sequence[int]) -> None:
    """Send ``message`` with copies of ``descriptors``; never waits.

    Raises:
        OSError: the receiver has gone (EPIPE, ECONNRESET), or does not read (EAGAIN), or too many descriptors are on
            their way (ETOOMANYREFS).
    """
    with _borrowed(fd) as control:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        control.sendmsg([message], [rights], socket.MSG_DONTWAIT)


def receive_message(fd: int) -> tuple[bytes, list[int]]:
    """Return the next message and its descriptors, which are the caller's to close; never waits.

    The message is empty when the sender has gone. There are fewer descriptors than were sent when this process has none
    left.

    Raises:
        BlockingIOError: none has come.
        OSError: the connection was reset.
    """
    with _borrowed(fd) as control:
        space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
        message, ancillary, _, _ = control.recvmsg(LONGEST_ORDER, space, socket.MSG_DONTWAIT | _CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of ``descriptors``, now."""
    for fd in descriptors:
        _close(fd)


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """Lend ``fd`` to a socket object for the length of the ``with`` block."""
    control = _Socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
    try:
        yield control
    finally:
        control.detach()
