import pytest

from pyfork.errors import ProtocolError
from pyfork.http1 import head
from pyfork.http1.head import build_request, read_request_line
from pyfork.http1.limits import Limits
from pyfork.http1.request import Headers, Request

HOST = (b"Host", b"a")


def build(line: bytes = b"GET / HTTP/1.1", headers: Headers | None = None, limits: Limits | None = None) -> Request:
    return build_request(line, [HOST] if headers is None else headers, limits or Limits())


def refusal(line: bytes = b"GET / HTTP/1.1", headers: Headers | None = None, limits: Limits | None = None) -> int:
    with pytest.raises(ProtocolError) as caught:
        build(line, headers, limits)
    assert caught.value.detail
    return caught.value.status


def test_common_and_uncommon_methods() -> None:
    """Every token is a method, except those that an application server cannot serve."""
    assert read_request_line(b"GET / HTTP/1.1") == ("GET", b"/", "1.1")
    assert read_request_line(b"BREW / HTTP/1.0") == ("BREW", b"/", "1.0")
    for line in (b"(x / HTTP/1.1", b"\xe9 / HTTP/1.1", b" / HTTP/1.1"):
        assert refusal(line) == 400
    for method in ("SOURCE", "SETUP", "connect", "x" * 9000):  # llhttp's and RTSP's among them
        assert read_request_line(f"{method} / HTTP/1.1".encode())[0] == method
    for method in (b"CONNECT", b"PRI"):
        assert refusal(method + b" / HTTP/1.1") == 501


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1x", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/0.9", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /#a HTTP/1.1", 400),
    ],
)
def test_bad_request_lines(line: bytes, status: int) -> None:
    """Exactly three words, a version that is spoken here, no fragment."""
    assert refusal(line) == status


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"/a?b?c", b"/a", b"b?c", b"a"),
        (b"/a", b"/a", b"", b"a"),
        (b"http://b:1/c?d", b"/c", b"d", b"b:1"),
        (b"HTTPS://b?d", b"/", b"d", b"b"),
        (b"http://b", b"/", b"", b"b"),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes, host: bytes) -> None:
    """The forms of a target (RFC 9112 section 3.2); an authority goes before the Host field."""
    request = build(b"GET " + target + b" HTTP/1.1")
    assert (request.target, request.path, request.query, request.host) == (target, path, query, host)


def test_a_higher_minor_version_is_the_highest_that_is_known() -> None:
    """RFC 9110 section 2.5: whoever sends it can be served as HTTP/1.1; so it needs a Host."""
    for minor in range(1, 10):
        assert read_request_line(b"GET / HTTP/1.%d" % minor) == ("GET", b"/", "1.1")
    assert build(b"GET / HTTP/1.2").keep_alive
    assert refusal(b"GET / HTTP/1.2", headers=[]) == 400


def test_asterisk_is_for_options() -> None:
    """RFC 9112 section 3.2.4."""
    request = build(b"OPTIONS * HTTP/1.1")
    assert (request.path, request.host) == (b"*", b"a")
    assert refusal(b"GET * HTTP/1.1") == 400


@pytest.mark.parametrize(
    ("target", "path"), [(b"http://b", b"*"), (b"http://b/", b"/"), (b"http://b?", b"/"), (b"http://b?c", b"/")]
)
def test_options_of_a_whole_server_in_absolute_form(target: bytes, path: bytes) -> None:
    """RFC 9110 section 4.2.3: an empty path is a slash for other methods only."""
    assert build(b"OPTIONS " + target + b" HTTP/1.1").path == path
    assert build(b"GET " + target + b" HTTP/1.1").path == b"/"


@pytest.mark.parametrize("target", [b"a", b"ftp://a/", b"http://", b"http://:80/", b"http://a@b/", b"http:a"])
def test_bad_targets(target: bytes) -> None:
    """Neither a path nor an http or https URL with a valid host."""
    assert refusal(b"GET " + target + b" HTTP/1.1") == 400


def test_host_is_required_in_http_1_1_only() -> None:
    """RFC 9112 section 3.2."""
    assert refusal(headers=[]) == 400
    assert build(b"GET / HTTP/1.0", []).host == b""
    assert build(b"GET http://b/ HTTP/1.0", []).host == b"b"


def test_host_must_be_valid_and_one() -> None:
    """RFC 9112 section 3.2."""
    assert refusal(headers=[(b"Host", b"a b")]) == 400
    assert refusal(headers=[HOST, (b"HOST", b"a")]) == 400
    assert build(headers=[(b"hOST", b"")]).host == b""


@pytest.mark.parametrize(
    ("version", "values", "keep_alive"),
    [
        (b"1.1", [b"close"], False),
        (b"1.1", [b"foo , Close"], False),
        (b"1.1", [b"foo"], True),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b"foo"], False),
    ],
)
def test_connection(version: bytes, values: list[bytes], keep_alive: bool) -> None:
    """RFC 9112 section 9.3; fields of the same name are one list."""
    headers = [HOST, *((b"Connection", value) for value in values)]
    assert build(b"GET / HTTP/" + version, headers).keep_alive is keep_alive


def test_transfer_encoding() -> None:
    """Only chunked, only in HTTP/1.1."""
    assert build(headers=[HOST, (b"Transfer-Encoding", b"Chunked")]).is_chunked
    for value in (b"gzip, chunked", b"gzip;q=1 ; a=b,chunked", b"x\t,\tCHUNKED"):
        assert refusal(headers=[HOST, (b"Transfer-Encoding", value)]) == 501
    for value in (
        b"",
        b",",
        b",chunked",
        b"chunked,",
        b"gzip",
        b"chunked, gzip",
        b"chunked, chunked",
        b"g zip, chunked",
    ):
        assert refusal(headers=[HOST, (b"Transfer-Encoding", value)]) == 400
    assert refusal(b"GET / HTTP/1.0", [(b"Transfer-Encoding", b"chunked")]) == 400


def test_content_length() -> None:
    """A number; the limit counts by its announcement."""
    limits = Limits(body=10)
    assert build(headers=[HOST, (b"Content-Length", b"10")], limits=limits).content_length == 10
    assert refusal(headers=[HOST, (b"Content-Length", b"11")], limits=limits) == 413
    assert build(headers=[HOST, (b"Content-Length", b"11")]).content_length == 11
    assert refusal(headers=[HOST, (b"Content-Length", b"0" * 21)]) == 400
    assert build(headers=[HOST, (b"Content-Length", b"%d" % (2**63 - 1))]).content_length == 2**63 - 1
    assert refusal(headers=[HOST, (b"Content-Length", b"%d" % 2**63)], limits=limits) == 400


def test_expect() -> None:
    """RFC 9110 section 10.1.1."""
    assert build(headers=[HOST, (b"Expect", b"100-Continue")]).expects_continue
    assert not build(headers=[HOST, (b"Expect", b"")]).expects_continue
    assert not build(b"GET / HTTP/1.0", [(b"Expect", b"100-continue")]).expects_continue
    assert build(headers=[HOST, (b"Expect", b",100-continue"), (b"Expect", b" 100-continue\t,")]).expects_continue
    assert not build(headers=[HOST, (b"Expect", b" , ")]).expects_continue
    for value in (b"tea", b"100-continue, tea", b"100-continue;a", b"y 100-continue", b'"100-continue"'):
        assert refusal(headers=[HOST, (b"Expect", value)]) == 417


def test_what_is_learnt_of_names_is_bounded() -> None:
    """A client that sends ever new names does not fill the memory, and is understood all the same."""
    meanings = head._Meanings()
    for number in range(2000):
        assert meanings[b"X-%d" % number] == b""
    assert len(meanings) == 1024
    assert meanings[b"HOST"] == b"host"
    assert b"HOST" not in meanings
    long = head._Meanings()
    assert long[b"X" * 65] == b""
    assert not long


def test_other_fields_are_the_application_s() -> None:
    """What the server gives no meaning to is delivered as it came."""
    headers = [(b"X", b"1"), HOST, (b"X", b"2")]
    assert build(headers=headers).headers == headers
