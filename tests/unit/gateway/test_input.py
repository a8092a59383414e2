"""``wsgi.input``."""

import io
import random

import pytest

from pyfork.gateway.input import EMPTY_INPUT, InputStream

TEXT = b"one\ntwo\n\nfour" + b"x" * 50 + b"\nlast"


class Pieces:
    """A receiver that gives its pieces and counts how often it is asked."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.pieces.pop(0) if self.pieces else b""


def cut(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


def stream_of(text, size=7):
    return InputStream(Pieces(*cut(text, size)))


def test_nothing_is_received_before_it_is_read():
    """A 100 (Continue) depends on it."""
    receive = Pieces(b"a")
    stream = InputStream(receive)
    assert stream.read(0) == b""
    assert stream.readline(0) == b""
    assert receive.calls == 0


def test_read_gives_what_was_asked_for():
    """Less only at the end, and b"" from then on, without asking again."""
    receive = Pieces(b"abc", b"def", b"g")
    stream = InputStream(receive)
    assert [stream.read(4), stream.read(1), stream.read(10), stream.read(10), stream.read()] == [
        b"abcd",
        b"e",
        b"fg",
        b"",
        b"",
    ]
    assert receive.calls == 4


@pytest.mark.parametrize("size", [-1, None])
def test_read_without_a_size_gives_all(size):
    """Also behind a read with one."""
    stream = stream_of(TEXT)
    assert stream.read(3) == TEXT[:3]
    assert stream.read(size) == TEXT[3:]
    assert stream.read(size) == b""


def test_a_read_takes_no_more_than_it_needs():
    """What is not asked for stays with the client."""
    receive = Pieces(b"abc", b"def")
    stream = InputStream(receive)
    assert stream.read(3) == b"abc"
    assert receive.calls == 1


def test_lines_end_where_their_ends_are():
    """Wherever the network has cut."""
    for size in range(1, len(TEXT) + 1):
        stream = stream_of(TEXT, size)
        assert list(stream) == TEXT.splitlines(keepends=True)
        assert stream.readline() == b""


def test_a_line_can_be_limited():
    """The rest of it comes with the next call."""
    stream = stream_of(b"abcdefghij\nk")
    assert [stream.readline(4), stream.readline(7), stream.readline(4)] == [b"abcd", b"efghij\n", b"k"]


@pytest.mark.parametrize("hint", [None, -1, 0])
def test_readlines_without_a_hint_gives_all(hint):
    """0 is none, as for a file."""
    assert stream_of(TEXT).readlines(hint) == TEXT.splitlines(keepends=True)


def test_readlines_stops_behind_the_hint():
    """With the line that reaches it."""
    stream = stream_of(TEXT)
    assert stream.readlines(5) == [b"one\n", b"two\n"]
    assert stream.readlines() == TEXT.splitlines(keepends=True)[2:]


def test_it_behaves_as_a_file_does():
    """The same calls in any order give the same on both."""
    choose = random.Random(20261120)
    for _ in range(300):
        text = bytes(choose.choice(b"ab\n") for _ in range(choose.randrange(60)))
        stream, file = stream_of(text, choose.randrange(1, 9)), io.BytesIO(text)
        for _ in range(12):
            method = choose.choice(("read", "readline", "readlines"))
            size = choose.choice((-1, None, *range(9)))
            assert getattr(stream, method)(size) == getattr(file, method)(size)


def test_the_receivers_exception_reaches_the_reader():
    """And what had been read before it is not given twice."""

    def fail():
        raise ConnectionResetError

    stream = InputStream(fail)
    with pytest.raises(ConnectionResetError):
        stream.read()
    with pytest.raises(ConnectionResetError):
        stream.readline()


def test_no_body_is_no_body():
    """The stream that all such requests share has no state."""
    assert EMPTY_INPUT.read() == b""
    assert EMPTY_INPUT.readline() == b""
    assert list(EMPTY_INPUT) == []
