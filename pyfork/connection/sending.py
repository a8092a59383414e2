"""Sending on a non-blocking socket: at once if the client keeps up, or waiting for it.

While a response is sent, a stretch inside the application may be under way: its ``write()``, or the time between two
of its blocks. So whoever waits here stops the application's time, and starts it anew afterwards.
"""

import contextlib
import errno
import os
import socket
from time import monotonic

from pyfork.connection.context import WRITABLE, ConnectionContext
from pyfork.errors import ApplicationError, DisconnectedError
from pyfork.gateway.file_wrapper import FileRegion

MOST_SENT = 1 << 30
"""Octets for one sendfile(2); Linux stops at 2 GiB by itself."""
READ_SIZE = 64 * 1024
"""Octets for each read of a file that sendfile(2) cannot send."""
CANNOT_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOVERFLOW}
"""The file system cannot (FUSE, some network file systems), or the platform cannot."""
FILE_TROUBLE = {errno.EBADF, errno.EIO, errno.ENOMEM}
"""What sendfile(2) says when the file, and not the client, is the reason."""
MSG_MORE = getattr(socket, "MSG_MORE", 0)  # Linux


def send_all(sock: socket.socket, data: bytes | memoryview, context: ConnectionContext, flags: int = 0) -> None:
    """Send all of ``data`` on a non-blocking socket.

    Raises:
        DisconnectedError: the client has gone, or took nothing for ``write_timeout`` seconds.
    """
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
        wait_writable(sock, context)
        try:
            rest = rest[sock.send(rest, flags) :]
        except BlockingIOError:
            continue
        except OSError as error:
            raise DisconnectedError(f"the client has gone: {error.strerror}") from error


def send_region(sock: socket.socket, region: FileRegion, context: ConnectionContext) -> None:
    """Send a region of a file, with what goes before it; the file's own position stays where it is.

    Raises:
        DisconnectedError: the client has gone, or took nothing for ``write_timeout`` seconds.
        ApplicationError: the file became shorter meanwhile.
    """
    send_all(sock, region.head, context, MSG_MORE)  # the kernel puts the file into the same segment
    offset, left = region.offset, region.count
    while left:
        try:
            sent = _send_some(sock, region.fd, offset, left, context)
        except BlockingIOError:
            wait_writable(sock, context)
            continue
        if not sent:
            raise ApplicationError(f"a file became {left} octets shorter while it was sent")
        offset += sent
        left -= sent


def wait_writable(sock: socket.socket, context: ConnectionContext) -> None:
    """Wait until the client takes octets again.

    Raises:
        DisconnectedError: it took none for ``write_timeout`` seconds.
    """
    timeout = context.http.write_timeout
    context.progress.leave_application()
    if not context.wait(sock, WRITABLE, monotonic() + timeout):
        _silence(sock)
        raise DisconnectedError(f"the client took nothing for {timeout:g} s")
    context.progress.enter_application()


def _send_some(sock: socket.socket, fd: int, offset: int, count: int, context: ConnectionContext) -> int:
    try:
        return os.sendfile(sock.fileno(), fd, offset, min(count, MOST_SENT))
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in FILE_TROUBLE:
            raise
        if error.errno not in CANNOT_SENDFILE:
            raise DisconnectedError(f"the client has gone: {error.strerror}") from error
    data = os.pread(fd, min(count, READ_SIZE), offset)
    send_all(sock, data, context)
    return len(data)


def _silence(sock: socket.socket) -> None:
    """Let every later attempt to send fail at once: the application may catch the error, and go on."""
    with contextlib.suppress(OSError):  # the client has reset the connection by now: sending fails already
        sock.shutdown(socket.SHUT_RDWR)
