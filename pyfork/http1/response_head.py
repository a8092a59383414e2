"""The head of a response as the application gave it: checked, understood, encoded as far as it does not change.

Applications repeat themselves: most answers of a site have one of a few heads. So what was understood is remembered,
with status and fields as the key: a head that is found has been checked when it was learnt. One is kept from its
second coming on, so that heads with a cookie or an ETag of their own do not fill the memory; it is bounded, and emptied
when it is full. Text that compares equal is the same text, whatever subclass of ``str`` it is of: its characters are
sent.
"""

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

MOST_HEADS = 256
"""Heads that are remembered."""
MOST_HEAD_OCTETS = 2048
"""Larger ones are not."""
MOST_SEEN = 1024
"""Heads of which nothing is remembered but that they came once."""


class ResponseHead:
    """What one status and one list of fields mean; shared, and changed by nobody.

    Attributes:
        code: the status code.
        length: the Content-Length, None if there is none.
        has_no_content: 204, 205 or 304.
        closes: the application wants the connection to end.
        dropped: lower-case names of the hop-by-hop fields that were left out.
        octets: status line and fields.
    """

    __slots__ = (
        "_dated",
        "_has_date",
        "_has_server",
        "closes",
        "code",
        "dropped",
        "has_no_content",
        "length",
        "octets",
    )

    def __init__(self, status: str, headers: ResponseHeaders) -> None:
        self.code, status_line = read_status(status)
        self.has_no_content = self.code in {204, 205, 304}
        self.length: int | None = None
        self.closes = False
        self.dropped: tuple[str, ...] = ()
        self._has_date = False
        self._has_server = False
        require_pairs(headers)
        fields: list[str] = []
        meant: list[tuple[str, str]] = []
        try:
            for name, value in headers:
                meaning = MEANINGS[name]
                if not value.isprintable():
                    check_value(name, value)
                if meaning == "upgrade" and self.code == 426:  # RFC 9110 section 15.5.22: it must be there
                    fields.append("Connection: upgrade\r\n")
                elif meaning:
                    meant.append((meaning, value))
                    if meaning in OURS:
                        continue
                fields.append(name + ": " + value + "\r\n")
            self.octets = status_line + "".join(fields).encode("latin-1")
        except (AttributeError, TypeError, ValueError) as error:
            blame(headers, error)
        for meaning, value in meant:
            self._obey(meaning, value)
        if self.code == 204:
            self.length = None  # RFC 9110 section 8.6
        elif self.code == 205:
            self.length = 0  # RFC 9110 section 15.3.6
        self._dated = (b"", b"", b"", b"")

    def _obey(self, meaning: str, value: str) -> None:
        """Take note of a field that concerns the encoder."""
        if meaning == "content-length":
            if self.length is not None:
                raise ApplicationError("the response has more than one Content-Length")
            self.length = read_content_length(value)
        elif meaning == "date":
            self._has_date = True
        elif meaning == "server":
            self._has_server = True
        elif meaning == "connection" and "close" in value.lower().replace(",", " ").split():
            self.closes = True
        elif meaning not in self.dropped:
            self.dropped += (meaning,)

    def encode(self, date: bytes, server: bytes) -> bytes:
        """Return status line and fields, with Date and Server if the application gave none; without the framing.

        Args:
            date: the Date field's value; the same object for a second, in which the answer is the same too.
            server: the Server field's value.
        """
        dated = self._dated  # one look: another thread may write it
        return dated[2] if dated[0] is date and dated[1] is server else self._encode(date, server)[2]

    def encode_whole(self, date: bytes, server: bytes) -> bytes:
        """Return the head of a response of `length` octets, on a connection that persists; see `encode`."""
        dated = self._dated
        return dated[3] if dated[0] is date and dated[1] is server else self._encode(date, server)[3]

    def _encode(self, date: bytes, server: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        octets = self.octets
        if not self._has_date:
            octets += b"Date: %b\r\n" % date
        if not self._has_server:
            octets += b"Server: %b\r\n" % server
        self._dated = dated = (date, server, octets, b"%bContent-Length: %d\r\n\r\n" % (octets, self.length or 0))
        return dated


_heads: dict[tuple[object, ...], ResponseHead] = {}
_seen: set[int] = set()


def read_head(status: str, headers: ResponseHeaders) -> ResponseHead:
    """Return what an application's status and fields mean.

    Raises:
        ApplicationError: PEP 3333 forbids what is in it.
    """
    if type(headers) is not list or type(status) is not str:
        return ResponseHead(status, headers)
    key = (status, *headers)
    try:
        known = _heads.get(key)
    except TypeError:  # it cannot be hashed, so it is not what it should be
        return ResponseHead(status, headers)
    return known or _learn(key, status, headers)


def _learn(key: tuple[object, ...], status: str, headers: ResponseHeaders) -> ResponseHead:
    head = ResponseHead(status, headers)
    number = hash(key)
    if number not in _seen:
        if len(_seen) >= MOST_SEEN:
            _seen.clear()
        _seen.add(number)
    elif len(head.octets) <= MOST_HEAD_OCTETS:
        if len(_heads) >= MOST_HEADS:
            _heads.clear()
        _heads[key] = head
    return head
