import re
from collections.abc import Iterable

import pytest

from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage
from tests.corpus_files import (
    Case,
    Expected,
    ExpectedContent,
    ExpectedEnd,
    ExpectedRefusal,
    ExpectedRequest,
    edges,
    load_cases,
)
from tests.unit.http1.flow import cut, feed_all, normal, octet_by_octet, state

CASES = load_cases()
MOST_BOUNDARIES = 600
"""Octets of the longest case that is cut at every boundary."""
FAMILIES = [
    r"CL\.TE", r"TE\.CL", r"TE\.TE", r"CL\.0", r"0\.CL", r"TE\.0", r"TERM\.EXT", r"EXT\.TERM", r"TERM\.SPILL",
    "bare CR", "bare LF", "obs-text", "folded", "NUL", "before the colon", "two lengths", "in a trailer",
    "absolute-form whose authority", "chunked in HTTP/1.0", "leftovers behind", "upgrade with", "Expect",
    "no Host", r"2\^64", r"2\^63", r"2\^32", "cut short", "8000 octets", "HTTP/1.2", "TRACE", "asterisk", "dot segments",
]  # fmt: skip
"""What must be among the cases: patterns of their names and reasons."""
TRAILING = b"GET /trailing HTTP/1.1\r\nHost: t\r\n\r\n"


def identify(case: Case) -> str:
    return f"{case.family}: {case.name}"


def check(events: list[object], expected: list[Expected]) -> None:
    for event, wanted in zip(events, expected, strict=True):
        if isinstance(wanted, ExpectedRequest):
            assert isinstance(event, dict)
            assert (event["method"], event["target"], event["http_version"]) == (
                wanted.method,
                wanted.target,
                wanted.http_version,
            )
            assert {name: event[name] for name in wanted.attributes} == wanted.attributes
            for field in wanted.fields:
                assert field in event["headers"]
        elif isinstance(wanted, ExpectedContent):
            assert event == wanted.octets
        elif isinstance(wanted, ExpectedEnd):
            assert event == EndOfMessage(wanted.trailers)
        else:
            assert isinstance(wanted, ExpectedRefusal)
            assert isinstance(event, tuple)
            assert event[0] == wanted.status


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_whole(case: Case) -> None:
    """A case that comes in one piece means what it must, and leaves the connection as it must.

    A further request is served if the connection lives on, and not even looked at if it ends. If the client goes
    before its message is complete, that is never taken for a whole one.
    """
    parser = RequestParser(Limits(**case.limits))
    check(normal(feed_all(parser, [case.octets])), case.expected)
    assert state(parser) == case.state
    if case.state == "waiting":
        assert [event[0] for event in normal(parser.feed_eof())] == [400]
    elif case.state == "idle":
        request, end = normal(parser.feed(TRAILING))
        assert (request["target"], end) == (b"/trailing", EndOfMessage())
    else:
        assert not parser.feed(TRAILING)
        assert parser.leftover


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_cut_anywhere(case: Case) -> None:
    """How the network cuts a case makes no difference: octet by octet, and in two pieces at every boundary."""
    limits = Limits(**case.limits)
    whole = normal(feed_all(RequestParser(limits), [case.octets]))
    cuts = [octet_by_octet(case.octets), *(cut(case.octets, place) for place in places(case.octets))]
    for pieces in cuts:
        parser = RequestParser(limits)
        assert normal(feed_all(parser, pieces)) == whole
        assert state(parser) == case.state


def places(octets: bytes) -> Iterable[int]:
    """Every boundary; of a long case, those that matter."""
    return range(1, len(octets)) if len(octets) <= MOST_BOUNDARIES else edges(octets, 12)


def test_there_are_enough_cases() -> None:
    """The corpus holds what the design calls traps; it does not shrink unnoticed."""
    assert len(CASES) >= 900


def test_each_case_names_its_rule() -> None:
    """An RFC and the section in it, so that a doubt can be settled by reading."""
    assert not [case.name for case in CASES if not re.search(r"RFC \d{4} section [0-9A-Z]", case.reason)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_cases(family: str) -> None:
    """The known ways to smuggle, and what was found wanting in other servers."""
    assert [case for case in CASES if re.search(family, f"{case.name}\n{case.reason}")]
