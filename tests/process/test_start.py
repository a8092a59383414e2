"""The first start: what can go wrong, with which status, and that an idle server is idle."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from pyfork.ipc.messages import BEAT_INTERVAL
from tests import procfs
from tests.harness import PATIENCE, SAMPLES, Server, processes_of_session, title_of, wait_until
from tests.process.plants import plant_at

FAILING = {
    "import nothing_like_this\n": (4, "No module named 'nothing_like_this'"),
    "def broken(:\n": (4, "SyntaxError"),
    "x = 1\n": (4, "has neither 'application' nor 'app'"),
    "app = {}\n": (4, "is not callable"),
    "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute\n": (
        4,
        r"bad1.* Mute: \(its",
    ),
    "import sys; sys.exit(9)\n": (4, r"called sys.exit\(9\)"),
    "import os; os._exit(7)\n": (3, "7"),
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n": (3, "SIGSEGV"),
}


@pytest.mark.parametrize("source", FAILING)
def test_an_application_that_cannot_boot_ends_the_first_start(
    start: Callable[..., Server], tmp_path: Path, source: str
) -> None:
    """pyfork ends with 4 where the application cannot be imported and with 3 otherwise, after one clear message."""
    status, message = FAILING[source]
    (tmp_path / "bad1.py").write_text(source)
    server = start("bad1", cwd=tmp_path, settings={"workers": {"count": 3}})
    server.expect_errors(r"\[(ERROR|CRITICAL)\]", "SIGSEGV", "SIGKILL")
    assert server.wait() == status
    assert re.search(message, server.log), server.log
    assert server.log.count("Traceback") <= 1
    assert "pyfork/workers" not in server.log


# What fails to boot, and when it is told to end meanwhile: before its report, or from then on.
BEFORE_THE_REPORT = [
    ("workers/fork_hygiene.py:take_over_signals", "return"),
    ("workers/boot.py:introduce", "call"),
    ("workers/loader.py:_import_failed", "call"),
    ("workers/loader.py:user_traceback", "return"),
]
FROM_THE_REPORT_ON = [
    ("workers/boot.py:_report", "call"),
    ("ipc/messages.py:encode_report", "call"),
    ("ipc/heartbeat.py:report_failure", "call"),
    ("ipc/heartbeat.py:report_failure", "return"),
    ("workers/boot.py:boot", "return"),
    ("workers/boot.py:live", "return"),
    ("cli/serve.py:_become", "return"),
    ("cli/serve.py:serve", "return"),
    ("cli/command.py:main", "return"),
]
ORDERED = "[os.kill(os.getpid(), order) for order in (signal.SIGTERM, signal.SIGQUIT)]"


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize(("place", "what"), [*BEFORE_THE_REPORT, *FROM_THE_REPORT_ON])
def test_an_order_to_end_adds_nothing_to_a_failing_start(
    start: Callable[..., Server], tmp_path: Path, place: str, what: str, preload: bool
) -> None:
    """It comes to the workers beside one that could not boot, which are about to fail as well: one traceback is told."""
    is_told = (place, what) in FROM_THE_REPORT_ON
    (tmp_path / "bad2.py").write_text("import os\nos.environ['IMPORTED'] = '1'\nraise OSError('no database')\n")
    action = f"'IMPORTED' in os.environ and {ORDERED}" if is_told else ORDERED  # some places are the arbiter's as well
    environ = plant_at(tmp_path / "plant", place, action, what)
    server = start("bad2", cwd=tmp_path, environ=environ, settings={"workers": {"count": 2, "preload": preload}})
    server.expect_errors(r"\[CRITICAL\]")
    assert server.wait() == (4 if is_told else 3)
    said = server.log + server.output
    assert "QuitNow" not in said
    assert said.count("Traceback") == is_told, said
    assert "while it was ending" not in said
    assert "killed" not in said


UNTIL_THE_END = """
import atexit, os, signal, threading
def be_told():
    for order in (signal.SIGTERM, signal.SIGQUIT):
        os.kill(os.getpid(), order)
def outlive(main):
    main.join()
    be_told()
atexit.register(lambda: open(f"atexit-{os.getpid()}", "w").close())
atexit.register(be_told)
threading.Thread(target=outlive, args=[threading.main_thread()]).start()
class Last:
    def __del__(self, be_told=be_told):
        be_told()
sys = __import__("sys")
sys.modules["last"] = Last()
"""


@pytest.mark.parametrize("preload", [False, True])
def test_an_order_to_end_does_nothing_to_a_process_that_ends(
    start: Callable[..., Server], tmp_path: Path, preload: bool
) -> None:
    """Threads are waited for, ``atexit`` runs, modules are cleared, and Python has given its handlers back by then."""
    (tmp_path / "bad3.py").write_text(UNTIL_THE_END + "raise OSError('no database')\n")
    server = start("bad3", cwd=tmp_path, settings={"workers": {"count": 1, "preload": preload}})
    server.expect_errors(r"\[CRITICAL\]")
    assert server.wait() == 4
    said = server.log + server.output
    assert said.count("Traceback") == 1, said
    assert "QuitNow" not in said
    assert "ended by" not in said
    assert "exited with" not in said
    assert len(list(tmp_path.glob("atexit-*"))) == 1


def test_run_as_a_module_and_as_a_command() -> None:
    """`pyfork` and `python -m pyfork` are the same."""
    command = Path(sys.executable).parent / "pyfork"
    for call in ([str(command)], [sys.executable, "-m", "pyfork"]):
        result = subprocess.run([*call, "--version"], capture_output=True, text=True, timeout=PATIENCE)
        assert result.returncode == 0
        assert result.stdout.startswith("pyfork 0.")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_an_idle_arbiter_does_nothing_but_read_beats(start: Callable[..., Server], tmp_path: Path) -> None:
    """Two idle workers beat every 5 s each: the arbiter wakes for nothing else."""
    server = start(settings={"workers": {"count": 2}})
    server.wait_workers(2)
    server.wait_log("is ready", count=2)
    wait_until(lambda: procfs.state(server.pid) == "S", "the arbiter has done what that takes")
    began = monotonic()
    trace = tmp_path / "trace"
    strace = subprocess.Popen(
        ["strace", "-f", "-o", str(trace), "-p", str(server.pid)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert strace.stderr is not None
        if "attached" not in strace.stderr.readline():
            pytest.skip("strace may not attach here")
        threading.Event().wait(5.5)
    finally:
        strace.terminate()
        strace.communicate()
        took = monotonic() - began
    calls = [line for line in trace.read_text().splitlines() if "(" in line and "exited" not in line]
    reads = [line for line in calls if "read(" in line]
    assert 1 <= len([line for line in reads if '"."' in line]) <= 2 * (1 + took // BEAT_INTERVAL)
    assert len(calls) <= 4 * len(reads), calls


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare")
def test_as_pid_1_it_reaps_strangers_and_obeys_term(start: Callable[..., Server], tmp_path: Path) -> None:
    """In a pid namespace of its own the arbiter is pid 1: orphans of the application leave no zombies, TERM works."""
    (tmp_path / "daemons.py").write_text(
        "import os, subprocess\n"
        "def app(e, s):\n"
        "    s('200 OK', [])\n"
        "    if e['PATH_INFO'] == '/spawn':\n"
        "        subprocess.run(['sh', '-c', 'sleep 0.2 & sleep 0.2 &'])\n"
        "    states = [state(p) for p in os.listdir('/proc') if p.isdigit()]\n"
        "    return [(''.join(sorted(states)) + ' ' + str(os.getppid())).encode()]\n"
        "def state(p):\n"
        "    try:\n"
        "        return open(f'/proc/{p}/stat').read().rpartition(') ')[2][0]\n"
        "    except OSError:  # it has gone meanwhile\n"
        "        return ''\n"
    )
    probe = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here")
    port_server = start(
        "daemons:app", cwd=tmp_path, prefix=["unshare", "--pid", "--fork", "--mount-proc"], bind=[f"unix:{tmp_path}/s"]
    )

    def ask(path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/s")
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            octets = b""
            while received := client.recv(4096):
                octets += received
            return octets.partition(b"\r\n\r\n")[2]

    port_server.wait_log("listening")
    alone = len(ask("/"))
    assert ask("/spawn").endswith(b" 1")
    wait_until(lambda: len(ask("/")) == alone, "the orphans were reaped")
    arbiter = [pid for pid in processes_of_session(port_server.pid) if "pyfork: arbiter" in title_of(pid)]
    assert len(arbiter) == 1
    os.kill(arbiter[0], 15)
    assert port_server.wait() == 0


def test_threads_and_size_of_the_arbiter(start: Callable[..., Server]) -> None:
    """The arbiter has one thread and has not imported the application."""
    server = start("quotes:app", cwd=SAMPLES)
    server.wait_workers(1)
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert "Threads:\t1\n" in status
    assert "falcon" not in Path(f"/proc/{server.pid}/maps").read_text()


def limit_of(pid: int) -> int:
    """Return the soft limit of open files of a process."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open"))
    return int(line.split()[3])


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_descriptors_are_provided_for(start: Callable[..., Server]) -> None:
    """The soft limit is raised to what `connections` may need, also at a reload; a hard limit in the way is named."""
    settings = {"workers": {"type": "async", "connections": 500}}
    server = start(settings=settings, prefix=["prlimit", "--nofile=200:3000"])
    [worker] = server.wait_workers(1, 1)
    assert limit_of(server.pid) == limit_of(worker) == 3 * 500 + 1024 + 100
    assert "descriptors" not in server.log
    server.configure({"workers": {"connections": 5000}})
    server.signal("HUP")
    [worker] = server.wait_workers(1, 2)
    assert limit_of(worker) == 3000
    server.wait_log(r"workers.connections = 5000 .* need 5100 descriptors a process, and the hard limit .* allows 3000")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_descriptor_for_each_connection_is_enough_to_say_nothing(start: Callable[..., Server]) -> None:
    """Few connections send a file at any time: a hard limit that does not allow it for all is used up, and no more."""
    settings = {"workers": {"type": "async", "connections": 500}}
    server = start(settings=settings, prefix=["prlimit", "--nofile=200:600"])
    [worker] = server.wait_workers(1)
    assert limit_of(worker) == 600
    assert "descriptors" not in server.log


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
@pytest.mark.parametrize("worker_type", ["async", "threadpool"])
def test_every_client_may_download_a_file_slowly(
    start: Callable[..., Server], tmp_path: Path, worker_type: str
) -> None:
    """It takes three descriptors: the socket, the application's file, and ours of it."""
    (tmp_path / "files1.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return environ['wsgi.file_wrapper'](open('large', 'rb'))\n"
    )
    with (tmp_path / "large").open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    settings = {"workers": {"type": worker_type, "connections": 200}}
    server = start("files1:app", cwd=tmp_path, settings=settings, prefix=["prlimit", "--nofile=250:20000"])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert {client.recv(15) for client in clients} == {b"HTTP/1.1 200 OK"}


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_descriptors_are_provided_for_as_many_workers_as_there_may_be(start: Callable[..., Server]) -> None:
    """Not only for those that there are at first: the arbiter has three lines to each, and twice while it is replaced."""
    server = start(settings={"workers": {"max": 400}}, prefix=["prlimit", "--nofile=200:2400"])
    server.wait_workers(1)
    assert limit_of(server.pid) == 2400
    server.wait_log(r"workers.connections = 1 and 400 worker\(s\) need 2500 descriptors a process")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_sync_needs_few_descriptors(start: Callable[..., Server]) -> None:
    """It holds one connection, whatever `connections` says: no reason to warn."""
    server = start(prefix=["prlimit", "--nofile=200:200"])
    server.wait_workers(1)
    assert "descriptors" not in server.log
