"""Feeds a parser the way a shell does, and writes down what it said so that two runs can be compared."""

from collections.abc import Iterable

from pyfork.errors import ProtocolError
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Event, Request

ATTRIBUTES = (*(name for name in Request.__slots__ if name not in {"fields", "prepared"}), "headers")
"""What a request says, whichever way it went."""


def feed_all(parser: RequestParser, pieces: Iterable[bytes]) -> list[Event]:
    """Feed `pieces`, and after each let the parser go on with what it has left over."""
    events: list[Event] = []
    for piece in pieces:
        events += parser.feed(piece)
        while parser.leftover and (more := parser.feed(b"")):
            events += more
    return events


def run(pieces: Iterable[bytes], limits: Limits | None = None) -> list[object]:
    return normal(feed_all(RequestParser(limits or Limits()), pieces))


def normal(events: Iterable[Event]) -> list[object]:
    """Join content that was cut, and make the rest comparable."""
    result: list[object] = []
    for event in events:
        if isinstance(event, bytes):
            if result and isinstance(result[-1], bytes):
                result[-1] += event
            else:
                result.append(event)
        elif isinstance(event, Request):
            result.append({name: getattr(event, name) for name in ATTRIBUTES})
        elif isinstance(event, ProtocolError):
            result.append((event.status, event.detail))
        else:
            assert isinstance(event, EndOfMessage)
            result.append(event)
    return result


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, place: int) -> list[bytes]:
    return [data[:place], data[place:]]


def state(parser: RequestParser) -> str:
    """The corpus' word for where the parser stands."""
    if parser.is_closed:
        return "closed"
    return "idle" if parser.is_idle else "waiting"
