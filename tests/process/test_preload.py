"""preload: one import in a mold, workers that are forked from it, and what becomes of both when one dies."""

import contextlib
import json
import os
import pwd
import re
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import procfs
from tests.harness import Server, parse_response, processes_of_session, read_all, title_of, wait_until
from tests.process.plants import plant_at

SITE = """
import atexit, json, os, pathlib, random, time

HERE = pathlib.Path(__file__).parent
LABEL = "one"
IMPORTED_BY = os.getpid()
with (HERE / "imports").open("a") as file:
    file.write(f"{os.getpid()}\\n")
atexit.register(lambda: (HERE / f"atexit-{os.getpid()}").touch())

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/nap":
        (HERE / f"napping-{environ['QUERY_STRING']}-{os.getpid()}").touch()
        while not (HERE / "go").exists():
            time.sleep(0.01)
    told = {
        "label": LABEL,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "imported_by": IMPORTED_BY,
        "random": random.random(),
        "user": os.geteuid(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that tells where it comes from."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "molded1.py").write_text(SITE)
    return directory


def molds(server: Server) -> list[int]:
    """Return the pids of the living molds."""
    return [pid for pid in processes_of_session(server.pid) if title_of(pid).startswith("pyfork: mold")]


def wait_mold(server: Server, *, besides: int = 0) -> int:
    """Wait until there is one mold that can fork, another than ``besides``, and return its pid."""

    def ready() -> int | None:
        found = molds(server)
        is_ready = len(found) == 1 and found[0] != besides and "booting" not in title_of(found[0])
        return found[0] if is_ready else None

    pid: int = wait_until(ready, f"a mold is ready: {server.titles()}")
    return pid


@pytest.mark.parametrize("worker_type", ["sync", "async"])
def test_an_applications_real_time_signal_is_its_own(
    start: Callable[..., Server], tmp_path: Path, worker_type: str
) -> None:
    """Some libraries use them (timers, profilers); they have no name, and end neither a worker nor a mold."""
    (tmp_path / "realtime1.py").write_text(
        "import os, signal\n"
        "def handle(*_):\n"
        "    open(f'handled-{os.getpid()}', 'w').close()\n"
        "signal.signal(signal.SIGRTMIN + 8, handle)\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [str(os.getpid()).encode()]\n"
    )
    settings = {"workers": {"type": worker_type, "preload": True}}
    server = start("realtime1:app", cwd=tmp_path, settings=settings)
    [worker] = server.wait_workers(1)
    mold = wait_mold(server)
    for pid in (worker, mold):
        os.kill(pid, signal.SIGRTMIN + 8)
        wait_until((tmp_path / f"handled-{pid}").exists, "the application has handled its signal")
    assert server.get("/").body == str(worker).encode()
    server.signal("TTIN")
    assert worker in server.wait_workers(2)
    assert wait_mold(server) == mold  # what forks a worker for it has its title until it ends


@pytest.mark.parametrize("is_preloaded", [False, True])
def test_nobody_is_shown_as_ready_who_has_not_said_so(
    start: Callable[..., Server], tmp_path: Path, is_preloaded: bool
) -> None:
    """Neither a worker nor a mold: who is killed then has not served, and at the start that would be pyfork's end."""
    environ = plant_at(tmp_path, "ipc/heartbeat.py:say_ready", "os.kill(os.getpid(), signal.SIGSTOP)")
    server = start(environ=environ, settings={"workers": {"preload": is_preloaded}})
    stopped = wait_until(
        lambda: [pid for pid, (_, state) in procfs.family(server.pid).items() if state == "T"], "it is about to say so"
    )
    try:
        assert title_of(stopped[0]).endswith("booting")
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    server.wait_workers(1)


def imports(site: Path) -> list[int]:
    """Return the pids that have imported the application, in order."""
    return [int(line) for line in (site / "imports").read_text().splitlines()]


def told(server: Server, site: Path, pids: list[int]) -> dict[int, dict]:
    """Return what each of the workers says of itself: each is given requests that wait until all have one."""
    for path in [*site.glob("napping-*"), *site.glob("go")]:
        path.unlink()
    with contextlib.ExitStack() as stack:
        connections = []
        while {int(path.name.rpartition("-")[2]) for path in site.glob("napping-*")} < set(pids):
            connections.append(stack.enter_context(server.connect()))
            number = len(connections)
            connections[-1].sendall(f"GET /nap?{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            wait_until(lambda number=number: list(site.glob(f"napping-{number}-*")), "somebody serves it")
        (site / "go").touch()
        answers = [json.loads(parse_response(read_all(connection))[0].body) for connection in connections]
    return {answer["pid"]: answer for answer in answers}


# Births.


@pytest.mark.slow
def test_the_application_is_imported_once(start: Callable[..., Server], site: Path, worker_type: str) -> None:
    """In the mold; the workers are the arbiter's own children, and their random numbers are their own."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 3, "type": worker_type, "preload": True}})
    workers = server.wait_workers(3)
    mold = wait_mold(server)
    answers = told(server, site, workers)
    assert imports(site) == [mold]
    assert {answer["imported_by"] for answer in answers.values()} == {mold}
    assert {answer["parent"] for answer in answers.values()} == {server.pid}
    assert len({answer["random"] for answer in answers.values()}) == 3
    assert title_of(mold) == "pyfork: mold 1 gen 1 [molded1:app]"


@pytest.mark.slow
def test_a_worker_holds_what_it_holds_without_a_mold(
    start: Callable[..., Server], site: Path, worker_type: str
) -> None:
    """Its descriptors are of the same kinds and as many; nothing of the mold's or of another worker's is left."""
    expected = {}
    for preload in (False, True):
        settings = {"workers": {"count": 3, "type": worker_type, "preload": preload}}
        server = start("molded1:app", cwd=site, settings=settings)
        workers = server.wait_workers(3)
        told(server, site, workers)
        wait_until(
            lambda s=server, w=workers: not any(procfs.held_ports(pid, s.port) for pid in w), "clients have left"
        )
        held = [procfs.descriptor_kinds(pid) for pid in workers]
        if preload and worker_type in {"sync", "async"}:
            for kinds in held:
                kinds["socket"] -= 1  # its control socket
        expected[preload] = [{kind.replace(str(server.directory), ""): kinds[kind] for kind in kinds} for kinds in held]
        server.stop()
    assert expected[True] == expected[False]


@pytest.mark.slow
def test_gevent_sleeps_together_after_the_fork(start: Callable[..., Server], site: Path) -> None:
    """The hub of a forked worker is alive: requests that sleep do not wait for one another, nor the others for them."""
    settings = {"workers": {"type": "gevent", "preload": True}}
    server = start("molded1:app", cwd=site, settings=settings)
    server.wait_workers(1)
    clients = [threading.Thread(target=server.get, args=(f"/nap?{number}",)) for number in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: len(list(site.glob("napping-*"))) == 8, "all of them are in the application")
    assert server.get("/").status == 200
    (site / "go").touch()
    for client in clients:
        client.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_mold_drops_privileges_before_the_import(start: Callable[..., Server]) -> None:
    """And its workers have the same user, whom nothing gives root back."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "who.py").write_text(
            "import os\n"
            "WHO = f'{os.getresuid()}'\n"
            "def app(e, s):\n"
            "    s('200 OK', [])\n"
            "    return [f'{WHO} {os.getresuid()}'.encode()]\n"
        )
        server = start("who:app", cwd=name, settings={"workers": {"preload": True}, "server": {"user": "nobody"}})
        nobody = pwd.getpwnam("nobody").pw_uid
        assert server.get("/").body.decode() == f"{(nobody,) * 3} {(nobody,) * 3}"
        for pid in (*server.wait_workers(1), wait_mold(server)):
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(rf"^Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}$", status, re.MULTILINE)
        server.stop()


def test_threads_of_the_import_are_named(start: Callable[..., Server], site: Path) -> None:
    """They are missing in the workers, which serve nevertheless."""
    (site / "molded1.py").write_text(
        SITE + "\nimport threading\n"
        "for name in ('poller', 'mailer'):\n"
        "    threading.Thread(target=threading.Event().wait, name=name, daemon=True).start()\n"
    )
    server = start("molded1:app", cwd=site, settings={"workers": {"preload": True}})
    server.wait_log(r"\[WARNING\] \[mold 1 gen 1\] 2 thread\(s\) run after the import: mailer, poller;")
    assert server.get("/").status == 200


def test_what_the_import_printed_is_printed_once(start: Callable[..., Server], site: Path) -> None:
    """Whatever was in the buffer of standard output at the fork, no worker writes it again as it ends."""
    (site / "molded1.py").write_text(SITE + "\nprint('printed at the import')\n")
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    server.wait_workers(2)
    server.stop()
    assert server.output.count("printed at the import") == 1


def test_every_process_runs_what_the_import_registered_once(start: Callable[..., Server], site: Path) -> None:
    """``atexit`` is run by the mold and by each worker; the processes in between run nothing."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    pids = [*server.wait_workers(2), wait_mold(server)]
    server.stop()
    assert {int(path.name.removeprefix("atexit-")) for path in site.glob("atexit-*")} == set(pids)


def test_the_log_is_reopened_for_workers_to_come(start: Callable[..., Server], site: Path) -> None:
    """USR1 reaches the mold too: what it forks later writes to the new file."""
    server = start("molded1:app", cwd=site, settings={"workers": {"preload": True}, "log": {"level": "debug"}})
    [worker] = server.wait_workers(1)
    wait_mold(server)
    server.wait_log(r"\[worker 0 gen 1\] ready")
    moved = server.log_path.with_suffix(".1")
    server.log_path.rename(moved)
    server.signal("USR1")
    wait_until(server.log_path.exists, "there is a new log")
    server.expect_errors("SIGKILL")
    os.kill(worker, signal.SIGKILL)
    server.wait_log(r"\[worker 0 gen 1\] ready")
    assert moved.read_text().count("[worker 0 gen 1] ready") == 1


def test_greenlets_of_the_import_go_on_in_the_workers(start: Callable[..., Server], site: Path) -> None:
    """gevent's hub was there before the fork, with threads of its own; each worker has it anew, and they work."""
    (site / "molded1.py").write_text(
        SITE
        + """
import socket, threading

time.sleep(0.001)
socket.getaddrinfo("localhost", 80)

def tick():
    while True:
        (HERE / f"tick-{os.getpid()}").touch()
        time.sleep(0.01)

threading.Thread(target=tick, daemon=True).start()
time.sleep(0.001)
inner = app

def app(environ, start_response):
    socket.getaddrinfo("localhost", 80)
    return inner(environ, start_response)
"""
    )
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "type": "gevent", "preload": True}})
    workers = server.wait_workers(2)
    assert set(told(server, site, workers)) == set(workers)
    for pid in workers:
        wait_until((site / f"tick-{pid}").exists, "its greenlet runs")
    assert "thread(s) run" not in server.log


# Boots that fail.


def test_an_application_that_cannot_be_imported_ends_the_start(start: Callable[..., Server], site: Path) -> None:
    """With the status and the message that a worker's import would have."""
    (site / "molded1.py").write_text("import does_not_exist_xyz\n")
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 3, "preload": True}})
    server.expect_errors(r"\[CRITICAL\]")
    assert server.wait() == 4
    assert len(re.findall(r"does_not_exist_xyz", server.log)) >= 1
    assert "Traceback" in server.log
    assert server.log.count("[CRITICAL]") == 1


@pytest.mark.slow
def test_a_reload_loads_new_code(start: Callable[..., Server], site: Path, worker_type: str) -> None:
    """By a new mold; the old one goes."""
    settings = {"workers": {"count": 2, "type": worker_type, "preload": True}}
    server = start("molded1:app", cwd=site, settings=settings)
    server.wait_workers(2, 1)
    before = wait_mold(server)
    (site / "molded1.py").write_text(SITE.replace('"one"', '"two"'))
    server.signal("HUP")
    workers = server.wait_workers(2, 2)
    after = wait_mold(server, besides=before)
    assert {answer["label"] for answer in told(server, site, workers).values()} == {"two"}
    assert imports(site) == [before, after]


def test_a_reload_of_broken_code_is_rolled_back(start: Callable[..., Server], site: Path) -> None:
    """The old mold and its workers stay, and a lost worker is still replaced from them."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    before = server.wait_workers(2, 1)
    mold = wait_mold(server)
    (site / "molded1.py").write_text("import does_not_exist_xyz\n")
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    server.signal("HUP")
    server.wait_log(r"reload failed: generation 2 is ended")
    assert sorted(server.wait_workers(2, 1)) == sorted(before)
    assert wait_mold(server) == mold
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in server.workers() and len(server.workers()) == 2, "it is replaced")
    assert {answer["label"] for answer in told(server, site, server.wait_workers(2, 1)).values()} == {"one"}


# Deaths.


def test_a_lost_worker_is_replaced_without_an_import(
    start: Callable[..., Server], site: Path, worker_type: str
) -> None:
    """The mold forks it, whatever the import costs."""
    settings = {"workers": {"count": 2, "type": worker_type, "preload": True}}
    server = start("molded1:app", cwd=site, settings=settings)
    before = server.wait_workers(2)
    mold = wait_mold(server)
    server.expect_errors("SIGKILL")
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in server.workers() and len(server.workers()) == 2, "it is replaced")
    told(server, site, server.wait_workers(2))
    assert imports(site) == [mold]


def test_a_lost_mold_is_rebuilt_while_the_workers_serve(start: Callable[..., Server], site: Path) -> None:
    """They do not need it; a worker that is lost later comes from the new one."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    workers = server.wait_workers(2)
    before = wait_mold(server)
    server.expect_errors("SIGKILL", "mold 1 gen 1")
    server.wait_log("worker 1 gen 1 .* is ready")
    os.kill(before, signal.SIGKILL)
    assert server.get("/").status == 200
    after = wait_mold(server, besides=before)
    assert sorted(server.workers()) == sorted(workers)
    assert imports(site) == [before, after]
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: workers[0] not in server.workers() and len(server.workers()) == 2, "it is replaced")
    answers = told(server, site, server.wait_workers(2))
    assert {answer["imported_by"] for answer in answers.values()} == {before, after}


def test_a_mold_that_dies_over_an_order_loses_nothing(start: Callable[..., Server], site: Path) -> None:
    """Stopped, it takes no orders; killed then, its orders are given again to its successor."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    workers = server.wait_workers(2)
    mold = wait_mold(server)
    server.expect_errors("SIGKILL", "mold 1 gen 1", "could not be forked")
    os.kill(mold, signal.SIGSTOP)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not server.workers(), "both have gone")
    os.kill(mold, signal.SIGKILL)
    after = wait_mold(server, besides=mold)
    answers = told(server, site, server.wait_workers(2))
    assert {answer["imported_by"] for answer in answers.values()} == {after}


@pytest.mark.parametrize("name", ["INT", "HUP", "WINCH", "TTIN", "TTOU", "USR2", "USR1", "URG"])
def test_signals_that_a_mold_does_not_die_of(start: Callable[..., Server], site: Path, name: str) -> None:
    """A signal for the arbiter that reaches the mold, from a terminal or a group kill, does not end it."""
    server = start("molded1:app", cwd=site, settings={"workers": {"preload": True}})
    [worker] = server.wait_workers(1)
    mold = wait_mold(server)
    server.expect_errors("SIGKILL")
    os.kill(mold, signal.Signals[f"SIG{name}"])
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in server.workers() and server.workers(), "it is replaced")
    server.wait_workers(1)
    assert wait_mold(server) == mold
    assert imports(site) == [mold]


def test_nobody_survives_the_arbiter(start: Callable[..., Server], site: Path) -> None:
    """Killed, it leaves a mold and workers that see their lifelines end."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2, "preload": True}})
    server.wait_workers(2)
    wait_mold(server)
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL


def test_strangers_are_reaped(start: Callable[..., Server], site: Path) -> None:
    """A subreaper inherits what the application daemonises, and waits for it as for its own."""
    (site / "molded1.py").write_text(
        SITE + "\nimport subprocess\nsubprocess.run(['sh', '-c', 'sleep 0.1 & exit 0'], check=True)\n"
    )
    server = start("molded1:app", cwd=site, settings={"workers": {"preload": True}, "log": {"level": "debug"}})
    server.wait_log(r"reaped pid \d+, which is none of our children")
    assert server.get("/").status == 200


# What else there is.


def test_what_the_import_has_read_is_there_once(start: Callable[..., Server], site: Path) -> None:
    """Four processes that have 64 MB of data do not use twice as much."""
    (site / "molded1.py").write_text(SITE + "\nDATA = os.urandom(64 * 1024 * 1024)\n")
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 3, "preload": True}})
    pids = [*server.wait_workers(3), wait_mold(server)]
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    shares = [int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1]) for rollup in rollups]
    assert 64 * 1024 < sum(shares) < 2 * 64 * 1024


def test_a_reload_turns_it_on_and_off(start: Callable[..., Server], site: Path) -> None:
    """The mold comes and goes with it."""
    server = start("molded1:app", cwd=site, settings={"workers": {"count": 2}})
    workers = server.wait_workers(2, 1)
    assert set(imports(site)) == set(workers)
    server.configure({"workers": {"preload": True}})
    server.signal("HUP")
    workers = server.wait_workers(2, 2)
    mold = wait_mold(server)
    assert imports(site)[2:] == [mold]
    assert {answer["parent"] for answer in told(server, site, workers).values()} == {server.pid}
    server.configure({"workers": {"preload": False}})
    server.signal("HUP")
    workers = server.wait_workers(2, 3)
    wait_until(lambda: not molds(server), "the mold has gone")
    assert set(imports(site)[3:]) == set(workers)


def test_a_worker_class_of_the_users_own(start: Callable[..., Server]) -> None:
    """It is imported in the mold, and made in each worker (sample_apps/echo_worker.py)."""
    settings = {"workers": {"count": 2, "type": "echo_worker:EchoWorker", "preload": True}}
    server = start(None, settings=settings)
    server.wait_workers(2)
    wait_mold(server)
    with server.connect() as client:
        client.sendall(b"an echo\n")
        assert client.recv(100) == b"an echo\n"


def test_captured_output_has_the_name_of_who_printed_it(start: Callable[..., Server], site: Path) -> None:
    """What the import prints is the mold's, and goes to the error log too."""
    (site / "molded1.py").write_text(SITE + "\nprint('printed at the import')\n")
    settings = {"workers": {"preload": True}, "log": {"capture_output": True}}
    server = start("molded1:app", cwd=site, settings=settings)
    server.wait_workers(1)
    server.stop()
    assert server.log.count("printed at the import") == 1
