"""development.reload with real files: what is saved serves, and what does not import says why, on the page as well."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import procfs
from tests.harness import Response, Server, processes_of_session, title_of, wait_until

GOOD = """
def app(environ, start_response):
    kind = "text/plain" if environ["PATH_INFO"] == "/plain" else "text/html"
    start_response("200 OK", [("Content-Type", kind)])
    return [b"<html><body>{label}</body></html>"]
"""
BROKEN = {
    "is no Python": ("def broken(:\n", "SyntaxError"),
    "misses a name": ("nowhere_to_be_found\n", "NameError"),
    "misses a module": ("import does_not_exist_xyz\n", "ModuleNotFoundError"),
    "exits": ("raise SystemExit(3)\n", "sys.exit(3)"),
    "has no app": ("x = 1\n", "has no attribute"),
}
SETTINGS = {"development": {"reload": True}, "workers": {"count": 1}}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that can be changed."""
    directory = tmp_path / "site"
    directory.mkdir()
    save(directory / "site1.py", GOOD.format(label="one"))
    return directory


@pytest.fixture
def develop(start: Callable[..., Server], site: Path) -> Callable[..., Server]:
    """Start a server that watches already."""

    def start_watching(**settings: Any) -> Server:
        merged = {table: {**SETTINGS.get(table, {}), **settings.get(table, {})} for table in {*SETTINGS, *settings}}
        server = start("site1:app", cwd=site, settings=merged)
        server.log_path = Path(server.tables["log"]["error"])
        server.wait_log(r"\[watcher\] watching ")
        return server

    return start_watching


def save(path: Path, text: str) -> None:
    """Write a file as editors do, by another in its place: nobody reads half of it."""
    new = path.parent / f"{path.name}.tmp"
    new.write_text(text)
    new.replace(path)


def wait_page(server: Server, part: str, path: str = "/") -> Response:
    """Wait until a page has ``part``."""

    def found() -> Response | None:
        response = server.get(path)
        return response if part in response.body.decode() else None

    response: Response = wait_until(found, f"a page with {part!r}")
    return response


def watcher_of(server: Server) -> int:
    """Wait for the watcher and return its pid."""
    pids: list[int] = wait_until(
        lambda: [pid for pid in processes_of_session(server.pid) if title_of(pid).startswith("pyfork: watcher")],
        "a watcher",
    )
    return pids[0]


def test_a_save_reloads(develop: Callable[..., Server], site: Path, worker_type: str) -> None:
    """In each type, again and again, also two of the same length within a second; the log names the file."""
    server = develop(workers={"type": worker_type})
    for label in ("two", "six", "ten"):
        save(site / "site1.py", GOOD.format(label=label))
        response = wait_page(server, label)
        assert response.header("X-Pyfork-Reload-Error") is None
    server.wait_log(r"\[arbiter\] site1\.py has changed: reload")


@pytest.mark.parametrize("fault", BROKEN)
def test_what_does_not_import_is_shown_on_the_last_good_page(
    develop: Callable[..., Server], site: Path, fault: str
) -> None:
    """The page is served on, with the error; the log has it; saved again, the site recovers and shows nothing."""
    server = develop()
    server.expect_errors(r"\[ERROR\]")
    text, error = BROKEN[fault]
    save(site / "site1.py", text)
    response = wait_page(server, 'id="pyfork-reload-error"')
    body = response.body.decode()
    assert response.status == 200
    assert body.startswith("<html><body>one<div")
    assert error in body.replace("&#39;", "'")
    assert error in server.log
    plain = server.get("/plain")
    assert plain.body == b"<html><body>one</body></html>"
    assert "could not boot" in (plain.header("X-Pyfork-Reload-Error") or "")
    assert server.get("/", method="HEAD").body == b""
    save(site / "site1.py", GOOD.format(label="mended"))
    assert wait_page(server, "mended").body == b"<html><body>mended</body></html>"


@pytest.mark.parametrize("fault", BROKEN)
def test_the_first_start_survives_what_does_not_import(develop: Callable[..., Server], site: Path, fault: str) -> None:
    """An error page with status 500 is served; what is saved next takes its place, broken still or mended."""
    text, error = BROKEN[fault]
    save(site / "site1.py", text)
    server = develop(workers={"count": 2})
    server.expect_errors(r"\[ERROR\]")
    response = server.get("/anything")
    assert response.status == 500
    assert response.header("Content-Type") == "text/html; charset=utf-8"
    assert error in response.body.decode().replace("&#39;", "'")
    server.wait_log("an error page is served until a saved file mends it")
    save(site / "site1.py", "raise ValueError('still <broken>')\n")
    response = wait_page(server, "still &lt;broken&gt;")
    assert response.status == 500
    save(site / "site1.py", GOOD.format(label="mended"))
    wait_page(server, "mended")
    server.wait_workers(2)


def test_a_worker_that_is_lost_while_the_newest_version_is_broken(develop: Callable[..., Server], site: Path) -> None:
    """Its replacement finds broken files only: it shows the error, and does not leave the place empty."""
    server = develop()
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    [pid] = server.wait_workers(1, 1)
    save(site / "site1.py", "def broken(:\n")
    wait_page(server, "SyntaxError")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.get("/").status == 500, "the error page")
    save(site / "site1.py", GOOD.format(label="mended"))
    wait_page(server, "mended")


@pytest.mark.parametrize("fault", ["is no Python", "exits"])
def test_with_preload_it_is_the_mold_that_fails(develop: Callable[..., Server], site: Path, fault: str) -> None:
    """First start, broken save and recovery as without; a worker that is lost comes from the mold of the good one."""
    text, error = BROKEN[fault]
    save(site / "site1.py", text)
    server = develop(workers={"preload": True})
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    assert server.get("/").status == 500
    save(site / "site1.py", GOOD.format(label="mended"))
    wait_page(server, "mended")
    [pid] = server.wait_workers(1)
    save(site / "site1.py", text)
    assert error in wait_page(server, 'id="pyfork-reload-error"').body.decode().replace("&#39;", "'")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.workers() not in ([pid], []), "another worker")
    wait_page(server, "mended<div")
    save(site / "site1.py", GOOD.format(label="again"))
    assert wait_page(server, "again").body == b"<html><body>again</body></html>"


HOOKED = """
def warm(number, generation, pid):
    open("warmed", "a").close()
"""
HOOKS = ["worker_ready", "post_fork", "before_mold_freeze"]


@pytest.mark.parametrize("is_preloaded", [False, True])
@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_of_the_broken_file_do_not_end_the_start(
    develop: Callable[..., Server], site: Path, hook: str, is_preloaded: bool
) -> None:
    """The page stands in for them too; the first version that can be imported has them called."""
    save(site / "site1.py", "def broken(:\n")
    server = develop(hooks={hook: "site1:warm"}, workers={"preload": is_preloaded})
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    response = server.get("/")
    assert response.status == 500
    assert b"SyntaxError" in response.body
    save(site / "site1.py", GOOD.format(label="mended") + HOOKED)
    wait_page(server, "mended")
    if is_preloaded or hook != "before_mold_freeze":
        wait_until((site / "warmed").exists, "the hook is called")


@pytest.mark.parametrize("hook", ["worker_ready", "post_fork"])
def test_a_worker_is_replaced_when_the_file_of_its_hooks_is_broken(
    develop: Callable[..., Server], site: Path, hook: str
) -> None:
    """By one that shows the error: the place is not left empty."""
    save(site / "site1.py", GOOD.format(label="one") + HOOKED)
    server = develop(hooks={hook: "site1:warm"})
    server.expect_errors(r"\[ERROR\]", "SIGKILL")
    [pid] = server.wait_workers(1, 1)
    save(site / "site1.py", "def broken(:\n")
    wait_page(server, "SyntaxError")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: server.get("/").status == 500, "the error page")
    save(site / "site1.py", GOOD.format(label="mended") + HOOKED)
    wait_page(server, "mended")


def test_a_broken_configuration_is_shown_too(develop: Callable[..., Server], site: Path) -> None:
    """server.toml is watched wherever it is, and its mistakes are told as the application's are."""
    server = develop()
    server.expect_errors(r"\[ERROR\]")
    good = server.config_path.read_text()
    save(server.config_path, good + "\n[nonsense]\nx = 1\n")
    assert "nonsense" in wait_page(server, 'id="pyfork-reload-error"').body.decode()
    save(server.config_path, good.replace("count = 1", "count = 2"))
    server.wait_log("generation 3 has replaced the others")
    server.wait_workers(2, 3)
    assert server.get("/").body == b"<html><body>one</body></html>"


def test_more_can_be_watched(develop: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """A directory, a file, and from the next reload on what server.toml names then."""
    (site / "templates").mkdir()
    (tmp_path / "data.json").write_text("1")
    (tmp_path / "later").mkdir()
    watch = ["templates", str(tmp_path / "data.json")]
    server = develop(development={"watch": watch})
    save(site / "templates" / "page.html", "x")
    server.wait_log(r"templates/page\.html has changed: reload")
    server.wait_log("generation 2 has replaced the others")
    save(tmp_path / "data.json", "12")
    server.wait_log(r"data\.json has changed: reload")
    server.wait_log("generation 3 has replaced the others")
    server.configure({"development": {"watch": [*watch, str(tmp_path / "later")]}})
    server.wait_log(rf"\[watcher\] watching .*{tmp_path}/later")
    (tmp_path / "later" / "file").write_text("x")
    server.wait_log(r"later/file has changed: reload")


def test_an_error_log_in_a_watched_directory_makes_no_loop(develop: Callable[..., Server], site: Path) -> None:
    """Each reload writes to it, and none of them asks for the next; nor when server.toml has just named it."""
    server = develop(development={"watch": ["."]}, log={"error": str(site / "error.log"), "access": "access.log"})
    for label in ("two", "three"):
        server.get("/")
        save(site / "site1.py", GOOD.format(label=label))
        wait_page(server, label)
    server.wait_log("generation 3 has replaced the others")
    server.log_path = site / "other.log"
    server.configure({"log": {"error": str(server.log_path)}})
    server.wait_log(r"\[watcher\] watching")
    (site / "end").touch()
    server.wait_log(r"end has changed: reload")
    log = (site / "error.log").read_text() + server.log
    changed = [line.rpartition("] ")[2] for line in log.splitlines() if "changed: reload" in line]
    assert changed[:2] == ["site1.py has changed: reload"] * 2
    assert not [line for line in changed if ".log" in line]


def test_the_watcher_is_started_again(develop: Callable[..., Server], site: Path) -> None:
    """After a pause; meanwhile the site is served, and the log says what is amiss."""
    server = develop()
    os.kill(watcher_of(server), signal.SIGTERM)
    server.wait_log(r"\[WARNING\].*the watcher \(pid \d+\) was ended by signal 15: changes are not seen, HUP reloads")
    assert server.get("/").status == 200
    server.wait_log(r"\[watcher\] watching ", count=2)
    save(site / "site1.py", GOOD.format(label="two"))
    wait_page(server, "two")


def test_a_watcher_that_cannot_watch_says_why(start: Callable[..., Server], site: Path) -> None:
    """It is tried again with growing pauses, and the site is served."""
    (site / "broken").mkdir()
    (site / "broken" / "watchfiles.py").write_text("raise ImportError('of the wrong architecture')\n")
    server = start("site1:app", cwd=site, settings=SETTINGS, environ={"PYTHONPATH": f"{site}/broken"})
    server.expect_errors("cannot watch files")
    server.wait_log(r"\[watcher\] cannot watch files: of the wrong architecture")
    server.wait_log(r"the watcher \(pid \d+\) exited with status 1: .*the next try is in", count=2)
    assert server.get("/").status == 200


def test_the_watcher_is_confined_as_the_workers_are(develop: Callable[..., Server]) -> None:
    """It reads what the workers' user has written."""
    server = develop(server={"umask": "0o027", "no_new_privileges": True})
    status = Path(f"/proc/{watcher_of(server)}/status").read_text()
    assert "Umask:\t0027\n" in status
    assert "NoNewPrivs:\t1\n" in status


def test_the_watcher_dies_with_the_arbiter(develop: Callable[..., Server]) -> None:
    """However the arbiter dies."""
    server = develop()
    watcher = watcher_of(server)
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not title_of(watcher), "the watcher has ended")
    wait_until(lambda: not processes_of_session(server.pid), "all have ended")


def test_a_stop_leaves_no_watcher(develop: Callable[..., Server]) -> None:
    """Not even for a moment after the arbiter's end."""
    server = develop()
    watcher = watcher_of(server)
    assert server.stop() == 0
    assert title_of(watcher) == ""


def test_the_watcher_has_no_sockets(start: Callable[..., Server], site: Path) -> None:
    """It would keep the addresses in use."""
    server = start("site1:app", cwd=site, settings=SETTINGS, bind=["127.0.0.1:0"])
    server.wait_log(r"\[watcher\] watching ")
    kinds = procfs.descriptor_kinds(watcher_of(server))
    assert kinds, "it has gone"
    assert "socket" not in kinds


def test_without_its_library_it_is_refused(tmp_path: Path, site: Path) -> None:
    """As a mistake in the configuration, with the way out."""
    (site / "hiding").mkdir()
    (site / "hiding" / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'watchfiles' else find(name, *more)\n"
    )
    server = Server(tmp_path, "site1:app", cwd=site, settings=SETTINGS, environ={"PYTHONPATH": f"{site}/hiding"})
    try:
        assert server.start().wait() == 2
        assert "pip install watchfiles (or 'pyfork[reload]'" in server.output
    finally:
        server.kill()
        if server.listener is not None:
            server.listener.close()
