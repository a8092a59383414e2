import gc
import weakref

import pytest

from pyfork.errors import ProtocolError
from pyfork.http1.limits import MAX_FEED, Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Request
from tests.unit.http1.flow import feed_all, normal, run, state

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def refusal(pieces: list[bytes], limits: Limits | None = None) -> int:
    last = run(pieces, limits)[-1]
    assert isinstance(last, tuple)
    return last[0]


def test_a_request_and_its_end_come_together() -> None:
    """A request without content is complete with its head."""
    parser = RequestParser(Limits())
    request, end = parser.feed(GET)
    assert isinstance(request, Request)
    assert request.headers == [(b"Host", b"a")]
    assert end == EndOfMessage()
    assert parser.is_idle


def test_idle_means_not_one_octet_of_a_request() -> None:
    """Who waits between requests may be left without an answer; who has begun one gets a 408."""
    parser = RequestParser(Limits())
    assert parser.is_idle
    assert parser.feed(b"G") == []
    assert not parser.is_idle
    assert not parser.is_reading_content
    parser.feed(GET[1:])
    assert parser.is_idle
    parser.feed(b"\r\n")
    assert parser.is_idle


def test_a_call_ends_with_the_message() -> None:
    """Nobody reads ahead: the next request is not parsed before it is asked for."""
    parser = RequestParser(Limits())
    assert len(parser.feed(GET * 3)) == 2
    assert parser.leftover == 2 * len(GET)
    assert not parser.is_idle
    assert len(parser.feed(b"")) == 2
    assert len(parser.feed(b"GET /4")) == 2
    assert parser.leftover == len(b"GET /4")
    assert parser.feed(b"") == []
    request, _ = parser.feed(b" HTTP/1.1\r\nHost: b\r\n\r\n")
    assert isinstance(request, Request)
    assert request.target == b"/4"
    assert parser.leftover == 0


def test_a_feed_full_of_requests() -> None:
    """64 KiB of pipelined requests are as many requests, one at a time."""
    request = b"GET / HTTP/1.1\r\nHost:\r\n\r\n"
    parser = RequestParser(Limits())
    count = 0
    events = parser.feed(request * (4 * MAX_FEED // len(request)))
    while events:
        assert len(events) == 2
        count += 1
        events = parser.feed(b"")
    assert count == 4 * MAX_FEED // len(request)
    assert parser.is_idle


def test_reading_content() -> None:
    """Between a request and its end, the parser reads content."""
    parser = RequestParser(Limits())
    (request,) = parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    assert isinstance(request, Request)
    assert parser.is_reading_content
    assert parser.feed(b"abc") == [b"abc"]
    assert parser.feed(b"deGET") == [b"de", EndOfMessage()]
    assert not parser.is_reading_content
    assert parser.leftover == 3


def test_content_behind_the_head_in_one_piece() -> None:
    """The short way leads into content of each kind."""
    parser = RequestParser(Limits())
    events = parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    assert events[1:] == [b"abc", EndOfMessage()]
    events = parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    assert events[1:] == [b"x", EndOfMessage()]
    assert len(parser.feed(GET)) == 2


def test_a_method_that_llhttp_does_not_know_in_pieces() -> None:
    """The target of an unknown method is judged as that of a known one."""
    assert run([b"BREW /po", b"t HTTP/1.1\r\nHost: a\r\n", b"\r\n"])[0]["method"] == "BREW"
    assert refusal([b"BREW pot HTTP/1.1\r\nHost: a\r\n\r\n"]) == 400


def test_100_megabytes_of_one_header_line() -> None:
    """It ends with the limit, however it comes, and what follows is not kept."""
    parser = RequestParser(Limits())
    events = parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    fed = 0
    piece = b"a" * MAX_FEED
    while not parser.is_closed:
        events += parser.feed(piece)
        fed += len(piece)
    (error,) = events
    assert isinstance(error, ProtocolError)
    assert error.status == 431
    assert fed == MAX_FEED
    for _ in range(100):
        assert parser.feed(piece) == []
    assert len(parser._buffer) <= MAX_FEED
    assert parser.leftover > 100 * MAX_FEED


def test_an_endless_chunk_extension() -> None:
    """It ends within two stretches of the grid."""
    parser = RequestParser(Limits())
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    pieces = 0
    while not parser.is_closed:
        events = parser.feed(b"a" * 1000)
        pieces += 1
    assert isinstance(events[-1], ProtocolError)
    assert pieces * 1000 <= 2 * MAX_FEED + 1000


@pytest.mark.parametrize("place", [0, 5])
def test_limits_count_the_same_on_both_ways(place: int) -> None:
    """Whether a head comes whole or in pieces, the same octet is one too many."""

    def cut(data: bytes) -> list[bytes]:
        return [data[:place], data[place:]]

    line = b"GET /aaaaaa HTTP/1.1"
    limits = Limits(request_line=len(line), fields=2, field_size=5)
    good = line + b"\r\nHost:\r\nA: bc\r\n\r\n"
    assert len(run(cut(good), limits)) == 2
    assert refusal(cut(good.replace(b"/a", b"/aa")), limits) == 414
    assert refusal(cut(good.replace(b"bc", b"bcd")), limits) == 431
    assert refusal(cut(good.replace(b"\r\n\r\n", b"\r\nB:\r\n\r\n")), limits) == 431


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\rHost: a", b"GET / HTTP/1.1\r\nHost: a\rX", b"\rG", b"A\rB\n"])
def test_a_bare_cr_is_refused_at_once(data: bytes) -> None:
    """RFC 9112 section 2.2: a client that takes it for the end of a line sends no LF to wait for."""
    for place in range(len(data)):
        assert refusal([data[:place], data[place:]], Limits()) == 400
    assert run([b"GET / HTTP/1.1\r"]) == run([b"GET / HTTP/1.1\r\nHost: a\r"]) == []


def test_a_method_that_fills_the_line_is_not_implemented() -> None:
    """RFC 9112 section 3: 501, and 414 for a target; wherever the line is cut."""
    limits = Limits(request_line=20)
    for place in (0, 5, 21):
        data = b"A" * 30 + b" / HTTP/1.1\r\n\r\n"
        assert refusal([data[:place], data[place:]], limits) == 501
        data = b"A /" + b"a" * 30
        assert refusal([data[:place], data[place:]], limits) == 414


def test_too_many_fields_on_the_short_way() -> None:
    """Small lines may still be too many."""
    assert refusal([b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n"], Limits(fields=2)) == 431


def test_a_breach_is_the_first_in_the_order_of_octets() -> None:
    """A limit and a fault of grammar: whichever comes first answers."""
    limits = Limits(fields=2)
    assert refusal([b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\nZ\r\n\r\n"], limits) == 431
    assert refusal([b"GET / HTTP/1.1\r\nHost: a\r\nX\r\nY: 2\r\nZ: 3\r\n\r\n"], limits) == 400


def test_the_first_octet_is_enough_to_refuse() -> None:
    """A TLS client does not wait for the deadline."""
    parser = RequestParser(Limits())
    (error,) = parser.feed(b"\x16")
    assert isinstance(error, ProtocolError)
    assert error.status == 400
    assert error.__traceback__ is None
    assert parser.is_closed


def test_a_line_that_ends_in_lf() -> None:
    """CRLF ends a line, nothing else."""
    assert refusal([b"GET / HTTP/1.1\n"]) == 400


def test_empty_lines_are_counted_for_each_message() -> None:
    """Four are borne before each request."""
    parser = RequestParser(Limits())
    assert len(feed_all(parser, [b"\r\n" * 4 + GET + b"\r\n" * 4 + GET])) == 4
    assert len(feed_all(parser, [b"\r\n" * 4, GET, b"\r\n" * 4, GET])) == 4
    assert refusal([b"\r\n" * 5 + GET]) == 400
    assert refusal([b"\r\n", b"\r\n\r", b"\n\r\n", b"\r\n", GET]) == 400


def test_after_close_nothing_is_parsed() -> None:
    """RFC 9112 section 9.6; the shell learns that there was more, and lingers."""
    parser = RequestParser(Limits())
    assert len(parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nmore")) == 2
    assert parser.is_closed
    assert not parser.is_idle
    assert parser.leftover == 4
    assert parser.feed(b"and more") == []
    assert parser.feed(b"") == []
    assert parser.leftover == 12


def test_close_in_pieces() -> None:
    """The long way ends the connection too."""
    parser = RequestParser(Limits())
    assert len(feed_all(parser, [b"GET / HT", b"TP/1.0\r\n\r\n"])) == 2
    assert parser.is_closed
    assert parser.leftover == 0


def test_eof_between_requests() -> None:
    """A client that has nothing more to say goes in peace."""
    parser = RequestParser(Limits())
    assert parser.feed_eof() == []
    assert parser.is_closed
    assert parser.feed_eof() == []


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_eof_in_a_request(data: bytes) -> None:
    """RFC 9112 section 8: what is not complete is refused."""
    parser = RequestParser(Limits())
    parser.feed(data)
    (error,) = parser.feed_eof()
    assert isinstance(error, ProtocolError)
    assert error.status == 400
    assert parser.is_closed
    assert parser.feed_eof() == []


def test_eof_waits_for_what_is_left_over() -> None:
    """A client may send two requests and half-close; both are served."""
    parser = RequestParser(Limits())
    parser.feed(GET * 3)
    assert len(parser.feed_eof()) == 2
    assert not parser.is_closed
    assert len(parser.feed(b"")) == 2
    assert parser.feed(b"") == []
    assert parser.is_closed


def test_eof_behind_one_and_a_half_requests() -> None:
    """The half is refused in its turn."""
    parser = RequestParser(Limits())
    parser.feed(GET + b"GET")
    (error,) = parser.feed_eof()
    assert isinstance(error, ProtocolError)


def test_heads_larger_than_a_limit_go_the_long_way() -> None:
    """A head of many good lines may be longer than any of them."""
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(20))
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
    parser = RequestParser(Limits())
    events = normal(feed_all(parser, [data, GET]))
    assert len(events[0]["headers"]) == 21
    assert len(events) == 4
    assert state(parser) == "idle"


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"GET",
        b"bad\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
    ],
)
def test_a_parser_goes_without_the_collector(data: bytes) -> None:
    """A parser is no part of a circle: thousands of connections leave no garbage behind."""

    class Watched(RequestParser):
        __slots__ = ("__weakref__",)

    gc.disable()
    try:
        parser = Watched(Limits())
        events = parser.feed(data)
        watch = weakref.ref(parser)
        del parser
        assert watch() is None
        del events
    finally:
        gc.enable()


@pytest.mark.parametrize("cut", [1, 1000])
@pytest.mark.parametrize(
    ("octets", "method"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", "HEAD"),
        (b"HEAD / HTTP/3.0\r\n", "HEAD"),
        (b"HEAD / HTTP/1.1\nHost: a\n\n", "HEAD"),
        (b"HEAD /" + b"x" * 300, "HEAD"),
        (b"HEAD /", "HEAD"),
        (b"HEAD / HTTP/1.1\r\nHos", "HEAD"),
        (b"FIND / HTTP/1.1\r\n\r\n", "FIND"),
        (b"HEAD", ""),
        (b"\r\n", ""),
    ],
)
def test_the_method_is_known_as_soon_as_it_is_read(octets: bytes, method: str, cut: int) -> None:
    """A refusal is answered by it, and what another request was before does not count."""
    parser = RequestParser(Limits(request_line=100))
    parser.feed(b"HEAD / HTTP/1.1\r\n")
    parser.feed(b"Host: a\r\n\r\n")
    for start in range(0, len(octets), cut):
        parser.feed(octets[start : start + cut])
    assert parser.method == method
