from collections.abc import Iterator

import pytest

from pyfork.errors import ApplicationError
from pyfork.http1 import response_head
from pyfork.http1.response_head import MOST_HEAD_OCTETS, MOST_HEADS, MOST_SEEN, ResponseHead, read_head

DATE = b"Fri, 20 Nov 2026 22:00:00 GMT"
TYPE = ("Content-Type", "text/plain")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Let each test begin with nothing learnt, and leave nothing of it behind."""
    for cache in (response_head._heads, response_head._seen):
        cache.clear()
    yield
    for cache in (response_head._heads, response_head._seen):
        cache.clear()


def test_a_head_is_remembered_when_it_comes_again() -> None:
    """The second time it is kept; from then on nothing is looked at again."""
    first, second, third = (read_head("200 OK", [TYPE, ("Content-Length", "5")]) for _ in range(3))
    assert first is not second
    assert second is third
    assert (third.code, third.length, third.octets) == (200, 5, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")


def test_another_status_or_field_is_another_head() -> None:
    """The key is everything that the application gave."""
    for _ in range(3):
        assert read_head("200 OK", [TYPE]).octets != read_head("200 Fine", [TYPE]).octets
        assert read_head("200 OK", [TYPE, ("A", "b")]).octets != read_head("200 OK", [("A", "b"), TYPE]).octets


def test_what_is_wrong_is_never_remembered() -> None:
    """The same breach is named each time."""
    for _ in range(3):
        with pytest.raises(ApplicationError, match="control character"):
            read_head("200 OK", [("A", "b\n")])
        with pytest.raises(ApplicationError, match="no tuple"):
            read_head("200 OK", [["A", "b"]])  # type: ignore[list-item]
        with pytest.raises(ApplicationError, match="no list"):
            read_head("200 OK", (TYPE,))  # type: ignore[arg-type]


def test_what_is_remembered_is_bounded() -> None:
    """Neither the number of heads nor their size grows without end."""
    for number in range(MOST_SEEN + 5):
        read_head("200 OK", [("Set-Cookie", f"id={number}")])
    assert len(response_head._seen) <= MOST_SEEN
    assert not response_head._heads
    for number in range(MOST_HEADS + 5):
        for _ in range(2):
            read_head("200 OK", [("A", str(number))])
    assert len(response_head._heads) == 5
    for _ in range(2):
        read_head("200 OK", [("A", "b" * MOST_HEAD_OCTETS)])
    assert len(response_head._heads) == 5


def test_the_characters_of_a_text_are_sent_whatever_its_class() -> None:
    """A subclass of str that is shown as something else is sent as what it is, remembered or not."""

    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "odd"

        def __format__(self, spec: str) -> str:
            return "odd"

    for _ in range(3):
        assert read_head("200 OK", [("A", Odd("b"))]).octets.endswith(b"A: b\r\n")


def test_date_and_server_are_added_once_a_second() -> None:
    """They are part of what is remembered until the date is another one; the application's own go before."""
    head = ResponseHead("200 OK", [TYPE])
    octets = head.encode(DATE, b"s")
    assert octets == head.octets + b"Date: %b\r\nServer: s\r\n" % DATE
    assert head.encode(DATE, b"s") is octets
    assert head.encode(b"later", b"s").endswith(b"Date: later\r\nServer: s\r\n")
    assert head.encode(b"later", b"t").endswith(b"Date: later\r\nServer: t\r\n")
    own = ResponseHead("200 OK", [("Date", "now"), ("Server", "mine")])
    assert own.encode(DATE, b"s") == own.octets == b"HTTP/1.1 200 OK\r\nDate: now\r\nServer: mine\r\n"


def test_what_a_head_means() -> None:
    """The fields that concern the framing are obeyed, and not sent as they came."""
    head = ResponseHead("200 OK", [("Connection", "x, Close"), ("Upgrade", "y"), ("upgrade", "z"), ("TE", "a")])
    assert (head.closes, head.dropped, head.length) == (True, ("upgrade", "te"), None)
    assert head.octets == b"HTTP/1.1 200 OK\r\n"
    upgrade = ResponseHead("426 Upgrade Required", [("Upgrade", "y"), ("TE", "a")])  # RFC 9110 section 15.5.22
    assert upgrade.octets == b"HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: y\r\n"
    assert (upgrade.closes, upgrade.dropped) == (False, ("te",))
    assert ResponseHead("204 No Content", [("Content-Length", "5")]).length is None
    assert ResponseHead("205 Reset Content", []).length == 0
    assert ResponseHead("304 Not Modified", [("Content-Length", "5")]).length == 5
    with pytest.raises(ApplicationError, match="more than one"):
        ResponseHead("200 OK", [("Content-Length", "5"), ("content-length", "5")])
