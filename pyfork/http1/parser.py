"""Octets in, events out: the requests of one connection, one at a time.

The rules:

- A call of `feed` never goes past the end of a message. What lies behind it is kept as it came, and not looked at
  before the next call: so nobody reads ahead of the request being served, whatever a client pipelines, and a message
  always begins at a place that is known. (That is how methods that llhttp does not know can be served.)
- Two ways lead through a head. The short one (`short_way.py`) takes a head that is whole, small and ordinary, at one
  go and without llhttp. Anything else goes the long way, line by line, where each octet is counted and each refusal is
  made. The long way alone decides: what is not taken on the short one is started anew on the long one. So the events
  do not depend on how the network cut the octets.
- The tokenizer sees heads only (`tokenizer.py` says why), and only on the long way; a body is framed here or in
  `chunked.py`.
- Between messages an idle parser holds no octet of the last.
- After a refusal, or after a request that ends the connection, nothing is parsed any more.
"""

from enum import Enum
from typing import ClassVar

from pyfork.errors import ProtocolError
from pyfork.http1.chunked import ChunkedBody
from pyfork.http1.head import TOKEN_OCTETS, build_request, read_request_line
from pyfork.http1.limits import MAX_EMPTY_LINES, Limits
from pyfork.http1.request import END_OF_MESSAGE, EndOfMessage, Event, Request
from pyfork.http1.short_way import take_head
from pyfork.http1.tokenizer import HeadTokenizer

_CR = 0x0D
_END = b"\r\n\r\n"
_BARE_CR = "There is a CR without its LF"  # RFC 9112 section 2.2


class _Phase(Enum):
    """What the next octet belongs to."""

    START = "a request line, or an empty line before one"
    FIELDS = "a field line, or the empty line that ends the head"
    LENGTH = "content of known length"
    CHUNKS = "a chunked body"
    CLOSED = "nothing: the client was refused, or its last request has been read"


_START = _Phase.START  # a global is found faster than an enum's member


class RequestParser:
    """Parses what one client sends on one connection.

    Args:
        limits: what a request may weigh.

    Attributes:
        is_idle: the parser is between messages and has not one octet of the next.
        leftover: octets that were fed and that no event speaks of: yet or, once closed, ever.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_ignored",
        "_is_at_eof",
        "_keep_alive",
        "_limits",
        "_line",
        "_lines",
        "_phase",
        "_position",
        "_remaining",
        "_request_line",
        "_short_head",
        "_tokenizer",
        "is_idle",
        "leftover",
    )

    _chunked: ChunkedBody
    _tokenizer: HeadTokenizer

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._short_head = min(limits.request_line, limits.field_size)  # no line in it can be too long
        self._phase = _START
        self._buffer = b""  # octets fed; those before _position are dealt with
        self._position = 0
        self._line = bytearray()  # what has come of a line that is not complete
        self._lines = 0  # complete lines: empty ones before a head, fields in it
        self._request_line = b""
        self._keep_alive = True  # may another request follow this one?
        self._remaining = 0  # octets of content still to come
        self._ignored = 0  # octets fed after the end
        self._is_at_eof = False
        self.is_idle = True
        self.leftover = 0

    @property
    def is_closed(self) -> bool:
        """Whether no event will follow any more."""
        return self._phase is _Phase.CLOSED

    @property
    def is_reading_content(self) -> bool:
        """Whether a request has been returned and its end has not."""
        return self._phase is _Phase.LENGTH or self._phase is _Phase.CHUNKS

    @property
    def method(self) -> str:
        """The method in front of the head that is being read or was refused, as it was sent; "" if there is none yet.

        Whoever answers a refusal needs it: HEAD gets no content (RFC 9110 section 9.3.2).
        """
        line = self._request_line or self._line + self._buffer[self._position :]
        method, space, _ = line.partition(b" ")
        return method.decode("latin-1") if space else ""

    def feed(self, data: bytes) -> list[Event]:
        """Take octets from the client and return what they mean, up to the end of one message at most.

        ``feed(b"")`` goes on with what an earlier call has left over. Nothing is raised.

        Args:
            data: octets as they came, at best no more than `limits.MAX_FEED` of them.

        Returns:
            The events in order. An `EndOfMessage` or a `ProtocolError` is the last of its list.
        """
        if self._buffer:
            self._buffer = self._buffer[self._position :] + data
            self._position = 0
        elif self._phase is _START and not self._line and data[-4:] == _END and len(data) <= self._short_head:
            request = take_head(data, self._limits)
            if request is not None:
                if request.keep_alive and not request.content_length and not request.is_chunked and not self._lines:
                    return [request, END_OF_MESSAGE]  # nearly every request; nothing here has changed
                return self._begin_short_content(request)
            self._buffer = data
        else:
            self._buffer = data
        events: list[Event] = []
        if self._phase is not _START or self._line or not self._take_short_head(events):
            self._take_long_way(events)
        if self._position == len(self._buffer):
            self._buffer = b""
            self._position = 0
        self._take_stock()
        return events

    def _take_stock(self) -> None:
        """Keep what is asked for with each request where it is found fastest."""
        self.leftover = self._ignored + len(self._line) + len(self._buffer) - self._position
        self.is_idle = self._phase is _START and not self.leftover

    def feed_eof(self) -> list[Event]:
        """Say that the client sends no more, and return what that means.

        A request that it has not completed is refused with a 400. If octets are left over, the events are those of
        the next message in them, and the end takes effect when all is parsed.
        """
        self._is_at_eof = True
        return self.feed(b"")

    def _take_short_head(self, events: list[Event]) -> bool:
        """Take a head that is whole, small and ordinary; say whether that was all there is."""
        start = self._position
        end = self._buffer.find(_END, start) + 4
        if not 4 < end - start <= self._short_head:
            return False
        request = take_head(self._buffer[start:end], self._limits)
        if request is None:
            return False
        self._position = end
        events += self._begin_short_content(request)
        return len(events) == 2

    def _begin_short_content(self, request: Request) -> list[Event]:
        """Return the events of a head that went the short way: two, if that is the whole message."""
        self._lines = 0
        if request.keep_alive and not request.content_length and not request.is_chunked:
            return [request, END_OF_MESSAGE]
        events: list[Event] = [request]
        self._begin_content(request, events)
        self.is_idle = self._phase is _START
        return events

    def _begin_content(self, request: Request, events: list[Event]) -> bool:
        """Prepare for what follows a head; say whether that is the end of the message."""
        self._keep_alive = request.keep_alive
        if request.is_chunked:
            self._chunked = ChunkedBody(self._limits)
            self._phase = _Phase.CHUNKS
        elif request.content_length:
            self._remaining = request.content_length
            self._phase = _Phase.LENGTH
        else:
            return self._end_message(END_OF_MESSAGE, events)
        return False

    def _end_message(self, end: EndOfMessage, events: list[Event]) -> bool:
        events.append(end)
        self._phase = _START if self._keep_alive else _Phase.CLOSED
        return True

    def _take_long_way(self, events: list[Event]) -> None:
        """Parse the buffer up to the end of a message, of the buffer, or of our patience."""
        try:
            has_ended = False
            while not has_ended and self._position < len(self._buffer):
                has_ended = self._STEPS[self._phase](self, events)
            if self._is_at_eof and not has_ended:
                self._take_eof()
        except ProtocolError as error:
            self._phase = _Phase.CLOSED
            # A new one: that which was raised holds frames, which hold `events`, which would hold it.
            events.append(ProtocolError(error.status, error.detail))

    def _take_eof(self) -> None:
        if self._phase is not _Phase.CLOSED and (self._phase is not _START or self._line):
            raise ProtocolError(400, "The request is not complete")
        self._phase = _Phase.CLOSED

    def _read_request_line(self, _events: list[Event]) -> bool:
        """START: take a request line, or an empty line before it (RFC 9112 section 2.2)."""
        self._request_line = b""
        if not self._line:
            first = self._buffer[self._position]
            if first not in TOKEN_OCTETS and first != _CR:
                raise ProtocolError(400, "The request does not begin with a method (TLS on a plain port?)")
        line = self._take_line(self._limits.request_line, 414, "The request line")
        if line is None:
            return False
        if line == b"\r\n":
            self._lines += 1
            if self._lines > MAX_EMPTY_LINES:
                raise ProtocolError(400, "There are too many empty lines before the request")
            return False
        if not line.endswith(b"\r\n"):
            self._request_line = line[:-1]  # whose method is known
            raise ProtocolError(400, "The request line does not end with CRLF")
        self._request_line = line[:-2]
        _, target, _ = read_request_line(self._request_line)
        self._tokenizer = HeadTokenizer(target)
        self._lines = 0
        self._phase = _Phase.FIELDS
        return False

    def _read_field(self, events: list[Event]) -> bool:
        """FIELDS: take a field line, or the empty line behind the last."""
        line = self._take_line(self._limits.field_size, 431, "A header field")
        if line is None:
            return False
        if line != b"\r\n":
            self._lines += 1
            if self._lines > self._limits.fields:
                raise ProtocolError(431, "There are more header fields than allowed")
            self._tokenizer.feed_field(line)
            return False
        self._tokenizer.feed(line)
        self._lines = 0
        headers = self._tokenizer.take_headers()
        del self._tokenizer  # an idle connection needs none
        request = build_request(self._request_line, headers, self._limits)
        events.append(request)
        return self._begin_content(request, events)

    def _take_line(self, limit: int, status: int, subject: str) -> bytes | None:
        """Take a line with its LF, or what there is of it (None)."""
        buffer, start = self._buffer, self._position
        room = limit + 2 - len(self._line)
        end = buffer.find(b"\n", start, start + room) + 1
        if end == 0:
            if (self._line[-1:] + buffer[start : start + room]).find(b"\r", 0, -1) >= 0:
                raise ProtocolError(400, _BARE_CR)  # a client that takes it for a line's end sends no LF to wait for
            if len(buffer) - start >= room:
                if status == 414 and b" " not in self._line + buffer[start : start + room]:
                    raise ProtocolError(501, f"The method is longer than {limit} octets")  # RFC 9112 section 3
                raise ProtocolError(status, f"{subject} is longer than {limit} octets")
            self._line += buffer[start:]
            self._position = len(buffer)
            return None
        line = bytes(self._line + buffer[start:end])
        if line.find(b"\r", 0, -2) >= 0:
            raise ProtocolError(400, _BARE_CR)
        self._line.clear()
        self._position = end
        return line

    def _read_content(self, events: list[Event]) -> bool:
        """LENGTH: content is whatever comes."""
        content = self._buffer[self._position : self._position + self._remaining]
        events.append(content)
        self._position += len(content)
        self._remaining -= len(content)
        return self._remaining == 0 and self._end_message(END_OF_MESSAGE, events)

    def _read_chunks(self, events: list[Event]) -> bool:
        """CHUNKS: content is what the chunks hold."""
        chunked = self._chunked
        try:
            self._position = chunked.feed(self._buffer, self._position)
        finally:
            content = chunked.take_content()
            if content:
                events.append(content)
        return chunked.is_complete and self._end_message(EndOfMessage(chunked.trailers), events)

    def _ignore(self, _events: list[Event]) -> bool:
        """CLOSED: count what comes, and forget it."""
        self._ignored += len(self._buffer) - self._position
        self._position = len(self._buffer)
        return False

    _STEPS: ClassVar = {
        _Phase.START: _read_request_line,
        _Phase.FIELDS: _read_field,
        _Phase.LENGTH: _read_content,
        _Phase.CHUNKS: _read_chunks,
        _Phase.CLOSED: _ignore,
    }
    """How each phase deals with the buffer; the answer says whether a message has ended."""
