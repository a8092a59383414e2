"""A worker class of the user's own is supervised, reloaded and drained like the others (sample_apps/echo_worker.py)."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Server, processes_of_session, read_all, title_of, wait_until
from tests.process.plants import plant

OWN = """
import time
from echo_worker import EchoWorker

class Own(EchoWorker):
    def echo(self, fd, clients):
        if clients[fd].recv(5, 2) == b"stuck":  # MSG_PEEK
            while True:
                time.sleep(60)
        super().echo(fd, clients)
"""

UNHURRIED = """
from pyfork.arbiter import handles
handles.DUMP_GRACE = 5  # a busy machine may not let the worker run for a second
"""


def start_echo(start: Callable[..., Server], **workers: object) -> Server:
    """Start a server of the echo worker, without any application."""
    return start(None, settings={"workers": {"type": "echo_worker:EchoWorker", **workers}})


def say(server: Server, octets: bytes) -> bytes:
    """Send ``octets`` on a new connection, half-close, and return all that comes back."""
    with server.connect() as connection:
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def test_echo_worker_echoes_and_is_seen(start: Callable[..., Server]) -> None:
    """It serves without an application, and its title names the class."""
    server = start_echo(start, count=2)
    pids = server.wait_workers(2, 1)
    assert say(server, b"hello") == b"hello"
    large = os.urandom(100_000)  # more than one read; the worker lets go of who takes nothing for 5 s, but buffers do
    assert say(server, large) == large
    assert {title_of(pid).rpartition("[")[2] for pid in pids} == {"echo_worker:EchoWorker] idle"}
    server.wait_log(r"2 worker\(s\) of type echo_worker:EchoWorker\n")


@pytest.mark.slow
def test_reloads_under_load_lose_nothing(start: Callable[..., Server]) -> None:
    """Five times HUP while clients come and go."""
    server = start_echo(start, count=2)
    server.wait_workers(2, 1)
    stop = threading.Event()
    failures: list[object] = []
    answers: list[bytes] = []

    def send() -> None:
        while not stop.is_set():
            try:
                answers.append(say(server, b"x" * 100))
            except OSError as error:
                failures.append(error)

    clients = [threading.Thread(target=send) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for generation in range(2, 7):
            server.signal("HUP")
            server.wait_workers(2, generation)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    assert set(answers) == {b"x" * 100}


def test_term_drains(start: Callable[..., Server]) -> None:
    """Who is connected, or queued, is served to the end; then everything ends by itself."""
    server = start_echo(start, count=1)
    server.wait_workers(1)
    with server.connect() as early, server.connect() as late:
        early.sendall(b"before")
        assert early.recv(100) == b"before"
        late.sendall(b"queued or not")
        server.signal("TERM")
        server.wait_log("signal SIGTERM: stop")
        assert late.recv(100) == b"queued or not"
        early.sendall(b"after")
        assert early.recv(100) == b"after"
    assert server.wait() == 0


def test_stuck_worker_is_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    """Its loop is silent: dump, kill, replacement, as for any type."""
    (tmp_path / "own.py").write_text(OWN)
    server = start(
        None,
        settings={"server": {"pythonpath": [str(tmp_path)]}, "workers": {"type": "own.Own", "timeout": 1}},
        environ=plant(tmp_path / "plant", UNHURRIED),
    )
    server.expect_errors("has made no progress for 1 s", "silent outside of any request", "SIGKILL")
    (first,) = server.wait_workers(1)
    with server.connect() as connection:
        connection.sendall(b"stuck")
        server.wait_log("has made no progress for 1 s")
        server.wait_log(r'own\.py", line 9 in echo')
        wait_until(lambda: first not in server.workers(), "the stuck worker is gone")
    assert server.wait_workers(1) != [first]
    assert say(server, b"again") == b"again"


def test_arbiter_that_dies_takes_it_along(start: Callable[..., Server]) -> None:
    """The lifeline is the base class's."""
    server = start_echo(start, count=2)
    server.wait_workers(2)
    assert server.process is not None
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not processes_of_session(server.pid), "the workers have ended")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("hello:app", 4, "hello:app is not a subclass of pyfork.workers.base.Worker"),
        ("gone:Own", 4, "the module 'gone' of worker class 'gone:Own' cannot be found"),
        ("needy:Needy", 3, "workers of type needy:Needy serve an application, and server.app names none"),
    ],
)
def test_class_that_cannot_serve_ends_the_start(
    start: Callable[..., Server], tmp_path: Path, name: str, status: int, words: str
) -> None:
    """With one message, and a status that says where to look."""
    source = "from pyfork.workers.sync import SyncWorker\nclass Needy(SyncWorker):\n    pass\n"
    (tmp_path / "needy.py").write_text(source)
    server = start(None, settings={"server": {"pythonpath": [str(tmp_path)]}, "workers": {"type": name}})
    server.expect_errors("could not boot")
    assert server.wait() == status
    assert words in server.log


def test_subclass_of_a_type_of_ours_serves_the_application(start: Callable[..., Server], tmp_path: Path) -> None:
    """What it does not change is the type's."""
    source = "from pyfork.workers.sync import SyncWorker\nclass Mine(SyncWorker):\n    pass\n"
    (tmp_path / "mine.py").write_text(source)
    server = start(settings={"server": {"pythonpath": [str(tmp_path)]}, "workers": {"type": "mine.Mine"}})
    assert server.get("/").body == b"Hello, world!\n"
