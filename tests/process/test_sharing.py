"""Several workers share what comes; one that cannot accept holds nobody up.

The bounds are moderate: what is measured exactly, in many runs, is benchmarks/balance.py's.
"""

import contextlib
import itertools
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import procfs
from tests.harness import Server, parse_response, wait_until

SITE = """
import os, pathlib, time

def app(environ, start_response):
    here = pathlib.Path(__file__).parent
    if environ["PATH_INFO"] == "/hold":
        with (here / "held").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        while not (here / "go").exists():
            time.sleep(0.01)
    body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
BALANCED = ["async", "threadpool", "gevent"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that says who it is, at once or when it may."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "balanced1.py").write_text(SITE)
    return directory


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """What keeps connections open until the end of the test."""
    with contextlib.ExitStack() as opened:
        yield opened


def ask(connection: socket.socket, path: str = "/") -> None:
    """Send a request on a connection that is to stay open."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def answer_of(connection: socket.socket) -> int:
    """Return the pid in the answer."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        received = connection.recv(4096)
        assert received, "closed without an answer"
        octets += received
    return int(parse_response(octets)[0].body)


def hold_open(server: Server, count: int, stack: contextlib.ExitStack) -> Counter[int]:
    """Open connections one after the other; each has a request answered and stays. Return who has how many."""
    held: Counter[int] = Counter()
    for _ in range(count):
        connection = stack.enter_context(server.connect())
        ask(connection)
        held[answer_of(connection)] += 1
    return held


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", BALANCED)
def test_kept_alive_connections_are_shared(
    start: Callable[..., Server], site: Path, stack: contextlib.ExitStack, worker_type: str
) -> None:
    """Each of three workers has about a third; after a reload, when all are new, it is the same again."""
    workers = {"type": worker_type, "count": 3, "threads": 4}
    server = start("balanced1:app", cwd=site, settings={"workers": workers, "http": {"keep_alive": 60}})
    server.wait_workers(3)
    check_shares(server, stack)
    stack.close()
    server.signal("HUP")
    server.wait_workers(3, generation=2)
    check_shares(server, stack)
    stack.close()


def check_shares(server: Server, stack: contextlib.ExitStack) -> None:
    """Open 90 connections, and see that each of three workers has about a third.

    One that did not run for a moment has less, and gets what comes until it has as many as the others.
    """
    held = hold_open(server, 90, stack)

    def is_even() -> bool:
        third = held.total() / 3
        return len(held) == 3 and all(third * 2 / 3 <= count <= third * 4 / 3 for count in held.values())

    while not is_even() and held.total() < 270:
        held.update(hold_open(server, 10, stack))
    assert is_even(), held


@pytest.mark.slow
def test_no_request_waits_while_a_thread_is_free(
    start: Callable[..., Server], site: Path, stack: contextlib.ExitStack
) -> None:
    """As many requests as there are threads in all workers are under way at the same time."""
    workers = {"type": "threadpool", "count": 3, "threads": 4}
    server = start("balanced1:app", cwd=site, settings={"workers": workers})
    server.wait_workers(3)
    connections = []
    held = site / "held"
    for count in range(1, 13):
        connections.append(stack.enter_context(server.connect()))
        ask(connections[-1], "/hold")
        wait_until(
            lambda wanted=count: held.exists() and len(held.read_text().split()) == wanted, f"{count} are under way"
        )
    (site / "go").touch()
    assert set(Counter(answer_of(connection) for connection in connections).values()) == {4}
    stack.close()


@pytest.mark.parametrize("worker_type", BALANCED)
def test_a_burst_beyond_the_connections_is_answered(
    start: Callable[..., Server], site: Path, stack: contextlib.ExitStack, worker_type: str
) -> None:
    """Idle connections make room for those that wait: not one whose request has come and was not read yet."""
    workers = {"type": worker_type, "count": 1, "threads": 2, "connections": 2}
    server = start("balanced1:app", cwd=site, settings={"workers": workers})
    server.wait_workers(1)
    for _ in range(5):
        connections = [stack.enter_context(server.connect()) for _ in range(20)]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert len({answer_of(connection) for connection in connections}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", BALANCED)
def test_nobody_waits_for_a_stopped_worker(
    start: Callable[..., Server], site: Path, stack: contextlib.ExitStack, worker_type: str
) -> None:
    """It has fewer connections than the other, which accepts all the same; when it goes on it gets its share again."""
    workers = {"type": worker_type, "count": 2, "threads": 4, "timeout": 120}
    server = start("balanced1:app", cwd=site, settings={"workers": workers, "http": {"keep_alive": 60}})
    stopped, other = server.wait_workers(2)
    held = hold_open(server, 10, stack)
    wait_until(lambda: len(held) == 2 or held.update(hold_open(server, 1, stack)), "both have some")
    with procfs.paused(stopped):
        assert set(hold_open(server, 100, stack)) == {other}
    regained: Counter[int] = Counter()
    wait_until(lambda: regained.update(hold_open(server, 1, stack)) or regained[stopped] >= 10, "it accepts again")
    stack.close()


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", BALANCED)
def test_a_worker_without_descriptors_serves_whom_it_was_woken_for(
    start: Callable[..., Server], site: Path, stack: contextlib.ExitStack, worker_type: str
) -> None:
    """Nobody is stranded: the next ones are the other worker's, until this one has descriptors again."""
    workers = {"type": worker_type, "count": 2, "threads": 4}
    server = start("balanced1:app", cwd=site, settings={"workers": workers, "http": {"keep_alive": 60}})
    server.expect_errors(r"cannot accept: Too many open files; trying again in 0.5 s")
    poor, rich = server.wait_workers(2)
    hold_open(server, 20, stack)  # whatever is opened on the first occasion is open
    _, hard = resource.prlimit(poor, resource.RLIMIT_NOFILE)
    resource.prlimit(poor, resource.RLIMIT_NOFILE, (limit_that_leaves(poor, 3), hard))
    held = hold_open(server, 40, stack)
    wait_until(
        lambda: "cannot accept" in server.log or held.update(hold_open(server, 1, stack)), "it has no descriptor left"
    )
    assert held[rich] >= 30, held
    assert 1 <= held[poor] <= 10, held
    resource.prlimit(poor, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until(lambda: hold_open(server, 1, stack)[poor], "the worker accepts again")
    stack.close()


def limit_that_leaves(pid: int, count: int) -> int:
    """Return the RLIMIT_NOFILE with which a process can open ``count`` descriptors more: those below it that are free."""
    taken = procfs.descriptors(pid)
    free = (fd for fd in itertools.count() if fd not in taken)
    return next(itertools.islice(free, count, None))
