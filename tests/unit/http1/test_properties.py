"""What holds for any octets (hypothesis)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pyfork.errors import ProtocolError
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Request
from tests.corpus_files import load_cases
from tests.unit.http1.flow import feed_all, normal, octet_by_octet, run

SMALL = [case.octets for case in load_cases() if len(case.octets) < 300]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

limits = st.builds(
    Limits,
    request_line=st.sampled_from([15, 30, 8190]),
    fields=st.sampled_from([1, 3, 100]),
    field_size=st.sampled_from([8, 40, 8190]),
    body=st.sampled_from([None, 0, 4]),
)


@st.composite
def traffic(draw: st.DrawFn) -> bytes:
    """Requests of the corpus, one behind the other, with some damage."""
    pieces = st.one_of(st.sampled_from(SMALL), st.sampled_from([b"\r\n", b"\r\n\r\n", GET]))
    data = b"".join(draw(st.lists(pieces, min_size=1, max_size=5)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        inserted = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b"\r\n", b"\r\n\r\n", b"0\r\n", b"\r", b"Host: b\r\n", b"Content-Length: 2\r\n"]),
            )
        )
        data = data[:place] + inserted + data[place + draw(st.integers(0, 3)) :]
    return data


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(places)]


@given(traffic(), st.lists(st.integers(0, 2000), max_size=8), limits)
@settings(max_examples=400, deadline=None)
def test_any_split_gives_the_same_events(data: bytes, places: list[int], limit: Limits) -> None:
    """The network may cut where it likes; only how content is cut may differ."""
    whole = run([data], limit)
    assert run(cut(data, places), limit) == whole
    assert run(octet_by_octet(data), limit) == whole


@given(st.one_of(st.binary(max_size=500), traffic()), limits)
@settings(max_examples=400, deadline=None)
def test_nothing_is_raised_and_the_order_holds(data: bytes, limit: Limits) -> None:
    """Any octets give ``(Request bytes* EndOfMessage)*``, then at most one ProtocolError."""
    parser = RequestParser(limit)
    events = feed_all(parser, [data])
    if not parser.is_closed:
        events += parser.feed_eof()
    assert parser.is_closed
    is_inside = False
    for number, event in enumerate(events):
        if isinstance(event, ProtocolError):
            assert number == len(events) - 1
            assert event.status in {400, 413, 414, 417, 431, 501, 505}
            assert event.detail.isprintable()
        elif isinstance(event, Request):
            assert not is_inside
            is_inside = True
        else:
            assert is_inside
            is_inside = not isinstance(event, EndOfMessage)
    assert not is_inside or isinstance(events[-1], ProtocolError)


@given(st.binary(max_size=200), st.binary(max_size=50).filter(lambda octets: b"\n" not in octets))
def test_garbage_behind_a_good_request_does_not_change_it(garbage: bytes, content: bytes) -> None:
    """A request that is complete has been understood; what follows is another matter."""
    good = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    assert normal(RequestParser(Limits()).feed(good + garbage)) == normal(RequestParser(Limits()).feed(good))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=10))
def test_chunks_decode_to_what_was_encoded(chunks: list[bytes], behind: bytes) -> None:
    """Content in chunks arrives as it was, and what lies behind is left over."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    parser = RequestParser(Limits())
    events = parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + behind)
    assert b"".join(event for event in events if isinstance(event, bytes)) == b"".join(chunks)
    assert events[-1] == EndOfMessage()
    assert parser.leftover == len(behind)
