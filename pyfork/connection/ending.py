"""How a connection ends, so that the client gets the whole answer, or can tell that it did not.

Octets that are unread at close(2), or that come after it, have the kernel reset the connection and drop what it has
not delivered of the answer (RFC 9112, section 9.6). So the writing side is shut down first, and the worker reads and
forgets what comes (`pyfork.workers.lingering`). A unix socket delivers what was sent in any case.
"""

import contextlib
import socket
import struct

from pyfork.connection.sending import LayeredSocket, octets_unsent

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close(2) resets


def may_close_destroy(sock: socket.socket) -> bool:
    """Return whether the client has gone on sending (a pipelined request, say), or its answer is still on its way."""
    try:
        return bool(sock.recv(1))  # b"": it sends no more
    except BlockingIOError:  # nothing, as it should be
        return octets_unsent(sock) > 0 and sock.family != socket.AF_UNIX
    except OSError:  # the client has gone
        return False


def has_come(sock: socket.socket) -> bool:
    """Return whether there are octets to read."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:  # BlockingIOError: nothing; another: nobody
        return False


def has_news(sock: socket.socket) -> bool:
    """Return whether octets have come that nobody has looked at."""
    return sock.has_news() if isinstance(sock, LayeredSocket) else has_come(sock)


def shut_down(sock: socket.socket) -> bool:
    """Say that no more will be sent; return whether there is somebody to linger for."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # the client has reset the connection
        return False
    return True


def close_well(sock: socket.socket) -> None:
    """Close a connection whose client has been sent all: TLS has a word for that (RFC 8446, section 6.1)."""
    if isinstance(sock, LayeredSocket):
        with contextlib.suppress(OSError):  # the client has gone
            sock.shutdown(socket.SHUT_WR)
    sock.close()


def reset(sock: socket.socket) -> None:
    """Close a connection so that the client sees that its response is not whole."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()
