"""The chunked transfer coding (RFC 9112 section 7.1), up to its last octet and not one further.

::

    chunked-body = *chunk last-chunk trailer-section CRLF
    chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
    last-chunk   = 1*"0" [ chunk-ext ] CRLF
    chunk-ext    = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )

It is read here and not by llhttp, which refuses the whitespace that a recipient must bear (BWS), takes a ``;`` with
nothing behind it, and neither stops at the end of a body nor says where that was. The rules:

- A line ends with CRLF. A bare LF is where others end a line, or do not; so it is refused, in extensions too.
- What is no chunk is refused as soon as a line of it is there, or its first octet.
- Each octet that is not content is counted: `MAX_FRAMING` is the most that content does not excuse.
"""

import re
from enum import Enum
from typing import ClassVar

from pyfork.errors import ProtocolError
from pyfork.http1.limits import FRAMING_PER_CHUNK, MAX_FRAMING, MOST_OCTETS, Limits
from pyfork.http1.request import Headers
from pyfork.http1.tokenizer import HeadTokenizer

_SIZE_LINE = re.compile(
    rb"""
    0*+ (?P<size> [0-9A-Fa-f]{0,16} )
    (?: [\t ]*+ ; [\t ]*+ [A-Za-z0-9!#$%&'*+\-.^_`|~]++
        (?: [\t ]*+ = [\t ]*+ (?: [A-Za-z0-9!#$%&'*+\-.^_`|~]++
                                | " (?: [\t \x21\x23-\x5b\x5d-\x7e\x80-\xff] | \\ [\t \x21-\x7e\x80-\xff] )*+ " ) )?+
    )*+
    \r\n
    """,
    re.VERBOSE,
)
"""Behind the zeros there is nothing when they are all; that there is a digit at all has been looked at before."""

_SIZE_BEGINNING = re.compile(rb"[0-9A-Fa-f]++(?:[\t ;\r].*)?", re.DOTALL)
_NEVER_IN_LINE = re.compile(rb"\r[^\n]|[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BROKEN = "The framing of the chunked body is broken"
"""One text for all of it: what is found first depends on how the network cut the line."""

_PLAIN_LINE = len("0123456789abcdef\r\n")

_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")

_FRAMES = frozenset((b"content-length", b"transfer-encoding"))
"""Fields that never may be trailers (RFC 9110 section 6.5.1): somebody may believe them."""


class _Phase(Enum):
    """What the next octet belongs to."""

    SIZE = "the line in front of a chunk"
    DATA = "the content of a chunk"
    DATA_END = "the CRLF behind it"
    TRAILERS = "a trailer field, or the empty line at the end"


_SIZE = _Phase.SIZE  # a global is found faster than an enum's member


class ChunkedBody:
    """Decodes one chunked body.

    Args:
        limits: of which body, fields and field_size (for trailers) count here.

    Attributes:
        is_complete: the last chunk and the trailers have been read.
        trailers: the trailer fields, once it is.
    """

    __slots__ = (
        "_fields",
        "_framing",
        "_limits",
        "_line",
        "_octets",
        "_parts",
        "_phase",
        "_remaining",
        "_tokenizer",
        "is_complete",
        "trailers",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._phase = _Phase.SIZE
        self._line = b""  # what has come of a line that is not complete
        self._parts: list[bytes] = []
        self._octets = 0  # of content, announced
        self._remaining = 0  # octets of this chunk's content still to come
        self._framing = 0  # octets that were no content, and that none has excused
        self._fields = 0  # trailers
        self._tokenizer: HeadTokenizer | None = None  # of the trailers, if there are any
        self.is_complete = False
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def take_content(self) -> bytes:
        """Return the content decoded since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content

    def feed(self, buffer: bytes, start: int) -> int:
        """Decode `buffer` from `start`; return where it went to, which is the body's end if `is_complete`.

        Raises:
            ProtocolError: 400, 413 or 431; content before the breach can still be taken.
        """
        end = len(buffer)
        while start < end and not self.is_complete:
            if self._phase is _SIZE and not self._line:
                start = self._take_plain_chunks(buffer, start)
                if start == end:
                    break
            start = self._STEPS[self._phase](self, buffer, start)
        return start

    def _take_plain_chunks(self, buffer: bytes, start: int) -> int:
        """SIZE: take chunks that are whole and have no extensions, as nearly all; return where they end.

        What is unusual is left to the steps, which alone refuse.
        """
        most = self._limits.body
        while True:
            data = buffer.find(b"\r\n", start, start + _PLAIN_LINE) + 2
            digits = buffer[start : data - 2]
            if data == 1 or not digits or not _HEX_DIGITS.issuperset(digits):
                return start
            size = int(digits, 16)
            end = data + size
            if not size or buffer[end : end + 2] != b"\r\n" or (most is not None and self._octets + size > most):
                return start
            self._octets += size
            self._framing = max(0, self._framing + data - start + 2 - FRAMING_PER_CHUNK - 2 * size)
            self._parts.append(buffer[data:end])
            start = end + 2

    def _read_size(self, buffer: bytes, start: int) -> int:
        """SIZE: begin a chunk, or the trailers."""
        if not self._line and buffer[start] not in _HEX_DIGITS:
            raise ProtocolError(400, _BROKEN)
        start = self._take_line(buffer, start, MAX_FRAMING)
        line = self._line
        if line[-1:] != b"\n":
            return start
        self._line = b""
        match = _SIZE_LINE.fullmatch(line)
        size = MOST_OCTETS if match is None else int(match["size"] or b"0", 16)
        if size >= MOST_OCTETS:
            raise ProtocolError(400, _BROKEN)
        self._framing += len(line)
        if size == 0:
            self._phase = _Phase.TRAILERS
            return start
        self._octets += size
        if self._limits.body is not None and self._octets > self._limits.body:
            raise ProtocolError(413, "The content is larger than allowed")
        self._framing = max(0, self._framing + len(b"\r\n") - FRAMING_PER_CHUNK - 2 * size)
        self._remaining = size
        self._phase = _Phase.DATA
        return start

    def _read_data(self, buffer: bytes, start: int) -> int:
        """DATA: content is whatever comes."""
        part = buffer[start : start + self._remaining]
        self._parts.append(part)
        self._remaining -= len(part)
        if not self._remaining:
            self._phase = _Phase.DATA_END
        return start + len(part)

    def _read_data_end(self, buffer: bytes, start: int) -> int:
        """DATA_END: see that a chunk is as long as it said."""
        missing = 2 - len(self._line)
        line = self._line + buffer[start : start + missing]
        if not b"\r\n".startswith(line):
            raise ProtocolError(400, "A chunk is longer or shorter than its size")
        self._line = line
        if len(line) == len(b"\r\n"):
            self._line = b""
            self._phase = _Phase.SIZE
        return start + missing

    def _read_trailer(self, buffer: bytes, start: int) -> int:
        """TRAILERS: take a field (RFC 9112 section 7.1.2), or the end."""
        start = self._take_line(buffer, start, self._limits.field_size + 2)
        line = self._line
        if line[-1:] != b"\n":
            return start
        self._line = b""
        self._framing += len(line)
        if _NEVER_IN_LINE.search(line):
            raise ProtocolError(400, _BROKEN)
        if line != b"\r\n":
            self._fields += 1
            if self._fields > self._limits.fields:
                raise ProtocolError(431, "There are more trailer fields than allowed")
            if self._tokenizer is None:
                self._tokenizer = HeadTokenizer()
            self._tokenizer.feed_field(line)
        elif self._tokenizer is None:
            self.is_complete = True
        else:
            self._tokenizer.feed(line)
            self._end(self._tokenizer.take_headers())
        return start

    def _end(self, trailers: Headers) -> None:
        if any(name.lower() in _FRAMES for name, _ in trailers):
            raise ProtocolError(400, "A trailer field speaks of the framing")
        self.trailers = tuple(trailers)
        self.is_complete = True
        self._tokenizer = None

    def _take_line(self, buffer: bytes, start: int, most: int) -> int:
        """Add to `_line` up to its LF, or what there is of it; return where that ends.

        Raises:
            ProtocolError: 400, 431; the line is longer than ``most`` octets, or all the framing is.
        """
        room = MAX_FRAMING - self._framing
        stop = start + min(most, room) - len(self._line)
        end = buffer.find(b"\n", start, stop) + 1
        if end == 0:
            self._look_at_beginning(self._line[-1:] + buffer[start:stop])
            if len(buffer) >= stop:
                if most < room:
                    raise ProtocolError(431, "A trailer field is larger than allowed")
                raise ProtocolError(400, "The chunked body has more framing than content")
            end = len(buffer)
        self._line += buffer[start:end]
        return end

    def _look_at_beginning(self, octets: bytes) -> None:
        """Refuse what never can become a line: the client that sends it may have no LF to wait for.

        Args:
            octets: what has come of the line now, behind the octet that was the last before.
        """
        is_broken = _NEVER_IN_LINE.search(octets) is not None
        if self._phase is _SIZE and len(self._line) < _PLAIN_LINE:
            beginning = (self._line[:-1] + octets)[:_PLAIN_LINE]
            is_broken = is_broken or _SIZE_BEGINNING.fullmatch(beginning) is None
        if is_broken:
            raise ProtocolError(400, _BROKEN)

    _STEPS: ClassVar = {
        _Phase.SIZE: _read_size,
        _Phase.DATA: _read_data,
        _Phase.DATA_END: _read_data_end,
        _Phase.TRAILERS: _read_trailer,
    }
    """How each phase deals with the buffer; each takes at least one octet of it."""
