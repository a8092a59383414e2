"""The gevent worker with real processes: what is patched and when, who is stuck, and what the application may do."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import procfs
from tests.harness import Server, parse_response, read_all, wait_until
from tests.process.plants import plant

SITE = """
import multiprocessing, os, socket, subprocess, threading, time
from pyfork.ipc.heartbeat import Heartbeat
AT_IMPORT = socket.socket.__module__
GATE = threading.Event()
beat = Heartbeat.beat

def count_beat(heartbeat, now):
    beat(heartbeat, now)
    with open("beats", "a") as beats:
        beats.write(".")

Heartbeat.beat = count_beat

def app(environ, start_response):
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream()
    way = WAYS.get(environ["PATH_INFO"], lambda environ: "hello")
    body = str(way(environ)).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

def fork(environ):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.5)  # the hub of the copy runs: it must not serve anybody
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def process(environ):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.1,))
    child.start()
    child.join()
    return child.exitcode

def threads(environ):
    done = []
    started = [threading.Thread(target=lambda: (time.sleep(0.01), done.append(1))) for _ in range(5)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return len(done)

def hog(environ):
    while True:
        pass

def stream():
    while True:
        yield b"y" * 1000

def give_up(environ):
    try:
        GATE.wait()
    finally:
        print("finally", flush=True)

WAYS = {
    "/at-import": lambda environ: AT_IMPORT,
    "/threads-of-the-environ": lambda environ: environ["wsgi.multithread"],
    "/fork": fork,
    "/process": process,
    "/program": lambda environ: subprocess.run(["echo", "said"], capture_output=True).stdout.decode().strip(),
    "/threads": threads,
    "/wait": give_up,
    "/open": lambda environ: GATE.set(),
    "/hog": hog,
    "/nap": lambda environ: time.sleep(1) or "rested",
}
"""

UNHURRIED = """
from pyfork.arbiter import handles
handles.DUMP_GRACE = 5  # a busy machine may not let the worker run for a second
"""


@pytest.fixture
def serve(start: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    """Start a gevent server with the application above."""
    (tmp_path / "green1.py").write_text(SITE)

    def serve_green(
        http: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **workers: Any
    ) -> Server:
        settings = {"workers": {"type": "gevent", **workers}, "http": http or {}}
        return start("green1:app", cwd=tmp_path, settings=settings, environ=environ)

    return serve_green


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with that application for tests that share a server."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "green1.py").write_text(SITE)
    return directory


@pytest.fixture
def server(share: Callable[..., Server], site: Path) -> Server:
    """A gevent server for tests that leave it as it was, and may be slow clients."""
    return share("green1:app", cwd=site, settings={"workers": {"type": "gevent"}, "http": {"header_timeout": 60}})


@pytest.fixture
def without_gevent(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has no gevent."""
    directory = tmp_path / "missing"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text("import sys\nsys.modules['gevent'] = None\n")
    return {"PYTHONPATH": str(directory)}


@pytest.mark.parametrize("arguments", [(), ("--check-config",)])
def test_without_gevent_nothing_is_started(
    start: Callable[..., Server], without_gevent: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """Exit status 2, and the words to install it with."""
    settings = {"workers": {"type": "gevent"}}
    server = start("hello:app", settings=settings, environ=without_gevent, arguments=arguments)
    assert server.wait() == 2
    assert "pyfork[gevent]" in server.output
    assert "booting" not in server.log


def test_a_reload_to_gevent_without_gevent_is_refused(
    start: Callable[..., Server], without_gevent: dict[str, str]
) -> None:
    """The old generation serves on."""
    server = start("hello:app", environ=without_gevent)
    server.expect_errors("reload refused")
    workers = server.wait_workers(1)
    server.configure({"workers": {"type": "gevent"}})
    server.signal("HUP")
    server.wait_log(r"pyfork\[gevent\]")
    assert server.get("/").status == 200
    assert server.workers() == workers


def test_the_application_is_imported_into_a_patched_library(server: Server) -> None:
    """And the arbiter is not: it never imports gevent."""
    assert server.get("/at-import").body.startswith(b"gevent")
    assert server.get("/threads-of-the-environ").body == b"True"
    assert "gevent" not in Path(f"/proc/{server.pid}/maps").read_text()


def test_requests_wait_beside_one_another(serve: Callable[..., Server]) -> None:
    """Ten requests for a closed gate, and the one that opens it; the title counts them."""
    server = serve(timeout=8)  # it beats every 2 s, and the gate may be closed for longer
    clients = [server.connect() for _ in range(10)]
    for client in clients:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    wait_until(lambda: any("10 in flight" in title for title in server.titles()), "they are shown")
    server.get("/open")
    for client in clients:
        assert parse_response(read_all(client))[0].status == 200
        client.close()
    wait_until(lambda: any(title.endswith("idle") for title in server.titles()), "nothing is shown")


@pytest.mark.slow
def test_a_greenlet_that_waits_for_ever_is_told_with_its_stack(serve: Callable[..., Server]) -> None:
    """The hub lives: its worker is drained and replaced, and the others are served meanwhile."""
    server = serve(timeout=1, graceful_timeout=1)
    server.expect_errors(r"\[ERROR\]", "killed")
    (worker,) = server.wait_workers(1)
    with server.connect() as client:
        client.sendall(b"GET /wait?a HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_log(
            r'stuck in GET /wait; its greenlet[^\n]*\n(\s+File [^\n]*\n)*\s+File ".*green1\.py", line \d+ in give_up'
        )
        assert server.get("/").body == b"hello"
        wait_until(lambda: worker not in server.workers(), "it is replaced")
    assert server.log.count("stuck in") == 1
    assert server.get("/").body == b"hello"


@pytest.mark.slow
def test_a_greenlet_that_never_yields_is_ended_with_its_stack(serve: Callable[..., Server], tmp_path: Path) -> None:
    """It silences the beat."""
    server = serve(timeout=1, environ=plant(tmp_path / "plant", UNHURRIED))
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    (worker,) = server.wait_workers(1)
    with server.connect() as client:
        client.sendall(b"GET /hog HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_log("GET /hog")
        server.wait_log(r'File ".*green1\.py", line \d+ in hog')
        wait_until(lambda: worker not in server.workers(), "it is replaced")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "answer"), [("/fork", b"7"), ("/process", b"0"), ("/program", b"said"), ("/threads", b"5")]
)
def test_the_application_may_have_processes_and_threads(server: Server, path: str, answer: bytes) -> None:
    """Beside requests that sleep: a copy of the worker answers none of them, and is not ended by them."""
    naps: list[bytes] = []
    sleepers = [threading.Thread(target=lambda: naps.append(server.get("/nap").body)) for _ in range(3)]
    for sleeper in sleepers:
        sleeper.start()
    assert server.get(path).body == answer
    for sleeper in sleepers:
        sleeper.join()
    assert naps == [b"rested"] * 3
    assert server.get("/").body == b"hello"


@pytest.mark.slow
def test_idle_clients_are_not_what_a_stop_is_killed_for(serve: Callable[..., Server]) -> None:
    """They have half of graceful_timeout at most; no SIGKILL is logged."""
    server = serve(http={"keep_alive": 60, "header_timeout": 60}, graceful_timeout=10)  # the rest is for a slow machine
    with server.connect() as kept, server.connect() as silent:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert kept.recv(65536).endswith(b"hello")
        server.signal("TERM")
        assert kept.recv(1) == b""
        assert silent.recv(1) == b""
    assert server.wait() == 0


@pytest.mark.slow
def test_clients_that_take_all_at_once_hold_nobody_up(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Four endless responses: the worker beats, answers others and hears TERM."""

    def read(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while client.recv(1 << 20):
                pass

    def beats() -> int:
        return len((tmp_path / "beats").read_bytes()) if (tmp_path / "beats").exists() else 0

    server = serve(http={"keep_alive": 60, "header_timeout": 60}, timeout=8)  # it beats every 2 s
    (worker,) = server.wait_workers(1)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(server.connect())
        for _ in range(4):
            client = stack.enter_context(server.connect())
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            reader = threading.Thread(target=read, args=(client,))
            reader.start()
            stack.callback(reader.join)
            stack.callback(client.shutdown, socket.SHUT_RDWR)
        began = procfs.cpu_seconds(worker)  # its own time: a machine that is busy with others takes none of that
        for _ in range(5):
            assert server.get("/").body == b"hello"
        assert procfs.cpu_seconds(worker) - began < 5  # 0.5 s as a rule; each took more than 2 s once
        before = beats()
        wait_until(lambda: beats() >= before + 2, "it beats")
        assert server.workers() == [worker]
        server.signal("TERM")
        server.wait_log("stop")

        def says_close() -> bool:
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return b"Connection: close" in kept.recv(65536)

        began = procfs.cpu_seconds(worker)
        wait_until(says_close, "the worker has heard it")
        assert procfs.cpu_seconds(worker) - began < 2
    assert server.wait() == 0


def test_quit_ends_at_once_and_is_no_fault_of_the_application(serve: Callable[..., Server]) -> None:
    """`finally` blocks run; nothing is logged of the request that is given up."""
    server = serve()
    with server.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.get("/").body == b"hello"
        server.signal("QUIT")
        assert server.wait() == 0
    assert "finally" in server.output
    assert not re.search("ERROR|Traceback|QuitNow|GreenletExit", server.log + server.output)


def test_connections_are_bounded(serve: Callable[..., Server]) -> None:
    """Whoever comes when they are all taken waits until an idle one has had its time."""
    server = serve(http={"keep_alive": 1}, connections=3)
    clients = [server.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(65536).endswith(b"hello")
    assert server.get("/").body == b"hello"
    for client in clients:
        assert client.recv(1) == b""
        client.close()


def test_clients_that_drip_hold_nobody_up(server: Server) -> None:
    """Each of them costs a greenlet."""
    clients = [server.connect() for _ in range(200)]
    for octet in (b"G", b"E", b"T"):
        for client in clients:
            client.sendall(octet)
        assert server.get("/").body == b"hello"
    for client in clients:
        client.close()
