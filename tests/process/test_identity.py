"""Who the workers are: by root's leave somebody else, for good; else who started pyfork. Asked of the workers themselves.

As root all of it is tested; who is not root stays who they are, and what does not take root is tested all the same.
"""

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import procfs
from tests.harness import Server, reserve_port, wait_until
from tests.process.plants import plant_at
from tests.process.test_listeners import ask, run_pyfork

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
APP = """
import json, os
def try_root():
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return "refused"
    return "root again"
IMPORTED_BY = os.getresuid()
def app(environ, start_response):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    start_response("200 OK", [])
    mask = os.umask(0)
    os.umask(mask)
    return [json.dumps({
        "users": os.getresuid(), "groups": os.getresgid(), "supplementary": os.getgroups(), "imported": IMPORTED_BY,
        "root": "not tried" if os.getuid() == 0 else try_root(), "caps": int(status["CapEff"], 16),
        "permitted": int(status["CapPrm"], 16), "no_new_privs": status["NoNewPrivs"].strip(), "umask": mask,
    }).encode()]
"""


@pytest.fixture
def site() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own, with an application that tells who it is.

    Ask for it before `start`: then it goes after the servers, which may yet open a log in it.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "who.py").write_text(APP)
        yield directory


@pytest.mark.parametrize("worker_type", ["sync", "async"])
def test_workers_become_the_user_for_good(site: Path, start: Callable[..., Server], worker_type: str) -> None:
    """Every number, no group of root's, no capability, before the application is imported; and there is no way back."""
    server = {"user": "nobody"} if IS_ROOT else {"user": str(os.getuid())}
    expected = NOBODY if IS_ROOT else pwd.getpwuid(os.getuid())
    running = start("who:app", cwd=site, settings={"server": server, "workers": {"type": worker_type}})
    who = json.loads(running.get("/").body)
    assert who["users"] == who["imported"] == [expected.pw_uid] * 3
    assert who["root"] == "refused"
    assert who["caps"] == who["permitted"] == 0
    if IS_ROOT:
        assert who["groups"] == [NOBODY.pw_gid] * 3
        assert 0 not in who["supplementary"]
        assert sorted(who["supplementary"]) == sorted(os.getgrouplist("nobody", NOBODY.pw_gid))


@pytest.mark.parametrize("is_set", [True, False])
def test_no_new_privileges(site: Path, start: Callable[..., Server], is_set: bool) -> None:
    """The kernel says that it is set, whoever the workers are, and only when it was asked for."""
    server = start("who:app", cwd=site, settings={"server": {"no_new_privileges": is_set, "umask": "0o027"}})
    who = json.loads(server.get("/").body)
    inherited = Path("/proc/self/status").read_text().split("NoNewPrivs:")[1].split()[0]
    assert who["no_new_privs"] == ("1" if is_set else inherited)
    assert who["umask"] == 0o027


def test_logs_and_sockets_are_the_users(site: Path, start: Callable[..., Server]) -> None:
    """The workers can reopen the logs, and the proxy that has the group can connect."""
    path, access = site / "a.sock", site / "access.log"
    settings = {
        "server": {"umask": "0o007", **({"user": "nobody"} if IS_ROOT else {})},
        "log": {"error": str(site / "error.log"), "access": str(access)},
    }
    site.chmod(0o777)
    server = start("who:app", cwd=site, bind=[f"unix:{path}"], settings=settings)
    server.log_path = site / "error.log"
    server.wait_workers(1)
    uid, gid = (NOBODY.pw_uid, NOBODY.pw_gid) if IS_ROOT else (os.getuid(), os.getgid())
    for each in (path, access, site / "error.log"):
        assert (each.stat().st_uid, each.stat().st_gid) == (uid, gid), each
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    assert ask(str(path), socket.AF_UNIX)
    server.signal("USR1")
    assert ask(str(path), socket.AF_UNIX)


@pytest.mark.skipif(not IS_ROOT, reason="only root opens logs for another")
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_in_the_place_of_a_log_is_not_followed_at_a_rotation(
    site: Path, start: Callable[..., Server], tmp_path: Path, kind: str
) -> None:
    """Application code that was broken into can exchange the file in a directory of the workers', and wait for USR1."""
    logs = site / "logs"
    logs.mkdir()
    os.chown(logs, NOBODY.pw_uid, NOBODY.pw_gid)
    secret = site / "secret"
    secret.write_text("root's\n")
    settings = {"server": {"user": "nobody"}, "log": {"error": str(logs / "error.log")}}
    server = start("who:app", cwd=site, settings=settings)
    server.log_path = logs / "error.log"
    server.expect_errors("cannot reopen")
    server.wait_workers(1)
    old = server.log_path.rename(logs / "error.log.1")
    if kind == "hard":
        server.log_path.hardlink_to(secret)
    else:
        server.log_path.symlink_to(secret)
        os.chown(server.log_path, NOBODY.pw_uid, -1, follow_symlinks=False)
    server.log_path = old
    server.signal("USR1")
    server.wait_log(r"\[arbiter\] cannot reopen the log .*; the old file stays in use")
    assert json.loads(server.get("/").body)["users"] == [NOBODY.pw_uid] * 3
    server.stop()
    assert secret.read_text() == "root's\n"
    assert secret.stat().st_uid == 0
    assert "stopped" in server.log


@pytest.mark.skipif(not IS_ROOT, reason="only root opens logs for another")
def test_files_of_log_config_are_the_users_too(site: Path, start: Callable[..., Server]) -> None:
    """Before a rotation and after it: the workers write to the new file, whoever opens it first."""
    logs = site / "logs"
    logs.mkdir()
    os.chown(logs, NOBODY.pw_uid, NOBODY.pw_gid)
    access, config = logs / "access.log", site / "logging.json"
    handler = {"class": "logging.FileHandler", "filename": str(access)}
    config.write_text(
        json.dumps({
            "handlers": {"file": handler}, "loggers": {"pyfork.access": {"handlers": ["file"], "level": "INFO"}}
        })
    )  # fmt: skip
    log = {"config": str(config), "error": str(logs / "error.log")}
    settings = {"server": {"user": "nobody"}, "workers": {"count": 2}, "log": log}
    server = start("who:app", cwd=site, settings=settings)
    server.log_path = logs / "error.log"
    server.wait_workers(2)
    assert access.stat().st_uid == NOBODY.pw_uid
    old = access.rename(logs / "access.log.1")
    server.signal("USR1")

    def has_moved() -> bool:
        pids = [server.pid, *server.workers()]
        links = [link for pid in pids for link in procfs.descriptors(pid).values()]
        return str(old) not in links and links.count(str(access)) == len(pids)

    wait_until(has_moved, "every process writes to the new file")
    assert access.stat().st_uid == NOBODY.pw_uid
    assert server.get("/").status == 200
    wait_until(access.read_text, "a line in the new file")


def test_only_root_becomes_another(site: Path) -> None:
    """Who is not root is told at the start; root is not, and a user that does not exist is told to both."""
    result = run_pyfork("--check-config", "--user", "nobody", "who:app", cwd=site)
    if IS_ROOT:
        assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
    else:
        assert result.returncode == 2
        assert "only root can become another user" in result.stderr
    result = run_pyfork("--check-config", "--user", "nobody-of-that-name", "who:app", cwd=site)
    assert result.returncode == 2
    assert "server.user" in result.stderr


def test_a_way_back_to_root_ends_the_boot(site: Path, tmp_path: Path) -> None:
    """Securebits that keep the capabilities over the change of user: the worker does not serve."""
    setpriv = shutil.which("setpriv")
    if not IS_ROOT or setpriv is None:
        pytest.skip("only root can set securebits, with setpriv")
    log = tmp_path / "log"
    result = subprocess.run(
        [setpriv, "--securebits=+no_setuid_fixup", sys.executable, "-m", "pyfork", "-b", f"127.0.0.1:{reserve_port()}",
         "--user", "nobody", "--error-logfile", str(log), "who:app"],
        cwd=site, env={**os.environ, "PWD": str(site)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 3, result.stderr
    assert "but not for good: it could become root again" in log.read_text()


CLOSE_THE_LIBRARY = (
    "library = os.path.dirname(os.__file__); sys.path_importer_cache.clear(); "
    "sys.path[:] = [path for path in sys.path if not path.startswith(library)]"
)
"""What it is to import as somebody who cannot read it, wherever it lies."""
TALKS = """
import sys
def app(environ, start_response):
    octets = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok" if octets == bytes(2 * 1024 * 1024) else b"no"]
"""


def test_a_user_who_cannot_read_pythons_library(
    start: Callable[..., Server], site: Path, tmp_path: Path, worker_type: str
) -> None:
    """What pyfork takes of it, the workers have imported before: they serve large bodies, and messages are whole."""
    if not IS_ROOT:
        pytest.skip("only root can become another user")
    (site / "talks.py").write_text(TALKS)
    settings = {"server": {"user": "nobody"}, "workers": {"type": worker_type}}
    environ = plant_at(tmp_path / "plant", "process/privileges.py:drop_privileges", CLOSE_THE_LIBRARY, "return")
    server = start("talks:app", cwd=site, settings=settings, environ=environ)
    assert server.get("/", method="POST", body=bytes(2 * 1024 * 1024)).body == b"ok"
    server.stop()
    (site / "typo.py").write_text("import plistlib\n")
    for app, message in (
        ("talks:ap", "the module 'talks' has no attribute 'ap'"),
        ("typo:app", "the application 'typo' cannot be imported: ModuleNotFoundError: No module named 'plistlib'"),
    ):
        server = start(app, cwd=site, settings=settings, environ=environ)
        server.expect_errors(r"\[CRITICAL\]")
        assert server.wait() == 4
        assert message in server.log
        assert "pyfork/workers" not in server.log


def test_a_directory_that_the_user_cannot_read_is_named(start: Callable[..., Server], site: Path) -> None:
    """Python takes what is in there for what is not there."""
    vendor = site / "vendor"
    vendor.mkdir()
    (vendor / "shop_prices.py").write_text("")
    (site / "shop.py").write_text("import shop_prices\n")
    vendor.chmod(0)
    user = "nobody" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
    settings = {"server": {"user": user, "pythonpath": ["vendor"]}}
    server = start("shop:app", cwd=site, settings=settings)
    server.expect_errors(r"\[CRITICAL\]")
    assert server.wait() == 4
    vendor.chmod(0o700)
    server.wait_log(rf"No module named 'shop_prices'; user '{user}' cannot read .*{vendor}")
