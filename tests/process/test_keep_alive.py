"""Connections that outlive a response, in every worker type that keeps them."""

import select
import socket
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests import procfs
from tests.conftest import WORKER_TYPES
from tests.harness import Response, Server, parse_response, read_all, wait_until

SITE = """
import os, time
from pathlib import Path
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/wait":
        Path("waiting").touch()
        while not Path(environ["QUERY_STRING"]).exists():
            time.sleep(0.01)
    if environ["PATH_INFO"] == "/fork" and os.fork() == 0:
        while not Path(environ["QUERY_STRING"]).exists():
            time.sleep(0.01)
        os._exit(0)
    if environ["PATH_INFO"] == "/fork/and/return" and (copy := os.fork()):
        os.waitpid(copy, 0)
    return [str(os.getpid()).encode()]
"""
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=[name for name in WORKER_TYPES if name != "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each type that keeps connections."""
    name: str = request.param
    return name


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that waits for a file."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site2.py").write_text(SITE)
    return directory


@pytest.fixture
def serve(start: Callable[..., Server], site: Path, kind: str) -> Callable[..., Server]:
    """Start a server of the type."""

    def serve_site(**http: float) -> Server:
        patient = {"keep_alive": 60, "header_timeout": 60, **http}  # it is not a slow test that ends connections
        server = start("site2:app", cwd=site, settings={"workers": {"type": kind}, "http": patient})
        server.wait_workers(1)
        return server

    return serve_site


def converse(connection: socket.socket, octets: bytes, count: int = 1) -> list[Response]:
    """Send octets; return so many responses."""
    connection.sendall(octets)
    received = b""
    responses: list[Response] = []
    while len(responses) < count:
        try:
            response, received = parse_response(received)
        except (AssertionError, IndexError, ValueError):
            octets = connection.recv(65536)
            assert octets, received
            received += octets
        else:
            responses.append(response)
    assert received == b""
    return responses


def exchange(connection: socket.socket, octets: bytes, count: int = 1) -> list[bytes]:
    """Send octets; return the bodies of so many responses."""
    return [response.body for response in converse(connection, octets, count)]


def test_requests_share_a_connection(serve: Callable[..., Server]) -> None:
    """One after another, and pipelined, more of them than are answered in a row."""
    server = serve()
    with server.connect() as connection:
        (pid,) = exchange(connection, GET)
        for _ in range(5):
            assert exchange(connection, GET) == [pid]
        assert exchange(connection, GET * 50, 50) == [pid] * 50


def test_an_idle_connection_ends_in_its_time(serve: Callable[..., Server]) -> None:
    """keep_alive after the response, without a word."""
    server = serve(keep_alive=0.3)  # any other deadline is beyond the patience of `recv`
    with server.connect() as connection:
        began = monotonic()
        exchange(connection, GET)
        assert connection.recv(1) == b""
        assert monotonic() - began >= 0.3


def test_a_slow_head_has_its_own_time(serve: Callable[..., Server]) -> None:
    """header_timeout from the first octet on; then 408."""
    server = serve(keep_alive=30, header_timeout=0.3)
    (worker,) = server.workers()
    with procfs.paused(worker):  # the first head is there with the connection, however slow we are
        connection = server.connect()
        connection.sendall(GET)
    with connection:
        exchange(connection, b"")
        connection.sendall(GET[:9])
        assert parse_response(read_all(connection))[0].status == 408
    with server.connect() as connection:
        assert connection.recv(1) == b""


def test_without_keep_alive_each_response_is_the_last(serve: Callable[..., Server]) -> None:
    """keep_alive = 0; what was pipelined is not answered, and does not destroy the answer."""
    server = serve(keep_alive=0)
    response, rest = parse_response(server.exchange(GET * 3))
    assert response.header("Connection") == "close"
    assert rest == b""


def test_a_client_may_ask_for_the_end(serve: Callable[..., Server]) -> None:
    """And HTTP/1.0 gets it unasked, but may ask for more."""
    server = serve()
    close = GET[:-2] + b"Connection: close\r\n\r\n"
    assert parse_response(server.exchange(GET + close))[0].header("Connection") is None
    old = GET.replace(b"1.1", b"1.0")
    assert parse_response(server.exchange(old))[0].header("Connection") == "close"
    kept = old[:-2] + b"Connection: keep-alive\r\n\r\n"
    with server.connect() as connection:
        exchange(connection, kept)
        exchange(connection, kept)


def test_a_half_closed_client_gets_all_answers(serve: Callable[..., Server]) -> None:
    """``nc -N`` sends what it has and closes its side."""
    server = serve()
    with server.connect() as connection:
        connection.sendall(GET * 20)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 20


def test_an_idle_connection_outlives_a_reload_until_its_next_response(serve: Callable[..., Server]) -> None:
    """The retired worker answers once more, says close, and ends; nobody is closed in the face of a request."""
    server = serve(keep_alive=20)
    with server.connect() as connection:
        (old,) = exchange(connection, GET)
        server.signal("HUP")
        wait_until(lambda: server.get().body != old, "the new worker serves")
        server.wait_log("generation 2 has replaced the others")
        assert not select.select([connection], [], [], 0)[0]

        def says_close() -> bool:
            (response,) = converse(connection, GET)
            assert response.body == old
            return response.header("Connection") == "close"

        wait_until(says_close, "the retired worker has heard of it")
        assert connection.recv(1) == b""
        wait_until(lambda: int(old) not in server.workers(), "the retired worker has ended")


def test_term_closes_the_idle_in_their_time(serve: Callable[..., Server]) -> None:
    """keep_alive at most, or header_timeout before the first request; then the server has ended."""
    server = serve(keep_alive=0.5, header_timeout=1)
    (worker,) = server.workers()
    with procfs.paused(worker):  # its head is there with the connection, however slow we are
        idle = server.connect()
        idle.sendall(GET)
    with idle, server.connect() as silent:
        exchange(idle, b"")
        server.signal("TERM")
        assert idle.recv(1) == b""
        assert silent.recv(1) == b""
    assert server.wait() == 0


def test_what_is_in_flight_at_term_is_answered(serve: Callable[..., Server], site: Path) -> None:
    """And it is the last response of its connection."""
    server = serve(keep_alive=1)
    with server.connect() as connection:
        connection.sendall(GET + GET.replace(b"/", b"/wait?go", 1))  # at once: there is no idle second between them
        wait_until((site / "waiting").exists, "the request is in flight")
        server.signal("TERM")
        server.wait_log("stop")
        (site / "go").touch()
        first, rest = parse_response(read_all(connection))
        assert first.status == 200
        assert parse_response(rest)[0].status == 200
    assert server.wait() == 0


@pytest.mark.parametrize("kind", [name for name in WORKER_TYPES if name in {"async", "threadpool"}], indirect=True)
def test_a_process_that_the_application_forks_holds_no_connection(serve: Callable[..., Server], site: Path) -> None:
    """A client that waits for the end does not wait for that process, and nobody is answered twice."""
    server = serve()
    try:
        with server.connect() as kept:
            exchange(kept, GET)
            assert server.get("/fork?end").status == 200
            exchange(kept, GET)
            assert exchange(kept, GET.replace(b"/", b"/fork/and/return", 1) + GET, 2)
            exchange(kept, GET)
    finally:
        (site / "end").touch()


@pytest.mark.parametrize("kind", ["async"], indirect=True)
def test_quit_sends_what_is_finished(serve: Callable[..., Server], site: Path) -> None:
    """A response that is held for the end of the turn is not lost with the request that is stuck behind it."""
    server = serve()
    (worker,) = server.workers()
    with server.connect() as first, server.connect() as second:
        exchange(second, GET)
        exchange(first, GET)  # the last one is reported first
        with procfs.paused(worker):  # so that it finds both at once
            first.sendall(GET)
            second.sendall(GET.replace(b"/", b"/wait?never", 1))
        wait_until((site / "waiting").exists, "the second is in the application")
        server.signal("QUIT")
        assert parse_response(read_all(first))[0].status == 200
        assert server.wait() == 0
