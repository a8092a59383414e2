"""What a client has not taken yet: octets and regions of files, in the order of their sending.

One block of the application's is kept here as it is, because the application has it in memory already and is asked for
no more until the client has taken it. Only the ``write()`` of PEP 3333 cannot be held back: what it adds beyond
`MOST_KEPT` goes to a temporary file, and never makes a thread or a loop wait.
"""

import os
import socket
from collections import deque
from typing import IO

from pyfork.connection.sending import CANNOT_SENDFILE, FILE_TROUBLE, MSG_MORE, READ_SIZE, LayeredSocket
from pyfork.connection.spool import temporary_file
from pyfork.errors import ApplicationError, DisconnectedError
from pyfork.gateway.file_wrapper import FileRegion
from pyfork.gateway.wsgi import Sendable

MOST_KEPT = 512 * 1024
"""Octets that ``write()`` may leave in memory for one client."""
MOST_AT_ONCE = 1024 * 1024
"""Octets for one sendfile(2), and for one turn of the loop: others are waiting."""


class _OpenRegion:
    """A region of a file, with a descriptor of its own: the application may close the file meanwhile."""

    __slots__ = ("count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd = os.dup(fd)
        self.offset = offset
        self.count = count


class Outgoing:
    """The queue of one connection; what is in it has not been given to the kernel.

    Attributes:
        octets: those that are in memory.
    """

    __slots__ = ("_items", "_spilled", "_spilled_octets", "_spilled_region", "octets")

    def __init__(self) -> None:
        self._items: deque[memoryview | _OpenRegion] = deque()
        self._spilled: IO[bytes] | None = None
        self._spilled_region: _OpenRegion | None = None
        self._spilled_octets = 0
        self.octets = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def put(self, data: Sendable) -> None:
        """Add octets, or a region of a file with its head."""
        if isinstance(data, FileRegion):
            if data.head:
                self._keep(data.head)
            self._items.append(_OpenRegion(data.fd, data.offset, data.count))
        else:
            self._keep(data)

    def write(self, sock: socket.socket, data: bytes) -> None:
        """Send octets of ``write()`` behind what is here; keep what the client does not take.

        Raises:
            DisconnectedError, ApplicationError: as for `send_to`.
            OSError: there is no room for a temporary file, or a file cannot be read.
        """
        if self._items:
            self.send_to(sock)
        if not self._items:
            try:
                data = data[sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error
        if data:
            self.put_written(data)

    def put_written(self, data: bytes) -> None:
        """Add octets of ``write()``: to a temporary file if there are many already.

        Raises:
            OSError: there is no room for the file.
        """
        if self.octets + len(data) <= MOST_KEPT:
            self._keep(data)
            return
        if self._spilled is None:
            self._spilled = temporary_file(is_buffered=False)
        left = memoryview(data)
        while left:
            left = left[self._spilled.write(left) :]
        last = self._items[-1] if self._items else None
        if last is self._spilled_region and isinstance(last, _OpenRegion):  # one descriptor for all of it
            last.count += len(data)
        else:
            self._spilled_region = _OpenRegion(self._spilled.fileno(), self._spilled_octets, len(data))
            self._items.append(self._spilled_region)
        self._spilled_octets += len(data)

    def send_to(self, sock: socket.socket) -> int:
        """Send what the kernel takes, up to `MOST_AT_ONCE` octets; return how many.

        Raises:
            DisconnectedError: the client has gone.
            ApplicationError: a file became shorter meanwhile.
            OSError: a file cannot be read.
        """
        total = 0
        while self._items and total < MOST_AT_ONCE:
            item = self._items[0]
            sent = self._send_octets(sock, item) if isinstance(item, memoryview) else self._send_region(sock, item)
            if not sent:
                break
            total += sent
        return total

    def close(self) -> None:
        """Forget everything; the files are closed."""
        for item in self._items:
            if isinstance(item, _OpenRegion):
                os.close(item.fd)
        self._items.clear()
        self.octets = 0
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None
            self._spilled_region = None

    def _keep(self, data: bytes | memoryview) -> None:
        self._items.append(memoryview(data))
        self.octets += len(data)

    def _send_octets(self, sock: socket.socket, data: memoryview) -> int:
        try:
            sent = sock.send(data, MSG_MORE if len(self._items) > 1 else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise DisconnectedError(f"the client has gone: {error.strerror}") from error
        self.octets -= sent
        if sent == len(data):
            self._items.popleft()
        else:
            self._items[0] = data[sent:]
        return sent

    def _send_region(self, sock: socket.socket, region: _OpenRegion) -> int:
        if isinstance(sock, LayeredSocket):
            return self._read_region(region)
        count = min(region.count, MOST_AT_ONCE)
        try:
            sent = os.sendfile(sock.fileno(), region.fd, region.offset, count)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in FILE_TROUBLE:
                raise
            if error.errno not in CANNOT_SENDFILE:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error
            return self._read_region(region)
        if not sent:
            raise ApplicationError(f"a file became {region.count} octets shorter while it was sent")
        self._advance(region, sent)
        return sent

    def _read_region(self, region: _OpenRegion) -> int:
        """Put the next octets of a file that sendfile(2) cannot send before it; return 1, so that they are sent."""
        data = os.pread(region.fd, min(region.count, READ_SIZE), region.offset)
        if not data:
            raise ApplicationError(f"a file became {region.count} octets shorter while it was sent")
        self._advance(region, len(data))
        self._items.appendleft(memoryview(data))
        self.octets += len(data)
        return 1

    def _advance(self, region: _OpenRegion, sent: int) -> None:
        region.offset += sent
        region.count -= sent
        if not region.count:
            self._items.popleft()
            os.close(region.fd)
