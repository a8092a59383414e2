"""What the parser says of a client's octets: a request, its content, its end, or why it is refused.

The order of the events of one connection is always ``Request bytes* EndOfMessage`` over and over, and possibly one
`ProtocolError` as the very last.
"""

from typing import Any

from msgspec import Struct

from pyfork.errors import ProtocolError
from pyfork.http1.variables import variables_of

Headers = list[tuple[bytes, bytes]]


class Request:
    """The head of one request, checked: whoever gets it need not doubt its framing or its Host.

    Nobody changes it: requests of the same octets may be one object.

    Attributes:
        method: as sent; any token, as methods are case-sensitive and open (RFC 9110 section 9.1).
        target: as sent (RFC 9112 section 3.2).
        path: of the target, still percent-encoded; ``*`` for ``OPTIONS *``.
        query: of the target, still percent-encoded, without its question mark.
        host: authority of an absolute target, or else the Host field; ``b""`` if there is none (HTTP/1.0).
        http_version: ``"1.0"`` or ``"1.1"``.
        headers: names as sent, values without surrounding whitespace, in the order of their coming.
        variables: the same by their CGI variables, as text; several requests may share it.
        prepared: what the gateway has made of it before; None in the beginning.
        logged: what the access log has made of it before; None in the beginning.
        fields: the headers, or the octets of the fields as they came, ordinary, as long as nobody has asked for those.
        content_length: octets of content announced, None if not announced.
        is_chunked: whether the content comes in chunks.
        expects_continue: whether the client waits for a 100 before it sends the content.
        keep_alive: whether the client lets the connection persist (RFC 9112 section 9.3).
    """

    __slots__ = (
        "content_length",
        "expects_continue",
        "fields",
        "host",
        "http_version",
        "is_chunked",
        "keep_alive",
        "logged",
        "method",
        "path",
        "prepared",
        "query",
        "target",
        "variables",
    )

    def __init__(self, method: str, target: bytes, http_version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.http_version = http_version
        self.fields: Headers | bytes = headers
        self.variables = variables_of(headers)
        self.prepared: tuple[object, Any, bool] | None = None
        self.logged: tuple[object, Any] | None = None
        self.path = target
        self.query = b""
        self.host = b""
        self.content_length: int | None = None
        self.is_chunked = False
        self.expects_continue = False
        self.keep_alive = http_version == "1.1"

    @property
    def headers(self) -> Headers:
        """The fields as sent; few ask for them, as `variables` has them in the form that is needed."""
        fields = self.fields
        if isinstance(fields, bytes):
            lines = [line.partition(b":") for line in fields.split(b"\r\n")]
            self.fields = fields = [(name, value.strip(b" ")) for name, _, value in lines]
        return fields

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} HTTP/{self.http_version}>"


class EndOfMessage(Struct, frozen=True):
    """The request is complete.

    Args:
        trailers: the fields behind a chunked body (RFC 9112 section 7.1.2), never merged into the headers.
    """

    trailers: tuple[tuple[bytes, bytes], ...] = ()


END_OF_MESSAGE = EndOfMessage()
"""The end of every request that is not chunked."""


Event = Request | bytes | EndOfMessage | ProtocolError
