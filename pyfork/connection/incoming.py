"""A request's body that is read whole before the application runs: in memory, and beyond a size in a temporary file."""

import contextlib
import logging
from typing import IO

from pyfork.connection.spool import temporary_directory, temporary_file
from pyfork.errors import ProtocolError
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.gateway.trailers import Trailers, offered
from pyfork.http1.request import EndOfMessage, Event

MOST_IN_MEMORY = 512 * 1024
"""Octets; waitress draws the line at 512 KiB as well."""
_log = logging.getLogger("pyfork.error")
_READ_SIZE = 64 * 1024

BODY_READ = 64 * 1024
"""Octets for each read of a body: it has been announced, so this is no reading ahead."""


class IncomingBody:
    """Collects one body as it comes.

    Args:
        is_chunked: whether trailers may follow it.

    Attributes:
        octets: how many have come.
    """

    __slots__ = ("_file", "_pieces", "_trailers", "octets")

    def __init__(self, *, is_chunked: bool = False) -> None:
        self._trailers: Trailers | None = [] if is_chunked else None
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.octets = 0

    def add(self, data: bytes) -> None:
        """Take the next octets.

        Raises:
            OSError: the temporary file cannot be written.
        """
        self.octets += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._pieces.append(data)
        if self.octets > MOST_IN_MEMORY:
            self._file = temporary_file()
            self._file.writelines(self._pieces)
            self._pieces.clear()

    def take(self, events: list[Event]) -> InputStream | ProtocolError | None:
        """Take what the parser says of the body; return `open` when it is whole, or why the request is refused."""
        try:
            for event in events:
                if isinstance(event, bytes):
                    self.add(event)
                elif isinstance(event, EndOfMessage):
                    if event.trailers and self._trailers is not None:
                        self._trailers += offered(event.trailers)
                    return self.open()
                elif isinstance(event, ProtocolError):
                    return event
        except OSError as error:
            _log.error("cannot keep a request's body: %s (the directory is %s)", error, temporary_directory())
            return ProtocolError(500, "There is no room for the request's body")
        return None

    def open(self) -> InputStream:
        """Return ``wsgi.input``; the body is complete.

        Raises:
            OSError: the temporary file cannot be written.
        """
        if self._file is not None:
            file = self._file
            file.seek(0)
            return InputStream(lambda: file.read(_READ_SIZE), self._trailers)
        if not self.octets and self._trailers is None:
            return EMPTY_INPUT
        pieces = [b"".join(self._pieces)]
        self._pieces.clear()
        return InputStream(lambda: pieces.pop() if pieces else b"", self._trailers)

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # the disk is full: close() tries once more to write what it holds
                self._file.close()
            self._file = None
