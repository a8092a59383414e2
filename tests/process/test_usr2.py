"""USR2: a new arbiter takes over the sockets without a gap, or is ended and nothing has happened."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Server, processes_of_session, reserve_port, title_of, wait_until
from tests.process.plants import plant_at
from tests.process.test_listeners import BUSY, ask, run_pyfork
from tests.process.test_reload import GOOD, load


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an application that can be changed."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "site1.py").write_text(GOOD.format(label="one"))
    return directory


def is_locked(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.slow
@pytest.mark.parametrize("worker_type", ["sync", "async"])
def test_upgrades_under_load_lose_nothing(start: Callable[..., Server], site: Path, worker_type: str) -> None:
    """While clients send all the time, three upgrades in a row bring new code and no request fails."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2, "type": worker_type}})
    server.wait_workers(2)
    stop = threading.Event()
    failures: list[str] = []
    answers: list[str] = []
    clients = [threading.Thread(target=load, args=(server, stop, failures, answers)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for number in range(3):
            (site / "site1.py").write_text(GOOD.format(label=f"release {number}"))
            before = set(server.workers())
            server.signal("USR2")
            server.successor()
            assert not before & set(server.wait_workers(2))
        wait_until(lambda: len(answers) > 20, "there was a load")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    assert server.get("/").body == b"release 2"
    server.stop()


def test_capacity_never_falls(start: Callable[..., Server], site: Path) -> None:
    """The old arbiter lets its workers go when the new one has as many, and not before."""
    server = start("site1:app", cwd=site, settings={"workers": {"count": 2}})
    old = server.wait_workers(2)
    (site / "site1.py").write_text(
        GOOD.format(label="two") + "import threading, pathlib\n"
        "while not pathlib.Path('open').exists(): threading.Event().wait(0.01)\n"
    )
    server.signal("USR2")
    server.wait_log("is booting", count=4)
    assert set(old) <= set(server.workers())
    assert server.get("/").body == b"one"
    assert any("arbiter (new, starting)" in title for title in server.titles())
    (site / "open").touch()
    server.successor()
    assert server.get("/").body == b"two"


FAULTS = {
    "does not import": "import does_not_exist_xyz\n",
    "hangs": "import threading; threading.Event().wait()\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_application_leaves_the_old_arbiter_serving(
    start: Callable[..., Server], site: Path, tmp_path: Path, fault: str
) -> None:
    """Whatever keeps the new one from getting ready, the old one goes on with everything, and the log says why."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    server = start(
        "site1:app", cwd=site, bind=[f"unix:{path}"],
        settings={
            # The old arbiter's is what limits the new one; so its own workers have to make do with it, too.
            "workers": {"count": 2, "boot_timeout": 6 if fault == "hangs" else 60}, "server": {"pidfile": str(pidfile)},
        },
    )  # fmt: skip
    before = server.wait_workers(2)
    (site / "site1.py").write_text(FAULTS[fault])
    server.expect_errors("upgrade failed", "was not ready within 6 s", "could not boot", "SIGKILL")
    server.signal("USR2")
    server.wait_log("upgrade failed: the new arbiter .* before it was ready: this one goes on")
    assert sorted(server.workers()) == sorted(before)
    assert ask(str(path), socket.AF_UNIX) == b"one"
    assert pidfile.read_text() == f"{server.pid}\n"
    assert is_locked(pidfile)
    (site / "site1.py").write_text(GOOD.format(label="mended"))
    server.configure({"workers": {"boot_timeout": 60}})
    server.signal("HUP")
    server.wait_workers(2, 2)
    server.signal("USR2")
    server.successor()
    assert ask(str(path), socket.AF_UNIX) == b"mended"
    assert pidfile.read_text() == f"{server.pid}\n"


def test_a_broken_configuration_is_told_in_the_log(start: Callable[..., Server], site: Path) -> None:
    """The new arbiter has no log yet: the old one says what it says."""
    server = start("site1:app", cwd=site)
    [before] = server.wait_workers(1)
    good = server.config_path.read_text()
    server.config_path.write_text(good + "\n[workers]\ncuont = 3\n")
    server.expect_errors("upgrade failed", "the new arbiter .* says")
    server.signal("USR2")
    server.wait_log(r"upgrade: the new arbiter \(pid \d+\) says: .*workers\.cuont")
    server.wait_log(r"upgrade failed: the new arbiter \(pid \d+\) exited with status 2")
    assert server.wait_workers(1) == [before]


def test_a_program_that_is_gone_is_told_in_the_log(start: Callable[..., Server], tmp_path: Path) -> None:
    """Whatever fails before the exec ends the child, and only that."""
    program = tmp_path / "bin"
    program.mkdir()
    script = program / "pyfork"
    script.write_text(f"#!{sys.executable}\nfrom pyfork.cli.command import main\nmain()\n")
    script.chmod(0o755)
    log = tmp_path / "log"
    process = subprocess.Popen(
        [str(script), "-b", f"127.0.0.1:{reserve_port()}", "--error-logfile", str(log), "hello:app"],
        cwd=Path(__file__).parent.parent.parent / "sample_apps", start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), "it serves")
        script.unlink()
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "upgrade failed" in log.read_text(), "the upgrade fails")
        expected = f"says: the program {script} cannot be started: no such file or directory; put it back and"
        wait_until(lambda: expected in log.read_text(), "the log says why")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        for pid in processes_of_session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_pidfile_and_unix_socket_change_hands(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """Both stay over two upgrades, belong to the newest arbiter, and are removed at its end."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    server = start("site1:app", cwd=site, bind=[f"unix:{path}"], settings={"server": {"pidfile": str(pidfile)}})
    server.wait_workers(1)
    inode = path.stat().st_ino
    for _ in range(2):
        server.signal("USR2")
        server.successor()
        assert path.stat().st_ino == inode
        assert pidfile.read_text() == f"{server.pid}\n"
        result = run_pyfork("-b", f"127.0.0.1:{reserve_port()}", "-p", str(pidfile), "hello:app")
        assert f"held by a running pyfork (pid {server.pid})" in result.stderr
        assert ask(str(path), socket.AF_UNIX) == b"one"
    server.stop()
    assert not path.exists()
    assert not pidfile.exists()


def test_an_arbiter_that_fails_leaves_everything_to_the_one_that_is_to_replace_it(
    start: Callable[..., Server], site: Path, tmp_path: Path
) -> None:
    """That one takes over what it has already open: its path and its pidfile have to be there still."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    environ = plant_at(tmp_path / "plant", "arbiter/loop.py:_reopen", "raise RuntimeError('planted')")
    settings = {"server": {"pidfile": str(pidfile)}}
    server = start("site1:app", cwd=site, bind=[f"unix:{path}"], settings=settings, environ=environ)
    server.expect_errors("the arbiter has failed")
    server.wait_workers(1)
    (site / "site1.py").write_text(
        GOOD.format(label="two") + "import threading, pathlib\n"
        "while not pathlib.Path('open').exists(): threading.Event().wait(0.01)\n"
    )
    server.signal("USR2")
    server.wait_log("is booting", count=2)
    server.signal("USR1")
    server.wait_log("upgrade: this arbiter has taken over")
    assert server.process is not None
    assert server.process.wait(30) == 1
    [new] = [pid for pid in processes_of_session(server.session) if title_of(pid).startswith("pyfork: arbiter")]
    assert pidfile.read_text() == f"{new}\n"
    assert is_locked(pidfile)
    (site / "open").touch()
    assert ask(str(path), socket.AF_UNIX) == b"two"
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: not processes_of_session(server.session), "all have ended")
    assert not path.exists()
    assert not pidfile.exists()


def test_what_the_new_configuration_drops_is_removed(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """A unix socket and a pidfile of the old one that the new one does not want go when it takes over."""
    old, new = tmp_path / "old.pid", tmp_path / "new.pid"
    stays, goes = tmp_path / "stays.sock", tmp_path / "goes.sock"
    server = start(
        "site1:app", cwd=site, bind=[f"unix:{stays}", f"unix:{goes}"], settings={"server": {"pidfile": str(old)}}
    )
    server.wait_workers(1)
    port = reserve_port()
    server.configure({"server": {"pidfile": str(new), "bind": [f"unix:{stays}", f"127.0.0.1:{port}"]}})
    server.signal("USR2")
    server.successor()
    assert not goes.exists()
    assert not old.exists()
    assert new.read_text() == f"{server.pid}\n"
    assert ask(str(stays), socket.AF_UNIX) == b"one"
    assert ask(("127.0.0.1", port), socket.AF_INET) == b"one"


def test_a_failed_upgrade_removes_nothing(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """Not even what the new configuration had dropped."""
    stays, goes = tmp_path / "stays.sock", tmp_path / "goes.sock"
    server = start("site1:app", cwd=site, bind=[f"unix:{stays}", f"unix:{goes}"])
    server.wait_workers(1)
    server.configure({"server": {"bind": [f"unix:{stays}"]}})
    (site / "site1.py").write_text("x = 1\n")
    server.expect_errors("upgrade failed", "could not boot")
    server.signal("USR2")
    server.wait_log("upgrade failed")
    assert ask(str(goes), socket.AF_UNIX) == b"one"


def test_passed_sockets_stay_passed(start: Callable[..., Server], site: Path) -> None:
    """The socket of LISTEN_FDS survives two upgrades and the end, without a filter, and a reload in between."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    for label in ("two", "three"):
        (site / "site1.py").write_text(GOOD.format(label=label))
        server.signal("USR2")
        server.successor()
        assert server.get("/").body == label.encode()
    server.signal("HUP")
    server.wait_workers(1, 2)
    server.stop()
    assert server.listener is not None
    with server.connect() as client:
        accepted, _ = server.listener.accept()
        client.sendall(b"still works")
        assert accepted.recv(100) == b"still works"
        accepted.close()


def test_a_chosen_port_is_kept(start: Callable[..., Server], site: Path) -> None:
    """Port 0 was chosen once; clients know it by now."""
    server = start("site1:app", cwd=site, bind=["127.0.0.1:0"])
    port = int(server.wait_log(r"listening at http://127\.0\.0\.1:(\d+)").group(1))
    server.wait_workers(1)
    server.signal("USR2")
    server.successor()
    assert ask(("127.0.0.1", port), socket.AF_INET) == b"one"


def test_the_count_of_ttin_survives(start: Callable[..., Server], site: Path) -> None:
    """Unless the file has a new one."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    server.signal("TTIN")
    server.wait_workers(2)
    server.signal("USR2")
    server.successor()
    server.wait_workers(2)
    server.configure({"workers": {"count": 3}})
    server.signal("USR2")
    server.successor()
    server.wait_workers(3)


def test_usr2_waits_for_a_reload(start: Callable[..., Server], site: Path) -> None:
    """The reload ends first; then the upgrade begins by itself."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    (site / "site1.py").write_text(
        GOOD.format(label="two") + "import threading, pathlib\n"
        "while not pathlib.Path('open').exists(): threading.Event().wait(0.01)\n"
    )
    server.signal("HUP")
    server.wait_log("gen 2 .* is booting")
    server.signal("USR2")
    server.wait_log("upgrade: it begins when what is under way has ended")
    (site / "open").touch()
    server.successor()
    assert re.search("generation 2 has replaced the others(.|\n)*upgrade: the new arbiter", server.log)
    assert server.get("/").body == b"two"


def test_hup_during_an_upgrade_that_fails(start: Callable[..., Server], site: Path) -> None:
    """It is remembered, and done by the old arbiter."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1, 1)
    (site / "site1.py").write_text(
        "import threading, pathlib\n"
        "pathlib.Path('begun').touch()\n"
        "while not pathlib.Path('open').exists(): threading.Event().wait(0.01)\n"
        "raise SystemExit(3)\n"
    )
    server.expect_errors("upgrade failed", "could not boot")
    server.signal("USR2")
    wait_until((site / "begun").exists, "the new worker has read the code that will not do")
    server.signal("HUP")
    server.wait_log("reload: it begins when what is under way has ended")
    server.signal("USR2")
    server.wait_log(r"upgrade: ignored, pid \d+ is being tried already")
    os.replace(site / "site1.py", site / "broken.py")
    (site / "site1.py").write_text(GOOD.format(label="two"))
    (site / "open").touch()
    server.wait_log("upgrade failed")
    server.wait_workers(1, 2)
    assert server.get("/").body == b"two"


@pytest.mark.parametrize("order", ["TERM", "INT"])
def test_a_stop_during_an_upgrade_leaves_nobody(start: Callable[..., Server], site: Path, order: str) -> None:
    """The new arbiter ends too, and first."""
    server = start("site1:app", cwd=site)
    server.wait_workers(1)
    (site / "site1.py").write_text(FAULTS["hangs"])
    server.signal("USR2")
    server.wait_log("is booting", count=2)
    server.signal(order)
    assert server.wait() == 0
    assert "upgrade abandoned" in server.log


def test_the_old_arbiter_dies_during_an_upgrade(start: Callable[..., Server], site: Path, tmp_path: Path) -> None:
    """The new one owns everything then, although nobody told it."""
    pidfile, path = tmp_path / "p.pid", tmp_path / "a.sock"
    server = start("site1:app", cwd=site, bind=[f"unix:{path}"], settings={"server": {"pidfile": str(pidfile)}})
    server.wait_workers(1)
    (site / "site1.py").write_text(
        GOOD.format(label="two") + "import threading, pathlib\n"
        "while not pathlib.Path('open').exists(): threading.Event().wait(0.01)\n"
    )
    server.signal("USR2")
    server.wait_log("is booting", count=2)
    server.signal("KILL")
    server.wait_log("this arbiter has taken over")
    (site / "open").touch()
    assert ask(str(path), socket.AF_UNIX) == b"two"
    new = int(pidfile.read_text())
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: not processes_of_session(server.session), "all have ended")
    assert not path.exists()
    assert not pidfile.exists()


def test_a_busy_worker_finishes_in_the_old_arbiter(start: Callable[..., Server], tmp_path: Path) -> None:
    """The old one drains under a title that says so, and one TERM to it takes nothing from the request."""
    (tmp_path / "busy.py").write_text(BUSY)
    server = start("busy:app", cwd=tmp_path)
    server.wait_workers(1)
    with server.connect() as client:
        client.sendall(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until((tmp_path / "busy").exists, "the worker is busy")
        server.signal("USR2")
        wait_until(lambda: "old, draining" in title_of(server.session), "the old arbiter drains")
        assert server.get("/").body == b"fine"
        server.signal("USR2")
        server.wait_log(r"upgrade: ignored, this arbiter is replaced already; send it to pid \d+")
        server.signal("HUP")
        server.wait_log(r"reload: ignored, this arbiter is replaced already; send it to pid \d+")
        server.signal("TERM")
        (tmp_path / "free").touch()
        assert client.recv(65536).endswith(b"fine")
    server.successor()


def test_process_1_refuses(start: Callable[..., Server], site: Path) -> None:
    """A container ends with its process 1."""
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", "--pid", "--fork", "--mount-proc"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this system makes no process namespaces (tests/unit tests the refusal too)")
    port = reserve_port()
    server = start("site1:app", cwd=site, bind=[f"127.0.0.1:{port}"], prefix=command)
    server.wait_log("is ready")
    [arbiter] = [pid for pid in processes_of_session(server.session) if title_of(pid).startswith("pyfork: arbiter")]
    server.expect_errors("upgrade refused")
    os.kill(arbiter, signal.SIGUSR2)
    server.wait_log("upgrade refused: pyfork is process 1 here")
    assert ask(("127.0.0.1", port), socket.AF_INET) == b"one"
    os.kill(arbiter, signal.SIGTERM)
    assert server.wait() == 0


def test_a_switched_link_brings_the_new_interpreter_and_pyfork(tmp_path: Path) -> None:
    """`current/bin/pyfork` is looked up again, and so is the interpreter that its first line names."""
    for release in ("one", "two"):
        (tmp_path / release / "bin").mkdir(parents=True)
        (tmp_path / release / "bin" / "python").symlink_to(sys.executable)
        (tmp_path / release / "site1.py").write_text(
            "import sys\ndef app(e, s):\n    s('200 OK', [])\n    return [sys.orig_argv[0].encode()]\n"
        )
        script = tmp_path / release / "bin" / "pyfork"
        root = Path(__file__).parent.parent.parent
        paths = [str(root), *(path for path in sys.path if path.endswith("site-packages"))]
        script.write_text(
            f"#!{tmp_path}/{release}/bin/python\nimport sys\nsys.path[:0] = {paths!r}\n"
            "from pyfork.cli.command import main\nmain()\n"
        )
        script.chmod(0o755)
    current = tmp_path / "current"
    current.symlink_to("one")
    port, log, pidfile = reserve_port(), tmp_path / "log", tmp_path / "pid"
    process = subprocess.Popen(
        ["current/bin/pyfork", "-b", f"127.0.0.1:{port}", "-p", str(pidfile), "--error-logfile", str(log), "site1:app",
         "--chdir", "current"],
        cwd=tmp_path, env={**os.environ, "PWD": str(tmp_path)}, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), "it serves")
        assert ask(("127.0.0.1", port), socket.AF_INET) == f"{tmp_path}/one/bin/python".encode()
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", current)
        process.send_signal(signal.SIGUSR2)
        assert process.wait(30) == 0
        assert ask(("127.0.0.1", port), socket.AF_INET) == f"{tmp_path}/two/bin/python".encode()
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_until(lambda: not processes_of_session(process.pid), "all have ended")
    finally:
        for pid in processes_of_session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_a_garbled_variable_is_refused(start: Callable[..., Server]) -> None:
    """With status 2 and a message that names it; so is a version that is not known."""
    for value, words in (("{", "PYFORK_UPGRADE"), ('{"version": 9}', "version 9 is not known here")):
        result = subprocess.run(
            [sys.executable, "-m", "pyfork", "hello:app"], env={**os.environ, "PYFORK_UPGRADE": value},
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert result.returncode == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
