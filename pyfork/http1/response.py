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
from pyfork.http1.early_hints import encode_early_hints
from pyfork.http1.fields import ResponseHeaders
from pyfork.http1.response_head import ResponseHead, read_head

SERVER = b"pyfork"

_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
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
        "_head",
        "_http_version",
        "_is_chunked",
        "_length",
        "_method",
        "_server",
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
        self._method = method
        self._http_version = http_version
        self._wants_keep_alive = keep_alive
        self._date = date
        self._server = server
        self._head: ResponseHead | None = None
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
        self._head = None
        self._head = head = read_head(status, headers)
        self._length = head.length
        self.has_body = not head.has_no_content and self._method != "HEAD"
        self.keep_alive = self._wants_keep_alive and not head.closes
        self.dropped = head.dropped

    def encode_early_hints(self, headers: ResponseHeaders) -> bytes:
        """Encode a 103 that goes before the head; nothing for HTTP/1.0, which has none (RFC 9110 section 15.2).

        Raises:
            ApplicationError: PEP 3333 forbids what is in it, or the head has been sent.
        """
        octets = encode_early_hints(headers)
        if self.head_sent:
            raise ApplicationError("the application called wsgi.early_hints after the head of its response was sent")
        return b"" if self._http_version == "1.0" else octets

    def encode_whole(self, data: bytes) -> bytes:
        """Encode a response whose content is `data` and nothing else; `finish` is part of it.

        Raises:
            ApplicationError: there is no head yet.
        """
        # Nearly all responses are such: the same octets as by the general way, by fewer steps.
        head, octets = self._head, len(data)
        if head is None or self.head_sent or not self.has_body or self._http_version != "1.1" or not self.keep_alive:
            return self._encode_any_whole(data)
        if head.length == octets:
            self.head_sent = True
            self.remaining = 0
            return head.encode_whole(self._date, self._server) + data
        if head.length is not None:
            return self._encode_any_whole(data)
        self.head_sent = True
        self.remaining = 0
        return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(self._date, self._server), octets, data)

    def _encode_any_whole(self, data: bytes) -> bytes:
        if not self.head_sent:
            self.set_length(len(data))
        return self.encode(data) + self.finish()

    def set_length(self, octets: int) -> None:
        """Tell how much content there will be, as far as the shell knows it.

        The application's own Content-Length goes before it. It has no effect where there can be no content.
        """
        # Of what a GET would have got, a HEAD's empty content says nothing.
        if self._length is None and (self.has_body or (octets and not self._has_no_content())):
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

    def _has_no_content(self) -> bool:
        return self._head is not None and self._head.has_no_content

    def _encode_head(self) -> bytes:
        head = self._head
        if head is None:
            raise ApplicationError("the application gave content before it called start_response")
        self.head_sent = True
        is_http_1_0 = self._http_version == "1.0"
        framing = b""
        if self._length is not None:
            framing = b"Content-Length: %d\r\n" % self._length
            self.remaining = self._length if self.has_body else 0
        elif not self.has_body:
            self.remaining = 0
        elif is_http_1_0:
            self.keep_alive = False
        else:
            self._is_chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif is_http_1_0:
            framing += b"Connection: keep-alive\r\n"
        return b"%b%b\r\n" % (head.encode(self._date, self._server), framing)


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
