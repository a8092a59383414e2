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
    """It is refused by its size, before it comes."""
    assert refusal(b"3\r\nabc\r\n3\r\n", Limits(body=4)) == (413, b"abc")
    assert refusal(b"3\r\nabc\r\n3\r\ndef\r\n", Limits(body=4)) == (413, b"abc")
    assert refusal(b"5;a\r\n", Limits(body=4)) == (413, b"")
    assert decode(b"4\r\nabcd\r\n0\r\n\r\n", Limits(body=4))[0] == b"abcd"


def test_trailers_have_the_limits_of_headers() -> None:
    """Their number and their size are limited."""
    limits = Limits(fields=1, field_size=11)
    assert decode(b"0\r\nA: 12345678\r\n\r\n", limits)[2].trailers == ((b"A", b"12345678"),)
    assert refusal(b"0\r\nA: 123456789\r\n\r\n", limits) == (431, b"")
    assert refusal(b"0\r\nA: 1234567890", limits) == (431, b"")
    assert refusal(b"0\r\nA: 1\r\nB: 2\r\n\r\n", limits) == (431, b"")
    assert decode(b"0\r\nA: 1\r\nB: 2\r\n\r\n")[2].trailers == ((b"A", b"1"), (b"B", b"2"))


def test_a_body_without_trailers_needs_no_room_for_them() -> None:
    """However small the operator's limits."""
    assert decode(b"0\r\n\r\n", Limits(fields=0, field_size=1))[2].is_complete


@pytest.mark.parametrize("name", [b"Content-Length: 0", b"TRANSFER-ENCODING: chunked", b"transfer-encoding: x"])
def test_trailers_do_not_frame(name: bytes) -> None:
    """RFC 9110 section 6.5.1: somebody may believe them."""
    assert refusal(b"0\r\n" + name + b"\r\n\r\n") == (400, b"")


@pytest.mark.parametrize(
    "line",
    [b"1", b"01", b"0000000000000000000000001", b"1;a", b"1 ;a=b", b'1\t;\ta = "b \\" ;" ; c', b'1;a=""', b"1;!=~"],
)
def test_extensions_are_read_and_forgotten(line: bytes) -> None:
    """RFC 9112 section 7.1.1, with the whitespace that must be borne (RFC 9110 section 5.6.3)."""
    assert decode(line + b"\r\nx\r\n" + line.replace(b"1", b"0", 1) + b"\r\n\r\n")[0] == b"x"


@pytest.mark.parametrize("line", [b"1 ", b"1;", b"1; ", b"1;a ", b"1;=", b"1;a=", b'1;a="', b"1;a\r", b"1\n1", b"1 1"])
def test_what_is_no_extension_is_refused(line: bytes) -> None:
    """Whoever reads it otherwise would find another end of the line."""
    assert refusal(line + b"\r\nx\r\n0\r\n\r\n") == (400, b"")


def test_a_size_may_have_63_bits() -> None:
    """RFC 9112 section 7.1: no number may wrap."""
    assert decode(b"7fffffffffffffff\r\nx")[0] == b"x"
    for size in (b"8000000000000000", b"10000000000000000", b"10000000000000001", b"f" * 100):
        assert refusal(size + b"\r\nx\r\n") == (400, b"")


def test_what_is_no_chunk_is_refused_at_its_first_octet() -> None:
    """A client that waits for an answer need not send a line's end first."""
    assert refusal(b"x") == (400, b"")
    assert refusal(b"\r") == (400, b"")
    assert refusal(b"1\r\nxx") == (400, b"x")
    assert refusal(b"1\r\nx\rx") == (400, b"x")


@pytest.mark.parametrize("line", [b"3x", b"3=", b"3\rx", b"3\0", b"3;a\0", b"3;a\rb", b"0\r\nX\rY", b"0\r\nX\0\r\n"])
def test_what_never_becomes_a_line_is_refused_before_its_end(line: bytes) -> None:
    """In one piece and octet by octet; what may still become one is waited for."""
    assert refusal(line) == (400, b"")
    body = ChunkedBody(Limits())
    with pytest.raises(ProtocolError):
        any(body.feed(bytes([octet]), 0) > 1 for octet in line)
    for beginning in (b"3", b"3\r", b"3 ", b"3;a=", b"0" * 30 + b"=", b"0\r\nX y", b"0\r\n\r"):
        assert not decode(beginning)[2].is_complete


@pytest.mark.parametrize("barren", [b"1;" + b"a" * 40_000, b"0" * 40_000, b"0\r\nX: " + b"a" * 40_000])
def test_no_stretch_is_barren(barren: bytes) -> None:
    """Extensions, zeros and trailers end, or they are refused at 16 KiB."""
    body = ChunkedBody(Limits(field_size=100_000))
    body.feed(b"1\r\nx\r\n", 0)
    octets = iter(barren)
    with pytest.raises(ProtocolError, match="more framing than content"):
        any(body.feed(bytes([octet]), 0) > 1 for octet in octets)
    assert MAX_FRAMING <= len(barren) - len(list(octets)) + 8 <= MAX_FRAMING + 16


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


def test_all_the_framing_that_is_allowed_may_be_trailers() -> None:
    """Not one octet more."""
    start = b"0\r\nX: "
    end = b"\r\n\r\n"
    trailer = b"a" * (MAX_FRAMING - len(start) - len(end))
    assert decode(start + trailer + end, Limits(field_size=20_000))[2].is_complete
    assert refusal(start + b"a" + trailer + end, Limits(field_size=20_000)) == (400, b"")
