"""What must hold for the parser and any octets; `fuzz_parser.py` asks for it, driven by coverage.

Limits and cuts follow from the octets themselves, so that a finding needs nothing else to be found again.
"""

import random
import zlib
from itertools import pairwise

from pyfork.errors import ProtocolError
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Event, Request
from pyfork.http1.short_way import take_head
from tests.fuzz import reference
from tests.unit.http1.flow import feed_all, normal, octet_by_octet, run

STATUSES = {400, 413, 414, 417, 431, 501, 505}
MOST_SINGLY = 128
"""Longer input is only cut at a few places: octet by octet takes most of the time, and shows nothing more."""
LIMITS = (Limits(), Limits(), Limits(), Limits(request_line=30, fields=3, field_size=40, body=4))


def check(octets: bytes) -> None:
    """Raise an AssertionError if the parser breaks a rule with these octets."""
    seed = zlib.crc32(octets)
    limits = LIMITS[seed % len(LIMITS)]
    whole = run([octets], limits)
    assert run([octets], limits) == whole, "it means something else when it is remembered"
    assert run(cut(octets, seed), limits) == whole, f"it means something else in pieces (seed {seed})"
    if len(octets) <= MOST_SINGLY:
        assert run(octet_by_octet(octets), limits) == whole, "it means something else octet by octet"
    _check_short_way(octets, limits)
    events = feed_all(parser := RequestParser(limits), [octets])
    if not parser.is_closed:
        events += parser.feed_eof()
    assert parser.is_closed, "it is not closed by the end of the input"
    _check_order(events)
    _check_meaning(events, octets)


def cut(octets: bytes, seed: int) -> list[bytes]:
    """Cut octets at places that follow from a seed."""
    chance = random.Random(seed)
    places = [0, *sorted(chance.randrange(len(octets) + 1) for _ in range(chance.randrange(5))), len(octets)]
    return [octets[start:stop] for start, stop in pairwise(places)]


def _check_short_way(octets: bytes, limits: Limits) -> None:
    """Each head in there that the short way takes means what the long way makes of it."""
    end = octets.find(b"\r\n\r\n") + 4
    if not 4 < end <= min(limits.request_line, limits.field_size):
        return
    request = take_head(octets[:end], limits)
    if request is not None:
        assert run(octet_by_octet(octets[:end]), limits)[:1] == normal([request]), "the ways differ"


def _check_order(events: list[Event]) -> None:
    """``(Request bytes* EndOfMessage)*``, then at most one ProtocolError."""
    is_inside = False
    for number, event in enumerate(events, 1):
        if isinstance(event, ProtocolError):
            assert number == len(events), "there are events behind a refusal"
            assert event.status in STATUSES, f"a refusal with {event.status}"
            assert event.detail.isprintable(), "a refusal that cannot be logged"
            return
        assert isinstance(event, Request) is not is_inside, "events are out of order"
        is_inside = not isinstance(event, EndOfMessage)
    assert not is_inside, "the end of the input is taken for the end of a message"


def _check_meaning(events: list[Event], octets: bytes) -> None:
    """Whole requests are those of the grammar."""
    read = reference.read(octets)
    content = b""
    number = 0
    for event in events:
        if isinstance(event, Request):
            request, content = event, b""
        elif isinstance(event, bytes):
            content += event
        elif isinstance(event, EndOfMessage):
            found = reference.Message(
                request.method, request.target, request.http_version, request.headers, content, event.trailers
            )
            assert number < len(read), f"the grammar has no such request: {found}"
            assert found == read[number], f"the grammar reads it as {read[number]}: {found}"
            number += 1
