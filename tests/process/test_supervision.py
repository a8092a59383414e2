"""Deaths, deadlines and orphans: what the arbiter does about its workers, and the workers without it."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Server, parse_response, processes_of_session, read_all, title_of, wait_until
from tests.procfs import heartbeat_of, state

SITE = """
import ctypes, os, signal, sys, threading, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/pid":
        return [str(os.getpid()).encode()]
    if path == "/sleep":
        open("sleeping", "w").close()
        time.sleep(float(environ["QUERY_STRING"]))
        return [b"slept"]
    if path == "/wait":
        open("waiting", "w").close()
        while not os.path.exists("open"): time.sleep(0.01)
    if path == "/loop":
        open("looping", "w").close()
        endless_loop_of_the_user()
    if path == "/stuck_in_c":
        open("stuck", "w").close()
        ctypes.PyDLL(None).pthread_mutex_lock(ctypes.byref(LOCKED))
        ctypes.PyDLL(None).pthread_mutex_lock(ctypes.byref(LOCKED))
    if path == "/stream":
        return stream()
    return [b"hello"]
LOCKED = ctypes.create_string_buffer(64)
def endless_loop_of_the_user():
    while True:
        pass
def stream():
    for _ in range(40):
        time.sleep(0.1)
        yield b"x"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that misbehaves by path."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(SITE)
    return directory


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a directory for tests that share a server."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "site1.py").write_text(SITE)
    return directory


def send(server: Server, path: str) -> socket.socket:
    """Send a request and return the connection, its answer unread."""
    connection = server.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def wait_file(path: Path) -> None:
    """Wait until the application has got to where it makes ``path``."""
    wait_until(path.exists, f"{path.name} exists")


# Deaths.


def test_a_killed_worker_is_replaced_at_once(start: Callable[..., Server], site: Path) -> None:
    """SIGKILL of a worker costs its own request only, and the log says that it was killed."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    before = server.wait_workers(2)
    server.expect_errors("SIGKILL")
    os.kill(before[0], signal.SIGKILL)
    assert server.get("/").status == 200
    after = server.wait_workers(2)
    assert before[1] in after
    server.wait_log(rf"{before[0]}.*SIGKILL")


def test_a_worker_gone_by_an_outside_term_is_replaced(start: Callable[..., Server], site: Path) -> None:
    """TERM sent to a worker drains it; the arbiter starts another."""
    server = start("site1:app", cwd=site)
    [before] = server.wait_workers(1)
    os.kill(before, signal.SIGTERM)
    wait_until(lambda: before not in server.workers(), "the worker has gone")
    assert server.get("/").status == 200


@pytest.mark.parametrize("name", ["INT", "HUP", "WINCH", "TTIN", "TTOU", "USR2", "USR1", "URG"])
def test_signals_that_workers_do_not_die_of(share: Callable[..., Server], shared_site: Path, name: str) -> None:
    """A signal for the arbiter that reaches a worker, from a terminal or a group kill, does not end it."""
    server = share("site1:app", cwd=shared_site)
    [worker] = server.wait_workers(1)
    os.kill(worker, signal.Signals[f"SIG{name}"])
    assert server.get("/pid").body == str(worker).encode()
    assert server.get("/pid").body == str(worker).encode()


def test_a_log_handler_that_raises_does_not_end_the_worker(start: Callable[..., Server], tmp_path: Path) -> None:
    """The application's own handler on pyfork.error fails at a 500: that connection ends, the worker goes on."""
    (tmp_path / "site2.py").write_text(
        "import logging, os\n"
        "class Broken(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        raise RuntimeError('the handler is broken')\n"
        "logging.getLogger('pyfork.error').addHandler(Broken())\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/fail':\n"
        "        raise ValueError('as asked')\n"
        "    start_response('200 OK', [])\n"
        "    return [str(os.getpid()).encode()]\n"
    )
    server = start("site2:app", cwd=tmp_path)
    [before] = server.wait_workers(1)
    server.expect_errors(r"\[ERROR\]")
    server.exchange(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.get("/").body == str(before).encode()
    assert "as asked" in server.log
    assert "fault of the server" in server.log


def test_processes_that_the_application_forks_are_their_own(start: Callable[..., Server], tmp_path: Path) -> None:
    """A child that the application forks ends by sys.exit and by TERM, and neither answers nor drains the worker."""
    (tmp_path / "forks.py").write_text(
        "import multiprocessing, os, sys, time\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/fork':\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n"
        "            sys.exit(7)\n"
        "        said = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "    elif environ['PATH_INFO'] == '/process':\n"
        "        child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "        child.start()\n"
        "        child.terminate()\n"
        "        child.join(10)\n"
        "        said = child.exitcode\n"
        "    else:\n"
        "        said = os.getpid()\n"
        "    start_response('200 OK', [])\n"
        "    return [str(said).encode()]\n"
    )
    server = start("forks:app", cwd=tmp_path)
    [worker] = server.wait_workers(1)
    assert server.exchange(b"GET /fork HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\n7")
    assert server.get("/process").body == b"-15"
    assert server.get("/").body == str(worker).encode()


# Deadlines.


@pytest.mark.slow
def test_an_endless_loop_is_shown_and_replaced(start: Callable[..., Server], site: Path) -> None:
    """After the timeout the log has the request and the user's line, and the worker is new; nobody waits for its end."""
    server = start("site1:app", cwd=site, settings={"workers": {"timeout": 1, "graceful_timeout": 2 * PATIENCE}})
    [before] = server.wait_workers(1)
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    with send(server, "/loop"):
        wait_until(lambda: before not in server.workers() and server.workers(), "the worker is new")
        assert server.get("/pid").body != str(before).encode()
    server.wait_log(r"GET /loop")
    server.wait_log(r'File ".*site1.py", line \d+ in endless_loop_of_the_user')


@pytest.mark.slow
def test_a_worker_stuck_in_c_is_shown_and_replaced(start: Callable[..., Server], site: Path) -> None:
    """The stacks are written even while the interpreter lock is held for good."""
    server = start("site1:app", cwd=site, settings={"workers": {"timeout": 1}})
    [before] = server.wait_workers(1)
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    with send(server, "/stuck_in_c"):
        wait_until(lambda: before not in server.workers() and server.workers(), "the worker is new")
    server.wait_log(r'File ".*site1.py", line \d+ in app')
    assert server.get("/").status == 200


@pytest.mark.slow
def test_a_long_stream_is_not_stuck(start: Callable[..., Server], site: Path) -> None:
    """The deadline starts anew with each chunk: 4 s of stream under a timeout of 3 s are served whole."""
    server = start("site1:app", cwd=site, settings={"workers": {"timeout": 3}})
    [before] = server.wait_workers(1)
    assert server.get("/stream").body == b"x" * 40
    assert server.workers() == [before]


@pytest.mark.slow
def test_a_slow_client_does_not_make_a_worker_stuck(start: Callable[..., Server], site: Path) -> None:
    """Waiting for the client is not counted: header octets that drip for longer than the timeout are served."""
    server = start("site1:app", cwd=site, settings={"workers": {"timeout": 2}, "http": {"header_timeout": 60}})
    [before] = server.wait_workers(1)
    pause = threading.Event()
    with server.connect() as connection:
        for octet in b"GET /pid HTTP/1.1\r\nHost: x\r\n":
            connection.sendall(bytes([octet]))
            pause.wait(0.1)
        connection.sendall(b"\r\n")
        assert parse_response(read_all(connection))[0].body == str(before).encode()


@pytest.mark.slow
def test_a_boot_that_hangs_ends_by_its_own_deadline(start: Callable[..., Server], tmp_path: Path) -> None:
    """boot_timeout ends pyfork at the first start, with status 3."""
    (tmp_path / "hang.py").write_text("import threading; threading.Event().wait()\n")
    server = start("hang:app", cwd=tmp_path, settings={"workers": {"boot_timeout": 1}})
    server.expect_errors(r"\[(ERROR|CRITICAL)\]", "SIGKILL")
    assert server.wait() == 3
    assert "boot_timeout" in server.log


@pytest.mark.slow
def test_a_crash_loop_backs_off_and_recovers(start: Callable[..., Server], site: Path) -> None:
    """Workers that cannot boot any more are tried again with pauses, while the rest serve; mended, all is well."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    before = server.wait_workers(2)
    server.expect_errors(r"\[ERROR\]", "SIGKILL", "Traceback")
    (site / "site1.py").write_text("import nothing_there\n")
    os.kill(before[0], signal.SIGKILL)
    server.wait_log("No module named 'nothing_there'")
    server.wait_log(r"worker 0 gen 1 \(pid \d+\) is booting", count=4)
    assert server.get("/pid").body == str(before[1]).encode()
    (site / "site1.py").write_text(SITE)
    server.wait_workers(2)


# Orphans.


def test_idle_workers_leave_when_the_arbiter_is_killed(start: Callable[..., Server], site: Path) -> None:
    """The end of the lifeline ends idle workers, long before anything of theirs is due."""
    workers = {"count": 2, "graceful_timeout": 2 * PATIENCE}
    server = start("site1:app", cwd=site, settings={"workers": workers})
    server.wait_workers(2)
    server.signal("KILL")
    wait_until(lambda: not processes_of_session(server.pid), "all have gone")


@pytest.mark.slow
def test_a_busy_worker_leaves_after_its_request(start: Callable[..., Server], site: Path) -> None:
    """A request in flight at the arbiter's death is answered."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    with send(server, "/sleep?1.5") as connection:
        wait_file(site / "sleeping")
        server.signal("KILL")
        assert parse_response(read_all(connection))[0].body == b"slept"
    wait_until(lambda: not processes_of_session(server.pid), "all have gone")


def test_a_worker_outlives_a_signal_that_only_looks_like_the_arbiters_end(
    start: Callable[..., Server], site: Path
) -> None:
    """SIGIO may be somebody else's: the pipe decides."""
    server = start("site1:app", cwd=site, settings={"workers": {"graceful_timeout": 0}})
    workers = server.wait_workers(1)
    os.kill(workers[0], signal.SIGIO)
    with send(server, "/") as connection:
        assert parse_response(read_all(connection))[0].status == 200
    assert server.workers() == workers


@pytest.mark.slow
def test_an_endless_loop_ends_after_the_arbiter(start: Callable[..., Server], site: Path) -> None:
    """The kernel ends a worker that never looks at its lifeline, graceful_timeout after the arbiter."""
    server = start("site1:app", cwd=site, settings={"workers": {"graceful_timeout": 1}})
    server.wait_workers(1)
    with send(server, "/loop"):
        wait_file(site / "looping")
        server.signal("KILL")
        wait_until(lambda: not processes_of_session(server.pid), "all have gone")


# Stalls.


@pytest.mark.slow
@pytest.mark.parametrize("order", ["arbiter first", "arbiter last"])
def test_nobody_is_killed_for_having_been_stopped(start: Callable[..., Server], site: Path, order: str) -> None:
    """All processes are stopped for longer than the timeout and continued in any order: the workers live."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2, "timeout": 2}})
    workers = server.wait_workers(2)
    server.wait_log("is ready", count=2)
    wait_until(lambda: state(server.pid) == "S", "the arbiter waits: in a turn it would not tell")
    everybody = [server.pid, *workers]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(3.5)
    pause = threading.Event()
    for pid in everybody if order == "arbiter first" else reversed(everybody):
        os.kill(pid, signal.SIGCONT)
        pause.wait(0.15)
    server.wait_log("the arbiter did not run for")
    assert server.get("/").status == 200
    pause.wait(1)
    assert sorted(server.workers()) == sorted(workers)


@pytest.mark.slow
def test_a_stopped_arbiter_judges_nobody(start: Callable[..., Server], site: Path) -> None:
    """The arbiter alone is stopped for longer than the timeout: it reads the beats first when it wakes."""
    server = start("site1:app", cwd=site, settings={"workers": {"timeout": 1}})
    [worker] = server.wait_workers(1)
    server.wait_log("is ready")  # the title tells it earlier than the arbiter knows it
    wait_until(lambda: state(server.pid) == "S", "the arbiter waits: in a turn it would not tell")
    server.signal("STOP")
    threading.Event().wait(2.5)
    server.signal("CONT")
    server.wait_log("did not run for")
    assert server.get("/pid").body == str(worker).encode()


# Titles.


def test_titles_tell_roles_and_requests(start: Callable[..., Server], site: Path) -> None:
    """The arbiter, an idle worker and a busy one are told apart by ps; the query is not shown."""
    server = start("site1:app", cwd=site)
    [worker] = server.wait_workers(1)
    assert title_of(server.pid) == "pyfork: arbiter [site1:app]"
    wait_until(lambda: title_of(worker) == "pyfork: worker 0 gen 1 [site1:app] idle", "the idle title")
    with send(server, "/wait?secret") as connection:
        wait_file(site / "waiting")
        assert title_of(worker) == "pyfork: worker 0 gen 1 [site1:app] GET /wait"
        (site / "open").touch()
        read_all(connection)
    wait_until(lambda: title_of(worker).endswith(" idle"), "the idle title again")


def test_control_characters_do_not_reach_a_title(start: Callable[..., Server], site: Path) -> None:
    """A path cannot write to the terminal of who runs ps."""
    server = start("site1:app", cwd=site)
    [worker] = server.wait_workers(1)
    with server.connect() as connection:
        connection.sendall("GET /sleep\u00e9%1b HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
        read_all(connection)
    assert re.fullmatch(r"[ -~]+", title_of(worker))


def test_a_worker_whose_pipe_is_garbled_is_killed(start: Callable[..., Server]) -> None:
    """By pyfork, and the log says so; another takes its place."""
    server = start()
    server.expect_errors("it is killed", "died within")
    [pid] = server.wait_workers(1)
    with open(heartbeat_of(pid, server.pid), "wb", buffering=0) as pipe:
        pipe.write(b"\xff\xfe garbage")
    server.wait_log(rf"\(pid {pid}\): .*; it is killed")
    server.wait_log(rf"\(pid {pid}\) is gone after it was killed")
    assert server.wait_workers(1) != [pid]
