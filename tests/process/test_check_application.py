"""--check-config with a real scratch process: its statuses, its words, and that nothing passes for a success."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import SAMPLES


def check(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyfork", "--check-config", *arguments]
    environment = {**os.environ, "PWD": str(directory), **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=directory, env=environment)


def test_the_samples_are_ok() -> None:
    """One word on standard output, status 0."""
    result = check(SAMPLES, "quotes:app")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")


BROKEN = {
    "import nothing_like_this": "No module named 'nothing_like_this'",
    "def broken(:": "SyntaxError",
    "print('noise'); 1 / 0": "ZeroDivisionError",
    "app = {}": "is not callable",
    "import sys; sys.exit(0)": r"called sys.exit(0)",
    "import os; os._exit(0)": "its process ended by itself with status 0",
    "import os; os.kill(os.getpid(), 11)": "its process was ended by SIGSEGV",
}


@pytest.mark.parametrize("source", BROKEN)
def test_an_application_that_does_not_import_is_4(tmp_path: Path, source: str) -> None:
    """With the reason, the user's frames, and nothing on standard output, whatever the application prints there."""
    (tmp_path / "shop.py").write_text(source + "\n")
    result = check(tmp_path, "shop:app")
    assert result.returncode == 4
    assert result.stdout == ""
    assert BROKEN[source] in result.stderr
    assert "pyfork/" not in result.stderr


def test_what_the_application_leaves_behind_does_not_matter(tmp_path: Path) -> None:
    """A thread that runs on, a child that holds the pipes: the verdict is in, the process ends."""
    pid_file = tmp_path / "pid"
    (tmp_path / "shop.py").write_text(
        "import subprocess, threading\n"
        "child = subprocess.Popen(['sleep', '50'], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "def app(environ, start_response): ...\n"
    )
    try:
        result = check(tmp_path, "shop:app")
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert (result.returncode, result.stdout) == (0, "ok\n")


def test_a_pipe_that_stays_open_is_no_verdict(tmp_path: Path) -> None:
    """The process is gone without one, and its child, which holds the pipe, must not be waited for."""
    pid_file = tmp_path / "pid"
    (tmp_path / "shop.py").write_text(
        "import os, subprocess\n"
        "child = subprocess.Popen(['sleep', '50'], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "os._exit(0)\n"
    )
    try:
        result = check(tmp_path, "shop:app")
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert (result.returncode, result.stdout) == (4, "")


@pytest.mark.slow
def test_an_import_that_hangs_is_ended(tmp_path: Path) -> None:
    """After boot_timeout, as a worker would be."""
    (tmp_path / "shop.py").write_text("import threading\nthreading.Event().wait()\n")
    result = check(tmp_path, "shop:app", "--boot-timeout", "1")
    assert result.returncode == 4
    assert "was still importing after workers.boot_timeout (1 s)" in result.stderr


def test_the_application_finds_what_a_worker_would_give_it(tmp_path: Path) -> None:
    """Directory, sys.path and variables; and the click that lies there, not ours."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "click.py").write_text("MINE = True\n")
    (tmp_path / "app" / "shop.py").write_text(
        "import os, sys, click\n"
        "assert click.MINE and os.environ['KEY'] == 'secret'\n"
        "assert os.getcwd() == sys.path[0] == os.environ['PWD']\n"
        "assert b'secret' not in open('/proc/self/cmdline', 'rb').read()\n"
        "def app(environ, start_response): ...\n"
    )
    result = check(tmp_path, "--chdir", "app", "-e", "KEY=secret", "shop")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_configuration_comes_first(tmp_path: Path) -> None:
    """With status 2; an application that is not asked for is not imported."""
    (tmp_path / "shop.py").write_text("print('imported')\n")
    (tmp_path / "server.toml").write_text("[workers]\ncount = 0\ntype = 'fibers'\n")
    result = check(tmp_path, "shop:app")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("pyfork: error: server.toml: workers.count must be a whole number")
    assert "imported" not in result.stderr


def test_configurations_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a directory, no TOML, no UTF-8: each with its sentence and status 2."""
    (tmp_path / "bad.toml").write_text("[server]\nbind = [\n")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    for file, words in {
        "gone.toml": "there is no such configuration file",
        ".": "this is a directory",
        "bad.toml": "line 3, column 1: not valid TOML",
        "latin.toml": "line 1, column 3: not UTF-8",
    }.items():
        result = check(tmp_path, "-c", file, "shop:app")
        assert result.returncode == 2
        assert words in result.stderr


def test_the_arbiter_imports_no_more_than_it_needs() -> None:
    """What only a question needs (the TOML writer, another interpreter) or few have (`log.config`) is not in it."""
    needless = ("tomlkit", "toml", "subprocess", "logging.config", "pickle", "ssl", "asyncio", "psutil", "gevent")
    needless += ("pyfork.static",)
    program = (
        f"import sys, pyfork.cli.command, pyfork.workers.selector; print([n for n in {needless} if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout == "[]\n"
