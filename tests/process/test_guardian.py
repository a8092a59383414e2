"""Tests that are killed leave no server behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT, processes_of_session, wait_until

TESTS = """
import sys, time
from pathlib import Path
from tests.harness import Server

with Server(Path(sys.argv[1])) as over:
    over.wait_workers(1)
server = Server(Path(sys.argv[1]), settings={"workers": {"count": 2}}).start()
server.wait_workers(2)
print(over.session, server.session, flush=True)
time.sleep(60)
"""


def test_a_killed_run_leaves_no_process(tmp_path: Path) -> None:
    """By SIGKILL: neither fixtures nor `atexit` have their turn."""
    with subprocess.Popen([sys.executable, "-c", TESTS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        try:
            over, session = map(int, tests.stdout.readline().split())
            assert not processes_of_session(over)
            assert len(processes_of_session(session)) == 3
        finally:
            tests.send_signal(signal.SIGKILL)
    try:
        wait_until(lambda: not processes_of_session(session), "the arbiter and its workers are gone")
    finally:
        for pid in processes_of_session(session):
            os.kill(pid, signal.SIGKILL)
