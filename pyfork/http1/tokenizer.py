"""llhttp for heads, held so that it sees one head and never what lies behind it.

What does not work, all tried with httptools 0.9:

- letting one llhttp parser run over a whole connection. It says neither where a message ends nor stops there; with
  ``Connection: Upgrade`` it leaves the body out and takes it for whatever comes next, which is request smuggling;
- giving it a protocol object that also holds the parser: the circle is garbage that only the collector finds, one
  for every connection.

So it gets the octets of a head up to the empty line, and of a chunked body nothing but the trailers (`chunked.py`).
Each head has a new llhttp parser, which costs 0.2 us. llhttp has a list of methods; ours is open. Which one it is
makes no difference to the rest of the head, so it is always told of a GET.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from pyfork.errors import ProtocolError
from pyfork.http1.request import Headers

_WHITESPACE = b" \t"


class _Sink:
    """Where llhttp puts the fields."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp takes off the whitespace before a value, but not what is behind it; of other kinds it lets none pass.
        self.headers.append((name, value.rstrip()))


class HeadTokenizer:
    """Splits one head, or the trailers of a message, into fields, by strict grammar.

    Args:
        target: of the request.

    Raises:
        ProtocolError: 400, the target is none.
    """

    __slots__ = ("_feed", "_sink")

    def __init__(self, target: bytes = b"/") -> None:
        self._sink = _Sink()
        self._feed = HttpRequestParser(self._sink).feed_data
        self.feed(b"GET " + target + b" HTTP/1.1\r\n")

    def feed_field(self, line: bytes) -> None:
        """Take one line that is not empty, with its end.

        Raises:
            ProtocolError: 400.
        """
        if line.endswith((b"\t\r\n", b" \r\n")) and line[0] not in _WHITESPACE:
            # RFC 9112 section 5: whitespace behind a value is no part of it. llhttp balks at tabs.
            line = line[:-2].rstrip(_WHITESPACE) + b"\r\n"
        self.feed(line)

    def feed(self, octets: bytes) -> None:
        """Take part of a head, at most up to its end.

        Raises:
            ProtocolError: 400.
        """
        try:
            self._feed(octets)
        except HttpParserUpgrade:
            pass  # The head is complete. What follows is this request's content, as if nobody had said Upgrade.
        except HttpParserError as error:
            raise ProtocolError(400, str(error)) from None

    def take_headers(self) -> Headers:
        """Return the fields, which are complete when the head is."""
        return self._sink.headers
