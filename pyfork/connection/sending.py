"""Sending on a non-blocking socket: at once if the client keeps up, or waiting for it.

While a response is sent, a stretch inside the application may be under way: its ``write()``, or the time between two
of its blocks. So whoever waits here stops the application's time, and starts it anew afterwards.
"""

import contextlib
import errno
import fcntl
import os
import socket
import sys
import termios
from time import monotonic

from pyfork.connection.context import WRITABLE, Line
from pyfork.connection.patience import slow_reader
from pyfork.errors import ApplicationError, DisconnectedError
from pyfork.gateway.file_wrapper import FileRegion

MOST_SENT = 8 << 20
"""Octets for one sendfile(2): from a slow disk to a fast client more would be one long silence."""
READ_SIZE = 64 * 1024
"""Octets for each read of a file that sendfile(2) cannot send."""
CANNOT_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOVERFLOW}
"""The file system cannot (FUSE, some network file systems), or the platform cannot."""
FILE_TROUBLE = {errno.EBADF, errno.EIO, errno.ENOMEM}
"""What sendfile(2) says when the file, and not the client, is the reason."""
MSG_MORE = getattr(socket, "MSG_MORE", 0)  # Linux
_INT = bytes(4)  # for ioctl(2) to write into


class LayeredSocket:
    """What stands for a socket, and makes other octets of those that it is given: the kernel can send it no file."""

    __slots__ = ()

    def has_news(self) -> bool:
        """Return whether anything has come that nobody has looked at: the beginning of a record is old."""
        raise NotImplementedError

    def break_off(self) -> None:
        """Send and receive no more, without a word that could pass for a good end."""
        raise NotImplementedError


def send_all(line: Line, data: bytes | memoryview, flags: int = 0) -> None:
    """Send all of ``data``.

    Raises:
        DisconnectedError: the client has gone, or took nothing for ``write_timeout`` seconds.
    """
    sock = line.sock
    try:
        sent = sock.send(data, flags)
    except BlockingIOError:
        sent = 0
    except OSError as error:
        raise DisconnectedError(f"the client has gone: {error.strerror}") from error
    if sent == len(data):
        return
    rest = memoryview(data)[sent:]
    while rest:
        wait_writable(line)
        try:
            rest = rest[sock.send(rest, flags) :]
        except BlockingIOError:
            continue
        except OSError as error:
            raise DisconnectedError(f"the client has gone: {error.strerror}") from error


def send_region(line: Line, region: FileRegion) -> None:
    """Send a region of a file, with what goes before it; the file's own position stays where it is.

    Raises:
        DisconnectedError: the client has gone, or took nothing for ``write_timeout`` seconds.
        ApplicationError: the file became shorter meanwhile.
    """
    send_all(line, region.head, MSG_MORE)  # the kernel puts the file into the same segment
    offset, left = region.offset, region.count
    while left:
        try:
            sent = _send_some(line, region.fd, offset, left)
        except BlockingIOError:
            wait_writable(line)
            continue
        if not sent:
            raise ApplicationError(f"a file became {left} octets shorter while it was sent")
        offset += sent
        left -= sent
        line.progress.enter_application()  # progress, though the client never made us wait
        line.context.give_way()


def wait_writable(line: Line) -> None:
    """Wait until the kernel takes octets again.

    It does so only when a good part of its buffer is free (on Linux a third), which may be megabytes. A slow client
    needs longer than ``write_timeout`` for those, so what it has taken meanwhile is asked for as well.

    Raises:
        DisconnectedError: the client took none for ``write_timeout`` seconds, or too few.
    """
    sock, context = line.sock, line.context
    timeout = context.http.write_timeout
    line.progress.leave_application()
    before = octets_unsent(sock)
    while not context.wait(sock, WRITABLE, monotonic() + timeout):
        now = octets_unsent(sock)
        error = slow_reader(context.http, before - now, timeout)
        if error is not None:
            silence(sock)
            raise error
        before = now
    line.progress.enter_application()


def octets_unsent(sock: socket.socket) -> int:
    """Return how much the kernel still holds of what was sent: what the client's kernel has not acknowledged.

    Of a unix socket it is memory rather than octets, and shrinks as the client reads. 0 where the kernel cannot say.
    """
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _INT), sys.byteorder)  # SIOCOUTQ, tcp(7)
    except OSError:
        return 0


def _send_some(line: Line, fd: int, offset: int, count: int) -> int:
    if not isinstance(line.sock, LayeredSocket):
        try:
            return os.sendfile(line.sock.fileno(), fd, offset, min(count, MOST_SENT))
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in FILE_TROUBLE:
                raise
            if error.errno not in CANNOT_SENDFILE:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error
    data = os.pread(fd, min(count, READ_SIZE), offset)
    send_all(line, data)
    return len(data)


def silence(sock: socket.socket) -> None:
    """Let every later attempt to send fail at once: the application may catch the error, and go on."""
    with contextlib.suppress(OSError):  # the client has reset the connection by now: sending fails already
        if isinstance(sock, LayeredSocket):
            sock.break_off()
        else:
            sock.shutdown(socket.SHUT_RDWR)
