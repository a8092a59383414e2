"""The logs of a running server: what they say, where they go, and how they are opened anew."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests import procfs
from tests.harness import SAMPLES, Server, wait_until

COMBINED = re.compile(
    r'127\.0\.0\.1 - (?P<user>\S+) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}\] "(?P<line>[^"]*)" (?P<status>\d{3})'
    r' (?P<octets>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
ERROR_LINE = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [-+]\d{4}\] \[\d+\] \[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\]"
    r" \[(arbiter|worker \d+ gen \d+)\] .*"
)

STALL = re.compile(r"\[WARNING\] \[arbiter\] the arbiter did not run for ")
"""What a machine that stands still for a second has an arbiter say."""


def lines_of(path: Path, count: int) -> list[str]:
    """Wait for ``count`` lines in a file and return them."""
    return wait_until(
        lambda: text.splitlines() if path.exists() and (text := path.read_text()).count("\n") >= count else None,
        f"{count} lines in {path.name}",
    )


def test_each_line_of_the_error_log_says_when_which_process_and_who(start: Callable[..., Server]) -> None:
    """Further lines of an entry are indented, so the first column is enough to find entries."""
    server = start("faults:app", settings={"log": {"level": "debug"}})
    server.expect_errors(r"\[ERROR\]")
    server.get("/raise/before")
    server.wait_log("DeliberateError")
    server.stop()
    for line in server.log.splitlines():
        assert line.startswith("  ") or ERROR_LINE.fullmatch(line), line
    assert re.search(r"\[ERROR\] \[worker 0 gen 1\]", server.log)
    assert re.search(r"\[DEBUG\]", server.log)


def test_the_level_is_obeyed(start: Callable[..., Server]) -> None:
    """At "warning", an ordinary life leaves no line."""
    server = start("hello:app", settings={"log": {"level": "warning"}})
    assert server.get("/").status == 200
    server.stop()
    assert [line for line in server.log.splitlines() if not STALL.search(line)] == []


def test_there_is_no_access_log_unless_asked_for(start: Callable[..., Server]) -> None:
    """As with gunicorn."""
    server = start("hello:app")
    server.get("/needle")
    server.stop()
    assert "needle" not in server.log + server.output


def test_dash_is_standard_output(start: Callable[..., Server]) -> None:
    """The error log's dash is standard error; both are the container's."""
    server = start("hello:app", settings={"log": {"access": "-"}})
    server.get("/needle")
    wait_until(lambda: "needle" in server.output, "the line on standard output")
    assert COMBINED.fullmatch(server.output.strip())


def test_a_combined_line_is_apaches(start: Callable[..., Server], tmp_path: Path) -> None:
    """Fields in their places, with what the client sent."""
    server = start("hello:app", settings={"log": {"access": str(tmp_path / "access.log")}})
    server.get(
        "/a?b=c", headers="User-Agent: test/1\r\nReferer: http://x/\r\nAuthorization: Basic Z3JhY2U6aG9wcGVy\r\n"
    )
    server.get("/", method="HEAD")
    first, second = lines_of(tmp_path / "access.log", 2)
    assert COMBINED.fullmatch(first).groupdict() == {
        "user": "grace",
        "line": "GET /a?b=c HTTP/1.1",
        "status": "200",
        "octets": "14",
        "referer": "http://x/",
        "agent": "test/1",
    }
    assert COMBINED.fullmatch(second)["octets"] == "-"


def test_no_request_can_forge_a_line(start: Callable[..., Server], tmp_path: Path) -> None:
    """Quotes, octets beyond ASCII, encoded line ends, a user of several words: one line for each request."""
    server = start("hello:app", settings={"log": {"access": str(tmp_path / "access.log")}})
    forged = b'" 200 1 "-" "-"\t\xe2\x80\xa8\x85127.0.0.1 - - [20/Nov/2026:18:55:00 +0000] "GET /forged HTTP/1.1'
    head = b'GET /%0A%0Dx"y HTTP/1.1\r\nHost: x\r\nUser-Agent: ' + forged + b"\r\nReferer: \\\r\n"
    server.exchange(head + b"Authorization: Basic ICJbIF0=\r\nConnection: close\r\n\r\n")
    server.get("/last")
    lines = lines_of(tmp_path / "access.log", 2)
    assert len(lines) == 2
    for line in lines:
        assert COMBINED.fullmatch(line), line
    assert COMBINED.fullmatch(lines[-1])["line"].startswith("GET /last ")


def test_a_refused_request_is_logged_too(start: Callable[..., Server], tmp_path: Path) -> None:
    """Whoever looks for an attack looks here."""
    server = start("hello:app", settings={"log": {"access": str(tmp_path / "access.log")}})
    server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    (line,) = lines_of(tmp_path / "access.log", 1)
    assert COMBINED.fullmatch(line)["status"] == "400"


def test_json_lines_are_json(start: Callable[..., Server], tmp_path: Path) -> None:
    """An object a line, whatever the client sends."""
    server = start("hello:app", settings={"log": {"access": str(tmp_path / "access.log"), "format": "json"}})
    began = monotonic()
    server.get("/caf%C3%A9?x", headers='User-Agent: "\xe9\\\r\n')
    (line,) = lines_of(tmp_path / "access.log", 1)
    took = monotonic() - began
    entry = json.loads(line)
    assert line.isascii()
    assert (entry["method"], entry["target"], entry["status"], entry["octets"]) == ("GET", "/caf%C3%A9?x", 200, 14)
    assert entry["user_agent"] == '"\xe9\\'
    assert 0 < entry["duration"] < took


def test_atoms_are_gunicorns(start: Callable[..., Server], tmp_path: Path) -> None:
    """With headers of the request and the response, and variables of the environ."""
    text = "%(h)s %(m)s %(U)s %(s)s %(B)d %({x-id}i)s %({content-type}o)s %({wsgi.url_scheme}e)s %(p)s %(L)s"
    server = start("hello:app", settings={"log": {"access": str(tmp_path / "access.log"), "format": text}})
    server.get("/path", headers="X-Id: 42\r\n")
    (line,) = lines_of(tmp_path / "access.log", 1)
    pattern = r"127\.0\.0\.1 GET /path 200 14 42 text/plain; charset=utf-8 http <(\d+)> \d+\.\d{6}"
    assert int(re.fullmatch(pattern, line)[1]) in server.workers()


def run_pyfork(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "pyfork", "-b", "127.0.0.1:0", *arguments, "hello:app"],
        cwd=SAMPLES, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--access-logformat", "%(h)s %(x)s"], "unknown atom '%(x)s'"),
        (["--log-file", "/nonexistent/dir/error.log"], "log.error: cannot open"),
        (["--access-logfile", "/"], "log.access: cannot open"),
        (["--log-config", "/nonexistent.ini"], "log.config: cannot read"),
        (["--log-level", "loud"], "loud"),
    ],
)
def test_impossible_logs_are_a_configuration_error(arguments: list[str], told: str) -> None:
    """Exit status 2, nothing started."""
    result = run_pyfork(*arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_all_that_is_wrong_with_the_logs_is_told_at_once() -> None:
    """Not one error a start."""
    result = run_pyfork("--access-logfile", "/", "--access-logformat", "%(x)s %(y)s", "--log-file", "/no/such/dir/e")
    assert result.returncode == 2
    assert len(re.findall(r"^pyfork: error: log\.", result.stderr, re.MULTILINE)) == 4


@pytest.mark.parametrize("name", ["USR1", "HUP"])
def test_rotated_logs_are_opened_anew(start: Callable[..., Server], tmp_path: Path, name: str) -> None:
    """By the arbiter and by every worker; not a line is lost, and none goes to the old file afterwards."""
    access = tmp_path / "access.log"
    server = start("hello:app", settings={"log": {"access": str(access)}, "workers": {"count": 3}})
    old_workers = server.wait_workers(3)
    for _ in range(6):
        server.get("/before")
    lines_of(access, 6)
    old_access, old_error = access.rename(tmp_path / "access.log.1"), server.log_path.with_suffix(".1")
    server.log_path.rename(old_error)
    server.signal(name)

    def is_reopened() -> bool:
        holders = [server.pid, *server.workers()]
        links = {link for pid in holders for link in procfs.descriptors(pid).values()}
        return str(access) in links and str(old_access) not in links and str(old_error) not in links

    wait_until(is_reopened, "every process has opened its logs anew")
    for _ in range(12):
        assert server.get("/after").status == 200
    assert len(lines_of(access, 12)) == 12
    assert all("GET /before " in line for line in old_access.read_text().splitlines())
    new_workers = server.wait_workers(3, 1 if name == "USR1" else 2)
    assert (set(new_workers) == set(old_workers)) == (name == "USR1")
    server.stop()
    assert "stopped" in server.log


@pytest.mark.parametrize("is_preloaded", [False, True])
def test_stacks_go_to_the_log_that_was_opened_anew(
    start: Callable[..., Server], tmp_path: Path, is_preloaded: bool
) -> None:
    """faulthandler has been given the number of the descriptor, which stays."""
    server = start("hello:app", settings={"workers": {"preload": is_preloaded}})
    [pid] = server.wait_workers(1)
    old = server.log_path.rename(tmp_path / "error.log.1")
    server.signal("USR1")

    def has_moved() -> bool:
        links = procfs.descriptors(pid).values()
        return str(server.log_path) in links and str(old) not in links

    wait_until(has_moved, "the worker has opened its log anew")
    os.kill(pid, signal.SIGURG)
    server.wait_log("most recent call first")
    assert "most recent call first" not in old.read_text()


def test_a_log_that_cannot_be_reopened_goes_on_in_the_old_file(start: Callable[..., Server], tmp_path: Path) -> None:
    """And says so there."""
    server = start("hello:app")
    server.expect_errors("cannot reopen")
    server.wait_workers(1)
    old = server.log_path.rename(tmp_path / "moved.log")
    server.log_path.mkdir()
    server.signal("USR1")
    wait_until(lambda: old.read_text().count("cannot reopen the log") == 2, "arbiter and worker have told")
    assert server.get("/").status == 200
    server.log_path.rmdir()


def test_a_reload_may_name_other_logs(start: Callable[..., Server], tmp_path: Path) -> None:
    """The arbiter and the new workers write there from then on; a reload that names impossible ones changes nothing."""
    server = start("hello:app")
    server.expect_errors("cannot open")
    server.wait_workers(1, generation=1)
    server.configure({"log": {"access": str(tmp_path / "no" / "dir")}})
    server.signal("HUP")
    server.wait_log("log.access: cannot open")
    assert server.get("/").status == 200
    server.configure({"log": {"error": str(tmp_path / "new.log"), "access": str(tmp_path / "access.log")}})
    server.signal("HUP")
    wait_until((tmp_path / "new.log").exists, "the new error log")
    server.log_path = tmp_path / "new.log"
    server.wait_workers(1)
    wait_until(lambda: all("gen 1 " not in title for title in server.titles()), "the old generation is gone")
    server.get("/needle")
    assert "needle" in lines_of(tmp_path / "access.log", 1)[0]
    server.stop()
    assert "stopped" in server.log


INI = """
[loggers]
keys = root, error, access
[handlers]
keys = error, access
[formatters]
keys = plain
[logger_root]
handlers =
[logger_error]
level = INFO
handlers = error
propagate = 0
qualname = pyfork.error
[logger_access]
level = INFO
handlers = access
propagate = 0
qualname = pyfork.access
[handler_error]
class = FileHandler
formatter = plain
args = ('%(here)s/custom-error.log',)
[handler_access]
class = FileHandler
formatter = plain
args = ('%(here)s/custom-access.log',)
[formatter_plain]
format = CUSTOM %(process)d %(message)s
"""


def dictionary(directory: Path) -> str:
    """Return what INI says, for dictConfig."""
    handlers = {
        name: {"class": "logging.FileHandler", "formatter": "plain", "filename": str(directory / f"custom-{name}.log")}
        for name in ("error", "access")
    }
    loggers = {f"pyfork.{name}": {"level": "INFO", "handlers": [name], "propagate": False} for name in handlers}
    formatters = {"plain": {"format": "CUSTOM %(process)d %(message)s"}}
    return json.dumps({"version": 1, "handlers": handlers, "loggers": loggers, "formatters": formatters})


@pytest.mark.parametrize("suffix", ["ini", "json"])
def test_log_config_takes_over(start: Callable[..., Server], tmp_path: Path, suffix: str) -> None:
    """Handlers and formats are the standard library's from then on; USR1 reopens their files as well."""
    path = tmp_path / f"logging.{suffix}"
    path.write_text(INI if suffix == "ini" else dictionary(tmp_path))
    server = start("hello:app", settings={"log": {"config": str(path), "format": "%(m)s %(U)s"}})
    server.get("/needle")
    (line,) = lines_of(tmp_path / "custom-access.log", 1)
    assert re.fullmatch(r"CUSTOM \d+ GET /needle", line)
    wait_until(lambda: "is ready" in (tmp_path / "custom-error.log").read_text(), "a line of the error log")
    assert server.log == ""
    (tmp_path / "custom-access.log").rename(tmp_path / "old.log")
    server.signal("USR1")
    new = tmp_path / "custom-access.log"
    wait_until(
        lambda: server.get("/again").status == 200 and new.exists() and new.read_text(), "a line in the new file"
    )
    assert new.read_text().splitlines()[0].endswith("GET /again")


APPLICATION = """
import logging, logging.config
logging.config.dictConfig({{
    "version": 1,
    "disable_existing_loggers": True,
    "handlers": {{"own": {{"class": "logging.FileHandler", "filename": {path!r}}}}},
    "loggers": {{"pyfork.access": {{"handlers": ["own"], "level": "INFO"}}}} if {wants_access} else {{}},
    "root": {{"handlers": ["own"], "level": "INFO"}},
}})
def app(environ, start_response):
    logging.getLogger("own").info("called")
    start_response("200 OK", [])
    raise RuntimeError("for the error log")
"""


@pytest.mark.parametrize("wants_access", [True, False])
def test_an_application_configures_its_own_logging(
    start: Callable[..., Server], tmp_path: Path, wants_access: bool
) -> None:
    """Its dictConfig neither silences the error log nor doubles its lines; it may take the access log."""
    path = tmp_path / "own.log"
    (tmp_path / "own_site.py").write_text(APPLICATION.format(path=str(path), wants_access=wants_access))
    server = start("own_site:app", cwd=tmp_path)
    server.expect_errors("RuntimeError")
    assert server.get("/needle").status == 500
    server.wait_log("RuntimeError: for the error log")
    assert "RuntimeError" not in path.read_text()
    wait_until(lambda: "called" in path.read_text(), "the application's own line")
    if wants_access:
        wait_until(lambda: '"GET /needle HTTP/1.1" 500' in path.read_text(), "the line of the access log")
    assert "needle HTTP" not in server.log


def test_a_full_disk_harms_nobody(start: Callable[..., Server]) -> None:
    """Lines are lost, requests are not."""
    server = start("faults:app", settings={"log": {"access": "/dev/full", "error": "/dev/full"}})
    assert server.get("/").status == 200
    assert server.get("/raise/before").status == 500
    assert server.get("/").status == 200


def test_a_reader_that_has_gone_harms_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    """A FIFO whose reader ended: EPIPE instead of a line, and no SIGPIPE."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    server = start("hello:app", settings={"log": {"access": str(fifo)}})
    server.expect_errors("cannot write the log .*: Broken pipe")
    server.get("/")
    os.close(reader)
    for _ in range(3):
        assert server.get("/").status == 200


def test_a_unix_sockets_client_has_a_dash_for_its_address(start: Callable[..., Server], tmp_path: Path) -> None:
    """An empty field would shift the others."""
    path = tmp_path / "s"
    server = start("hello:app", bind=[f"unix:{path}"], settings={"log": {"access": "-", "format": "common"}})
    server.wait_workers(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: server.output.startswith("- - - ["), "the line")


WAITING = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        with open({fifo!r}) as fifo:
            fifo.read()
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def open_if_read(fifo: Path) -> int | None:
    """Return a descriptor to write to it, as soon as somebody reads it."""
    with contextlib.suppress(OSError):
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    return None


@pytest.mark.parametrize("ending", ["TERM", "QUIT"])
@pytest.mark.parametrize("kind", ["sync", "async", "threadpool"])
def test_no_line_waits_for_anothers_application(
    start: Callable[..., Server], tmp_path: Path, kind: str, ending: str
) -> None:
    """Lines may be written together, but not later: if the worker hangs or is killed, it is the last that matter."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "waiting.py").write_text(WAITING.format(fifo=str(tmp_path / "fifo")))
    access = tmp_path / "access.log"
    workers = {"type": kind, "threads": 2 if kind == "threadpool" else 1}
    server = start("waiting:app", cwd=tmp_path, settings={"log": {"access": str(access)}, "workers": workers})
    quick = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(5)]
        for client in clients:
            client.sendall(quick)
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        last = stack.enter_context(server.connect())
        before = b"" if kind == "sync" else quick  # in the same turn of the loop
        last.sendall(before + quick.replace(b"quick", b"wait"))
        fifo = wait_until(lambda: open_if_read(tmp_path / "fifo"), "the application has the last request")
        try:
            count = 6 if before else 5
            assert len(lines_of(access, count)) == count
        finally:
            os.close(fifo)
        assert "/wait" in lines_of(access, count + 1)[-1]
    server.signal(ending)
    assert server.wait() == 0
    assert len(access.read_text().splitlines()) == count + 1


@pytest.mark.parametrize("kind", ["sync", "async", "threadpool"])
def test_a_full_disk_is_told_and_harms_nobody(start: Callable[..., Server], kind: str) -> None:
    """Lines are lost, and the error log says so, once a minute and not for each."""
    settings = {"log": {"access": "/dev/full"}, "workers": {"type": kind}}
    server = start("hello:app", settings=settings)
    server.expect_errors("cannot write the log")
    for _ in range(5):
        assert server.get("/").status == 200
    server.wait_log("cannot write the log '/dev/full': No space left on device; lines lost: 1")
    server.stop()
    assert server.log.count("cannot write the log") == 1
