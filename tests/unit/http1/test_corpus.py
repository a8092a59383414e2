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
    load_cases,
)
from tests.unit.http1.flow import feed_all, normal, octet_by_octet, state

CASES = load_cases()
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
    """A case that comes in one piece means what it must, and leaves the connection as it must."""
    parser = RequestParser(Limits(**case.limits))
    events = normal(feed_all(parser, [case.octets]))
    check(events, case.expected)
    assert state(parser) == case.state


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_octet_by_octet(case: Case) -> None:
    """How the network cuts a case makes no difference."""
    limits = Limits(**case.limits)
    parser = RequestParser(limits)
    events = normal(feed_all(parser, octet_by_octet(case.octets)))
    assert events == normal(feed_all(RequestParser(limits), [case.octets]))
    assert state(parser) == case.state


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_with_trailing_octets(case: Case) -> None:
    """A further request behind a case is served if the connection lives on, else it is not even looked at."""
    if case.state == "waiting":
        return
    parser = RequestParser(Limits(**case.limits))
    events = normal(feed_all(parser, [case.octets + TRAILING]))
    if case.state == "closed":
        check(events, case.expected)
        assert parser.leftover
    else:
        check(events[:-2], case.expected)
        assert events[-2]["target"] == b"/trailing"
        assert events[-1] == EndOfMessage()


def test_there_are_enough_cases() -> None:
    """The corpus holds what the design calls traps; it does not shrink unnoticed."""
    assert len(CASES) >= 300
