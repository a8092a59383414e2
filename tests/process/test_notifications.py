"""What systemd hears: whole sequences of a real server, over a real datagram socket."""

import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, monotonic_ns

import pytest

from tests import procfs
from tests.harness import Server, parse_response, read_all, wait_until
from tests.service_manager import ServiceManager

SITE = """
import os
if os.path.exists("gate"):
    open("at-gate", "w").close()
    open("gate").read()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("slow").read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["{label}".encode()]
"""

SHOWS = """
import os, socket, stat
NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")
def is_datagram(fd):
    try:
        with socket.socket(fileno=os.dup(fd)) as one:
            return one.type == socket.SOCK_DGRAM
    except OSError:
        return False
def app(environ, start_response):
    start_response("200 OK", [])
    found = [name for name in NAMES if name in os.environ], any(map(is_datagram, range(1000)))
    return [repr(found).encode()]
"""

# $WATCHDOG_PID is the pid of the receiver, which only a process that becomes it can know.
WITH_WATCHDOG_PID = ("sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh")


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    """Be the service manager."""
    with ServiceManager() as manager:
        yield manager


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that can be changed, held up while it boots, and slow."""
    directory = tmp_path / "site"
    directory.mkdir()
    write_site(directory, "one")
    return directory


def write_site(site: Path, label: str) -> None:
    (site / "site1.py").write_text(SITE.replace("{label}", label))


def close_gate(site: Path) -> None:
    """Let the next worker that boots wait until `open_gate`."""
    os.mkfifo(site / "gate")


def open_gate(site: Path) -> None:
    """Let the worker at the gate go on, and all that come after it."""
    with (site / "gate").open("w"):
        (site / "gate").unlink()


def at_gate(site: Path) -> None:
    """Wait until a worker is there."""
    wait_until((site / "at-gate").exists, "a worker boots and waits")
    (site / "at-gate").unlink()


# The start.


def test_ready_comes_when_the_first_worker_serves(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """Not when the arbiter does: units that wait for ours want answers. A boot within its own time is extended."""
    close_gate(site)
    server = start("site1:app", cwd=site, environ=manager.environ())
    manager.wait("EXTEND_TIMEOUT_USEC")
    assert manager.wait("STATUS")["STATUS"].startswith("starting: 0 of 1 workers ready")
    at_gate(site)
    assert "READY" not in manager.history()
    open_gate(site)
    assert manager.wait("READY")["STATUS"] == "1 of 1 workers ready, 0 busy, 0.0 requests/s"
    assert server.get("/").body == b"one"
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "STOPPING"]


def test_an_abstract_socket(start: Callable[..., Server]) -> None:
    """User managers and containers have them."""
    with ServiceManager(is_abstract=True) as manager:
        start(environ=manager.environ())
        manager.wait("READY")


def test_a_start_that_fails_says_why_and_never_ready(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """`systemctl status` shows the reason beside the exit status."""
    (site / "site1.py").write_text("import does_not_exist_xyz\n")
    server = start("site1:app", cwd=site, environ=manager.environ())
    server.expect_errors("does_not_exist_xyz")
    status = manager.wait("STOPPING")["STATUS"]
    assert status.startswith("failed: worker 0 gen 1")
    assert "could not boot" in status
    assert server.wait() == 4
    manager.drain()
    assert manager.history() == ["STOPPING"]


def test_a_start_that_is_refused_says_why(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """By the check of the settings, or when something cannot be had: the arbiter ends before it has begun."""
    server = start(environ=manager.environ(), bind=["unix:/does/not/exist.sock"])
    assert "there is no directory /does/not" in manager.wait("STATUS")["STATUS"]
    assert server.wait() == 2
    pidfile = tmp_path / "pyfork.pid"
    pidfile.write_text("no pid\n")
    server = start(environ=manager.environ(), settings={"server": {"pidfile": str(pidfile)}})
    assert "exists and holds no pid" in manager.wait("STATUS")["STATUS"]
    assert server.wait() == 2


def test_the_application_cannot_speak_for_the_service(
    start: Callable[..., Server], manager: ServiceManager, tmp_path: Path
) -> None:
    """Its environment does not say where, and it has no descriptor to do it."""
    (tmp_path / "shows.py").write_text(SHOWS)
    server = start("shows:app", cwd=tmp_path, environ=manager.environ(WATCHDOG_USEC="9000000", FDSTORE="3"))
    manager.wait("READY")
    assert server.get("/").body == b"([], False)"


# Reloads.


def test_a_reload_is_announced_and_ended(start: Callable[..., Server], manager: ServiceManager, site: Path) -> None:
    """RELOADING=1 with a time of after the signal, then READY=1 when the new generation has replaced the old."""
    server = start("site1:app", cwd=site, environ=manager.environ(), settings={"workers": {"count": 2}})
    manager.wait("READY")
    server.wait_workers(2, 1)
    write_site(site, "two")
    before = monotonic_ns() // 1000
    server.signal("HUP")
    reloading = manager.wait("RELOADING")
    assert before <= int(reloading["MONOTONIC_USEC"]) <= monotonic_ns() // 1000 + 1
    ready = manager.wait("READY")
    assert ready["ERRNO"] == "0"
    assert ready["STATUS"] == "2 of 2 workers ready, 0 busy, 0.0 requests/s"
    server.wait_workers(2, 2)  # the last of the old ones is told at the same moment
    assert server.get("/").body == b"two"


def start_and_fail_to_reload(start: Callable[..., Server], manager: ServiceManager, site: Path) -> Server:
    """Start a server, and have it tell the manager that its application does not import any more."""
    server = start("site1:app", cwd=site, environ=manager.environ())
    server.expect_errors("reload failed", "could not boot")
    manager.wait("READY")
    (site / "site1.py").write_text("import does_not_exist_xyz\n")
    server.signal("HUP")
    manager.wait("RELOADING")
    ready = manager.wait("READY")
    assert ready["STATUS"].startswith("reload failed: worker 0 gen 2")
    assert "; generation 1 goes on: 1 of 1 workers ready" in ready["STATUS"]
    assert ready["ERRNO"] == "125"
    return server


def test_a_reload_whose_application_is_broken_ends_too(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """`systemctl reload` must not hang; the status tells what goes on. The next good one takes that back."""
    server = start_and_fail_to_reload(start, manager, site)
    assert server.get("/").body == b"one"
    write_site(site, "three")
    server.signal("HUP")
    manager.wait("RELOADING")
    ready = manager.wait("READY")
    assert (ready["ERRNO"], "failed" in ready["STATUS"]) == ("0", False)


def test_a_reload_whose_configuration_is_refused_ends_too(
    start: Callable[..., Server], manager: ServiceManager
) -> None:
    """It begins and ends within one turn of the loop, and still in that order."""
    server = start(environ=manager.environ())
    server.expect_errors("reload refused")
    manager.wait("READY")
    server.configure({"workers": {"count": -1}})
    server.signal("HUP")
    ready = manager.wait("READY")
    assert ready["STATUS"].startswith("reload failed: ")
    assert "workers.count" in ready["STATUS"]
    assert ready["ERRNO"] == "125"
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_hup_during_a_reload_is_announced_at_once(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """With a time of its own, while the first reload still waits for its worker; READY=1 comes once, for both."""
    server = start("site1:app", cwd=site, environ=manager.environ())
    manager.wait("READY")
    write_site(site, "two")
    close_gate(site)
    server.signal("HUP")
    first = manager.wait("RELOADING")
    at_gate(site)
    server.signal("HUP")
    second = manager.wait("RELOADING")
    assert int(first["MONOTONIC_USEC"]) < int(second["MONOTONIC_USEC"])
    at_gate(site)
    assert manager.history().count("READY") == 1
    open_gate(site)
    assert manager.wait("READY")["ERRNO"] == "0"
    server.wait_workers(1, 3)
    assert server.get("/").body == b"two"
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "RELOADING", "RELOADING", "READY", "STOPPING"]


def test_many_hups_end_with_one_ready(start: Callable[..., Server], manager: ServiceManager) -> None:
    """However many of them are heard (signals that wait are one signal), the last word is READY=1."""
    server = start(environ=manager.environ())
    manager.wait("READY")
    for number in range(20):
        server.signal("HUP")
        server.wait_log("signal SIGHUP", count=number // 4 + 1)
        manager.drain()  # so that its queue is never full, and no notice waits in the arbiter
    for count in (1, 2):  # the first one may be heard before a HUP that waits with it: the kernel's order is no queue's
        server.signal("USR1")
        server.wait_log("signal SIGUSR1", count=count)
    manager.drain()
    while manager.history()[-1] != "READY":
        manager.receive()
    server.stop()
    manager.drain()
    history = manager.history()
    assert history[-2:] == ["READY", "STOPPING"]
    assert all(before != after for before, after in itertools.pairwise(history) if before == "READY")


def test_a_stop_during_a_reload_is_a_stop(start: Callable[..., Server], manager: ServiceManager, site: Path) -> None:
    """No READY=1 comes after STOPPING=1, nor between."""
    server = start("site1:app", cwd=site, environ=manager.environ())
    manager.wait("READY")
    close_gate(site)
    server.signal("HUP")
    at_gate(site)
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "RELOADING", "STOPPING"]


# Upgrades.


def test_an_upgrade_that_fails_is_told_like_a_reload(start: Callable[..., Server], manager: ServiceManager) -> None:
    """By what the new arbiter said of it; there is no READY=1, as nothing has been announced."""
    server = start(environ=manager.environ())
    server.expect_errors("upgrade failed", r"the new arbiter \(pid \d+\) says")
    manager.wait("READY")
    server.configure({"workers": {"cuont": 3}})
    server.signal("USR2")
    failed = manager.wait("ERRNO")
    assert failed["STATUS"].startswith("upgrade failed: ")
    assert "unknown key workers.cuont" in failed["STATUS"]
    assert "; this arbiter goes on: 1 of 1 workers ready" in failed["STATUS"]
    assert failed["ERRNO"] == "125"
    server.stop()
    manager.drain()
    assert manager.history() == ["READY", "STOPPING"]


def test_an_upgrade_takes_back_the_error_of_a_reload(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """The new main process has nothing to do with what its predecessor could not load."""
    server = start_and_fail_to_reload(start, manager, site)
    write_site(site, "two")
    server.signal("USR2")
    new = manager.wait("MAINPID")["MAINPID"]
    ready = manager.wait("READY")
    assert (ready["ERRNO"], "failed" in ready["STATUS"]) == ("0", False)
    assert new == str(server.successor())
    assert server.get("/").body == b"two"


# The stop.


@pytest.mark.slow
def test_a_drain_within_its_time_is_extended(start: Callable[..., Server], manager: ServiceManager, site: Path) -> None:
    """As long as a request is answered, and not beyond graceful_timeout; the status shows it."""
    os.mkfifo(site / "slow")
    server = start("site1:app", cwd=site, environ=manager.environ(), settings={"workers": {"graceful_timeout": 30}})
    manager.wait("READY")
    with server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        with (site / "slow").open("w"):  # blocks until the application reads
            before = monotonic()
            server.signal("TERM")
            stopping = manager.wait("STOPPING")
            assert stopping["STATUS"] == "stopping: 1 worker left, 1 busy"
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 10_000_000
            again = manager.wait("EXTEND_TIMEOUT_USEC")
            ends = monotonic() + int(again["EXTEND_TIMEOUT_USEC"]) / 1e6
            assert before + 14 <= ends  # 10 s from 4 s later
        assert parse_response(read_all(client))[0].body == b"one"
    assert server.wait() == 0


@pytest.mark.slow
def test_a_drain_beyond_its_time_is_not_extended(
    start: Callable[..., Server], manager: ServiceManager, site: Path
) -> None:
    """The worker is killed by pyfork at its deadline: what systemd was asked for ends soon after, for good."""
    os.mkfifo(site / "slow")
    server = start("site1:app", cwd=site, environ=manager.environ(), settings={"workers": {"graceful_timeout": 2}})
    server.expect_errors("SIGKILL")
    manager.wait("READY")
    with server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        with (site / "slow").open("w"):
            server.signal("TERM")
            stopping = manager.wait("STOPPING")
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) <= 4_000_000
            assert server.wait() == 0
    manager.drain()
    assert not [notice for notice in manager.notices[manager.notices.index(stopping) + 1 :] if "READY" in notice]


# The watchdog.


@pytest.mark.slow
def test_the_watchdog_is_fed_by_the_loop_alone(start: Callable[..., Server], manager: ServiceManager) -> None:
    """An arbiter that does not run feeds nothing, so systemd notices; one that runs again does."""
    server = start(environ=manager.environ(WATCHDOG_USEC="200000"), prefix=WITH_WATCHDOG_PID)
    manager.wait("READY")
    for _ in range(5):
        manager.wait("WATCHDOG")
    server.signal("STOP")
    wait_until(lambda: procfs.state(server.pid) == "T", "the arbiter is stopped")
    manager.drain()
    with pytest.raises(TimeoutError):
        manager.receive(1.0)
    server.signal("CONT")
    for _ in range(3):
        manager.wait("WATCHDOG")
    assert server.get("/").status == 200


def test_a_watchdog_for_another_process_is_not_fed(start: Callable[..., Server], manager: ServiceManager) -> None:
    """$WATCHDOG_PID names it."""
    server = start(environ=manager.environ(WATCHDOG_USEC="10000", WATCHDOG_PID="1"))
    manager.wait("READY")
    server.stop()
    manager.drain()
    assert not [notice for notice in manager.notices if "WATCHDOG" in notice]


# The live figures.


@pytest.mark.slow
def test_the_status_follows_the_load(start: Callable[..., Server], manager: ServiceManager) -> None:
    """Without a timer of its own: the workers' beats wake the arbiter."""
    server = start(environ=manager.environ(), settings={"workers": {"timeout": 4}})
    manager.wait("READY")
    for _ in range(30):
        assert server.get("/").status == 200
    manager.wait("STATUS", lambda notice: float(notice["STATUS"].split(", ")[2].split()[0]) > 0)


# A line that is bad.


def test_a_service_manager_that_is_not_there_disturbs_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    """It is said once."""
    server = start(environ={"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "20000"})
    server.wait_workers(1)
    server.signal("HUP")
    server.wait_log("has replaced the others")
    assert server.get("/").status == 200
    server.stop()
    assert server.log.count("cannot notify systemd") == 1


def test_a_full_queue_loses_nothing_that_matters(start: Callable[..., Server], manager: ServiceManager) -> None:
    """READY=1 waits until systemd reads again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flood.sendto(b"STATUS=flood", manager.address)
    server = start(environ=manager.environ(), bind=["127.0.0.1:0"])
    server.wait_log("is ready")
    server.wait_log("cannot notify systemd")
    manager.wait("FDSTORE")
    manager.wait("READY")
    server.stop()
    manager.drain()
    assert manager.history() == ["FDSTORE", "READY", "STOPPING", "FDSTOREREMOVE"]
    assert server.log.count("cannot notify systemd") == 1
