"""A real pyfork for the tests: a real arbiter, real signals, real sockets.

The test binds the socket and passes it in by LISTEN_FDS, so there is no race for a port, and a connection can be made
before the first worker is ready: it waits in the queue. Each server has a session of its own, by which leftovers are
found; at the end nothing of it may live (`guardian`), and its error log may hold no error that the test did not expect.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Self

import tomlkit

from tests.guardian import guardian, processes_of_session

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_apps"
PATIENCE = 30.0
"""Seconds that a condition may take on a loaded machine before a test fails."""

# Becomes the arbiter with the socket as descriptor 3, as systemd does it (LISTEN_PID is the pid of the receiver).
_PASS_SOCKET = """
import os, sys
fd = int(sys.argv[1])
if fd == 3:
    os.set_inheritable(3, True)
elif fd > 0:
    os.dup2(fd, 3)
    os.close(fd)
if fd > 0:
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "1"
os.execv(sys.argv[2], sys.argv[2:])
"""


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Return the first true value of ``condition``; fail when there is none in time."""
    deadline = monotonic() + patience
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}")
        pause.wait(0.01)


@dataclass(frozen=True)
class Response:
    """What came back on a connection, cut up without mercy for anything that is not HTTP."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the only header called ``name``."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


def parse_response(octets: bytes, *, is_head: bool = False) -> tuple[Response, bytes]:
    """Return the first response in ``octets`` and what follows it; close-delimited bodies take all the rest."""
    head, separator, rest = octets.partition(b"\r\n\r\n")
    assert separator, f"no whole response: {octets[:200]!r}"
    lines = head.decode("latin-1").split("\r\n")
    version, status, reason = [*lines[0].split(" ", 2), ""][:3]
    assert version in {"HTTP/1.1", "HTTP/1.0"}, lines[0]
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    found = {name.lower(): value for name, value in headers}
    if is_head or int(status) in {204, 304} or int(status) < 200:
        body = b""
    elif "chunked" in found.get("transfer-encoding", ""):
        body, rest = _dechunk(rest)
    elif "content-length" in found:
        length = int(found["content-length"])
        assert len(rest) >= length, f"the body has {len(rest)} of {length} octets"
        body, rest = rest[:length], rest[length:]
    else:
        body, rest = rest, b""
    return Response(int(status), reason, headers, body), rest


def _dechunk(octets: bytes) -> tuple[bytes, bytes]:
    body = bytearray()
    position = 0
    while True:
        end = octets.find(b"\r\n", position)
        assert end >= 0, "the chunked body has no end"
        length = int(octets[position:end], 16)
        position = end + 2 + length
        assert octets[position : position + 2] == b"\r\n", (
            "a chunk has no end" if length else "the last chunk has no end"
        )
        body += octets[end + 2 : position]
        position += 2
        if length == 0:
            return bytes(body), octets[position:]


def read_all(connection: socket.socket) -> bytes:
    """Read until the peer closes."""
    octets = bytearray()  # bytes would be copied at each addition: half a minute for 20 MB in small pieces
    while received := connection.recv(65536):
        octets += received
    return bytes(octets)


_reserved: list[socket.socket] = []


def reserve_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    """Return a port of 127.0.0.1 or ::1 that the kernel chooses for nobody else while this process lives.

    It stays bound, without listening, so a server can bind it too (SO_REUSEADDR, socket(7)). A port that was chosen and
    let go again may be somebody else's by the time the server binds it: another test's, or any client's.
    """
    holder = socket.socket(family)
    _reserved.append(holder)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    port: int = holder.getsockname()[1]
    return port


def title_of(pid: int) -> str:
    """Return the title of a process, "" when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


class Server:
    """One pyfork.

    Args:
        directory: of its own (tmp_path): configuration, logs.
        app: what to serve, relative to ``cwd``.
        settings: tables of server.toml, laid over the defaults of the tests.
        arguments: more of the command line.
        environ: more environment variables.
        cwd: sample_apps by default.
        bind: None passes a socket in by LISTEN_FDS; otherwise the value of server.bind.
        prefix: a command that starts the arbiter (strace, setpriv).
    """

    def __init__(
        self,
        directory: Path,
        app: str | None = "hello:app",
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        cwd: Path | str = SAMPLES,
        bind: list[str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.log_path = directory / "error.log"
        self.config_path = directory / "server.toml"
        self.output_path = directory / "output.txt"
        self._app = app
        self._arguments = [*arguments]
        self._cwd = str(cwd)
        self._prefix = [*prefix]
        # No bytecode of applications: a test may change one twice within a second, which its date would not tell.
        self._environ = {**os.environ, "PWD": str(cwd), "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})}
        for name in ("WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "LISTEN_PID", "LISTEN_FDS"):
            self._environ.pop(name, None)
        self._environ.update(environ or {})
        self.listener: socket.socket | None = None
        self.port = 0
        if bind is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
            self.port = self.listener.getsockname()[1]
        tables: dict[str, dict[str, Any]] = {
            "server": {},
            "workers": {},
            "http": {},
            "log": {"error": str(self.log_path)},
        }
        if app is not None:
            tables["server"]["app"] = app
        if bind is not None:
            tables["server"]["bind"] = bind
        self.tables = tables
        self.configure(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._successor: int | None = None
        self.expected_errors: list[str] = []
        self._page = 0
        self._is_ending = False

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Write server.toml anew, with ``settings`` laid over what it held."""
        for table, values in settings.items():
            self.tables.setdefault(table, {}).update(values)
        text = tomlkit.dumps({name: table for name, table in self.tables.items() if table})
        new = self.config_path.with_name(f"{self.config_path.name}.tmp")
        new.write_text(text)
        new.replace(self.config_path)  # whoever watches it reads no half of it

    # Life.

    def start(self) -> Self:
        """Start it; connections may be made at once."""
        fd = self.listener.fileno() if self.listener else 0
        command = [
            sys.executable, "-I", "-S", "-c", _PASS_SOCKET, str(fd),
            *(self._prefix or []),
            sys.executable, "-m", "pyfork", "-c", str(self.config_path), *self._arguments,
        ]  # fmt: skip
        if self._prefix:
            command[6] = shutil.which(self._prefix[0]) or self._prefix[0]
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self._cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(fd,) if fd else (),
                start_new_session=True,
            )
        guardian.watch(self.session)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                self.stop()
                self.check_log()
        finally:
            self.kill()
            if self.listener is not None:
                self.listener.close()
            if error is not None:
                print(f"--- output\n{self.output}\n--- error log\n{self.log}")

    def successor(self) -> int:
        """Wait until USR2 has replaced the arbiter and the old one has ended; be that new one's from now on."""
        assert self.process is not None
        old = self.pid

        def found() -> int | None:
            pids = processes_of_session(self.session)
            arbiters = [pid for pid in pids if title_of(pid).startswith("pyfork: arbiter [")]
            return arbiters[0] if old not in pids and len(arbiters) == 1 else None

        self._successor = wait_until(found, f"a new arbiter has replaced pid {old}: {self.titles()}")
        assert self.process.wait(PATIENCE) == 0
        return self.pid

    def stop(self, patience: float = PATIENCE) -> int:
        """TERM it, wait for its end, check that nothing is left, and return its exit status."""
        assert self.process is not None
        has_ended = not (self.is_running or self._is_ending)
        self.begin_to_stop()
        if self._successor is not None and not has_ended:
            wait_until(lambda: not processes_of_session(self.session), "all processes have ended", patience)
            assert "stopped (exit status 0)" in self.log.splitlines()[-1], self.log
        status = self.wait(patience)
        assert status == 0, f"exit status {status}\n{self.output}\n{self.log}"
        return status

    def begin_to_stop(self) -> None:
        """TERM it, once: `stop` does the rest. So several may end side by side."""
        if self.is_running and not self._is_ending:
            self._is_ending = True
            self.signal("TERM")

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the arbiter's end, check that no process of it lives, and return its exit status."""
        assert self.process is not None
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended after {patience} s: {self.titles()}\n{self.output}\n{self.log}") from None
        # Less than the 30 s (workers.graceful_timeout) after which the kernel ends who has not seen the arbiter's end.
        wait_until(lambda: not processes_of_session(self.process.pid), "all processes have ended", PATIENCE / 2)
        return status

    def kill(self) -> None:
        """SIGKILL whatever is left of it."""
        if self.process is not None:
            for pid in processes_of_session(self.session):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            guardian.forget(self.session)

    def signal(self, name: str) -> None:
        """Send a signal to the arbiter, "HUP" for example."""
        assert self.process is not None
        if self._successor is not None:
            os.kill(self._successor, signal.Signals[f"SIG{name}"])
        else:
            self.process.send_signal(signal.Signals[f"SIG{name}"])

    @property
    def pid(self) -> int:
        """The arbiter's pid."""
        return self._successor or self.session

    @property
    def session(self) -> int:
        """The session of all its processes: the pid of the first arbiter."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the arbiter that was started, or the one that has replaced it, lives."""
        if self._successor is not None:
            return self._successor in processes_of_session(self.session)
        return self.process is not None and self.process.poll() is None

    def workers(self) -> list[int]:
        """Return the pids of the living workers."""
        return [pid for pid in processes_of_session(self.session) if title_of(pid).startswith("pyfork: worker")]

    def titles(self) -> list[str]:
        """Return the titles of all its processes."""
        return sorted(title_of(pid) for pid in processes_of_session(self.session))

    def wait_workers(self, count: int, generation: int | None = None) -> list[int]:
        """Wait until exactly ``count`` workers (of ``generation``) live and serve, and return their pids."""
        mark = f" gen {generation} " if generation else " gen "

        def serving() -> list[int] | None:
            pids = self.workers()
            titles = [title_of(pid) for pid in pids]
            good = [title for title in titles if mark in title and "booting" not in title]
            return pids if len(good) == len(titles) == count else None

        found: list[int] = wait_until(serving, f"{count} workers of generation {generation}: {self.titles()}")
        return found

    # Logs.

    @property
    def log(self) -> str:
        """The error log, from where `turn_page` was called last."""
        return self._whole_log()[self._page :]

    def turn_page(self) -> None:
        """Let the log begin here: what another test has had a shared server write is none of this one's."""
        self._page = len(self._whole_log())

    def _whole_log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def output(self) -> str:
        """Standard output and standard error."""
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    def wait_log(self, pattern: str, patience: float = PATIENCE, count: int = 1) -> re.Match[str]:
        """Wait until the error log has ``count`` matches of ``pattern``; return the last one."""

        def found() -> re.Match[str] | None:
            matches = list(re.finditer(pattern, self.log))
            return matches[count - 1] if len(matches) >= count else None

        try:
            return wait_until(found, f"a log line {pattern!r}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}\n{self.log}") from None

    def expect_errors(self, *patterns: str) -> None:
        """Say that error lines matching ``patterns`` belong to the test."""
        self.expected_errors += patterns

    def check_log(self) -> None:
        """Fail if the error log has an error or a SIGKILL that nobody expected."""
        log = self._whole_log()
        for line in log.splitlines():
            if re.search(r"\[(ERROR|CRITICAL)\]|SIGKILL", line) and not any(
                re.search(pattern, line) for pattern in self.expected_errors
            ):
                raise AssertionError(f"an unexpected error in the log: {line}\n{log}")

    # Clients.

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def exchange(self, octets: bytes, timeout: float = PATIENCE) -> bytes:
        """Send ``octets`` and return all that comes until the server closes."""
        with self.connect(timeout) as connection:
            connection.sendall(octets)
            return read_all(connection)

    def get(self, path: str = "/", *, method: str = "GET", headers: str = "", body: bytes = b"") -> Response:
        """Send one request and return its response."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{length}{headers}\r\n".encode("latin-1")
        return parse_response(self.exchange(head + body), is_head=method == "HEAD")[0]


@contextlib.contextmanager
def running(*arguments: Any, **keywords: Any) -> Iterator[Server]:
    """Be a server for the length of a ``with`` block."""
    with Server(*arguments, **keywords) as server:
        yield server
