"""Listeners that systemd keeps: stored, taken back, and served again by the next arbiter; and those that it opens."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyfork.arbiter.figures import Look, Statistics, WorkerStatistics
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from pyfork.arbiter.listeners import BoundListener
from pyfork.arbiter.systemd import Notifier
from tests.harness import SAMPLES, Server, parse_response, read_all, wait_until
from tests.process.plants import plant, plant_at
from tests.service_manager import ORDER_OF_UNLINKS, ServiceManager


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    """Be the service manager."""
    with ServiceManager() as manager:
        yield manager


def test_the_stored_descriptors_are_the_listeners(start: Callable[..., Server], manager: ServiceManager) -> None:
    """Each under a name that tells its address; sockets that were passed in are not stored a second time."""
    path = manager.directory / "pyfork.sock"
    server = start(environ=manager.environ(FDSTORE="8"), bind=["127.0.0.1:0", f"unix:{path}"])
    notices = [manager.wait("FDSTORE"), manager.wait("FDSTORE")]
    assert [notice["FDPOLL"] for notice in notices] == ["0", "0"]
    manager.wait("READY")
    names = []
    for notice in notices:
        [fd] = notice.fds
        with socket.socket(fileno=os.dup(fd)) as stored:
            assert stored.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            names.append(stored.getsockname())
    assert names[1] == str(path)
    (host, port), _ = names
    assert server.wait_log(rf"listening at http://{host}:{port}\b")
    assert [*manager.stored] == [f"pyfork-tcp-{host}%3A{port}", f"pyfork-unix-{path}"]


def test_passed_sockets_are_not_stored(start: Callable[..., Server], manager: ServiceManager) -> None:
    """The socket unit keeps them, and systemd would pass each twice."""
    server = start(environ=manager.environ(FDSTORE="8"))
    manager.wait("READY")
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "STOPPING"]


def test_what_does_not_fit_into_the_store_is_told(start: Callable[..., Server], manager: ServiceManager) -> None:
    """$FDSTORE is the unit's FileDescriptorStoreMax=."""
    server = start(environ=manager.environ(FDSTORE="1"), bind=["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"])
    manager.wait("READY")
    server.wait_log("systemd keeps 1 of 2 listeners: FileDescriptorStoreMax= is too small")
    assert len(manager.stored) == 1


def watch_unlinks(directory: Path) -> dict[str, str]:
    """Return the environment of a server that puts what it removes into the queue of its notices."""
    return plant(directory / "plant", ORDER_OF_UNLINKS)


def test_a_clean_stop_takes_the_listeners_back_before_it_unlinks(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """A stored socket whose path is gone would keep the next arbiter from being found."""
    path = manager.directory / "pyfork.sock"
    server = start(environ=manager.environ(**watch_unlinks(tmp_path)), bind=[f"unix:{path}"])
    manager.wait("READY")
    server.stop()
    manager.drain()
    assert not path.exists()
    assert manager.history() == ["FDSTORE", "READY", "STOPPING", "FDSTOREREMOVE", "UNLINK"]
    assert manager.stored == {}


def test_a_reload_takes_back_the_addresses_that_it_removes(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """And stores those that it adds, once the new generation is adopted."""
    old, new = manager.directory / "old.sock", manager.directory / "new.sock"
    server = start(environ=manager.environ(**watch_unlinks(tmp_path)), bind=[f"unix:{old}"])
    manager.wait("READY")
    server.configure({"server": {"bind": [f"unix:{new}"]}})
    server.signal("HUP")
    manager.wait("READY")
    manager.drain()
    assert [*manager.stored] == [f"pyfork-unix-{new}"]
    assert manager.history() == ["FDSTORE", "READY", "RELOADING", "FDSTOREREMOVE", "FDSTORE", "UNLINK", "READY"]


def test_a_failed_reload_stores_nothing(start: Callable[..., Server], manager: ServiceManager, tmp_path: Path) -> None:
    """The candidate's new address is closed again."""
    (tmp_path / "site1.py").write_text((SAMPLES / "hello.py").read_text())
    old, new = manager.directory / "old.sock", manager.directory / "new.sock"
    server = start("site1:app", cwd=tmp_path, environ=manager.environ(), bind=[f"unix:{old}"])
    server.expect_errors("reload failed", "could not boot")
    manager.wait("READY")
    (tmp_path / "site1.py").write_text("import does_not_exist_xyz\n")
    server.configure({"server": {"bind": [f"unix:{old}", f"unix:{new}"]}})
    server.signal("HUP")
    manager.wait("READY")
    assert [*manager.stored] == [f"pyfork-unix-{old}"]
    assert not new.exists()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_stored_listeners_survive_the_death_of_the_arbiter(
    start: Callable[..., Server], manager: ServiceManager, kind: str
) -> None:
    """Who connects while there is no pyfork waits in the queue, and the next one answers."""
    path = manager.directory / "pyfork.sock"
    first = start(environ=manager.environ(), bind=[f"unix:{path}" if kind == "unix" else "127.0.0.1:0"])
    manager.wait("READY")
    [(name, fd)] = manager.stored.items()
    stored = socket.socket(fileno=os.dup(fd))
    address = stored.getsockname()
    first.signal("KILL")
    first.wait()
    with socket.socket(stored.family) as client:
        client.connect(address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        bind = [f"unix:{path}" if kind == "unix" else f"{address[0]}:{address[1]}"]
        directory = manager.directory / "second"
        directory.mkdir()
        second = Server(directory, environ=manager.environ(LISTEN_FDNAMES=name), bind=bind)
        second.listener = stored
        with second:
            manager.wait("READY")
            client.settimeout(30)
            assert parse_response(read_all(client))[0].status == 200
            assert manager.history().count("FDSTORE") == 1, "it is stored already"
    manager.drain()
    assert manager.stored == {}, "a clean stop takes it back"


def test_a_stored_socket_whose_path_is_gone_is_stored_anew(
    start: Callable[..., Server], manager: ServiceManager
) -> None:
    """Otherwise systemd would keep the one that no client finds, under the name of the one that serves."""
    path = manager.directory / "pyfork.sock"
    first = start(environ=manager.environ(), bind=[f"unix:{path}"])
    manager.wait("READY")
    [(name, fd)] = manager.stored.items()
    first.signal("KILL")
    first.wait()
    path.unlink()
    directory = manager.directory / "second"
    directory.mkdir()
    second = Server(directory, environ=manager.environ(LISTEN_FDNAMES=name), bind=[f"unix:{path}"])
    second.listener = socket.socket(fileno=os.dup(fd))
    with second:
        manager.wait("READY")
        assert manager.history() == ["FDSTORE", "READY", "FDSTOREREMOVE", "FDSTORE", "READY"]
        new = manager.stored[name]
        assert os.fstat(new).st_ino != os.fstat(fd).st_ino
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            client.settimeout(30)
            assert parse_response(read_all(client))[0].status == 200
    manager.drain()
    assert manager.stored == {}


def test_a_failure_of_the_arbiter_itself_leaves_the_stored_listeners(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """They are there for such cases: nothing is taken back, and the path stays."""
    environ = plant_at(tmp_path / "plant", "arbiter/loop.py:_reopen", "raise RuntimeError('planted')")
    path = manager.directory / "pyfork.sock"
    server = start(environ=manager.environ(**environ), bind=[f"unix:{path}"])
    server.expect_errors("the arbiter has failed")
    manager.wait("READY")
    server.signal("USR1")
    assert server.wait() == 1
    manager.drain()
    assert manager.notices[-1]["STATUS"] == "failed: the arbiter has failed, its log says how"
    assert path.exists()
    assert [*manager.stored] == [f"pyfork-unix-{path}"]


# Two arbiters: an upgrade.


def serving() -> Look:
    worker = WorkerStatistics(0, 1, 1, WorkerState.READY)
    return Look(Statistics(ArbiterState.RUNNING, ReloadState.IDLE, 1, 1, is_drained=False, workers=(worker,)), {})


def test_an_arbiter_that_has_handed_over_keeps_silent(manager: ServiceManager) -> None:
    """systemd listens to the main process alone; what waited for a free queue goes before the new one is named."""
    environ = manager.environ(WATCHDOG_USEC="1000000", FDSTORE="4")
    old = Notifier.from_environment(environ)
    flood(manager)
    old.state_changed(ArbiterState.RUNNING, serving)
    reads = threading.Event()

    def read() -> None:
        reads.set()
        manager.wait("MAINPID")

    reader = threading.Thread(target=read)
    reader.start()
    reads.wait()  # a hand-over waits for two seconds, and a thread may take as long to begin
    variables = old.environment()
    assert old.hand_over(4711)
    reader.join()
    old.state_changed(ArbiterState.STOPPING, serving)
    old.on_time(serving)
    manager.drain()
    assert manager.history() == ["READY", "MAINPID"]
    assert manager.notices[-1]["MAINPID"] == "4711"
    names = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "FDSTORE", "FDSTORE_NAMES"}
    assert variables.keys() == names
    assert variables["WATCHDOG_USEC"] == "1000000"


def flood(manager: ServiceManager) -> None:
    """Let its queue be full."""
    with contextlib.suppress(BlockingIOError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        while True:
            line.sendto(b"STATUS=flood", manager.address)


def test_a_hand_over_that_systemd_does_not_hear_is_told(tmp_path: Path) -> None:
    """Then the old arbiter is still the one whose end systemd would take for the service's."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert not notifier.hand_over(4711)
    notifier.close()


@pytest.mark.slow
def test_an_arbiter_that_could_not_hand_over_speaks_on(manager: ServiceManager) -> None:
    """It is the main process still; what waited is told later."""
    notifier = Notifier.from_environment(manager.environ())
    flood(manager)
    assert not notifier.hand_over(4711)
    notifier.state_changed(ArbiterState.RUNNING, serving)
    manager.drain()
    notifier.close()
    manager.drain()
    assert manager.history() == ["READY"]


@pytest.mark.slow
def test_an_upgrade_that_systemd_does_not_hear_of_fails(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """At the old arbiter's exit it would end the new one: so nothing is handed over, and the old one serves on."""
    path, pidfile = manager.directory / "pyfork.sock", tmp_path / "p.pid"
    settings = {"server": {"pidfile": str(pidfile)}}
    server = start(environ=manager.environ(), bind=[f"unix:{path}"], settings=settings)
    server.expect_errors("takes over nothing", "upgrade failed")
    manager.wait("READY")
    before = server.wait_workers(1)
    flood(manager)
    server.signal("USR2")
    server.wait_log(r"the new arbiter \(pid \d+\) takes over nothing: the service manager could not be told")
    server.wait_log(r"upgrade failed: the new arbiter \(pid \d+\) exited with status 0: this one goes on")
    assert server.wait_workers(1) == before
    assert pidfile.read_text() == f"{server.pid}\n"
    manager.drain()
    server.signal("USR2")
    old = server.pid
    assert manager.wait("MAINPID")["MAINPID"] == str(server.successor()) != str(old)
    assert pidfile.read_text() == f"{server.pid}\n"
    assert path.exists()


def test_an_arbiter_keeps_silent_until_it_is_its_turn(manager: ServiceManager) -> None:
    """Then it says that it serves, has its own new listeners stored and those that are gone taken back."""
    stored = "pyfork-unix-/run/old.sock"
    manager.stored[stored] = -1
    new = Notifier.from_environment(manager.environ(WATCHDOG_USEC="1000000", FDSTORE_NAMES=stored))
    new.wait_for_turn()
    with socket.create_server(("127.0.0.1", 0)) as opened:
        listener = BoundListener("127.0.0.1:0", opened, is_inherited=False, inode=None, maker=os.getpid())
        new.keep([listener])
        new.state_changed(ArbiterState.RUNNING, serving)
        new.on_time(serving)
        manager.drain()
        assert manager.notices == []
        assert not new.holds(listener)
        new.take_over([listener], serving)
        assert new.holds(listener)
    new.on_time(serving)
    new.close()
    manager.drain()
    assert manager.history() == ["READY", "FDSTOREREMOVE", "FDSTORE"]
    assert "WATCHDOG" in manager.notices[-1]


# Started by systemd's own tool.


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed")
def test_started_by_systemd_socket_activate(manager: ServiceManager, tmp_path: Path) -> None:
    """The first connection starts it, and is answered; the socket is systemd's, so its path stays."""
    path, log = manager.directory / "web.sock", tmp_path / "error.log"
    process = subprocess.Popen(
        [
            "systemd-socket-activate", f"--listen={path}", f"--setenv=NOTIFY_SOCKET={manager.address}",
            sys.executable, "-m", "pyfork", "--error-logfile", str(log), "hello:app",
        ],
        cwd=SAMPLES, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(path.exists, "the socket is there")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            wait_until(lambda: client.connect_ex(str(path)) == 0, "it listens")
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert parse_response(read_all(client))[0].status == 200
        manager.wait("READY")  # the worker serves before the arbiter has heard of it
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        manager.drain()
        assert manager.history() == ["READY", "STOPPING"]
        assert path.exists()
    finally:
        process.kill()
        process.wait()
