"""Whoever interrupts the tests, even by SIGKILL, leaves none of their servers behind.

A process of its own, which runs this file, reads by a pipe which sessions there are; the pipe ends when the tests do,
however that comes about. What is still noted then is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def processes_of_session(session: int) -> list[int]:
    """Return the pids whose session is ``session``, zombies left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                state, _, _, sid = Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split(" ", 4)[:4]
                if int(sid) == session and state != "Z":
                    found.append(int(entry))
    return found


class Guardian:
    """Started with the first session that is noted."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def watch(self, session: int) -> None:
        """Kill the processes of a session when this process ends before `forget`."""
        self._tell(f"+{session}\n")

    def forget(self, session: int) -> None:
        """Let go of a session: nothing of it lives."""
        self._tell(f"-{session}\n")

    def _tell(self, line: str) -> None:
        if self._process is None:
            # A session of its own: what Ctrl+C sends to the tests is not for it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


guardian = Guardian()
"""Of this process, which is one of pytest's workers, or pytest itself."""


def _guard(lines: Iterable[str]) -> None:
    """Read what `Guardian` tells to its end, and kill what is left, until there is none: one that forks may be missed."""
    sessions: set[int] = set()
    for line in lines:
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    for session in sessions:
        while found := processes_of_session(session):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _guard(sys.stdin)
