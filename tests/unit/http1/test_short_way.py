"""The short way: what it takes, and that this is what the long way makes of it."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyfork.http1 import short_way
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.short_way import (
    MOST_BLOCK_OCTETS,
    MOST_BLOCKS,
    MOST_LINE_OCTETS,
    MOST_REMEMBERED,
    MOST_REQUESTS,
    MOST_SEEN,
    take_head,
)
from tests.corpus_files import load_cases
from tests.unit.http1.flow import normal, octet_by_octet, run

LIMITS = Limits()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Let each test begin with nothing learnt, and leave nothing of it behind."""
    caches = (short_way._lines, short_way._fields, short_way._blocks, short_way._seen)
    for cache in caches:
        cache.clear()
    yield
    for cache in caches:
        cache.clear()


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes) -> bytes:
    return b"\r\n".join((line, *(fields or (b"Host: a",)), b"", b""))


def agree(data: bytes, limits: Limits = LIMITS) -> bool:
    """Hold the short way to the long one, three times: new, seen once, and remembered; return whether it was taken."""
    wanted = run(octet_by_octet(data), limits)
    for _ in range(3):
        request = take_head(data, limits)
        if request is not None:
            assert normal([request]) == wanted[:1]
        assert run([data], limits) == wanted
    return request is not None


@pytest.mark.parametrize(
    "data",
    [
        head(),
        head(b"GET /a%20b?c=d HTTP/1.1", b"HOST:  a:80  ", b"Accept: text/html, */*;q=0.8", b"X-Empty:"),
        head(b"BREW //?? HTTP/1.1"),
        head(b"GET / HTTP/1.0", b"A: 1"),
        head(b"GET / HTTP/1.0", b"Connection: Keep-Alive"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Connection: close"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Connection: upgrade", b"Upgrade: websocket"),
        head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 007"),
        head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 0"),
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: Chunked"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: 1", b"Cookie: a", b"a: 2", b"Cookie: b"),
        head(b"GET / HTTP/1.1", b"Host: a", b"X_A: 1", b"X_B: 2", b"Content_Length: 5"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: caf\xe9 \xff"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: " + b"b" * MOST_LINE_OCTETS),
        head(b"GET /" + b"a" * MOST_LINE_OCTETS + b" HTTP/1.1"),
    ],
)
def test_ordinary_heads_are_taken(data: bytes) -> None:
    """They never meet llhttp, and mean what it would have made of them."""
    assert agree(data)


@pytest.mark.parametrize(
    "data",
    [
        head(b"GET / HTTP/1.1", b"A: 1"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Host: a"),
        head(b"GET / HTTP/1.1", b"Host: a/b"),
        head(b"GET / HTTP/1.1", b"Host : a"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A"),
        head(b"GET / HTTP/1.1", b"Host: a", b": b"),
        head(b"GET / HTTP/1.1", b"Host: a", b" folded: b"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: b\tc"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: b\nB: c"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: b\rB: c"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: \0"),
        head(b"GET / HTTP/1.1", b"Host: a", b"A: \x7f"),
        head(b"GET / HTTP/1.1", b"Host: a", b"caf\xe9: b"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Expect: 100-continue"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: +5"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: \xb2"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 9999999999999999999"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 1", b"Content-Length: 1"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip"),
        head(b"GET / HTTP/1.0", b"Host: a", b"Transfer-Encoding: chunked"),
        head(b"GET http://a/ HTTP/1.1"),
        head(b"GET /\xe9 HTTP/1.1"),
        head(b"GET /\x7f HTTP/1.1"),
        head(b"GET /# HTTP/1.1"),
        head(b"GET /\nA HTTP/1.1"),
        head(b"GET / HTTP/2.0"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n" + head(),
        head() + head(),
    ],
)
def test_whatever_is_unusual_goes_the_long_way(data: bytes) -> None:
    """Some of it is legal, and the long way says so."""
    assert not agree(data)


def test_limits_are_looked_at_each_time() -> None:
    """What was learnt under one limit is not taken under another."""
    fields = head(b"GET / HTTP/1.1", b"Host: a", b"A: 1", b"B: 2")
    assert agree(fields)
    assert not agree(fields, Limits(fields=2))
    assert agree(fields, Limits(fields=3))
    content = head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5")
    assert agree(content)
    assert agree(content, Limits(body=5))
    assert not agree(content, Limits(body=4))


def test_the_same_fields_share_what_they_mean() -> None:
    """From the third time on: then they have been kept."""
    first, second, third, fourth = (take_head(head(b"GET /%d HTTP/1.1" % number), LIMITS) for number in range(4))
    assert first is not None
    assert second is not None
    assert third is not None
    assert fourth is not None
    assert first.variables is not second.variables
    assert second.variables is third.variables is fourth.variables
    assert fourth.path == b"/3"
    assert fourth.headers == fourth.headers == [(b"Host", b"a")]


def test_the_same_request_is_one_object() -> None:
    """As long as it is among the last that came with its fields; a long line is never kept."""
    requests = [take_head(head(), LIMITS) for _ in range(4)]
    assert requests[1] is requests[2] is requests[3]
    for number in range(MOST_REQUESTS):
        take_head(head(b"GET /%d HTTP/1.1" % number), LIMITS)
    again = take_head(head(), LIMITS)
    assert again is not requests[3]
    assert again is take_head(head(), LIMITS)
    long = b"GET /" + b"a" * MOST_LINE_OCTETS + b" HTTP/1.1"
    assert take_head(head(long), LIMITS) is not take_head(head(long), LIMITS)


def test_what_is_remembered_is_bounded() -> None:
    """Ever new lines and fields do not fill the memory; what is very long is never kept."""
    for number in range(MOST_REMEMBERED + MOST_SEEN + 5):
        data = head(b"GET /%d HTTP/1.1" % number, b"Host: a", b"A: %d" % number)
        assert take_head(data, LIMITS) is not None
    assert len(short_way._lines) <= MOST_REMEMBERED
    assert len(short_way._fields) <= MOST_REMEMBERED
    assert len(short_way._seen) <= MOST_SEEN
    assert not short_way._blocks
    for number in range(MOST_BLOCKS + 5):
        for _ in range(2):
            take_head(head(b"GET / HTTP/1.1", b"Host: a", b"B: %d" % number), LIMITS)
    assert len(short_way._blocks) == 5
    for _ in range(2):
        assert take_head(head(b"GET / HTTP/1.1", b"Host: a", b"C: " + b"c" * MOST_BLOCK_OCTETS), LIMITS) is not None
    assert len(short_way._blocks) == 5


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
def test_the_corpus_agrees(case: object) -> None:
    """Each head of the corpus that is taken means the same both ways."""
    data = case.octets  # type: ignore[attr-defined]
    end = data.find(b"\r\n\r\n") + 4
    if 4 < end <= 8190:
        agree(data[:end])


pieces = st.sampled_from(
    [b"a", b"A", b"-", b"_", b" ", b"\t", b":", b"\r", b"\n", b"\0", b"\x7f", b"\x80", b"\xff", b"/"]
)
words = st.sampled_from(
    [b"Host", b"host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Cookie"]
)
values = st.sampled_from([b"a", b"a:80", b"[::1]", b"close", b"keep-alive, x", b"chunked", b"5", b"100-continue", b""])
octets = st.one_of(st.binary(max_size=4), st.lists(pieces, max_size=4).map(b"".join))
field_lines = st.builds(
    lambda name, colon, value: name + colon + value,
    st.one_of(words, octets),
    st.sampled_from([b":", b": ", b":  ", b" :", b"", b":\t"]),
    st.one_of(values, octets),
)
request_lines = st.builds(
    lambda method, target, version: b" ".join((method, target, version)),
    st.one_of(st.sampled_from([b"GET", b"POST", b"BREW", b"PRI"]), octets),
    st.one_of(octets.map(lambda rest: b"/" + rest), st.binary(max_size=3), st.just(b"/a?b#c")),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b""]),
)


@given(request_lines, st.lists(field_lines, max_size=5), st.booleans())
@settings(max_examples=800, deadline=None)
def test_whatever_is_taken_means_the_same(line: bytes, fields: list[bytes], has_host: bool) -> None:
    """Any octets: what the short way takes, the long way takes with exactly the same events."""
    data = head(line, *((b"Host: a",) * has_host), *fields)
    agree(data[: data.index(b"\r\n\r\n") + 4])


@given(st.integers(0, 255), st.sampled_from([b"GET /%c HTTP/1.1", b"%c / HTTP/1.1", b"A: x%cx", b"A%c: x", b"A: %c"]))
@settings(max_examples=800, deadline=None)
def test_every_octet_in_every_place(octet: int, place: bytes) -> None:
    """Each octet in a method, a target, a name and a value is taken only if llhttp takes it as well."""
    piece = place % octet
    data = head(piece) if b"HTTP" in place else head(b"GET / HTTP/1.1", b"Host: a", piece)
    agree(data[: data.index(b"\r\n\r\n") + 4])


@pytest.mark.parametrize(
    "data",
    [
        head(b"GET / HTTP/1.1", b"Host:\ta"),
        head(b"GET / HTTP/1.1", b"A: 1"),
        head(b"GET * HTTP/1.1", b"Host: a"),
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ],
)
def test_what_is_not_taken_leaves_nothing_behind(data: bytes) -> None:
    """A client that always comes the long way would fill the memory otherwise."""
    kept = [RequestParser(LIMITS) for _ in range(3)]
    for _ in range(50):
        RequestParser(LIMITS).feed(data)
    assert sum(type(each) is RequestParser for each in gc.get_objects()) <= len(kept) + 1
