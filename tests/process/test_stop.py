"""Stopping: what is queued or in flight is answered, nothing stays behind."""

import errno
import os
import select
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests import procfs
from tests.harness import PATIENCE, Server, parse_response, read_all, reserve_port, wait_until
from tests.process.plants import plant_at

SITE = """
import atexit, os, time
atexit.register(lambda: open(f"atexit-{os.getpid()}", "w").close())
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/sleep":
        open("sleeping", "w").close()
        time.sleep(float(environ["QUERY_STRING"]))
    return [b"done"]
"""

DEAF = """
import time

class Last:
    def __del__(self):
        open("booting", "w").close()
        time.sleep(60)

def app(environ, start_response):
    raise NotImplementedError

Last()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that sleeps."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(SITE)
    return directory


def send(server: Server, path: str) -> socket.socket:
    """Send a request and return the connection, its answer unread."""
    connection = server.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


@pytest.mark.slow
def test_term_answers_what_is_in_flight_and_queued(start: Callable[..., Server], site: Path) -> None:
    """A 1.5 s request and those that wait behind it are answered after TERM; the exit status is 0."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    connections = [send(server, "/sleep?1.5")]
    wait_until((site / "sleeping").exists, "the request is in flight")
    connections += [send(server, "/") for _ in range(5)]
    server.signal("TERM")
    for connection in connections:
        with connection:
            assert parse_response(read_all(connection))[0].body == b"done"
    assert server.wait() == 0
    assert list(site.glob("atexit-*"))


@pytest.mark.slow
def test_term_on_own_sockets_refuses_new_clients_and_answers_queued_ones(
    start: Callable[..., Server], site: Path
) -> None:
    """On a socket that pyfork bound, a client after TERM is refused, not reset; one before it is answered."""
    port = reserve_port()
    server = start("site1:app", cwd=site, bind=[f"127.0.0.1:{port}"], settings={"log": {"level": "debug"}})
    server.port = port
    server.wait_workers(1)
    connections = [send(server, "/sleep?1")]
    wait_until((site / "sleeping").exists, "the request is in flight")
    connections += [send(server, "/") for _ in range(5)]
    server.signal("TERM")
    server.wait_log("is sent SIGTERM")  # when nobody new gets in any more
    with pytest.raises(OSError, match=r"refused|timed out"):
        server.connect(timeout=5).close()
    for connection in connections:
        with connection:
            assert parse_response(read_all(connection))[0].body == b"done"
    assert server.wait() == 0


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes a capability away from root")
def test_term_refuses_new_clients_without_the_right_to_filter(start: Callable[..., Server], site: Path) -> None:
    """Linux 6.18 lets only CAP_NET_ADMIN filter TCP; without it one client may still get in, and no more than one."""
    port = reserve_port()
    server = start(
        "site1:app",
        cwd=site,
        bind=[f"127.0.0.1:{port}"],
        prefix=["setpriv", "--bounding-set=-net_admin"],
        settings={"log": {"level": "debug"}},
    )
    server.port = port
    server.wait_workers(1)
    in_flight = send(server, "/sleep?1.5")
    wait_until((site / "sleeping").exists, "the request is in flight")
    queued = [send(server, "/") for _ in range(3)]
    server.signal("TERM")
    server.wait_log("is sent SIGTERM")  # when the queue has no length any more
    late = [socket.socket() for _ in range(5)]
    for client in late:
        client.setblocking(False)
        assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
    for connection in (in_flight, *queued):
        with connection:
            assert parse_response(read_all(connection))[0].body == b"done"
    assert server.wait() == 0
    got_in = 0
    for client in late:
        assert select.select([], [client], [], 2 * PATIENCE)[1], "its SYN is sent again, ever more seldom"
        got_in += client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != errno.ECONNREFUSED
        client.close()
    assert got_in <= 1


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_who_is_queued_without_a_worker_is_reset_and_told_of(
    start: Callable[..., Server], site: Path, tmp_path: Path, family: str
) -> None:
    """WINCH has retired all workers; nobody starts one to end it."""
    port, path = reserve_port(), str(tmp_path / "queue.sock")
    server = start("site1:app", cwd=site, bind=[f"127.0.0.1:{port}", f"unix:{path}"])
    server.wait_workers(1)
    server.signal("WINCH")
    wait_until(lambda: not server.workers(), "all workers are retired")
    with socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET) as client:
        client.connect(path if family == "unix" else ("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.signal("TERM")
        assert server.wait() == 0
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    server.wait_log(
        "stop: the connections of 1 client that was still queued are reset: no worker was left to take them"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_int_and_quit_stop_at_once(start: Callable[..., Server], site: Path, name: str) -> None:
    """A request in flight is given up, and atexit still runs."""
    server = start("site1:app", cwd=site, settings={"workers": {"graceful_timeout": 2 * PATIENCE}})
    server.wait_workers(1)
    with send(server, "/sleep?600"):
        wait_until((site / "sleeping").exists, "the request is in flight")
        server.signal(name)
        assert server.wait() == 0
    assert list(site.glob("atexit-*"))


@pytest.mark.slow
def test_a_second_term_stops_at_once(start: Callable[..., Server], site: Path) -> None:
    """Who says TERM twice does not want to wait."""
    server = start("site1:app", cwd=site, settings={"workers": {"graceful_timeout": 2 * PATIENCE}})
    server.wait_workers(1)
    with send(server, "/sleep?600"):
        wait_until((site / "sleeping").exists, "the request is in flight")
        server.signal("TERM")
        server.wait_log("TERM")
        server.signal("TERM")
        assert server.wait() == 0


def test_term_to_the_whole_group_is_one_order(start: Callable[..., Server], site: Path) -> None:
    """Everybody in the group gets TERM, and the workers a second one from the arbiter: nobody dies of it."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    server.wait_workers(2)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    assert "SIGTERM while" not in server.log
    assert len(list(site.glob("atexit-*"))) == 2


@pytest.mark.slow
def test_graceful_timeout_ends_what_will_not_end(start: Callable[..., Server], site: Path) -> None:
    """A request that outlasts graceful_timeout is killed, the log says so, and the stop succeeds."""
    server = start("site1:app", cwd=site, settings={"workers": {"graceful_timeout": 1}})
    server.wait_workers(1)
    server.expect_errors("graceful_timeout", "SIGKILL")
    with send(server, "/sleep?20"):
        wait_until((site / "sleeping").exists, "the request is in flight")
        server.signal("TERM")
        assert server.wait() == 0
    assert "graceful_timeout" in server.log


def test_term_while_the_application_is_imported(start: Callable[..., Server], tmp_path: Path) -> None:
    """TERM in the middle of a boot ends at once, with status 0."""
    (tmp_path / "slow1.py").write_text("open('importing', 'w').close()\nimport threading; threading.Event().wait()\n")
    server = start("slow1:app", cwd=tmp_path)
    wait_until((tmp_path / "importing").exists, "the import is under way")
    server.signal("TERM")
    assert server.wait() == 0


@pytest.mark.parametrize("preload", [False, True])
def test_term_during_a_boot_is_not_lost(
    start: Callable[..., Server], site: Path, worker_type: str, preload: bool
) -> None:
    """Python drops what a handler raises in a finaliser, and code catches everything: the boot ends after it."""
    (site / "deaf1.py").write_text(DEAF)
    workers = {"type": worker_type, "preload": preload, "graceful_timeout": 2 * PATIENCE}
    server = start("deaf1:app", cwd=site, settings={"workers": workers})
    wait_until((site / "booting").exists, "the application is imported")
    server.signal("TERM")
    assert server.wait() == 0
    assert "killed" not in server.log
    assert "ready" not in server.log


def test_term_after_the_application_took_the_wakeup_descriptor(start: Callable[..., Server], tmp_path: Path) -> None:
    """asyncio in the application takes signals over and gives nothing back; TERM still drains the worker at once."""
    (tmp_path / "loops.py").write_text(
        "import asyncio, signal\n"
        "async def main():\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, print)\n"
        "def app(environ, start_response):\n"
        "    asyncio.run(main())\n"
        "    start_response('200 OK', [])\n"
        "    return [b'done']\n"
    )
    server = start("loops:app", cwd=tmp_path)
    assert server.get("/").body == b"done"
    began = monotonic()
    server.signal("TERM")
    assert server.wait() == 0
    assert monotonic() - began < 4


@pytest.mark.slow
def test_term_while_an_address_is_waited_for(start: Callable[..., Server], tmp_path: Path) -> None:
    """TERM ends the start cleanly: status 0, no pidfile, no unix socket; what means nothing yet does nothing."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start(bind=[f"unix:{path}", f"127.0.0.1:{port}"], settings={"server": {"pidfile": str(pidfile)}})
        server.wait_log("trying again")
        server.signal("HUP")
        server.signal("USR2")
        server.signal("TERM")
        assert server.wait() == 0
    assert not pidfile.exists()
    assert not path.exists()


def test_winch_drains_the_workers_and_hup_brings_them_back(start: Callable[..., Server], site: Path) -> None:
    """Without a terminal WINCH retires all workers; connections wait in the queue until HUP."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    server.wait_workers(2)
    server.signal("WINCH")
    wait_until(lambda: not server.workers(), "the workers have gone")
    with send(server, "/") as connection:
        server.signal("HUP")
        assert parse_response(read_all(connection))[0].body == b"done"
    server.wait_workers(2)


@pytest.mark.slow
def test_stop_under_load_ends(start: Callable[..., Server], site: Path) -> None:
    """Clients that go on connecting do not keep a stopping server alive."""
    workers = {"count": 2, "graceful_timeout": 2 * PATIENCE}
    server = start("site1:app", cwd=site, settings={"workers": workers})
    server.wait_workers(2)
    stop = threading.Event()
    served = [0] * 4

    def hammer(number: int) -> None:
        while not stop.is_set():
            try:
                server.get("/")
                served[number] += 1
            except (OSError, AssertionError):
                return

    clients = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: all(count > 3 for count in served), "every client is served")
        server.signal("TERM")
        assert server.process is not None
        assert server.process.wait(PATIENCE) == 0
    finally:
        stop.set()
        if server.listener is not None:
            server.listener.close()
        for client in clients:
            client.join()


def test_nothing_is_left_open_or_defunct(start: Callable[..., Server], site: Path) -> None:
    """Reloads and scaling leave the arbiter with the descriptors that it began with."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1, 1)
    server.wait_log("is ready")
    wait_until(lambda: procfs.state(server.pid) == "S", "the arbiter has done what that takes")
    before = len(procfs.descriptors(server.pid))
    for generation in (2, 3):
        server.signal("HUP")
        server.wait_workers(1, generation)
    server.signal("TTIN")
    server.wait_workers(2)
    server.signal("TTOU")
    server.wait_workers(1)
    wait_until(lambda: len(procfs.descriptors(server.pid)) == before, "the descriptors are closed")
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("what", ["call", "return"])
@pytest.mark.parametrize(
    "place",
    [
        "arbiter/pidfile.py:_write",
        "arbiter/listeners.py:_remove_stale",
        "arbiter/listeners.py:_open_unix",
        "arbiter/listeners.py:open_listeners",
        "cli/serve.py:_open",
        "cli/serve.py:_announce",
        "arbiter/core.py:__init__",
        "arbiter/loop.py:__init__",
        "process/signals.py:install",
    ],
)
def test_term_at_any_moment_of_the_start_leaves_nothing_behind(
    start: Callable[..., Server], site: Path, tmp_path: Path, place: str, what: str
) -> None:
    """Neither the pidfile nor the unix socket, no traceback, and the status is 0."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    term = "os.kill(os.getpid(), signal.SIGTERM)"
    environ = plant_at(tmp_path / "plant", place, term, what)
    settings = {"server": {"pidfile": str(pidfile)}}
    server = start("site1:app", cwd=site, bind=[f"unix:{path}"], settings=settings, environ=environ)
    assert server.wait() == 0, server.output
    assert not pidfile.exists()
    assert not path.exists()
    assert "Traceback" not in server.output + server.log


def test_a_second_term_does_not_disturb_the_end_of_a_start(
    start: Callable[..., Server], site: Path, tmp_path: Path
) -> None:
    """While an address is waited for, the first TERM ends the start, and the second one nothing."""
    pidfile = tmp_path / "p.pid"
    environ = plant_at(tmp_path / "plant", "arbiter/pidfile.py:release", "os.kill(os.getpid(), signal.SIGTERM)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = [f"127.0.0.1:{taken.getsockname()[1]}"]
        settings = {"server": {"pidfile": str(pidfile)}}
        server = start("site1:app", cwd=site, bind=bind, settings=settings, environ=environ)
        server.wait_log("trying again in 1 s")
        server.signal("TERM")
        assert server.wait() == 0, server.output
    assert not pidfile.exists()
    assert "Traceback" not in server.output + server.log
