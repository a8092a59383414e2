"""A server on loopback for the length of a block, as the leader of a session of its own: memory, respawn, arbiter."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import processes
from servers import find_free_port

APPS = Path(__file__).resolve().parent / "apps"
BOOT_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02


class LaunchError(Exception):
    """A server does not start, or does not get to where it should; the message says what it printed last."""


@dataclass(frozen=True)
class Launched:
    """A server that runs.

    Attributes:
        process: the one that was started: the arbiter, or gunicorn's.
        port: where it listens.
        output: all that it prints.
    """

    process: subprocess.Popen[bytes]
    port: int
    output: IO[bytes]

    @property
    def pid(self) -> int:
        """The arbiter's."""
        return self.process.pid

    def pids(self) -> list[int]:
        """Return all its processes, itself too."""
        return processes.session_pids(self.pid)

    def children(self) -> list[int]:
        """Return all its processes but itself."""
        return [pid for pid in self.pids() if pid != self.pid]

    def last_words(self) -> str:
        """Return the last line that it printed."""
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "it printed nothing"

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = BOOT_SECONDS) -> None:
        """Return when ``condition()`` is true.

        Raises:
            LaunchError: it does not become true in time, or the server has ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise LaunchError(f"{what}: the server has ended; {self.last_words()}")
            if time.monotonic() > deadline:
                raise LaunchError(f"{what}: not within {seconds:g} s; {self.last_words()}")
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def launched(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Iterator[Launched]:
    """Run a server in the folder of the benchmarks' applications until the end of the block.

    Args:
        command: its command line; ``{port}`` is filled in.
        variables: added to its environment.
    """
    port = find_free_port()
    line = [argument.format_map({"port": str(port)}) for argument in command]
    environment = {**os.environ, **(variables or {})}
    with tempfile.TemporaryFile("w+b") as output:
        process = subprocess.Popen(
            line,
            cwd=APPS,
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Launched(process, port, output)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM, and KILL for whatever is left of the session after a while."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for pid in processes.session_pids(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
