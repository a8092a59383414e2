"""One call of a WSGI application: PEP 3333, "Specification Details".

An `Exchange` is driven by whoever owns the connection: it asks for the next octets, sends them, and asks again. The
application runs inside `Exchange.begin`, `Exchange.advance` and `Exchange.close` and nowhere else, so the owner knows
when to count its time. What the application raises comes out of them as it is.

Rules of the PEP that are easily missed:

- ``start_response`` may come late: it is due when the first block that is not empty is, or the end.
- Nothing is sent before that, so until then ``start_response`` with ``exc_info`` may replace the head.
- A block is sent before the application is asked for the next one. A list has all its blocks already: they are sent
  together, and their length is known.
- Whatever happens, ``close()`` of what the application returned is called, once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeAlias

from pyfork.errors import ApplicationError
from pyfork.gateway.environ import Environ
from pyfork.gateway.file_wrapper import FileParts, FileRegion, FileWrapper
from pyfork.http1.response import ResponseEncoder

Headers: TypeAlias = list[tuple[str, str]]
ExceptionInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write: TypeAlias = Callable[[bytes], None]
WsgiApplication: TypeAlias = Callable[[Environ, Callable[..., Write]], Iterable[bytes]]

Sendable: TypeAlias = bytes | memoryview | FileRegion

MOST_JOINED = 128 * 1024
"""Octets up to which the blocks of a list are joined, and copied behind the head, to be sent at once."""
JOINED_TO_HEAD = 16 * 1024
"""Octets of a larger body that are copied behind the head; the rest is sent from where it is."""

_END: Any = object()
_NOTHING: Iterator[bytes] = iter(())


class Exchange:
    """The application's answer to one request.

    Args:
        application: what PEP 3333 calls the application object.
        environ: the request.
        encoder: frames the response.
        write: sends octets to the client before it returns; what it raises reaches the application.

    Attributes:
        is_finished: what was returned last is the last; do not advance.
        status: as the application gave it; "" until then.
        headers: as the application gave them.
        is_file: a file is what it gave; its end need not be the response's.
    """

    __slots__ = (
        "_application",
        "_encoder",
        "_environ",
        "_is_single",
        "_iterable",
        "_iterator",
        "_octets",
        "_pieces",
        "_send",
        "headers",
        "is_file",
        "is_finished",
        "status",
    )

    # Set by `begin`, unless the response is one block: nobody advances then.
    _iterator: Iterator[bytes]
    _is_single: bool
    _pieces: Iterator[Sendable] | None

    def __init__(self, application: WsgiApplication, environ: Environ, encoder: ResponseEncoder, write: Write) -> None:
        self._application = application
        self._environ = environ
        self._encoder = encoder
        self._send = write
        self._iterable: Iterable[bytes] | None = None
        self._octets = 0
        self.is_file = False
        self.is_finished = False
        self.status = ""
        self.headers: Sequence[tuple[str, str]] = ()

    @property
    def octets_sent(self) -> int:
        """Octets of the body that were returned for sending, without their framing."""
        encoder = self._encoder
        return self._octets - encoder.excess if encoder.has_body and encoder.head_sent else 0

    def begin(self) -> Sendable:
        """Call the application; return the first octets to send (none yet: b"").

        Raises:
            ApplicationError: it broke PEP 3333.
        """
        iterable: Any = self._application(self._environ, self._start_response)
        kind = type(iterable)
        if kind is list and len(iterable) == 1 and self.status:  # nearly every response
            data = iterable[0]
            if type(data) is bytes and len(data) <= MOST_JOINED:
                self._octets += len(data)
                self.is_finished = True
                return self._encoder.encode_whole(data)
        self._iterator = _NOTHING
        self._is_single = False
        self._pieces = None
        if kind is list or kind is tuple:
            return self._take_sequence(iterable)
        self._iterable = iterable
        if kind is FileWrapper:
            return self._take_file(iterable)
        if kind is FileParts:
            return self._take_parts(iterable)
        if isinstance(iterable, (bytes, str)) or not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")):
            raise ApplicationError(f"the application returned {_describe(iterable)}, not an iterable of bytes")
        self._is_single = hasattr(kind, "__len__") and len(iterable) == 1
        self._iterator = iter(iterable)
        return self.advance()

    def advance(self) -> Sendable:
        """Ask the application for its next block; return the octets to send (none: b"").

        Raises:
            ApplicationError: it broke PEP 3333.
        """
        if self._pieces is not None:
            return next(self._pieces, None) or self._finish()
        block = next(self._iterator, _END)
        if block is _END:
            return self._finish()
        if not isinstance(block, bytes):
            raise ApplicationError(f"the application yielded {_describe(block)}, not bytes")
        if not block:
            return b""
        encoder = self._encoder
        if not encoder.head_sent:
            self._require_start()
            if self._is_single:
                encoder.set_length(len(block))
        self._octets += len(block)
        octets = encoder.encode(block)
        if encoder.excess or not encoder.has_body:  # the rest would not be sent either, and it may be endless
            return octets + self._finish()
        return octets

    def close(self) -> None:
        """Call ``close()`` of what the application returned; a second call does nothing."""
        if self._iterable is None:  # nothing, or a list
            return
        close = getattr(self._iterable, "close", None)
        self._iterable = None
        if close is not None:
            close()

    def send_early_hints(self, headers: Headers) -> None:
        """Be ``wsgi.early_hints``: send a 103 before the response (RFC 8297); called by the application.

        Raises:
            ApplicationError: a header is not what the PEP allows, or it is too late.
        """
        if self.is_finished:
            raise ApplicationError("the application called wsgi.early_hints after its response had ended")
        octets = self._encoder.encode_early_hints(headers)
        if octets:
            self._send(octets)

    def _start_response(self, status: str, headers: Headers, exc_info: ExceptionInfo | None = None) -> Write:
        """PEP 3333, "The start_response() Callable"; called by the application.

        Raises:
            ApplicationError: status or headers are not what the PEP allows, or it is too late.
            BaseException: the application's own from ``exc_info``, when the head has been sent.
        """
        if exc_info is None:
            if self.status:
                raise ApplicationError("the application called start_response() a second time without exc_info")
        elif self._encoder.head_sent:
            try:
                if exc_info[1] is None:
                    raise ApplicationError("the application called start_response() after the head was sent")
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the traceback would hold this frame, which holds the traceback
        self._encoder.start(status, headers)
        self.status = status
        self.headers = headers
        return self._write

    def _write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable"; called by the application."""
        if not isinstance(data, bytes):
            raise ApplicationError(f"the application called write() with {_describe(data)}, not bytes")
        if self.is_finished:
            raise ApplicationError("the application called write() after its response had ended")
        if data:
            self._octets += len(data)
            self._send(self._encoder.encode(data))

    def _require_start(self) -> None:
        if not self.status:
            raise ApplicationError("the application did not call start_response() before the body of its response")

    def _take_sequence(self, blocks: Sequence[bytes]) -> Sendable:
        """Send a list or a tuple whole; its length is known."""
        self._require_start()
        for block in blocks:
            if not isinstance(block, bytes):
                raise ApplicationError(f"the application returned a {type(blocks).__name__} with {_describe(block)}")
        length = sum(map(len, blocks))
        data = b"".join(blocks) if length <= MOST_JOINED else b""
        encoder = self._encoder
        if not encoder.head_sent:
            encoder.set_length(length)
        if length > MOST_JOINED:
            return self._take_large(blocks, length)
        self._octets += length
        self.is_finished = True
        return encoder.encode(data) + encoder.finish()

    def _take_large(self, blocks: Sequence[bytes], length: int) -> Sendable:
        """Send a list or a tuple from where it is; only what goes out together with the head is copied."""
        encoder = self._encoder
        if encoder.head_sent or not encoder.has_body:
            self._iterator = iter(blocks)
        else:
            head = encoder.encode_head(length)
            self._octets += length
            self._pieces = _cut(head, blocks, length - encoder.excess)
        return self.advance()

    def _take_file(self, wrapper: FileWrapper) -> Sendable:
        """Have a file sent by the kernel, or read block by block if that cannot be."""
        encoder = self._encoder
        self.is_file = True
        region = wrapper.locate()
        if region is None or encoder.head_sent or not self.status:
            self._iterator = wrapper
            return self.advance()
        if not encoder.has_body:
            encoder.set_length(region.count)
            return self._finish()
        head = encoder.encode_head(region.count)
        count = region.count - encoder.excess
        encoder.excess = 0  # PEP 3333: a file is sent to its end or to the Content-Length, so this is no mistake
        if not count:
            return head + self._finish()
        self._octets += count
        return FileRegion(head, region.fd, region.offset, count)

    def _take_parts(self, parts: FileParts) -> Sendable:
        """Have parts of a static file sent by the kernel, and what is around them."""
        self.is_file = True
        self._octets += parts.length
        self._pieces = parts.regions(self._encoder.encode_head(parts.length))
        return self.advance()

    def _finish(self) -> bytes:
        """Return what ends the response."""
        self._require_start()
        self.is_finished = True
        return self._encoder.finish()


def _cut(head: bytes, blocks: Sequence[bytes], count: int) -> Iterator[bytes | memoryview]:
    """Yield ``head`` together with the beginning of the body, then the rest of its first ``count`` octets."""
    for block in blocks:
        piece = memoryview(block)[:count]
        count -= len(piece)
        if head and piece:
            yield head + piece[:JOINED_TO_HEAD]
            head = b""
            piece = piece[JOINED_TO_HEAD:]
        if piece:
            yield piece
    if head:  # the application's Content-Length is 0
        yield head


def _describe(value: object) -> str:
    """Return what a value is, for a message: never the value itself, which may be large or secret."""
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind!r} object"
