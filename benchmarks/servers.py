"""The servers under test: started on a core of their own, asked whether they answer right, measured, stopped."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import processes
from contestants import Contestant
from loads import Load

HERE = Path(__file__).resolve().parent
BOOT_SECONDS = 20
STOP_SECONDS = 10
ANSWER_SECONDS = 10


class ServerError(Exception):
    """A server does not start, or does not answer as it should; the message says how."""


class RunningServer:
    """A started server.

    Args:
        contestant: which.
        load: what it is to serve.
        prefix: what pins it to its core.
    """

    def __init__(self, contestant: Contestant, load: Load, prefix: Sequence[str]) -> None:
        self.contestant = contestant
        self.name = contestant.name
        self.load = load
        self.port = find_free_port()
        self._log = tempfile.NamedTemporaryFile(prefix="bench-access-")  # noqa: SIM115 (stop() closes it)
        self._output = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (stop() closes it)
        extra = contestant.idle_arguments or () if load.name == "idle" else ()
        self.command = fill_in(
            (*contestant.arguments, *extra),
            prefix,
            port=str(self.port),
            app=load.app,
            threads=str(load.threads),
            log=self._log.name,
        )
        self._process = subprocess.Popen(
            self.command, cwd=load.folder, stdout=self._output, stderr=self._output, start_new_session=True
        )

    @property
    def url(self) -> str:
        """What is asked for."""
        return f"http://127.0.0.1:{self.port}{self.load.path}"

    def wait_ready(self) -> None:
        """Return when it accepts connections.

        Raises:
            ServerError: it does not within the time for booting; the message has what it printed.
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise ServerError(f"does not start: {self.last_words()}")

    def validate(self) -> None:
        """Ask once, and return when the answer is right.

        Raises:
            ServerError: it is not; the message says what came.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST" if self.load.body else "GET", self.load.path, self.load.body or None)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"does not answer: {error!r}; {self.last_words()}") from error
        finally:
            connection.close()
        if response.status != 200 or not self._is_right(body):
            raise ServerError(f"gives a wrong answer: {response.status} {body[:60]!r}")

    def _is_right(self, body: bytes) -> bool:
        try:
            return self.load.is_right(body)
        except (ValueError, KeyError, TypeError):  # no JSON, or another one
            return False

    def last_words(self) -> str:
        """Return the last error that it printed, or its last line."""
        self._output.seek(0)
        lines = [line.strip() for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line]
        return (errors or lines or ["it printed nothing"])[-1][-300:]

    def pids(self) -> list[int]:
        """Return its processes."""
        return processes.session_pids(self._process.pid)

    def stop(self) -> None:
        """End it: TERM, and KILL for whatever is left of it after a while."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        self._log.close()


def fill_in(arguments: Sequence[str], prefix: Sequence[str], **values: str) -> list[str]:
    """Return a whole command line; ``values`` are its port, app, threads and log."""
    scripts = str(Path(sys.executable).parent)
    places = {"scripts": scripts, "venv": sys.prefix, "here": str(HERE), **values}
    return [*prefix, *(argument.format_map(places) for argument in arguments)]


def find_free_port() -> int:
    """Return a port that the kernel has just given and taken back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
