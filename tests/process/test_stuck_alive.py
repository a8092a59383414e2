"""A stuck request in a worker whose loop lives: told, the worker drained and replaced, its other requests answered."""

import importlib.util
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Server, parse_response, read_all, wait_until

SITE = """
import os, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stuck":
        while not os.path.exists("unstuck"):
            time.sleep(0.05)
    if path == "/slow":
        open("begun", "w").close()
        while not os.path.exists("free"):
            time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

needs_gevent = pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")


def send(server: Server, path: str) -> socket.socket:
    """Send a request and return the connection, its answer unread."""
    connection = server.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


def serve(start: Callable[..., Server], site: Path, worker_type: str, *, graceful_timeout: int) -> Server:
    """Start a server of the type, whose requests are stuck after a second."""
    (site / "site1.py").write_text(SITE)
    workers = {"type": worker_type, "threads": 4, "timeout": 1, "graceful_timeout": graceful_timeout}
    server = start("site1:app", cwd=site, settings={"workers": workers})
    server.expect_errors(
        "has made no progress for 1 s",
        "oldest request is GET /stuck, for",
        "stuck in GET /stuck",
        f"did not end within {graceful_timeout} s",
    )
    return server


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", ["threadpool", pytest.param("gevent", marks=needs_gevent)])
def test_the_other_requests_are_answered(start: Callable[..., Server], tmp_path: Path, worker_type: str) -> None:
    """The place is filled at once; the old worker has graceful_timeout for what gets on."""
    server = serve(start, tmp_path, worker_type, graceful_timeout=60)  # longer than anybody here waits
    [first] = server.wait_workers(1)
    with send(server, "/stuck") as stuck, send(server, "/slow") as slow:
        wait_until((tmp_path / "begun").exists, "the slow request has begun")
        server.wait_log(rf"\(pid {first}\) has a request that has made no progress for 1 s \(workers.timeout\)")
        server.wait_log(r"its oldest request is GET /stuck, for [1-9]\d*\.\d s; the stacks show what runs:")
        server.wait_log(r'site1\.py", line 7 in app')
        server.wait_log("is ready", count=2)
        assert server.get("/").body != str(first).encode()
        (tmp_path / "free").touch()
        assert parse_response(read_all(slow))[0].body == str(first).encode()
        (tmp_path / "unstuck").touch()
        assert parse_response(read_all(stuck))[0].body == str(first).encode()
    wait_until(lambda: first not in server.workers(), "the worker that was stuck is gone")


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", ["threadpool", pytest.param("gevent", marks=needs_gevent)])
def test_a_stuck_request_is_given_up(start: Callable[..., Server], tmp_path: Path, worker_type: str) -> None:
    """The worker is killed when graceful_timeout has passed, too."""
    server = serve(start, tmp_path, worker_type, graceful_timeout=2)
    [first] = server.wait_workers(1)
    with send(server, "/stuck") as stuck:
        server.wait_log("did not end within 2 s")
        assert read_all(stuck) == b""
    wait_until(lambda: first not in server.workers(), "the stuck worker is gone")
