"""Runs a pyfork whose log becomes a sequence diagram; the application waits at gates, so that the order is known."""

import errno
import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 60.0

IMPORT_GATE = "import_gate"
REQUEST_GATES = {"/report": "report_gate", "/invoice": "invoice_gate"}
"""Fifos: who opens one for reading waits for whoever opens it for writing."""
APPLICATION = f"""
GATES = {REQUEST_GATES}

def app(environ, start_response):
    gate = GATES.get(environ["PATH_INFO"])
    if gate:
        print("begins:", environ["REQUEST_METHOD"], environ["PATH_INFO"], file=environ["wsgi.errors"], flush=True)
        open(gate).close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""
CONFIGURATION = """
[server]
app = "site1:app"
bind = ["unix:socket"]
[workers]
count = {count}
{more}
[log]
level = "debug"
error = "log"
access = "log"
format = 'answered: %(p)s "%(r)s" %(s)s'
"""


class Run:
    """One pyfork in a directory of its own.

    Args:
        directory: an empty one.
        count: of workers.
        more: settings of the workers, lines of server.toml.
    """

    def __init__(self, directory: Path, count: int, more: str = "") -> None:
        self.directory = directory
        for gate in (IMPORT_GATE, *REQUEST_GATES.values()):
            os.mkfifo(directory / gate)
        (directory / "server.toml").write_text(CONFIGURATION.format(count=count, more=more), encoding="utf-8")
        self.save(APPLICATION)
        command = [sys.executable, "-m", "pyfork", "-c", "server.toml"]
        environ = {**os.environ, "PWD": str(directory)}
        self._process = subprocess.Popen(command, cwd=directory, env=environ, process_group=0)  # noqa: S603 (our own interpreter and module)
        try:
            self.wait(r"worker \d+ gen 1 .* is ready", count)
        except BaseException:
            self.kill()
            raise
        self.begin()

    @property
    def log(self) -> str:
        """All of it."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def begin(self) -> None:
        """Have the diagram begin here."""
        self._begin = len(self.log)

    def save(self, code: str, *, is_gated: bool = False) -> None:
        """Write the application; with a gate its import waits for `open_gate`."""
        text = (f"open({IMPORT_GATE!r}).close()\n" if is_gated else "") + code
        (self.directory / "site1.py").write_text(text, encoding="utf-8")

    def open_gate(self, name: str) -> None:
        """Let whoever waits at the gate, or comes to it next, go on."""

        def is_opened() -> bool:
            try:
                os.close(os.open(self.directory / name, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody has it open for reading
                    raise
                return False
            return True

        self._wait_until(is_opened, f"nobody comes to {name}")

    def order(self, name: str) -> None:
        """Send the arbiter a signal, "HUP" for example."""
        self._process.send_signal(signal.Signals[f"SIG{name}"])

    def get(self, path: str) -> None:
        """Send a request, read its answer, and wait until the log has it."""
        answered = f'answered: .* "GET {path} '
        before = len(re.findall(answered, self.log))
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.directory / "socket"))
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()
        self.wait(answered, before + 1)

    @contextmanager
    def in_flight(self, path: str) -> Iterator[None]:
        """Have a request, to one of `REQUEST_GATES`, in flight for the length of a ``with`` block."""
        client = threading.Thread(target=self.get, args=(path,), daemon=True)
        client.start()
        self.wait(f"begins: GET {path}")
        yield
        self.open_gate(REQUEST_GATES[path])
        client.join(PATIENCE)

    def wait(self, words: str, count: int = 1) -> None:
        """Wait until the log has said ``words`` so often."""
        self._wait_until(
            lambda: len(re.findall(words, self.log)) >= count, f"the log does not say {words!r} {count} times"
        )

    def _wait_until(self, is_so: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > deadline or self._process.poll() not in {None, 0}:
                raise RuntimeError(f"{complaint}:\n{self.log}")
            time.sleep(0.02)

    def finish(self) -> tuple[str, str]:
        """End pyfork if it runs; return what was logged before the diagram begins, and from then until now."""
        log = self.log
        self._process.terminate()
        if self._process.wait(PATIENCE) != 0:
            raise RuntimeError(f"pyfork has failed:\n{self.log}")
        for pid in re.findall(r"upgrade: the new arbiter \(pid (\d+)\) is ready", log):
            self._end_successor(int(pid))
        return log[: self._begin], log[self._begin :]

    def _end_successor(self, pid: int) -> None:
        """End the arbiter that has replaced the one that was started here, which was its parent."""
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not select.select([process], [], [], PATIENCE)[0]:
                raise RuntimeError(f"the new arbiter does not end:\n{self.log}")
        finally:
            os.close(process)

    def kill(self) -> None:
        """Leave nothing behind when a scenario has failed: neither this arbiter nor one that was to replace it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
