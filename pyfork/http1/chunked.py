"""The chunked transfer coding (RFC 9112 section 7.1), up to its last octet and not one further."""

from httptools import HttpParserError, HttpRequestParser

from pyfork.errors import ProtocolError
from pyfork.http1.limits import FRAMING_PER_CHUNK, MAX_FRAMING, Limits
from pyfork.http1.request import Headers

_PRIMER = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
"""A head that carries nothing but the framing: llhttp decodes chunks only behind one."""

_END = b"\r\n\r\n"
"""How a chunked body ends: always so, and no octet of it can be told from content by looking."""


class _Sink:
    """Where llhttp puts what it finds; it does not know the tokenizer, so that both go without the collector."""

    __slots__ = ("chunks", "is_complete", "limits", "octets", "parts", "problem", "trailers")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parts: list[bytes] = []
        self.octets = 0
        self.chunks = 0
        self.trailers: Headers = []
        self.is_complete = False
        self.problem: ProtocolError | None = None

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_body(self, octets: bytes) -> None:
        self.octets += len(octets)
        self.parts.append(octets)
        most = self.limits.body
        if most is not None and self.octets > most:
            self.parts[-1] = octets[: most - self.octets]
            self._refuse(413, "The content is larger than allowed")

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip()
        if len(self.trailers) == self.limits.fields:
            self._refuse(431, "There are more trailer fields than allowed")
        if len(name) + len(value) + 1 > self.limits.field_size:
            self._refuse(431, "A trailer field is larger than allowed")
        self.trailers.append((name, value))

    def on_message_complete(self) -> None:
        self.is_complete = True

    def _refuse(self, status: int, detail: str) -> None:
        self.problem = ProtocolError(status, detail)
        raise self.problem


class ChunkedBody:
    """Decodes one chunked body with an llhttp of its own.

    llhttp neither stops at the end of a message nor says where it was, so it is fed up to each empty line: a body
    can only end there.

    Args:
        limits: of which body, fields and field_size (for trailers) count here.
    """

    __slots__ = ("_excused", "_feed", "_framing", "_grid", "_sink", "_tail")

    def __init__(self, limits: Limits) -> None:
        self._sink = _Sink(Limits())
        tokenizer = HttpRequestParser(self._sink)
        tokenizer.feed_data(_PRIMER)
        self._sink.trailers.clear()  # the primer's own field, which no limit of the operator's concerns
        self._sink.limits = limits
        self._feed = tokenizer.feed_data
        self._tail = b""  # the last octets fed: an empty line may come in pieces
        self._grid = MAX_FRAMING  # octets to the next line of the grid
        self._excused = 0  # framing that chunks and content before the last line of the grid excuse, and the content
        self._framing = 0  # octets in excess of that, at the last line of the grid

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk and the trailers have been read."""
        return self._sink.is_complete

    @property
    def trailers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The trailer fields that are complete."""
        return tuple(self._sink.trailers)

    def take_content(self) -> bytes:
        """Return the content decoded since the last call."""
        content = b"".join(self._sink.parts)
        self._sink.parts.clear()
        return content

    def feed(self, buffer: bytes, start: int) -> int:
        """Decode `buffer` from `start`; return where it went to, which is the body's end if `is_complete`.

        Raises:
            ProtocolError: 400, 413 or 431; content before the breach can still be taken.
        """
        first = start
        empty_line = self._find_empty_line(buffer, start)
        while start < len(buffer) and not self._sink.is_complete:
            stop = min(empty_line, start + self._grid)
            try:
                self._feed(buffer[start:stop])
            except HttpParserError as error:
                raise self._sink.problem or ProtocolError(400, str(error)) from None
            self._watch_grid(stop - start)
            start = stop
            if start == empty_line:
                empty_line = _behind_empty_line(buffer, start)
        self._tail = (self._tail + buffer[max(first, start - 3) : start])[-3:]
        return start

    def _find_empty_line(self, buffer: bytes, start: int) -> int:
        """Return the place behind the next empty line, which may have begun in an earlier buffer."""
        seam = (self._tail + buffer[start : start + 3]).find(_END)
        if seam >= 0:
            return start + seam + len(_END) - len(self._tail)
        return _behind_empty_line(buffer, start)

    def _watch_grid(self, octets: int) -> None:
        self._grid -= octets
        if self._grid == 0 and not self._sink.is_complete:
            excused = 2 * self._sink.octets + FRAMING_PER_CHUNK * self._sink.chunks
            self._framing = max(0, self._framing + MAX_FRAMING - (excused - self._excused))
            if self._framing >= MAX_FRAMING:
                raise ProtocolError(400, "The chunked body has more framing than content")
            self._excused = excused
            self._grid = MAX_FRAMING


def _behind_empty_line(buffer: bytes, start: int) -> int:
    place = buffer.find(_END, start)
    return len(buffer) if place < 0 else place + len(_END)
