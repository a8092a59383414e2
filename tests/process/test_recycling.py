"""Workers that have served for long enough are replaced, and nobody notices."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import WORKER_TYPES
from tests.harness import Response, Server, parse_response, wait_until

SITE = """
import os
from pyfork.workers import wear
wear.SAMPLE_INTERVAL = 0.1  # the test does not wait for 5 s; that they are 5 is the unit test's
KEPT = []
def app(environ, start_response):
    if environ["PATH_INFO"] == "/eat":
        KEPT.append(b"x" * (96 * 2**20))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(str(os.getpid()))))])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that tells its worker's pid, and can grow."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(SITE)
    return directory


def visit_on_and_on(server: Server, enough: threading.Event, answers: list[bytes | Exception]) -> None:
    """Send requests, one connection each, until it is enough; note who answered, or what went wrong."""
    while not enough.is_set():
        try:
            response = server.get("/")
            assert response.status == 200
            answers.append(response.body)
        except (OSError, AssertionError) as error:
            answers.append(error)


def wait_replaced(server: Server, before: list[int]) -> list[int]:
    """Wait until as many workers serve as before, none of them an old one."""

    def replaced() -> list[int] | None:
        after = server.wait_workers(len(before))
        return None if set(before) & set(after) else after

    found: list[int] = wait_until(replaced, f"{before} are replaced: {server.titles()}")
    return found


@pytest.mark.slow
def test_no_request_is_lost_while_workers_are_recycled(
    start: Callable[..., Server], site: Path, worker_type: str
) -> None:
    """Every few requests, under load from several clients, in every worker type; the log says why."""
    limits = {"type": worker_type, "count": 2, "max_requests": 5, "max_requests_jitter": 3}
    server = start("site1:app", cwd=site, settings={"workers": limits})
    server.wait_workers(2)
    answers: list[bytes | Exception] = []
    enough = threading.Event()
    clients = [threading.Thread(target=visit_on_and_on, args=(server, enough, answers)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len({*map(str, answers)}) >= 8, "eight workers have answered")
    finally:
        enough.set()
        for client in clients:
            client.join()
    assert [answer for answer in answers if not isinstance(answer, bytes)] == []
    server.wait_log(
        r"worker \d gen 1 \(pid \d+\) is to be replaced: "
        r"it has served \d+ requests? \(workers\.max_requests is 5, with jitter [5-8]\)",
        count=6,
    )
    server.wait_workers(2)


@pytest.mark.parametrize("worker_type", [name for name in WORKER_TYPES if name != "sync"])  # sync keeps none
def test_kept_connection_is_not_cut_by_recycling(start: Callable[..., Server], site: Path, worker_type: str) -> None:
    """Its worker answers the request that is due, says that it closes, and the next connection gets another worker."""
    settings = {
        "workers": {"type": worker_type, "max_requests": 3},
        "http": {"keep_alive": 60, "header_timeout": 60},
    }
    server = start("site1:app", cwd=site, settings=settings)
    [before] = server.wait_workers(1)
    answers: list[Response] = []
    with server.connect() as connection:

        def says_close() -> bool:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(parse_response(connection.recv(65536))[0])
            assert answers[-1].body == str(before).encode()
            return answers[-1].header("Connection") == "close"

        wait_until(says_close, "its worker has been replaced")
        assert len(answers) >= 3
        assert connection.recv(1) == b""
    assert server.get("/").body != str(before).encode()


def test_worker_that_serves_one_request_each(start: Callable[..., Server], site: Path) -> None:
    """The smallest limit: each worker is replaced after its first request, and none is missing."""
    server = start("site1:app", cwd=site, settings={"workers": {"max_requests": 1}})
    [before] = server.wait_workers(1)
    assert server.get("/").body == str(before).encode()
    server.wait_log(r"it has served 1 request \(workers\.max_requests is 1\)")
    [after] = wait_replaced(server, [before])
    assert server.get("/").body == str(after).encode()
    server.wait_log(r"it has served 1 request ", count=2)


def test_worker_ends_after_its_lifetime(start: Callable[..., Server], site: Path, worker_type: str) -> None:
    """Idle or not; the moment is its own, not the next beat's."""
    server = start("site1:app", cwd=site, settings={"workers": {"type": worker_type, "max_lifetime": 0.5}})
    before = server.wait_workers(1)
    server.wait_log(r"is to be replaced: it has served for 0\.\d s \(workers\.max_lifetime is 0\.5 s\)")
    wait_until(lambda: before[0] not in server.workers(), "the worker has gone")
    assert server.get("/").status == 200


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["pss", "rss"])
def test_worker_that_has_grown_is_replaced(
    start: Callable[..., Server], site: Path, worker_type: str, measure: str
) -> None:
    """The figure and the limit are in the log; the new one is as small as any."""
    limits = {"type": worker_type, "max_memory": "80M", "memory_measure": measure, "timeout": 8}  # a beat every 2 s
    server = start("site1:app", cwd=site, settings={"workers": limits})
    [before] = server.wait_workers(1)
    assert server.get("/eat").status == 200
    found = server.wait_log(
        rf"is to be replaced: it uses (\d+\.\d) MB of memory \({measure.upper()}\), workers\.max_memory is 80 MB"
    )
    assert 96 < float(found[1]) < 200
    wait_replaced(server, [before])
    assert server.get("/").status == 200
    assert len(re.findall("is to be replaced", server.log)) == 1


def test_psutil_is_only_there_for_a_memory_limit(start: Callable[..., Server], site: Path) -> None:
    """A worker without one does not pay for it; the arbiter never does."""
    server = start("site1:app", cwd=site, settings={"workers": {"max_requests": 1000}})
    [worker] = server.wait_workers(1)
    assert "psutil" not in Path(f"/proc/{worker}/maps").read_text()
    server.configure({"workers": {"max_memory": "1G"}})
    server.signal("HUP")
    [worker] = server.wait_workers(1, generation=2)
    assert "psutil" in Path(f"/proc/{worker}/maps").read_text()
    assert "psutil" not in Path(f"/proc/{server.pid}/maps").read_text()
    assert os.path.exists(f"/proc/{worker}")
