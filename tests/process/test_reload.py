"""HUP: readiness-gated, rolled back when anything fails, and nobody notices."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Server, parse_response, read_all, reserve_port, title_of, wait_until
from tests.process.plants import plant, plant_at

GOOD = """
import os
LABEL = "{label}"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [LABEL.encode()]
"""

BROKEN = {
    "does not import": "import does_not_exist_xyz\n",
    "is no Python": "def broken(:\n",
    "has no app": "x = 1\n",
    "exits": "import sys; sys.exit(3)\n",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n",
    "hangs": "import threading; threading.Event().wait()\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that can be changed."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(GOOD.format(label="one"))
    return directory


def load(server: Server, stop: threading.Event, failures: list[str], answers: list[str]) -> None:
    """Send requests, a connection each, until told to stop; write down what went wrong."""
    while not stop.is_set():
        try:
            response = server.get("/")
            if response.status != 200:
                failures.append(f"status {response.status}")
            answers.append(response.body.decode())
        except (OSError, AssertionError) as error:
            failures.append(repr(error))


@pytest.mark.slow
def test_ten_reloads_under_load_lose_nothing(start: Callable[..., Server], site: Path) -> None:
    """While clients send all the time, each of ten reloads brings new code and no request fails."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    server.wait_workers(2, 1)
    stop = threading.Event()
    failures: list[str] = []
    answers: list[str] = []
    clients = [threading.Thread(target=load, args=(server, stop, failures, answers)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for generation in range(2, 12):
            (site / "site1.py").write_text(GOOD.format(label=f"release {generation}"))
            server.signal("HUP")
            server.wait_workers(2, generation)
        wait_until(lambda: len(answers) > 50, "there was a load")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    assert server.get("/").body == b"release 11"


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.slow
def test_a_broken_application_leaves_the_old_one_serving(start: Callable[..., Server], site: Path, fault: str) -> None:
    """Whatever keeps the new application from booting, the old workers serve on and the log says why."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    before = server.wait_workers(2, 1)
    (site / "site1.py").write_text(BROKEN[fault])
    if fault == "hangs":  # who is to boot has as long as ever
        server.configure({"workers": {"boot_timeout": 2}})
    server.expect_errors(r"\[ERROR\]", "SIGKILL", "SIGSEGV")
    server.signal("HUP")
    reason = server.wait_log(r"\[ERROR\].*[Rr]eload.*")
    assert server.get("/").body == b"one"
    assert sorted(server.wait_workers(2, 1)) == sorted(before), reason
    (site / "site1.py").write_text(GOOD.format(label="mended"))
    server.configure({"workers": {"boot_timeout": 60}})
    server.signal("HUP")
    wait_until(lambda: server.get("/").body == b"mended", "the mended application serves")


def test_a_broken_configuration_leaves_everything_as_it_was(start: Callable[..., Server], site: Path) -> None:
    """A server.toml that is wrong is refused as a whole, with every problem named."""
    server = start("site1:app", cwd=site)
    [before] = server.wait_workers(1, 1)
    server.expect_errors(r"\[ERROR\]")
    good = server.config_path.read_text()
    server.config_path.write_text(good + "\n[workers]\ncuont = 3\ntimeout = -1\n")
    server.signal("HUP")
    server.wait_log("workers.cuont")
    server.wait_log("workers.timeout")
    assert server.get("/").body == b"one"
    assert server.wait_workers(1, 1) == [before]
    server.config_path.write_text(good + "\n[workers]\ncount = 3\n")
    server.signal("HUP")
    server.wait_workers(3)


NO_THREADPOOL = """
import sys
class Gone:
    def find_spec(self, name, *_):
        if name == "pyfork.workers.threadpool":
            raise ModuleNotFoundError("planted: it is gone")
sys.meta_path.insert(0, Gone())
"""


@pytest.mark.parametrize("fault", ["a module is gone", "a bug of ours"])
def test_a_reload_that_cannot_be_prepared_is_refused(
    start: Callable[..., Server], site: Path, tmp_path: Path, fault: str
) -> None:
    """The directory of the old release is gone, and with it what was not imported: the old generation serves on."""
    where = tmp_path / "plant"
    is_gone = fault == "a module is gone"
    environ = (
        plant(where, NO_THREADPOOL)
        if is_gone
        else plant_at(where, "cli/serve.py:_warn_of_restarts", "raise RuntimeError('planted')")
    )
    path, other_log = tmp_path / "new.sock", tmp_path / "other.log"
    server = start("site1:app", cwd=site, environ=environ, bind=[f"unix:{tmp_path}/old.sock"])
    [before] = server.wait_workers(1, 1)
    server.expect_errors(r"reload refused")
    good = server.config_path.read_text()
    server.configure(
        {
            "workers": {"type": "threadpool"} if is_gone else {},
            "server": {"bind": [f"unix:{tmp_path}/old.sock", f"unix:{path}"]},
            "log": {"error": str(other_log)},
        }
    )
    server.signal("HUP")
    server.wait_log(r"reload refused: (ModuleNotFoundError: planted: it is gone|RuntimeError: planted)\n\s+Traceback")
    server.wait_log("reload refused: generation 1 goes on")
    assert not path.exists()
    assert server.wait_workers(1) == [before]
    server.config_path.write_text(good)
    server.signal("HUP")
    server.wait_workers(1, 3)


def test_a_log_config_without_its_module_is_refused(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """``logging.config`` is imported only by who has such a file, perhaps at a reload years later."""
    environ = plant(tmp_path / "plant", NO_THREADPOOL.replace("pyfork.workers.threadpool", "logging.config"))
    server = start("site1:app", cwd=site, environ=environ)
    [before] = server.wait_workers(1, 1)
    server.expect_errors(r"reload refused")
    (tmp_path / "log.json").write_text("{}")
    server.configure({"log": {"config": str(tmp_path / "log.json")}})
    server.signal("HUP")
    server.wait_log("reload refused: log.config: .* cannot be applied: ModuleNotFoundError: planted: it is gone")
    server.wait_log("reload refused: generation 1 goes on")
    assert server.wait_workers(1) == [before]


WAITS = """
import os, time
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("slow", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
"""


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_who_waits_at_an_address_that_a_reload_removes_is_answered(
    start: Callable[..., Server], site: Path, worker_type: str, family: str
) -> None:
    """Nobody else listens there any more: the last workers that do take all of the queue."""
    (site / "site1.py").write_text(WAITS)
    addresses = {"tcp": ("127.0.0.1", reserve_port()), "unix": str(site / "goes.sock")}
    bind = {"tcp": "{0[0]}:{0[1]}".format(addresses["tcp"]), "unix": f"unix:{addresses['unix']}"}
    stays = f"unix:{site}/stays.sock"
    server = start("site1:app", cwd=site, bind=[stays, bind[family]], settings={"workers": {"type": worker_type}})
    server.wait_workers(1, 1)

    def send(path: str) -> socket.socket:
        client = socket.socket(socket.AF_INET if family == "tcp" else socket.AF_UNIX)
        client.settimeout(30)
        client.connect(addresses[family])
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return client

    clients = [send("/slow"), send("/slow")]
    wait_until((site / "slow").exists, "the worker is busy")
    clients += [send("/") for _ in range(6)]
    server.configure({"server": {"bind": [stays]}})
    server.signal("HUP")
    server.wait_log("generation 2 has replaced the others")
    (site / "go").touch()
    for client in clients:
        with client:
            assert parse_response(read_all(client))[0].body == b"done"


def test_a_deploy_by_symbolic_link_serves_the_new_release(start: Callable[..., Server], tmp_path: Path) -> None:
    """Switching the link that the working directory was named by, then HUP, loads the new release."""
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "site1.py").write_text(GOOD.format(label=label))
    current = tmp_path / "current"
    current.symlink_to("one")
    server = start("site1:app", cwd=current)
    assert server.get("/").body == b"one"
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", current)
    server.signal("HUP")
    wait_until(lambda: server.get("/").body == b"two", "the new release serves")


def test_a_reload_says_which_type_serves(start: Callable[..., Server], site: Path) -> None:
    """As the start does, with the threads of a threadpool."""
    server = start("site1:app", cwd=site)
    server.wait_log(r"1 worker\(s\) of type sync for site1:app\n")
    good = server.config_path.read_text()
    server.config_path.write_text(good + "\n[workers]\nthreads = 3\n")
    server.signal("HUP")
    server.wait_log(r"reloading with workers of type threadpool, 3 threads each, for site1:app\n")
    server.wait_workers(1, 2)


def test_an_upgraded_library_is_the_applications_own(start: Callable[..., Server], site: Path) -> None:
    """The application imports click from its own path, even though pyfork's command line has loaded another."""
    (site / "click.py").write_text("VERSION = 'mine'\n")
    (site / "site1.py").write_text(GOOD.format(label="x") + "import click\nLABEL = click.VERSION\n")
    server = start("site1:app", cwd=site)
    assert server.get("/").body == b"mine"


def test_count_of_ttin_survives_a_reload_unless_the_file_changed(start: Callable[..., Server], site: Path) -> None:
    """TTIN and TTOU move the count; HUP keeps it; a changed workers.count wins, and the log says so."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 1}})
    server.wait_workers(1, 1)
    server.signal("TTIN")
    server.wait_workers(2, 1)
    server.signal("HUP")
    server.wait_workers(2, 2)
    server.configure({"workers": {"count": 3}})
    server.signal("HUP")
    server.wait_workers(3, 3)
    for count in (2, 1):
        server.signal("TTOU")
        server.wait_workers(count, 3)
    server.signal("TTOU")
    server.wait_log("as before: it is the limit")
    assert len(server.workers()) == 1


def test_bind_changes_at_a_reload(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """A new address opens before the old one closes; the one that stays keeps its socket."""
    first, second = tmp_path / "a.sock", tmp_path / "b.sock"
    server = start("site1:app", cwd=site, bind=[f"unix:{first}"])
    server.wait_workers(1, 1)
    inode = first.stat().st_ino
    server.configure({"server": {"bind": [f"unix:{first}", f"unix:{second}"]}})
    server.signal("HUP")
    server.wait_workers(1, 2)
    assert first.stat().st_ino == inode
    for path in (first, second):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.")
    server.configure({"server": {"bind": [f"unix:{second}"]}})
    server.signal("HUP")
    server.wait_workers(1, 3)
    wait_until(lambda: not first.exists(), "the old socket is removed")
    assert second.exists()
    (tmp_path / "file").write_text("mine")
    server.expect_errors(r"\[ERROR\]")
    server.configure({"server": {"bind": [f"unix:{second}", f"unix:{tmp_path / 'file'}"]}})
    server.signal("HUP")
    server.wait_log("is a regular file")
    assert (tmp_path / "file").read_text() == "mine"
    server.wait_workers(1, 3)


def test_an_address_that_a_reload_removes_is_closed(start: Callable[..., Server], site: Path) -> None:
    """No worker keeps a socket that is not its own: clients of the old address are refused, not left to hang."""
    ports = [reserve_port(), reserve_port()]
    server = start("site1:app", cwd=site, bind=[f"127.0.0.1:{port}" for port in ports])
    server.wait_workers(1, 1)
    server.configure({"server": {"bind": [f"127.0.0.1:{ports[0]}"]}})
    server.signal("HUP")
    server.wait_workers(1, 2)

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", ports[1]), 5).close()
        except ConnectionRefusedError:
            return True
        except TimeoutError:  # it takes nobody any more, and a worker that ends still has it
            pass
        return False

    wait_until(is_refused, "the removed address refuses")


def test_a_settings_file_that_has_vanished_refuses_the_reload(start: Callable[..., Server], site: Path) -> None:
    """A file that was read at the start is asked for again: a reload without it does not fall back to the defaults."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1, 1)
    server.expect_errors(r"\[ERROR\]")
    server.config_path.unlink()
    server.signal("HUP")
    server.wait_log("no such configuration file")
    assert server.get("/").body == b"one"
    server.configure({})


def test_a_reload_does_not_wait_for_a_pipe(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """Nobody may ever write to it: the arbiter would replace no worker meanwhile, and obey no signal."""
    server = start("site1:app", cwd=site)
    [before] = server.wait_workers(1, 1)
    server.expect_errors("reload refused", "SIGKILL")
    server.config_path.unlink()
    os.mkfifo(server.config_path)
    server.signal("HUP")
    server.wait_log(r"reload refused: .*server\.toml: this is a pipe, not a regular file")
    server.config_path.unlink()
    os.mkfifo(tmp_path / "log.conf")
    server.configure({"log": {"config": str(tmp_path / "log.conf")}})
    server.signal("HUP")
    server.wait_log(r"reload refused: log\.config: cannot read .*: it is a pipe, not a regular file")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in server.workers(), "the worker is gone")
    server.wait_workers(1, 1)
    assert server.get("/").body == b"one"
    assert server.stop() == 0


def test_a_failed_reload_survives_a_log_directory_that_is_gone(
    start: Callable[..., Server], site: Path, tmp_path: Path
) -> None:
    """Going back to the old logs is tried; where it cannot be, those in use stay, and the arbiter lives."""
    logs = tmp_path / "logs"
    logs.mkdir()
    server = start("site1:app", cwd=site, settings={"log": {"error": str(logs / "error.log")}})
    server.log_path = tmp_path / "second.log"
    [before] = server.wait_workers(1, 1)
    (site / "site1.py").write_text(BROKEN["does not import"])
    server.configure({"log": {"error": str(server.log_path)}})
    (logs / "error.log").unlink()
    logs.rmdir()
    server.expect_errors(r"\[ERROR\]")
    server.signal("HUP")
    server.wait_log("cannot go back to the logs")
    assert server.get("/").body == b"one"
    assert server.wait_workers(1, 1) == [before]


def test_hup_during_a_reload_that_hangs_starts_afresh(start: Callable[..., Server], site: Path) -> None:
    """A second HUP abandons a candidate that has not become ready and loads what is there now."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1, 1)
    (site / "site1.py").write_text("open('hangs', 'w').close()\n" + BROKEN["hangs"])
    server.signal("HUP")
    wait_until((site / "hangs").exists, "the candidate has read the old code")
    (site / "site1.py").write_text(GOOD.format(label="two"))
    server.signal("HUP")
    wait_until(lambda: server.get("/").body == b"two", "the new code serves")
    server.wait_workers(1, 3)


def test_arbiters_title_follows_the_name(start: Callable[..., Server], site: Path) -> None:
    """Who looks at `ps` after a reload sees what serves; a reload that failed has changed nothing."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1, 1)
    server.configure({"server": {"proc_name": "shop"}})
    server.signal("HUP")
    server.wait_workers(1, 2)
    assert title_of(server.pid) == "pyfork: arbiter [shop]"
    (site / "site1.py").write_text(BROKEN["has no app"])
    server.configure({"server": {"proc_name": "broken"}})
    server.expect_errors("could not boot", "reload failed")
    server.signal("HUP")
    server.wait_log("generation 3 is ended")
    wait_until(lambda: title_of(server.pid) == "pyfork: arbiter [shop]", "the title is the old one")
