"""Reforking: a warm worker is made the mold of the others, and goes on serving."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import procfs
from tests.harness import Server, parse_response, processes_of_session, read_all, title_of, wait_until

SITE = """
import json, os, pathlib, time

HERE = pathlib.Path(__file__).parent
CACHE = []  # grows with each request: what a worker holds of it at its birth, it has from its mold

with (HERE / "imports").open("a") as file:
    file.write(f"{os.getpid()}\\n")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/stream":
        return stream()
    if path == "/upload":
        CACHE.append(len(environ["wsgi.input"].read()))
    CACHE.append(os.getpid())
    return [json.dumps({"pid": os.getpid(), "parent": os.getppid(), "cache": CACHE}).encode()]

def stream():
    try:
        yield b"begun"
        while not (HERE / "go").exists():
            yield b"."
            time.sleep(0.001)
    finally:
        with (HERE / "streams").open("a") as file:
            file.write(f"{os.getpid()}\\n")
"""
SAFE = ["sync", "async"]


@pytest.fixture(params=SAFE)
def safe_type(request: pytest.FixtureRequest) -> str:
    """Each worker type that can be forked while it serves."""
    name: str = request.param
    return name


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that has a cache."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "warm1.py").write_text(SITE)
    return directory


def settings_of(worker_type: str, **workers: object) -> dict[str, dict[str, object]]:
    """Return the settings of a server that preloads."""
    return {"workers": {"count": 2, "type": worker_type, "preload": True, "timeout": 12, **workers}}


def ask(server: Server, path: str = "/") -> dict:
    """Return what a worker says."""
    return json.loads(server.get(path).body)


def warm(server: Server, workers: list[int]) -> None:
    """Have each of ``workers`` answer some requests, while the others are stopped."""
    for pid in workers:
        others = [other for other in workers if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
            wait_until(lambda at=other: procfs.state(at) == "T", f"worker {other} is stopped")
        try:
            assert {ask(server)["pid"] for _ in range(10)} == {pid}
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)


def wait_mold(server: Server, serial: int) -> int:
    """Wait until the mold ``serial`` is the only one, and return its pid."""

    def found() -> int | None:
        molds = {pid: title_of(pid) for pid in processes_of_session(server.pid) if "pyfork: mold" in title_of(pid)}
        is_alone = len(molds) == 1 and f"pyfork: mold {serial} " in next(iter(molds.values()))
        return next(iter(molds)) if is_alone and "booting" not in next(iter(molds.values())) else None

    pid: int = wait_until(found, f"mold {serial} is the only one: {server.titles()}")
    return pid


def wait_replaced(server: Server, before: list[int]) -> list[int]:
    """Wait until none of the workers ``before`` is left, and as many serve; return their pids."""
    wait_until(lambda: not set(server.workers()) & set(before), f"all are replaced: {server.titles()}")
    return server.wait_workers(len(before))


# An operator's order.


def test_an_operator_has_a_warm_worker_made_the_mold(start: Callable[..., Server], site: Path, safe_type: str) -> None:
    """Its cache is then that of the others, which are replaced; nothing is imported again."""
    server = start("warm1:app", cwd=site, settings=settings_of(safe_type))
    before = server.wait_workers(2)
    first = wait_mold(server, 1)
    warm(server, before)
    server.signal("URG")
    mold = wait_mold(server, 2)
    after = wait_replaced(server, before)
    told = ask(server)
    assert told["pid"] in after
    assert told["parent"] == server.pid
    assert len(set(told["cache"][:-1]) & set(before)) == 1, "one of them was warm, and is what the others are made of"
    assert (site / "imports").read_text().split() == [str(first)]
    assert title_of(mold) == "pyfork: mold 2 gen 1 [warm1:app]"


def test_mold_and_workers_hold_what_the_first_ones_held(
    start: Callable[..., Server], site: Path, safe_type: str
) -> None:
    """A promoted mold closes all that the worker had; its workers' descriptors are of the same kinds and as many."""
    server = start("warm1:app", cwd=site, settings=settings_of(safe_type))
    before = server.wait_workers(2)
    first = wait_mold(server, 1)
    wait_until(lambda: procfs.state(first) == "S", "the mold has let go of the worker that it has forked last")
    expected_mold = procfs.descriptor_kinds(first)
    expected = [procfs.descriptor_kinds(pid) for pid in before]
    with contextlib.ExitStack() as stack:
        if safe_type == "async":
            for _ in range(20):
                stack.enter_context(server.connect()).sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-")
        ask(server)
        server.signal("URG")
        mold = wait_mold(server, 2)
        wait_until(
            lambda: procfs.descriptor_kinds(mold) == expected_mold,
            f"the mold has let go of all else: {procfs.descriptor_kinds(mold)}",
        )
    after = wait_replaced(server, before)
    assert [procfs.descriptor_kinds(pid) for pid in after] == expected


HOLES = """
import os

KEPT, HOLES = [], set()

def octets(count):
    return [bytes(2000) for _ in range(count)]  # each too small for a mapping of its own

def leave_holes():
    freed = octets(40_000)
    KEPT.extend(octets(1))  # above them, so that the heap does not shrink
    every_second = octets(2000)
    KEPT.extend(every_second[::2])
    HOLES.update(map(id, every_second[1::2]))

def app(environ, start_response):
    start_response("200 OK", [])
    inside = sum(id(each) in HOLES for each in octets(2000))
    leave_holes()
    return [f"{os.getpid()} {inside}".encode()]

leave_holes()
"""


def anonymous_kilobytes(pid: int) -> int:
    """Return how much of a process is memory that no file has, in kilobytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))


def test_what_is_free_in_a_mold_is_not_shared(start: Callable[..., Server], tmp_path: Path, safe_type: str) -> None:
    """Molds give back what the import and the worker have freed; what a worker allocates does not fill their holes."""
    (tmp_path / "holes1.py").write_text(HOLES)
    server = start("holes1:app", cwd=tmp_path, settings=settings_of(safe_type, count=1))
    before = server.wait_workers(1)
    assert anonymous_kilobytes(wait_mold(server, 1)) < 60_000
    assert server.get("/").body.decode() == f"{before[0]} 0"
    assert anonymous_kilobytes(before[0]) > 80_000, "a worker keeps its own holes"
    server.signal("URG")
    mold = wait_mold(server, 2)
    after = wait_replaced(server, before)
    for pid in (mold, *after):
        assert anonymous_kilobytes(pid) < 60_000


def test_the_promoted_worker_goes_on_serving(start: Callable[..., Server], site: Path) -> None:
    """Its connections stay its own: what was begun before the fork is finished by the same process, and once."""
    server = start("warm1:app", cwd=site, settings=settings_of("async", count=1, graceful_timeout=30))
    [before] = server.wait_workers(1)
    wait_mold(server, 1)
    with contextlib.closing(server.connect()) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabc")
        ask(server)
        server.signal("URG")
        server.wait_log(r"mold 2 gen 1 .* is ready")
        client.sendall(b"def")
        told = json.loads(parse_response(read_all(client))[0].body)
    assert told["pid"] == before
    assert 6 in told["cache"]
    wait_replaced(server, [before])


def test_a_response_under_way_is_waited_for(start: Callable[..., Server], site: Path) -> None:
    """No copy of it comes into the mold: its ``finally`` runs in the worker, and nowhere else."""
    server = start("warm1:app", cwd=site, settings=settings_of("async", count=1))
    [before] = server.wait_workers(1)
    wait_mold(server, 1)
    with contextlib.closing(server.connect()) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(100)
        server.signal("URG")
        server.wait_log(r"refork: worker 0 gen 1 .* is asked")
        assert ask(server)["pid"] == before
        assert "mold 2" not in server.log
        (site / "go").touch()
        assert b"begun" in read_all(client)
    wait_mold(server, 2)
    wait_replaced(server, [before])
    server.stop()
    assert (site / "streams").read_text().split() == [str(before)]


# By itself.


def test_ripe_workers_are_asked_in_steps(start: Callable[..., Server], site: Path, safe_type: str) -> None:
    """After 5 requests, then after 10 of a worker of the new mold; then no more."""
    server = start("warm1:app", cwd=site, settings=settings_of(safe_type, count=1, refork_after=[5, 10]))
    workers = server.wait_workers(1)
    for serial, requests in ((2, 5), (3, 10)):
        for _ in range(requests - 1):
            assert ask(server)["pid"] == workers[0]
        assert f"mold {serial} " not in server.log
        ask(server)
        wait_mold(server, serial)
        workers = wait_replaced(server, workers)
    cache = ask(server)["cache"]
    assert len(cache) == 16, "the requests of the two that were molds, and this"
    for _ in range(30):
        ask(server)
    assert server.workers() == workers


def test_the_last_step_repeats(start: Callable[..., Server], site: Path) -> None:
    """If the list ends with an ellipsis."""
    server = start("warm1:app", cwd=site, settings=settings_of("sync", count=1, refork_after=[3, "..."]))
    workers = server.wait_workers(1)
    for serial in (2, 3, 4):
        for _ in range(3):
            ask(server)
        wait_mold(server, serial)
        workers = wait_replaced(server, workers)


@pytest.mark.slow
def test_reforking_under_load_loses_nothing(start: Callable[..., Server], site: Path, safe_type: str) -> None:
    """While clients send all the time, five promotions and the replacements after them fail no request."""
    server = start("warm1:app", cwd=site, settings=settings_of(safe_type, refork_after=[40, "..."]))
    server.wait_workers(2)
    stop = threading.Event()
    failures: list[str] = []

    def load() -> None:
        while not stop.is_set():
            try:
                if server.get("/").status != 200:
                    failures.append("status")
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for serial in range(2, 7):
            server.wait_log(rf"mold ({serial}|[{serial}-9]|\d\d) gen 1 .* is ready")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures


# What goes wrong.


def test_a_promotion_that_fails_leaves_the_old_mold(start: Callable[..., Server], site: Path) -> None:
    """Killed at its birth, the new mold is missed by nobody: the workers are as they were, and new ones come too."""
    (site / "warm1.py").write_text(
        SITE + "\nimport atexit, gc, signal\n"
        "if not (HERE / 'once').exists():\n"
        "    gc.callbacks.append(lambda phase, info: os.getpid() != int((HERE / 'worker').read_text())\n"
        "        and (HERE / 'worker').exists() and os.kill(os.getpid(), signal.SIGKILL)\n"
        "        if (HERE / 'worker').exists() else None)\n"
    )
    server = start("warm1:app", cwd=site, settings=settings_of("sync", count=1))
    [worker] = server.wait_workers(1)
    first = wait_mold(server, 1)
    (site / "worker").write_text(str(worker))
    server.expect_errors("refork", "SIGKILL")
    server.signal("URG")
    server.wait_log(r"mold 2 gen 1 .*SIGKILL")
    (site / "worker").unlink()
    assert ask(server)["pid"] == worker
    assert wait_mold(server, 1) == first
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in server.workers() and server.workers(), "it is replaced")
    [after] = server.wait_workers(1)
    assert ask(server)["pid"] == after
    assert (site / "imports").read_text().split() == [str(first)]


def test_an_order_to_who_cannot_be_a_mold_is_refused(start: Callable[..., Server], site: Path) -> None:
    """URG without a mold, or to a type that cannot be forked while it serves, is a warning."""
    for settings in ({"workers": {"type": "sync"}}, {"workers": {"type": "threadpool", "preload": True}}):
        server = start("warm1:app", cwd=site, settings=settings)
        before = server.wait_workers(1)
        server.signal("URG")
        server.wait_log(r"\[WARNING\] \[arbiter\] refork: no worker can become a mold here")
        assert server.workers() == before
        server.stop()


def test_what_a_worker_forks_later_is_a_copy_of_it(start: Callable[..., Server], site: Path) -> None:
    """In a worker of a promoted mold: a process that the application forks holds no listener and answers nobody."""
    (site / "warm1.py").write_text(
        SITE
        + """
inner = app

def app(environ, start_response):
    if environ["PATH_INFO"] == "/fork" and os.fork() == 0:
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        sockets = [link for link in links if os.path.exists(link) and os.readlink(link).startswith("socket:")]
        (HERE / "copying").write_text(str(len(sockets)))
        (HERE / "copying").rename(HERE / "copy")
        os._exit(0)
    return inner(environ, start_response)
"""
    )
    counts = []
    server = start("warm1:app", cwd=site, settings=settings_of("sync", count=1))
    workers = server.wait_workers(1)
    for serial in (1, 2, 3):
        wait_mold(server, serial)
        assert server.get("/fork").status == 200
        wait_until((site / "copy").exists, "the copy has looked at its descriptors")
        counts.append((site / "copy").read_text())
        (site / "copy").unlink()
        server.signal("URG")
        wait_mold(server, serial + 1)
        workers = wait_replaced(server, workers)
    assert len(set(counts)) == 1, counts


def test_clients_see_their_connections_end(start: Callable[..., Server], site: Path) -> None:
    """No copy holds one open: a client that the worker closes sees that, though a mold was forked meanwhile."""
    server = start("warm1:app", cwd=site, settings={**settings_of("async", count=1), "http": {"keep_alive": 1}})
    [before] = server.wait_workers(1)
    wait_mold(server, 1)
    with contextlib.closing(server.connect()) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(65536)
        server.signal("URG")
        wait_mold(server, 2)
        assert client.recv(65536) == b""
    wait_replaced(server, [before])
