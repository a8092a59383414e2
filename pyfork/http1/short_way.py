"""The short way through a head that is whole, small and ordinary: plain Python, and a fraction of what llhttp costs.

llhttp calls back into Python for each field, and most of what it tells us has been told before: clients repeat their
fields from request to request, and from one client to the next (HTTP/2 compresses by that). So what has been understood
once is remembered by its exact octets, which mean the same whenever they come again, and is checked by finding it:

- the request line (`_lines`), and each field line (`_fields`);
- all the fields of a head together (`_blocks`), from the second time on, and with them the requests that came with
  them last (`_Block.requests`): a head that has come before is two look-ups.

The rule that makes this safe: whatever is unusual in the slightest is *not taken*, and goes the long way, which alone
knows how to refuse. What is taken here means exactly what the long way makes of it: the corpus and hypothesis compare
the two (tests/unit/http1/test_short_way.py). ADR 7 has the reasons.

What is remembered is bounded, and belongs to the process, not to a connection: an idle connection keeps none of it.
What is full is emptied, so that clients who never repeat themselves only slow down others, for a moment.

What does not work, all measured for ten fields: a regular expression over the block (3 us), ``partition`` for each line
(2 us, where looking the lines up takes 1), looking for the empty line first (0.3 us, a third of all that a known head
costs), keeping every block at its first coming (clients with a request id in each head fill the memory for nothing).
"""

from pyfork.errors import ProtocolError
from pyfork.http1.head import read_connection, read_request_line
from pyfork.http1.host import is_valid_host
from pyfork.http1.limits import Limits
from pyfork.http1.request import Request
from pyfork.http1.variables import DROPPED, VARIABLES, combine

MOST_REMEMBERED = 1024
"""Request lines, and field lines, that are remembered."""
MOST_LINE_OCTETS = 256
"""Longer ones are not."""
MOST_BLOCKS = 256
"""Blocks of fields that are remembered; with what is made of them each takes about four times its octets."""
MOST_BLOCK_OCTETS = 2048
"""Larger ones are not."""
MOST_REQUESTS = 4
"""Requests that are remembered with each block."""
MOST_SEEN = 1024
"""Blocks of which nothing is remembered but that they came once."""

_CONTROLS = bytes((*range(0x20), 0x7F))
_PLAIN = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))
_FRAMING = {"HTTP_HOST", "HTTP_CONNECTION", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"}


class _Unusual(ValueError):  # noqa: N818 (nobody has made a mistake)
    """The long way is to look at it. Each time a new one: an exception holds the frames that it has passed."""


_Line = tuple[str, bytes, str, bytes, bytes]
"""Method, target, version, path and query."""


_NONE: dict[bytes, Request] = {}
"""Stays empty."""


class _Block:
    """What the fields of a head say.

    Attributes:
        octets: as they came.
        variables: the fields by their variables.
        host: the Host field, None if there is none.
        length: the Content-Length, None if there is none.
        is_chunked: whether the content comes in chunks.
        persists: what Connection says, None if nothing.
        count: the number of fields.
        requests: those that came with these fields last, by their request lines, if the block is remembered.
    """

    __slots__ = ("count", "host", "is_chunked", "length", "octets", "persists", "requests", "variables")

    def __init__(self, octets: bytes, variables: dict[str, str], count: int) -> None:
        self.octets = octets
        self.variables = variables
        self.count = count
        self.host: bytes | None = None
        self.length: int | None = None
        self.is_chunked = False
        self.persists: bool | None = None
        self.requests = _NONE


class _Lines(dict[bytes, _Line]):
    """Request lines -> what they say. Raises ProtocolError or ValueError unless the line is an ordinary one."""

    def __missing__(self, octets: bytes) -> _Line:
        method, target, version = read_request_line(octets)
        text = target.decode("ascii")  # a UnicodeDecodeError is a ValueError
        if text[:1] != "/" or not text.isprintable():
            raise _Unusual
        path, _, query = target.partition(b"?")
        line = (method, target, version, path, query)
        if len(octets) <= MOST_LINE_OCTETS:
            if len(self) >= MOST_REMEMBERED:
                self.clear()
            self[octets] = line
        return line


class _Fields(dict[bytes, tuple[str, str]]):
    """Field lines -> variable and value. Raises ValueError unless the line is an ordinary one."""

    def __missing__(self, octets: bytes) -> tuple[str, str]:
        if octets.translate(_PLAIN) != octets:  # controls; a tab is legal, and rare
            raise _Unusual
        name, colon, value = octets.decode("latin-1").partition(":")
        if not colon:
            raise _Unusual
        field = (VARIABLES[name], value.strip(" "))
        if len(octets) <= MOST_LINE_OCTETS:
            if len(self) >= MOST_REMEMBERED:
                self.clear()
            self[octets] = field
        return field


_lines = _Lines()
_fields = _Fields()
_blocks: dict[bytes, _Block] = {}
_seen: set[int] = set()
_new = Request.__new__


def take_head(head: bytes, limits: Limits) -> Request | None:
    """Return the request of a head that ends with its empty line; None if the long way is to look at it.

    Args:
        head: no longer than any line may be.
        limits: of which `fields` and `body` count here.
    """
    end = head.find(b"\r\n")
    line = head[:end]
    octets = head[end + 2 : -4]
    try:
        block = _blocks.get(octets) or _read_block(octets)
        request = block.requests.get(line) or _make_request(line, block)
    except (ProtocolError, ValueError):
        return None
    if block.count > limits.fields or (limits.body is not None and (block.length or 0) > limits.body):
        return None
    return request


def _make_request(octets: bytes, block: _Block) -> Request:
    """Put a request together, and keep it with its fields.

    Raises:
        ProtocolError, ValueError: there is something unusual about it.
    """
    request = _new(Request)
    request.method, request.target, version, request.path, request.query = _lines[octets]
    request.http_version = version
    request.fields = block.octets
    request.variables = block.variables
    request.host = block.host or b""
    request.content_length = block.length
    request.is_chunked = block.is_chunked
    request.expects_continue = False
    request.prepared = request.logged = None
    if version == "1.1":
        if block.host is None:
            raise _Unusual
        request.keep_alive = block.persists is not False
    else:
        if block.is_chunked:
            raise _Unusual
        request.keep_alive = block.persists is True
    if block.requests is not _NONE and len(octets) <= MOST_LINE_OCTETS:
        if len(block.requests) >= MOST_REQUESTS:
            block.requests.clear()
        block.requests[octets] = request
    return request


def _read_block(octets: bytes) -> _Block:
    """Take apart the fields of a head, without the last CRLF; remember them if they have come before.

    Raises:
        ValueError: there is something unusual about them.
    """
    lines = octets.split(b"\r\n")
    variables = dict(map(_fields.__getitem__, lines))
    if len(variables) < len(lines) or DROPPED in variables:
        variables = _combine_lines(lines)
    block = _Block(octets, variables, len(lines))
    if "CONTENT_LENGTH" in variables:
        block.length = _read_length(variables["CONTENT_LENGTH"])
    if "HTTP_TRANSFER_ENCODING" in variables:
        block.is_chunked = True
        if block.length is not None or variables["HTTP_TRANSFER_ENCODING"].lower() != "chunked":
            raise _Unusual
    if "HTTP_EXPECT" in variables:
        raise _Unusual
    if "HTTP_HOST" in variables:
        block.host = variables["HTTP_HOST"].encode("latin-1")
        if not is_valid_host(block.host):
            raise _Unusual
    if "HTTP_CONNECTION" in variables:
        block.persists = read_connection(variables["HTTP_CONNECTION"])
    _remember(octets, block)
    return block


def _combine_lines(lines: list[bytes]) -> dict[str, str]:
    """Return the variables of fields of which some came twice, or have an underscore."""
    variables: dict[str, str] = {}
    for variable, value in map(_fields.__getitem__, lines):
        if variable not in variables:
            variables[variable] = value
        elif variable in _FRAMING:
            raise _Unusual
        else:
            variables[variable] = combine(variable, variables[variable], value)
    variables.pop(DROPPED, None)
    return variables


def _read_length(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise _Unusual
    return int(value)


def _remember(octets: bytes, block: _Block) -> None:
    key = hash(octets)
    if key not in _seen:
        if len(_seen) >= MOST_SEEN:
            _seen.clear()
        _seen.add(key)
    elif len(octets) <= MOST_BLOCK_OCTETS:
        if len(_blocks) >= MOST_BLOCKS:
            _blocks.clear()
        block.requests = {}
        _blocks[octets] = block
