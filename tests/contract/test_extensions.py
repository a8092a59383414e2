"""What the environ offers beyond PEP 3333, through a real server of every worker type."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Server, parse_response, read_all

SITE = """
import json

STYLE = ("Link", "</style.css>; rel=preload")
PLAIN = [("Content-Type", "text/plain")]

def answer(start_response, value):
    start_response("200 OK", PLAIN)
    return [json.dumps(value).encode()]

def read(environ, start_response):
    stream = environ["wsgi.input"]
    assert environ["wsgi.input_terminated"] is True
    size = int(environ["QUERY_STRING"])
    pieces = []
    while piece := stream.read(size):
        pieces.append(piece)
    body = b"".join(pieces).decode()
    rest = [stream.read().decode(), stream.readline().decode(), len(list(stream)), stream.read(5).decode()]
    return answer(start_response, {"body": body, "rest": rest, "trailers": environ.get("wsgi.trailers", "absent")})

def hint(environ, start_response):
    for number in range(int(environ["QUERY_STRING"])):
        environ["wsgi.early_hints"]([STYLE, ("X-Number", str(number)), ("Content-Length", "7"), ("Connection", "close")])
    start_response("200 OK", PLAIN)
    yield b"page"

def hint_in_vain(environ, start_response):
    said = []
    try:
        environ["wsgi.early_hints"]([("Link", "a\\r\\nX-Forged: b")])
    except Exception as error:
        said.append(str(error))
    write = start_response("200 OK", PLAIN)
    write(b"begun ")
    try:
        environ["wsgi.early_hints"]([STYLE])
    except Exception as error:
        said.append(str(error))
    return [json.dumps(said).encode()]

def hint_too_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    environ["wsgi.early_hints"]([STYLE])
    yield b"never"

def hint_much(environ, start_response):
    for number in range(20):
        environ["wsgi.early_hints"]([("X-Long", "x" * 8000)] * 50)
    return answer(start_response, "done")

PAGES = {"/read": read, "/hint": hint, "/vain": hint_in_vain, "/late": hint_too_late, "/much": hint_much}

def app(environ, start_response):
    return PAGES[environ["PATH_INFO"]](environ, start_response)
"""
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Number: %d\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the application is."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "extended.py").write_text(SITE)
    return folder


@pytest.fixture
def server(share: Callable[..., Server], site: Path, worker_type: str) -> Server:
    """One server for each type."""
    return share("extended:app", cwd=site, settings={"workers": {"type": worker_type}})


def request(target: str, fields: str = "", *, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a head that is the connection's last."""
    return f"{method} {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n{fields}\r\n".encode()


CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("size", [-1, 1, 7, 65536])
def test_a_body_without_length_is_read_to_its_end(server: Server, size: int) -> None:
    """That is what wsgi.input_terminated promises: nobody needs a CONTENT_LENGTH, and behind the end there is nothing.

    A next request that has come already is no part of it.
    """
    head = request(f"/read?{size}", CHUNKED, method="POST").replace(b"close", b"keep-alive")
    octets = head + b"5\r\nhello\r\n8;a=b\r\n, world!\r\n0\r\n\r\n" + request("/read?1")
    seen = json.loads(parse_response(server.exchange(octets))[0].body)
    assert seen == {"body": "hello, world!", "rest": ["", "", 0, ""], "trailers": []}


def test_a_body_with_a_length_is_read_to_its_end_too(server: Server) -> None:
    """It ends with its length, though the connection does not."""
    with server.connect() as client:
        client.sendall(request("/read?-1", "Content-Length: 5\r\n", method="POST") + b"hello")
        seen = json.loads(parse_response(read_all(client))[0].body)
    assert seen == {"body": "hello", "rest": ["", "", 0, ""], "trailers": "absent"}


def test_trailers_are_offered_apart(server: Server) -> None:
    """In order, named in lower case; never what frames, routes or authenticates."""
    octets = request("/read?-1", CHUNKED + "Trailer: X-Sum, Authorization\r\n", method="POST")
    octets += (
        b"2\r\nab\r\n0\r\nX-Sum: 1\r\nAuthorization: Basic eA==\r\nX-Forwarded-For: 192.0.2.1\r\nx-sum:  2 \r\n\r\n"
    )
    seen = json.loads(parse_response(server.exchange(octets))[0].body)
    assert seen == {"body": "ab", "rest": ["", "", 0, ""], "trailers": [["x-sum", "1"], ["x-sum", "2"]]}


def test_trailers_of_an_empty_body_are_offered(server: Server) -> None:
    """And each request has its own."""
    for fields, expected in ((b"X-Sum: 0\r\n", [["x-sum", "0"]]), (b"", [])):
        octets = request("/read?-1", CHUNKED, method="POST") + b"0\r\n" + fields + b"\r\n"
        assert json.loads(parse_response(server.exchange(octets))[0].body)["trailers"] == expected


def test_hints_are_there_before_the_response(server: Server) -> None:
    """As many as the application sends; the connection's and the framing's fields are not among them."""
    octets = server.exchange(request("/hint?3"))
    hints = b"".join(HINT % number for number in range(3))
    assert octets.startswith(hints + b"HTTP/1.1 200 OK\r\n")
    assert parse_response(octets.removeprefix(hints))[0].body == b"page"


def test_http_1_0_gets_the_response_alone(server: Server) -> None:
    """It would take a 103 for the response (RFC 9110, section 15.2)."""
    octets = server.exchange(request("/hint?3", version="1.0"))
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")
    assert octets.count(b"HTTP/1.1") == 1


def test_requests_behind_one_with_hints_are_answered(server: Server, worker_type: str) -> None:
    """On the same connection, where it persists."""
    kept = request("/hint?1").replace(b"Connection: close\r\n", b"")
    octets = server.exchange(kept * 2 + request("/hint?1"))
    count = 1 if worker_type == "sync" else 3
    assert octets.count(HINT % 0 + b"HTTP/1.1 200 OK\r\n") == count
    assert octets.count(b"page") == count


def test_wrong_hints_are_the_applications_mistake(server: Server) -> None:
    """It is told at once, as by start_response; nothing of them is sent."""
    octets = server.exchange(request("/vain"))
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")
    assert octets.count(b"HTTP/1.1") == 1
    said = parse_response(octets)[0].body.partition(b"begun ")[2]
    control, late = json.loads(said)
    assert "control character" in control
    assert "after the head" in late


def test_hints_behind_the_head_break_the_response_off(server: Server) -> None:
    """If the application lets the exception pass: like any other of its mistakes there."""
    octets = server.exchange(request("/late"))
    assert b"begun" in octets
    assert not octets.endswith(b"0\r\n\r\n")
    server.wait_log("called wsgi.early_hints after the head")
    server.expect_errors("called wsgi.early_hints after the head")


def test_hints_that_the_client_does_not_take_are_kept(server: Server, worker_type: str) -> None:
    """In their order, however slow it is; nothing is lost behind them. Others are served meanwhile, but by sync."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", server.port))
        client.sendall(request("/much"))
        if worker_type != "sync":
            assert parse_response(server.exchange(request("/hint?0")))[0].body == b"page"
        octets = read_all(client)
    assert octets.count(b"HTTP/1.1 103 Early Hints\r\n") == 20
    assert len(octets) > 20 * 50 * 8000
    assert octets.endswith(b'"done"')
