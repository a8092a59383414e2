"""What the sample applications promise in their docstrings, for every worker type."""

import hashlib
import json

import pytest

from tests.harness import parse_response, read_all


@pytest.fixture
def serve(start, worker_type):
    """Start a server of the type with a sample application."""

    def serve_sample(app, **settings):
        return start(app, settings={"workers": {"type": worker_type}, **settings})

    return serve_sample


@pytest.fixture
def visit(share, worker_type):
    """Share a server of the type with a sample application."""
    return lambda app: share(app, settings={"workers": {"type": worker_type}})


def chunked(*pieces):
    """Return the pieces in the chunked transfer coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_hello_answers_fourteen_octets(visit):
    """The same to every method and path, and none to HEAD."""
    server = visit("hello:app")
    assert server.get("/any/path?at=all").body == b"Hello, world!\n"
    assert server.get("/", method="DELETE").body == b"Hello, world!\n"
    head = server.get("/", method="HEAD")
    assert head.status == 200
    assert head.body == b""
    assert head.header("Content-Length") == "14"


def test_a_module_alone_names_its_application(serve):
    """``pyfork hello`` finds ``application``; a file's path works as well."""
    assert serve("hello").get("/").status == 200
    assert serve("hello.py:app").get("/").status == 200


def test_a_slow_query_takes_its_time(visit):
    """The classic load-test page, 0.3 s; here shorter."""
    server = visit("slow_db:app")
    answer = json.loads(server.get("/?seconds=0.05").body)
    assert answer["seconds"] == 0.05
    assert [row["name"] for row in answer["rows"]] == ["Ada", "Grace", "Margaret"]
    assert server.get("/?seconds=nan").status == 400


@pytest.mark.parametrize("octets", [0, 1, 65536, 3_000_001])
def test_an_upload_is_hashed_whole(visit, octets):
    """With a length and without one, whatever the pieces in which it comes."""
    server = visit("upload:app")
    body = bytes(range(256)) * (octets // 256) + bytes(octets % 256)
    expected = {"octets": octets, "sha256": hashlib.sha256(body).hexdigest()}
    assert json.loads(server.get("/", method="PUT", headers=f"X-Length: {octets}\r\n", body=body).body) == expected
    pieces = [body[position : position + 50_000] for position in range(0, octets, 50_000)]
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer, _ = parse_response(server.exchange(head + chunked(*pieces)))
    assert json.loads(answer.body) == expected


def test_an_upload_waits_for_100_continue(visit):
    """curl asks first when a body is large; it is told to go on when the application reads."""
    server = visit("upload:app")
    with server.connect() as connection:
        head = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        answer, _ = parse_response(read_all(connection))
    assert json.loads(answer.body)["octets"] == 3


def test_a_stream_comes_piece_by_piece(visit):
    """In chunks to HTTP/1.1; to HTTP/1.0 until the connection ends."""
    server = visit("stream:app")
    expected = b"line 1 of 3\nline 2 of 3\nline 3 of 3\n"
    answer = server.get("/?count=3&pause=0")
    assert answer.header("Transfer-Encoding") == "chunked"
    assert answer.body == expected
    answer, _ = parse_response(server.exchange(b"GET /?count=3&pause=0 HTTP/1.0\r\n\r\n"))
    assert answer.header("Transfer-Encoding") is None
    assert answer.body == expected


def test_a_piece_is_sent_before_the_next_one_is_made(serve):
    """The second line is an hour away; the first one is here."""
    server = serve("stream:app", workers={"graceful_timeout": 0.5})
    server.expect_errors("SIGKILL", "stream: the client left")
    with server.connect() as connection:
        connection.sendall(b"GET /?count=2&pause=3600 HTTP/1.1\r\nHost: x\r\n\r\n")
        octets = b""
        while b"line 1 of 2\n" not in octets:
            received = connection.recv(65536)
            assert received
            octets += received


def test_a_stream_is_closed_when_the_client_leaves(visit):
    """The generator's ``finally`` runs, and the error log has its line."""
    server = visit("stream:app")
    server.expect_errors("stream: the client left")
    with server.connect() as connection:
        connection.sendall(b"GET /?count=100000000&pause=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096)
    server.wait_log(r"stream: the client left after \d+ of 100000000 lines")
    assert server.get("/?count=1").status == 200


def test_extensions_sends_hints_and_checks_what_comes_behind_a_body(visit):
    """The page's style sheet is hinted at before the page; a digest is right or wrong, and a header is none."""
    server = visit("extensions:app")
    octets = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    hint, rest = parse_response(octets)
    assert (hint.status, hint.headers) == (103, [("Link", "</style.css>; rel=preload; as=style")])
    assert parse_response(rest)[0].body.startswith(b"<!doctype html>")
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%b\r\n5\r\nhello\r\n0\r\n%b\r\n"
    digest = b"Content-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n"
    for fields, status in (((b"", digest), 200), ((digest, b""), 400), ((b"", digest.replace(b"LP", b"LQ")), 400)):
        response = parse_response(server.exchange(head % fields))[0]
        assert response.status == status
        assert json.loads(response.body)["octets"] == 5
