"""A process that the application forks, in the types whose connections block: the clients are its parent's."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Server, parse_response, read_all

SITE = """
import os, sys, time
from pathlib import Path

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    way = WAYS.get(environ["PATH_INFO"])
    if way is not None:
        way(environ)
    return [b"hello"]

def stay(environ):
    if os.fork() == 0:
        Path("forked").touch()
        while not Path("end").exists():
            time.sleep(0.01)
        os._exit(0)

def come_back(environ):
    if child := os.fork():
        os.waitpid(child, 0)

def leave(environ):
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

def read(environ):
    if child := os.fork():
        os.waitpid(child, 0)
    assert environ["wsgi.input"].read() == b"whole"

WAYS = {"/stay": stay, "/come-back": come_back, "/leave": leave, "/read": read}
"""


@pytest.fixture(params=["sync", "gevent"])
def server(start: Callable[..., Server], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with one worker; a copy of it that stays, ends with the test."""
    (tmp_path / "copies1.py").write_text(SITE)
    server = start("copies1:app", cwd=tmp_path, settings={"workers": {"type": request.param}})
    server.wait_workers(1)
    try:
        yield server
    finally:
        (tmp_path / "end").touch()


def test_the_client_sees_its_end_while_the_copy_lives(server: Server) -> None:
    """Nobody else holds its connection; nor that of the next."""
    assert server.get("/stay").body == b"hello"
    assert server.get("/").body == b"hello"
    assert server.get("/stay").body == b"hello"


@pytest.mark.parametrize("path", ["/come-back", "/leave", "/read"])
def test_a_copy_answers_nobody(server: Server, path: str) -> None:
    """Neither if it comes back from the application, nor if it reads the request's body, nor by a failure."""
    server.expect_errors("forked has failed")
    for _ in range(2):
        with contextlib.closing(server.connect()) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n"
            client.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            client.sendall(b"whole")
            received = read_all(client).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        response, rest = parse_response(received)
        assert response.body == b"hello"
        assert rest == b""
