"""Whoever interrupts the tests, even by SIGKILL, leaves none of their servers behind.

A process of its own reads by a pipe which sessions there are; the pipe ends when the tests do, however that comes about.
What is still noted then is killed.
"""

import subprocess
import sys

# Lines: "+" and a session that has begun, "-" and one that is over. A session's processes are looked for until there are
# none: one that forks may be seen too late.
_PROGRAM = r"""
import os, signal, sys

def processes_of(session):
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                state, _, _, sid = file.read().rpartition(") ")[2].split(" ", 4)[:4]
        except OSError:
            continue
        if int(sid) == session and state not in "ZX":
            yield int(entry)

sessions = set()
for line in sys.stdin:
    (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
for session in sessions:
    while found := [*processes_of(session)]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
"""


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
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
            # A session of its own: what Ctrl+C sends to the tests is not for it.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()


guardian = Guardian()
"""Of this process, which is one of pytest's workers, or pytest itself."""
