"""What a running server of each worker type makes of an application's replies, by RFC 9110 and 9112.

An application returns whatever it likes. Each of its replies is asked for by several methods and versions, and each
answer is held to the rules for what a server generates; then it is looked at whether the connection is what it said.
"""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.contract.crowd import read_responses
from tests.harness import Response, Server, read_all

SITE = r"""
from io import BytesIO
TEXT = ("Content-Type", "text/plain")

def reply(status, headers, body):
    def respond(environ, start_response):
        start_response(status, [TEXT, *headers])
        return body() if callable(body) else body
    return respond

def blocks(*octets):
    return lambda: iter(octets)

def late(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b"begun"
    raise ValueError("late")

def write(environ, start_response):
    start_response("200 OK", [TEXT])(b"written")
    return [b" and returned"]

def replaced(environ, start_response):
    start_response("200 OK", [TEXT])
    try:
        raise ValueError
    except ValueError:
        import sys
        start_response("503 Later", [TEXT, ("Retry-After", "1")], sys.exc_info())
    return [b"later"]

def read(environ, start_response):
    start_response("200 OK", [TEXT])
    return [environ["wsgi.input"].read()]

def wait(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [TEXT, sized(len(body))])
    return [body]

def file(environ, start_response):
    start_response("200 OK", [TEXT])
    return environ["wsgi.file_wrapper"](BytesIO(b"a file"))

def fail(environ, start_response):
    raise ValueError("early")

def sized(size):
    return ("Content-Length", str(size))

REPLIES = {
    "/": reply("200 OK", [], [b"hello"]),
    "/none": reply("200 OK", [], []),
    "/blocks": reply("200 OK", [], blocks(b"a", b"", b"bc")),
    "/no-blocks": reply("200 OK", [], blocks()),
    "/sized-blocks": reply("200 OK", [sized(3)], blocks(b"a", b"bc")),
    "/short": reply("200 OK", [sized(10)], [b"short"]),
    "/short-blocks": reply("200 OK", [sized(10)], blocks(b"short")),
    "/long": reply("200 OK", [sized(3)], [b"longer"]),
    "/long-blocks": reply("200 OK", [sized(3)], blocks(b"lo", b"nger")),
    "/204": reply("204 No Content", [sized(4)], [b"body"]),
    "/204-blocks": reply("204 No Content", [], blocks(b"body")),
    "/205": reply("205 Reset Content", [], [b"body"]),
    "/205-blocks": reply("205 Reset Content", [sized(4)], blocks(b"body")),
    "/304": reply("304 Not Modified", [sized(4), ("ETag", '"a"')], [b"body"]),
    "/304-blocks": reply("304 Not Modified", [("ETag", '"a"')], blocks(b"body")),
    "/reasonless": reply("200 ", [], [b"no reason"]),
    "/unknown": reply("299 Odd", [], [b"odd"]),
    "/chunked": reply("200 OK", [("Transfer-Encoding", "chunked")], [b"5\r\nhello\r\n0\r\n\r\n"]),
    "/hops": reply("200 OK", [("Keep-Alive", "timeout=9"), ("Trailer", "X"), ("TE", "x"), ("Upgrade", "x")], [b"hops"]),
    "/close": reply("200 OK", [("Connection", "close")], [b"the last"]),
    "/keep": reply("200 OK", [("Connection", "keep-alive")], [b"not the application's to say"]),
    "/date": reply("200 OK", [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Server", "other")], [b"dated"]),
    "/426": reply("426 Upgrade Required", [("Upgrade", "HTTP/3.0")], [b"upgrade"]),
    "/write": write,
    "/replaced": replaced,
    "/read": read,
    "/wait": wait,
    "/file": file,
    # What no server may send as it is: 500.
    "/100": reply("100 Continue", [], []),
    "/101": reply("101 Switching Protocols", [("Upgrade", "x")], []),
    "/two-lengths": reply("200 OK", [sized(4), sized(4)], [b"body"]),
    "/bad-length": reply("200 OK", [("Content-Length", "+4")], [b"body"]),
    "/negative": reply("200 OK", [sized(-1)], [b"body"]),
    "/split": reply("200 OK", [("X", "a\r\nSet-Cookie: b")], [b"body"]),
    "/split-name": reply("200 OK", [("X: a\r\nY", "b")], [b"body"]),
    "/split-status": reply("200 OK\r\nX: a", [], [b"body"]),
    "/folded": reply("200 OK", [("X", "a\r\n b")], [b"body"]),
    "/nul": reply("200 OK", [("X", "a\0b")], [b"body"]),
    "/codeless": reply("OK", [], [b"body"]),
    "/fail": fail,
    "/late": late,
}

def app(environ, start_response):
    return REPLIES[environ["PATH_INFO"]](environ, start_response)
"""

BODIES = {
    "/": b"hello", "/none": b"", "/blocks": b"abc", "/no-blocks": b"", "/sized-blocks": b"abc", "/long": b"lon",
    "/long-blocks": b"lon", "/reasonless": b"no reason", "/unknown": b"odd", "/chunked": b"5\r\nhello\r\n0\r\n\r\n",
    "/hops": b"hops", "/close": b"the last", "/keep": b"not the application's to say", "/date": b"dated",
    "/426": b"upgrade", "/write": b"written and returned", "/replaced": b"later", "/file": b"a file",
}  # fmt: skip
"""What arrives of the replies that are well; where nothing is said, nothing can be."""
EMPTY = ["/204", "/204-blocks", "/205", "/205-blocks", "/304", "/304-blocks"]
REFUSED = [
    "/100", "/101", "/two-lengths", "/bad-length", "/negative", "/split", "/split-name", "/split-status", "/folded",
    "/nul", "/codeless", "/fail",
]  # fmt: skip
BROKEN = ["/short", "/short-blocks", "/late"]
"""Replies of which the client must be able to tell that they are not whole."""
STATUSES = {"/204": 204, "/205": 205, "/304": 304, "/426": 426, "/replaced": 503, "/unknown": 299}

WAYS = {
    "GET": b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD": b"HEAD %b HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS": b"OPTIONS %b HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST": b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nsent",
    "POST chunked": b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsent\r\n0\r\n\r\n",
    "GET 1.2": b"GET %b HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET close": b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET 1.0": b"GET %b HTTP/1.0\r\n\r\n",
    "HEAD 1.0": b"HEAD %b HTTP/1.0\r\n\r\n",
    "GET 1.0 keep-alive": b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST 1.0": b"POST %b HTTP/1.0\r\nContent-Length: 4\r\n\r\nsent",
}

FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")


@dataclass
class Answer:
    """What came back for one request.

    Attributes:
        head: as it came.
        response: taken apart; its body is as much as came.
        is_whole: as far as the client can tell.
        has_closed: the server ended the connection behind it; a next request was answered if not.
    """

    head: bytes
    response: Response
    is_whole: bool
    has_closed: bool


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "site1.py").write_text(SITE)
    return str(directory)


@pytest.fixture
def server(share: Callable[..., Server], worker_type: str, site: str) -> Server:
    """A server of the worker type."""
    settings = {"workers": {"type": worker_type}, "http": {"keep_alive": 60}}  # a next request is sent at any time
    server = share("site1:app", cwd=site, settings=settings)
    server.expect_errors(
        "the application ", "the name of ", "the response ", "the status is ", "the application", "the Content-Length"
    )
    return server


def ask(server: Server, octets: bytes) -> Answer:
    """Send a request; read its answer, and find out whether another is possible."""
    method = octets.split(b" ")[0].decode()
    with server.connect() as client:
        client.sendall(octets)
        received = bytearray()
        has_closed = was_reset = False
        while not (whole := read_whole(bytes(received), method)) and not has_closed:
            try:
                data = client.recv(65536)
            except ConnectionResetError:  # of a body that the connection's end delimits, this says that it is not whole
                data = b""
                was_reset = True
            received += data
            has_closed = not data
        if not has_closed and whole:
            has_closed = not goes_on(client)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    if whole is None:
        response, _ = read_responses(head + b"\r\nContent-Length: 0\r\n\r\n", [method])
        partial = response[0] if response else read_responses(head + b"\r\n\r\n", ["HEAD"])[0][0]
        is_whole = b"\r\ncontent-length:" not in head.lower() and b"\r\ntransfer-" not in head.lower() and not was_reset
        return Answer(head, Response(partial.status, partial.reason, partial.headers, body), is_whole, has_closed)
    return Answer(head, whole, True, has_closed)


def read_whole(received: bytes, method: str) -> Response | None:
    """Return the response if its framing says that it is complete (a body that the connection's end delimits never)."""
    head, end, _ = received.partition(b"\r\n\r\n")
    fields = head.lower()
    is_empty = method == "HEAD" or head[9:12] in {b"204", b"304"}
    if not end or not (is_empty or b"\r\ncontent-length:" in fields or b"\r\ntransfer-encoding:" in fields):
        return None
    responses, rest = read_responses(received, [method])
    assert not rest or not responses, f"octets behind the response: {rest!r}"
    return responses[0] if responses else None


def goes_on(client: socket.socket) -> bool:
    """Return whether the connection serves another request."""
    try:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while data := client.recv(65536):
            received += data
    except ConnectionError:
        return False
    if not received:
        return False
    assert received.endswith(b"\r\n\r\nhello"), f"out of step: {received!r}"
    return True


def check_head(answer: Answer, way: str) -> None:
    """Hold a head to what RFC 9110 and 9112 say of every response of a server."""
    lines = answer.head.decode("latin-1").split("\r\n")
    assert re.fullmatch(r"HTTP/1\.1 [1-5]\d\d [^\x00-\x1f\x7f]*", lines[0])  # RFC 9112 section 4
    fields: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(": ")
        assert colon, line
        assert TOKEN.fullmatch(name), line  # RFC 9110 section 5.1
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value), line  # RFC 9110 section 5.5
        fields.setdefault(name.lower(), []).append(value)
    assert all(len(fields.get(name, [])) <= 1 for name in ("date", "content-length", "transfer-encoding", "server"))
    assert FIXDATE.fullmatch(fields["date"][0])  # RFC 9110 section 6.6.1
    has_length, is_chunked = "content-length" in fields, "transfer-encoding" in fields
    assert not (has_length and is_chunked)  # RFC 9112 section 6.2
    if is_chunked:
        assert fields["transfer-encoding"] == ["chunked"]
        assert "1.0" not in way  # RFC 9112 section 6.1
    status = answer.response.status
    if status == 204:
        assert not has_length  # RFC 9110 section 8.6
        assert not is_chunked  # RFC 9112 section 6.1
    if status == 205 and not way.startswith("HEAD"):
        assert fields["content-length"] == ["0"]  # RFC 9110 section 15.3.6
    options = {option.strip().lower() for value in fields.get("connection", []) for option in value.split(",")}
    assert not {"keep-alive", "te", "trailer"} & set(fields)
    assert ("upgrade" in fields) == ("upgrade" in options) == (status == 426)  # RFC 9110 sections 7.8, 15.5.22
    assert ("close" in options) == answer.has_closed or not answer.is_whole  # RFC 9112 section 9.6
    if way == "GET 1.0 keep-alive" and not answer.has_closed:
        assert "keep-alive" in options  # RFC 9112 section 9.3


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 4\r\n\r\n|sent", b"Transfer-Encoding: chunked\r\n\r\n|4\r\nsent\r\n0\r\n\r\n"]
)
def test_a_client_that_waits_is_told_to_go_on(server: Server, framing: bytes) -> None:
    """RFC 9110 section 10.1.1: by a 100, and then there is a final status; a second 100, or none, would leave it lost."""
    fields, _, content = framing.partition(b"|")
    with server.connect() as client:
        client.sendall(b"POST /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n" + fields)
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            interim += client.recv(1)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(content)
        assert read_all(client).endswith(b"\r\n\r\nsent")


def test_nobody_is_told_to_go_on_in_vain(server: Server) -> None:
    """Not HTTP/1.0, nor who has sent its content or has none (RFC 9110 sections 10.1.1, 15.2)."""
    expects = b"Connection: close\r\nExpect: 100-continue\r\n"
    for octets in (
        b"POST /wait HTTP/1.0\r\n" + expects + b"Content-Length: 4\r\n\r\nsent",
        b"POST /wait HTTP/1.1\r\nHost: a\r\n" + expects + b"Content-Length: 4\r\n\r\nsent",
        b"POST /wait HTTP/1.1\r\nHost: a\r\n" + expects + b"Content-Length: 0\r\n\r\n",
        b"GET /wait HTTP/1.1\r\nHost: a\r\n" + expects + b"\r\n",
        b"POST /wait HTTP/1.1\r\nHost: a\r\n" + expects + b"Content-Length: x\r\n\r\n",
    ):
        with server.connect() as client:
            client.sendall(octets)
            received = read_all(client)
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"100 Continue" not in received


@pytest.mark.parametrize("path", [*BODIES, *EMPTY, *REFUSED, *BROKEN, "/read"])
def test_a_reply_conforms(server: Server, path: str) -> None:
    """Whatever the application gives, and whoever asks for it."""
    for way, request in WAYS.items():
        answer = ask(server, request % path.encode())
        response = answer.response
        check_head(answer, way)
        if path in REFUSED:
            assert response.status == 500, way
        else:
            assert response.status == STATUSES.get(path.removesuffix("-blocks"), 200), way
        if way.startswith("HEAD") or path in EMPTY:
            assert response.body == b""
            assert answer.is_whole
        elif path in BODIES:
            assert response.body == BODIES[path], way
        elif path == "/read":
            assert response.body == (b"sent" if "POST" in way else b"")
        elif path in BROKEN:
            assert not answer.is_whole, way
            assert answer.has_closed
        if "close" in way or way in {"GET 1.0", "HEAD 1.0", "POST 1.0"}:
            assert answer.has_closed, way
