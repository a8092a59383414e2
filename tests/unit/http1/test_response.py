import re
from datetime import UTC, datetime
from email.utils import format_datetime

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.errors import ApplicationError
from pyfork.http1.response import ResponseEncoder, error_response, http_date

DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"
OURS = b"Date: " + DATE + b"\r\nServer: pyfork\r\n"
PLAIN = [("Content-Type", "text/plain")]


def encoder(method: str = "GET", http_version: str = "1.1", *, keep_alive: bool = True) -> ResponseEncoder:
    return ResponseEncoder(method, http_version, keep_alive, DATE)


def started(
    headers: list[tuple[str, str]] = PLAIN,
    method: str = "GET",
    http_version: str = "1.1",
    *,
    status: str = "200 OK",
    keep_alive: bool = True,
) -> ResponseEncoder:
    response = encoder(method, http_version, keep_alive=keep_alive)
    response.start(status, headers)
    return response


def test_hello() -> None:
    """Head and content of a small response are one piece."""
    response = started([("Content-Type", "text/plain"), ("Content-Length", "5")])
    assert not response.head_sent
    assert response.encode(b"hello") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + OURS + b"Content-Length: 5\r\n\r\nhello"
    )
    assert response.head_sent
    assert response.finish() == b""
    assert (response.keep_alive, response.excess, response.missing) == (True, 0, 0)


def test_length_known_to_the_shell() -> None:
    """A single block needs no chunks."""
    response = started()
    response.set_length(5)
    assert b"Content-Length: 5\r\n\r\nhello" in response.encode(b"hello")
    assert response.finish() == b""


def test_the_application_s_length_goes_first() -> None:
    """What the shell knows does not override it."""
    response = started([("Content-Length", "3")])
    response.set_length(5)
    assert response.encode(b"hello").endswith(b"Content-Length: 3\r\n\r\nhel")
    assert response.excess == 2


def test_chunks() -> None:
    """HTTP/1.1 without a length: RFC 9112 section 7.1."""
    response = started()
    first = response.encode(b"hello")
    assert first.endswith(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert response.encode(b"") == b""
    assert response.encode(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert response.finish() == b"0\r\n\r\n"
    assert response.keep_alive
    assert response.remaining is None


def test_http_1_0_without_a_length_ends_with_the_connection() -> None:
    """RFC 9112 section 6.3."""
    response = started(http_version="1.0")
    assert response.encode(b"hello").endswith(b"Server: pyfork\r\nConnection: close\r\n\r\nhello")
    assert response.encode(b"more") == b"more"
    assert response.finish() == b""
    assert not response.keep_alive


def test_http_1_0_with_a_length_may_persist() -> None:
    """RFC 9112 section C.2.2: the server says so."""
    response = started([("Content-Length", "2")], http_version="1.0")
    assert b"\r\nConnection: keep-alive\r\n\r\nhi" in response.encode(b"hi")
    assert response.keep_alive


def test_no_keep_alive() -> None:
    """Who closes says so, in both versions."""
    for http_version in ("1.0", "1.1"):
        response = started([("Content-Length", "2")], http_version=http_version, keep_alive=False)
        assert b"\r\nConnection: close\r\n\r\nhi" in response.encode(b"hi")
        assert not response.keep_alive


def test_nothing_to_send() -> None:
    """No block at all is content of length 0."""
    response = started()
    assert response.finish().endswith(b"Content-Length: 0\r\n\r\n")
    assert response.keep_alive


def test_empty_blocks_do_not_send_the_head() -> None:
    """PEP 3333: the head waits for the first block that is not empty."""
    response = started()
    assert response.encode(b"") == b""
    assert not response.head_sent


def test_head_request() -> None:
    """RFC 9110 section 9.3.2: the head of a GET, and no content."""
    response = started([("Content-Length", "5")], "HEAD")
    assert not response.has_body
    assert response.encode(b"hello").endswith(b"Content-Length: 5\r\n\r\n")
    assert response.encode(b"hello") == b""
    assert response.finish() == b""
    assert (response.keep_alive, response.missing, response.excess) == (True, 0, 0)


def test_head_request_without_a_length() -> None:
    """Neither chunks, nor a length that is not GET's."""
    for http_version in ("1.0", "1.1"):
        response = started(method="HEAD", http_version=http_version)
        head = response.finish()
        assert b"Content-Length" not in head
        assert b"Transfer-Encoding" not in head
        assert response.keep_alive


def test_head_request_with_a_length_known_to_the_shell() -> None:
    """RFC 9110 section 8.6: the length that a GET would have."""
    response = started(method="HEAD")
    response.set_length(5)
    assert b"Content-Length: 5\r\n" in response.encode(b"hello")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_content(status: str) -> None:
    """RFC 9112 section 6.3: the head is all, whatever the application gives."""
    response = started(status=status)
    assert not response.has_body
    response.set_length(5)
    head = response.encode(b"hello")
    assert b"Content-Length" not in head
    assert b"Transfer-Encoding" not in head
    assert head.endswith(b"\r\n\r\n")
    assert response.finish() == b""
    assert response.keep_alive


def test_length_of_what_has_no_content() -> None:
    """RFC 9110 section 8.6: never with 204; with 304 it is that of a 200."""
    assert b"Content-Length" not in started([("Content-Length", "5")], status="204 No Content").finish()
    response = started([("Content-Length", "5")], status="304 Not Modified")
    assert b"Content-Length: 5\r\n" in response.finish()
    assert response.missing == 0


def test_reset_content_has_length_zero() -> None:
    """RFC 9110 section 15.3.6: or its recipient would wait for content; what the application says does not count."""
    for headers in ([], [("Content-Length", "5")]):
        for method in ("GET", "HEAD"):
            response = started(headers, method, status="205 Reset Content")
            response.set_length(5)
            head = response.encode(b"hello") + response.finish()
            assert head.count(b"Content-Length: 0\r\n") == head.count(b"Content-Length") == 1
            assert head.endswith(b"\r\n\r\n")
            assert response.keep_alive


def test_excess_is_cut() -> None:
    """The next response does not begin in the middle of this one."""
    response = started([("Content-Length", "3")])
    assert response.encode(b"ab").endswith(b"\r\n\r\nab")
    assert response.encode(b"cdef") == b"c"
    assert response.encode(b"gh") == b""
    assert response.finish() == b""
    assert (response.excess, response.missing, response.keep_alive) == (5, 0, True)


def test_missing_content_ends_the_connection() -> None:
    """Or the next response would fill the gap."""
    response = started([("Content-Length", "10")])
    response.encode(b"abc")
    assert response.finish() == b""
    assert (response.missing, response.keep_alive) == (7, False)


def test_all_content_missing() -> None:
    """The promise was in the head, and the head goes out."""
    response = started([("Content-Length", "10")])
    assert response.finish().endswith(b"Content-Length: 10\r\n\r\n")
    assert (response.missing, response.keep_alive) == (10, False)


def test_file() -> None:
    """Content that the shell sends by itself is framed by its length."""
    response = started()
    assert response.encode_head(100).endswith(b"Content-Length: 100\r\n\r\n")
    assert (response.remaining, response.excess) == (0, 0)
    assert response.finish() == b""
    assert response.missing == 0


def test_file_longer_than_promised() -> None:
    """The shell learns how much to leave out."""
    response = started([("Content-Length", "60")])
    assert response.encode_head(100).endswith(b"Content-Length: 60\r\n\r\n")
    assert response.excess == 40
    response.finish()
    assert response.missing == 0


def test_file_shorter_than_promised() -> None:
    """It is like any content that is missing."""
    response = started([("Content-Length", "100")])
    response.encode_head(60)
    assert response.finish() == b""
    assert (response.excess, response.missing, response.keep_alive) == (0, 40, False)


def test_file_for_head() -> None:
    """The head is that of a GET; nothing counts as cut."""
    response = started(method="HEAD")
    assert b"Content-Length: 100\r\n" in response.encode_head(100)
    assert (response.remaining, response.excess) == (0, 0)


def test_application_s_date_and_server() -> None:
    """An application may give its own."""
    head = started([("date", "x"), ("SERVER", "y")]).finish()
    assert head == b"HTTP/1.1 200 OK\r\ndate: x\r\nSERVER: y\r\nContent-Length: 0\r\n\r\n"


def test_hop_by_hop_fields_are_dropped() -> None:
    """They are the connection's (PEP 3333); each is named once."""
    response = started(
        [
            ("Transfer-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
            ("Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("upgrade", "h3"),
            ("X", "y"),
        ]
    )
    head = response.finish()
    assert head == b"HTTP/1.1 200 OK\r\nX: y\r\n" + OURS + b"Content-Length: 0\r\n\r\n"
    assert response.dropped == ("transfer-encoding", "keep-alive", "connection", "upgrade")


@pytest.mark.parametrize("value", ["close", "Close", " foo,CLOSE "])
def test_the_application_closes(value: str) -> None:
    """``Connection: close`` is honoured, and said by us."""
    response = started([("Connection", value)])
    assert response.finish().endswith(b"Connection: close\r\n\r\n")
    assert not response.keep_alive
    assert response.dropped == ()


def test_starting_again() -> None:
    """An application that fails before its content replaces the head whole (exc_info)."""
    response = started([("Content-Length", "5"), ("Connection", "close"), ("Date", "x"), ("Upgrade", "y")])
    response.start("500 Internal Server Error", [("X", "y")])
    head = response.finish()
    assert head == b"HTTP/1.1 500 Internal Server Error\r\nX: y\r\n" + OURS + b"Content-Length: 0\r\n\r\n"
    assert response.keep_alive
    assert response.dropped == ()


def test_starting_too_late() -> None:
    """Behind the head there is no way back."""
    response = started()
    response.encode(b"x")
    with pytest.raises(ApplicationError, match="start_response"):
        response.start("200 OK", [])


def test_content_before_the_start() -> None:
    """PEP 3333: start_response comes first, and it must have succeeded."""
    response = encoder()
    for call in (lambda: response.encode(b"x"), response.finish, lambda: response.encode_head(1)):
        with pytest.raises(ApplicationError, match="start_response"):
            call()
    response.start("200 OK", [])
    with pytest.raises(ApplicationError):
        response.start("200 OK", [("A", "\n")])
    with pytest.raises(ApplicationError):
        response.encode(b"x")


@pytest.mark.parametrize(
    "headers",
    [
        [("A", "b\r\nSet-Cookie: c")],
        [("A", "b\0")],
        [("A", "\u20ac")],
        [("A", 5)],
        [("A", None)],
        [("A", b"b")],
        [(b"A", "b")],
        [("A\r\n", "b")],
        [("A B", "c")],
        [(["A"], "b")],
        [("A",)],
        [("Content-Length", "x")],
        [("Content-Length", "5"), ("content-length", "5")],
        [1],
        ["AB"],
        [["A", "b"]],
        {"AB": "c"},
        None,
        5,
    ],
)
def test_bad_headers(headers: list[tuple[str, str]]) -> None:
    """They are refused before anything is sent, and the culprit is named."""
    response = encoder()
    with pytest.raises(ApplicationError) as caught:
        response.start("200 OK", headers)
    assert str(caught.value)
    assert not response.head_sent


def test_error_response() -> None:
    """A complete answer that ends the connection."""
    answer = error_response(400, "Bad caf\xe9", DATE)
    head, content = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Length: %d" % len(content) in head
    assert content == "400 Bad Request: Bad caf\xe9\n".encode()
    assert error_response(499, "x", DATE).startswith(b"HTTP/1.1 499 Error\r\n")


def test_error_response_to_head() -> None:
    """RFC 9110 section 9.3.2: no content."""
    assert error_response(400, "x", DATE, method="HEAD").endswith(b"\r\n\r\n")


def test_http_date() -> None:
    """RFC 9110 section 5.6.7, whatever the locale."""
    assert http_date(784111777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date(0) == b"Thu, 01 Jan 1970 00:00:00 GMT"


@given(st.integers(0, 32_503_679_999))
def test_http_date_is_the_library_s(seconds: int) -> None:
    """Until the year 3000."""
    expected = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert http_date(seconds) == expected.encode()


class Reader:
    """A client, by llhttp."""

    def __init__(self, octets: bytes, *, to_head: bool = False) -> None:
        self.status = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.content = b""
        self.is_complete = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(octets)
        self.code = self.parser.get_status_code()

    def on_status(self, octets: bytes) -> None:
        self.status += octets

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, octets: bytes) -> None:
        self.content += octets

    def on_message_complete(self) -> None:
        self.is_complete = True


names = st.from_regex(re.compile(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}"), fullmatch=True)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)


@given(
    st.integers(200, 599).filter(lambda code: code not in {204, 205, 304}),
    st.lists(st.tuples(names, values), max_size=5),
    st.lists(st.binary(max_size=30), max_size=5),
    st.booleans(),
    st.sampled_from(["none", "shell", "application"]),
)
def test_what_is_encoded_reads_as_what_was_given(
    code: int, headers: list[tuple[str, str]], blocks: list[bytes], keep_alive: bool, length: str
) -> None:
    """A client reads the application's fields and content, however the content was framed."""
    content = b"".join(blocks)
    given_headers = [*headers, ("Content-Length", str(len(content)))] if length == "application" else headers
    response = started(given_headers, status=f"{code} Some Reason", keep_alive=keep_alive)
    if length == "shell":
        response.set_length(len(content))
    octets = b"".join(map(response.encode, blocks)) + response.finish()
    read = Reader(octets)
    assert (read.code, read.status, read.content) == (code, b"Some Reason", content)
    assert read.is_complete
    wanted = [(name.encode(), value.strip(" ").encode("latin-1")) for name, value in headers]
    assert [(name, value.strip(b" ")) for name, value in read.headers][: len(wanted)] == wanted
    assert response.keep_alive == keep_alive


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content"])
@pytest.mark.parametrize("length", [None, "0", "2", "5"])
@pytest.mark.parametrize("data", [b"", b"abc"])
def test_a_whole_response_is_the_sum_of_its_steps(
    method: str, version: str, keep_alive: bool, status: str, length: str | None, data: bytes
) -> None:
    """One call encodes what `set_length`, `encode` and `finish` encode."""
    headers = [("A", "b"), *([("Content-Length", length)] if length else [])]
    whole = ResponseEncoder(method, version, keep_alive, b"now")
    whole.start(status, headers)
    steps = ResponseEncoder(method, version, keep_alive, b"now")
    steps.start(status, headers)
    steps.set_length(len(data))
    assert whole.encode_whole(data) == steps.encode(data) + steps.finish()
    for name in ("head_sent", "has_body", "keep_alive", "remaining", "excess", "missing", "dropped"):
        assert getattr(whole, name) == getattr(steps, name)


def test_a_whole_response_behind_a_head_that_was_sent() -> None:
    """What is left is one block, and the end."""
    encoder = ResponseEncoder("GET", "1.1", True, b"now")
    with pytest.raises(ApplicationError, match="before it called start_response"):
        encoder.encode_whole(b"a")
    encoder.start("200 OK", [])
    encoder.encode(b"a")
    assert encoder.encode_whole(b"b") == b"1\r\nb\r\n0\r\n\r\n"
