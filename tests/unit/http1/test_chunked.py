import pytest

from pyfork.errors import ProtocolError
from pyfork.http1.chunked import ChunkedBody
from pyfork.http1.limits import FRAMING_PER_CHUNK, MAX_FRAMING, Limits


def decode(data: bytes, limits: Limits | None = None) -> tuple[bytes, int, ChunkedBody]:
    body = ChunkedBody(limits or Limits())
    end = body.feed(data, 0)
    return body.take_content(), end, body


def refusal(data: bytes, limits: Limits | None = None) -> tuple[int, bytes]:
    body = ChunkedBody(limits or Limits())
    with pytest.raises(ProtocolError) as caught:
        body.feed(data, 0)
    assert caught.value.detail
    return caught.value.status, body.take_content()


def test_content_is_joined() -> None:
    """Chunks are the connection's affair; content is one."""
    content, end, body = decode(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert content == b"abcde"
    assert end == 20
    assert body.is_complete
    assert body.trailers == ()
    assert body.take_content() == b""


def test_it_stops_at_its_end() -> None:
    """Not one octet of the next request is read."""
    data = b"1\r\nx\r\n0\r\nA: b \r\n\r\nGET / HTTP/1.1\r\n\r\n"
    content, end, body = decode(data)
    assert content == b"x"
    assert data[end:] == b"GET / HTTP/1.1\r\n\r\n"
    assert body.trailers == ((b"A", b"b"),)
    assert body.feed(data, end) == end


def test_it_starts_where_it_is_told() -> None:
    """What lies before belongs to others."""
    body = ChunkedBody(Limits())
    assert body.feed(b"0\r\n\r\n1\r\nx\r\n0\r\n\r\n0\r\n\r\n", 5) == 16
    assert body.take_content() == b"x"


@pytest.mark.parametrize("cut", range(1, 30))
def test_the_end_is_found_wherever_it_is_cut(cut: int) -> None:
    """The empty line at the end may come in pieces."""
    data = b"6\r\n\r\n\r\n\r\n\r\n0\r\nA: b\r\n\r\n0\r\n\r\nxyz"[:30]
    body = ChunkedBody(Limits())
    end = body.feed(data[:cut], 0)
    if not body.is_complete:
        end = cut + body.feed(data[cut:], 0)
    assert body.is_complete
    assert end == 22
    assert body.take_content() == b"\r\n" * 3


def test_bad_framing_is_refused_behind_what_was_good() -> None:
    """Content before the breach is content."""
    assert refusal(b"3\r\nabcd\r\n") == (400, b"abc")
    assert refusal(b"x\r\n") == (400, b"")


def test_content_above_the_limit() -> None:
    """Exactly as much as is allowed is delivered."""
    assert refusal(b"3\r\nabc\r\n3\r\ndef\r\n", Limits(body=4)) == (413, b"abcd")
    assert decode(b"4\r\nabcd\r\n0\r\n\r\n", Limits(body=4))[0] == b"abcd"


def test_trailers_have_the_limits_of_headers() -> None:
    """Their number and their size are limited."""
    limits = Limits(fields=1, field_size=10)
    assert decode(b"0\r\nA: 12345678\r\n\r\n", limits)[2].trailers == ((b"A", b"12345678"),)
    assert refusal(b"0\r\nA: 123456789\r\n\r\n", limits) == (431, b"")
    assert refusal(b"0\r\nA: 1\r\nB: 2\r\n\r\n", limits) == (431, b"")


def test_limits_do_not_concern_our_own_primer() -> None:
    """The head that primes llhttp is ours, however small the operator's limits."""
    assert decode(b"0\r\n\r\n", Limits(fields=0, field_size=1))[2].is_complete


@pytest.mark.parametrize("barren", [b"1;" + b"a" * 40_000, b"0" * 40_000, b"0\r\nX: " + b"a" * 40_000])
def test_no_stretch_is_barren(barren: bytes) -> None:
    """Extensions, zeros and trailers end, or they are refused within two lines of the grid."""
    body = ChunkedBody(Limits(field_size=100_000))
    body.feed(b"1\r\nx\r\n", 0)
    octets = iter(barren)
    with pytest.raises(ProtocolError, match="more framing than content"):
        any(body.feed(bytes([octet]), 0) > 1 for octet in octets)
    assert len(barren) - len(list(octets)) <= 2 * MAX_FRAMING


@pytest.mark.parametrize("chunk", [b"1;" + b"a" * 16_000 + b"\r\nx\r\n", b"1;" + b"a" * 20 + b"\r\nx\r\n"])
def test_framing_is_counted_over_the_whole_body(chunk: bytes) -> None:
    """A little content in each stretch does not excuse extensions without end."""
    body = ChunkedBody(Limits())
    with pytest.raises(ProtocolError, match="more framing than content"):
        body.feed(chunk * 6000, 0)
    chunks = len(body.take_content())
    assert chunks * (len(chunk) - 1) <= 2 * MAX_FRAMING + chunks * (FRAMING_PER_CHUNK + 1)


@pytest.mark.parametrize(
    "chunk",
    [
        b"1\r\nx\r\n",
        b"00000001\r\nx\r\n",
        b"1;a=b\r\nx\r\n",
        b"80;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 128 + b"\r\n",
    ],
)
def test_ordinary_chunks_are_content(chunk: bytes) -> None:
    """However small: each excuses its framing, and a signature smaller than its content."""
    content, _, body = decode(chunk * 10_000 + b"0\r\n\r\n")
    assert content == b"x" * (chunk.count(b"x") * 10_000)
    assert body.is_complete


def test_content_is_no_credit_for_later() -> None:
    """A large upload does not pay for an extension that never ends."""
    body = ChunkedBody(Limits())
    body.feed(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n", 0)
    with pytest.raises(ProtocolError, match="more framing than content"):
        body.feed(b"1;" + b"a" * 3 * MAX_FRAMING, 0)


def test_a_body_may_end_on_the_grid() -> None:
    """The last octet of a stretch may be the last of the body."""
    start = b"0\r\nX: "
    end = b"\r\n\r\n"
    trailer = b"a" * (MAX_FRAMING - len(start) - len(end))
    assert decode(start + trailer + end, Limits(field_size=20_000))[2].is_complete
