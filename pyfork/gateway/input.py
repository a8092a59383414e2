"""``wsgi.input``: the request's body as a binary file (PEP 3333, "Input and Error Streams").

The body is pulled from the connection as the application reads, so nothing is stored but what the last pull brought
and the application has not taken. A read returns less than it was asked for only at the end of the body, as a file's
does: an application may count on that.
"""

from collections.abc import Callable, Iterator

from pyfork.gateway.trailers import Trailers


class InputStream:
    """The body of one request.

    Args:
        receive: returns the next octets of the body, b"" at its end. It may raise `RequestBodyError` or
            `DisconnectedError`, both of them ``OSError``, which reach the application; it is not called after the end.
        trailers: ``wsgi.trailers`` of a chunked body, filled by the time ``receive`` returns b""; None of another.
    """

    __slots__ = ("_buffer", "_is_ended", "_position", "_receive", "trailers")

    def __init__(self, receive: Callable[[], bytes], trailers: Trailers | None = None) -> None:
        self._receive = receive
        self.trailers = trailers
        self._buffer = b""
        self._position = 0
        self._is_ended = False

    def read(self, size: int | None = -1) -> bytes:
        """Return ``size`` octets, fewer only at the end of the body; all that are left if it is negative or None.

        Raises:
            RequestBodyError: the client sent what is no body, or too much, or too slowly.
            DisconnectedError: the client has gone.
        """
        parts = []
        if size is None or size < 0:
            parts.append(self._buffer[self._position :])
            while self._fill():
                parts.append(self._buffer)
            self._position = len(self._buffer)
            return b"".join(parts)
        while size > 0:
            if self._position == len(self._buffer) and not self._fill():
                break
            part = self._buffer[self._position : self._position + size]
            self._position += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def readline(self, size: int | None = -1) -> bytes:
        r"""Return up to and including the next ``\n``, but no more than ``size`` octets unless it is negative or None.

        Raises:
            RequestBodyError, DisconnectedError: as for `read`.
        """
        limit = -1 if size is None or size < 0 else size
        parts = []
        while limit != 0:
            if self._position == len(self._buffer) and not self._fill():
                break
            end = self._buffer.find(b"\n", self._position) + 1
            part = self._buffer[self._position : end or len(self._buffer)]
            if 0 <= limit < len(part):
                part = part[:limit]
            self._position += len(part)
            if limit > 0:
                limit -= len(part)
            parts.append(part)
            if part.endswith(b"\n"):
                break
        return b"".join(parts)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines that are left; stop after ``hint`` octets of whole lines if it is positive.

        Raises:
            RequestBodyError, DisconnectedError: as for `read`.
        """
        lines = []
        octets = 0
        for line in self:
            lines.append(line)
            octets += len(line)
            if hint is not None and 0 < hint <= octets:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _fill(self) -> bool:
        """Pull more octets into the buffer, which must be used up; return False at the end of the body."""
        if self._is_ended:
            return False
        self._buffer = b""
        self._position = 0
        self._buffer = self._receive()
        self._is_ended = not self._buffer
        return not self._is_ended


EMPTY_INPUT = InputStream(lambda: b"")
"""The body of every request that has none."""
