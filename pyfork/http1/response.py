"""What an application answers, in; octets, out (RFC 9112 sections 6 and 7).

How the content of a response is delimited, in this order:

- it has none: the request was HEAD, or the status is 204, 205 or 304;
- by its length, if the application gave one or the shell knows it;
- by chunks, in HTTP/1.1;
- by the end of the connection, in HTTP/1.0.

A length is a promise: what exceeds it is cut, and if content is missing the connection must end, or the next response
would be taken for the rest of this one.
"""

from datetime import UTC, datetime

from pyfork.errors import ApplicationError
from pyfork.http1.fields import (
    MEANINGS,
    OURS,
    ResponseHeaders,
    blame,
    check_value,
    read_content_length,
    read_status,
    require_pairs,
)

SERVER = b"pyfork"

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class ResponseEncoder:
    """Encodes the response to one request.

    `start`, then `encode` for each block of content (or `encode_head`, for a file), then `finish`.

    Args:
        method: of the request.
        http_version: of the request, "1.0" or "1.1".
        keep_alive: whether client and shell want the connection to persist.
        date: as `http_date` makes it.
        server: the product in the Server field.

    Attributes:
        head_sent: whether the head has been encoded; there is no way back then.
        has_body: whether content goes out at all. Set by `start`.
        keep_alive: whether the connection may persist. Final after `finish`.
        remaining: octets of content still due; None if their number is not known. Set with the head.
        dropped: lower-case names of the hop-by-hop fields that the application gave and that were left out.
        excess: octets cut because they exceeded Content-Length.
        missing: octets promised by Content-Length that never came. Set by `finish`.
    """

    __slots__ = (
        "_date",
        "_date_line",
        "_fields",
        "_has_no_content",
        "_is_chunked",
        "_is_head_request",
        "_is_http_1_0",
        "_length",
        "_server",
        "_server_line",
        "_status_line",
        "_wants_keep_alive",
        "dropped",
        "excess",
        "has_body",
        "head_sent",
        "keep_alive",
        "missing",
        "remaining",
    )

    def __init__(self, method: str, http_version: str, keep_alive: bool, date: bytes, server: bytes = SERVER) -> None:
        self._is_head_request = method == "HEAD"
        self._is_http_1_0 = http_version == "1.0"
        self._wants_keep_alive = keep_alive
        self._date = date
        self._server = server
        self._status_line = b""
        self._length: int | None = None
        self._is_chunked = False
        self.head_sent = False
        self.has_body = True
        self.keep_alive = keep_alive
        self.dropped: tuple[str, ...] = ()
        self.remaining: int | None = None
        self.excess = 0
        self.missing = 0

    def start(self, status: str, headers: ResponseHeaders) -> None:
        """Take the head; it can be taken again, another, as long as it has not been sent.

        Raises:
            ApplicationError: PEP 3333 forbids what is in it.
        """
        if self.head_sent:
            raise ApplicationError("the application called start_response again after its content had begun")
        self._status_line = b""
        code, status_line = read_status(status)
        self._has_no_content = code in {204, 205, 304}
        self.has_body = not (self._is_head_request or self._has_no_content)
        self._length = None
        self.keep_alive = self._wants_keep_alive
        self.dropped = ()
        require_pairs(headers)
        fields: list[str] = []
        meant: list[tuple[str, str]] = []
        try:
            for name, value in headers:
                meaning = MEANINGS[name]
                if not value.isprintable():
                    check_value(name, value)
                if meaning:
                    meant.append((meaning, value))
                    if meaning in OURS:
                        continue
                fields.append(f"{name}: {value}\r\n")
            self._fields = "".join(fields).encode("latin-1")
        except (AttributeError, TypeError, ValueError) as error:
            blame(headers, error)
        self._date_line = b"Date: %b\r\n" % self._date
        self._server_line = b"Server: %b\r\n" % self._server
        if meant:
            self._apply(meant)
        if code == 204:
            self._length = None  # RFC 9110 section 8.6
        elif code == 205:
            self._length = 0  # RFC 9110 section 15.3.6
        self._status_line = status_line

    def _apply(self, meant: list[tuple[str, str]]) -> None:
        """Obey the fields that concern the encoder."""
        for meaning, value in meant:
            if meaning == "content-length":
                if self._length is not None:
                    raise ApplicationError("the response has more than one Content-Length")
                self._length = read_content_length(value)
            elif meaning == "date":
                self._date_line = b""
            elif meaning == "server":
                self._server_line = b""
            elif meaning == "connection" and "close" in value.lower().replace(",", " ").split():
                self.keep_alive = False
            elif meaning not in self.dropped:
                self.dropped += (meaning,)

    def set_length(self, octets: int) -> None:
        """Tell how much content there will be, as far as the shell knows it.

        The application's own Content-Length goes before it. It has no effect where there can be no content.
        """
        # Of what a GET would have got, a HEAD's empty content says nothing.
        if self._length is None and (self.has_body or (octets and not self._has_no_content)):
            self._length = octets

    def encode(self, data: bytes) -> bytes:
        """Encode a block of content, with the head before the first; an empty one gives nothing.

        Raises:
            ApplicationError: there is no head yet.
        """
        if not data:
            return b""
        head = b"" if self.head_sent else self._encode_head()
        if not self.has_body:
            return head
        if self._is_chunked:
            return b"%b%x\r\n%b\r\n" % (head, len(data), data)
        if self.remaining is not None:
            if len(data) > self.remaining:
                self.excess += len(data) - self.remaining
                data = data[: self.remaining]
            self.remaining -= len(data)
        return head + data

    def encode_head(self, length: int) -> bytes:
        """Encode the head alone, for content that the shell sends by itself, as it is (a file).

        The content counts as sent; of its end, the shell leaves out as many octets as are in `excess` now.

        Args:
            length: octets of content that there are; the Content-Length if the application gave none.

        Raises:
            ApplicationError: there is no head yet.
        """
        self.set_length(length)
        head = self._encode_head()
        if self.has_body and self.remaining is not None:
            self.excess = max(0, length - self.remaining)
            self.remaining -= length - self.excess
        return head

    def finish(self) -> bytes:
        """End the response; return what is still to be sent.

        Raises:
            ApplicationError: there is no head yet.
        """
        last = b""
        if not self.head_sent:
            self.set_length(0)
            last = self._encode_head()
        elif self._is_chunked:
            last = b"0\r\n\r\n"
        if self.remaining:
            self.missing = self.remaining
            self.keep_alive = False
        return last

    def _encode_head(self) -> bytes:
        if not self._status_line:
            raise ApplicationError("the application gave content before it called start_response")
        self.head_sent = True
        framing = b""
        if self._length is not None:
            framing = b"Content-Length: %d\r\n" % self._length
            self.remaining = self._length if self.has_body else 0
        elif not self.has_body:
            self.remaining = 0
        elif self._is_http_1_0:
            self.keep_alive = False
        else:
            self._is_chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif self._is_http_1_0:
            framing += b"Connection: keep-alive\r\n"
        return b"".join((self._status_line, self._fields, self._date_line, self._server_line, framing, b"\r\n"))


def error_response(status: int, detail: str, date: bytes, *, method: str = "", server: bytes = SERVER) -> bytes:
    """Return a complete answer that ends the connection.

    Args:
        status: 4xx or 5xx.
        detail: one sentence for whoever reads it.
        date: as `http_date` makes it.
        method: of the request if it is known: HEAD gets no content.
        server: the product in the Server field.
    """
    reason = _REASONS.get(status, "Error")
    content = f"{status} {reason}: {detail}\n".encode("utf-8", "replace")
    head = (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Date: %b\r\nServer: %b\r\nConnection: close\r\n\r\n"
    ) % (status, reason.encode("ascii"), len(content), date, server)
    return head if method == "HEAD" else head + content


def http_date(seconds: float) -> bytes:
    """Return the IMF-fixdate of `seconds` since the epoch (RFC 9110 section 5.6.7), whatever the locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment:%d} {month} {moment:%Y %H:%M:%S} GMT".encode("ascii")
