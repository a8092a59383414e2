"""The servers under test: started on a core of their own, their CPU time read from /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "sample_apps"
BOOT_SECONDS = 20
STOP_SECONDS = 10


@dataclass(frozen=True)
class Contestant:
    """A server and the command line that starts it; ``{port}`` is filled in."""

    name: str
    arguments: Sequence[str]

    def command(self, prefix: Sequence[str], port: int) -> list[str]:
        """Return the whole command line."""
        return [*prefix, sys.executable, "-m", *(argument.format(port=port) for argument in self.arguments)]


def contestants(app: str) -> list[Contestant]:
    """Return pyfork and gunicorn, one sync worker each, no access log."""
    return [
        Contestant("pyfork sync", ("pyfork", "-b", "127.0.0.1:{port}", "-w", "1", "-k", "sync", app)),
        Contestant(
            "gunicorn sync",
            ("gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "-k", "sync", "--no-control-socket", app),
        ),
    ]


class RunningServer:
    """A started server.

    Args:
        contestant: which.
        prefix: what pins it to its core.
    """

    def __init__(self, contestant: Contestant, prefix: Sequence[str]) -> None:
        self.name = contestant.name
        self.port = find_free_port()
        self.command = contestant.command(prefix, self.port)
        self.output = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (stop() closes it)
        self.process = subprocess.Popen(
            self.command, cwd=SAMPLES, stdout=self.output, stderr=self.output, start_new_session=True
        )

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}/"

    def wait_ready(self) -> None:
        """Return when it accepts connections."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if client.recv(1):
                    return
            time.sleep(0.05)
        self.output.seek(0)
        raise RuntimeError(f"{self.name} does not serve:\n{self.output.read().decode(errors='replace')}")

    def cpu_seconds(self) -> float:
        """Return the user and system time of all its processes, the ended ones too."""
        return sum(read_cpu_ticks(pid) for pid in self._pids()) / os.sysconf("SC_CLK_TCK")

    def _pids(self) -> list[int]:
        """Return the processes of its session."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return [pid for pid in pids if read_session(pid) == self.process.pid]

    def stop(self) -> None:
        """End it: TERM, and KILL when that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.output.close()


def read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (proc(5) counts from 1), or [] when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def read_session(pid: int) -> int:
    """Return the session of a process, 0 when it has gone."""
    fields = read_stat(pid)
    return int(fields[3]) if fields else 0


def read_cpu_ticks(pid: int) -> int:
    """Return utime + stime + cutime + cstime of a process."""
    return sum(map(int, read_stat(pid)[11:15]))


def find_free_port() -> int:
    """Return a port that the kernel has just given and taken back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(chosen: Sequence[Contestant], prefix: Sequence[str]) -> Iterator[list[RunningServer]]:
    """Run all of them for the length of a ``with`` block; an idle one costs the other next to nothing."""
    servers: list[RunningServer] = []
    try:
        for contestant in chosen:
            servers.append(RunningServer(contestant, prefix))  # noqa: PERF401 (those started must be stopped)
        for server in servers:
            server.wait_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()
