"""The command as a shell runs it: its line is taken apart in a child, and nobody notices."""

import os
import re
import signal
import subprocess
import sys

PYFORK = (sys.executable, "-m", "pyfork")


def pyfork(*arguments, **keywords):
    """Run it to its end."""
    return subprocess.run([*PYFORK, *arguments], capture_output=True, text=True, timeout=30, check=False, **keywords)


def test_help_and_version_are_printed_once():
    """By the child; the parent has nothing to add."""
    run = pyfork("--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, "pyfork 0.1.0\n", "")
    run = pyfork("--help")
    assert (run.returncode, run.stdout.count("Usage: pyfork"), run.stderr) == (0, 1, "")


def test_an_unknown_flag():
    """One line, and the status that tells systemd not to try again."""
    run = pyfork("--nope")
    assert (run.returncode, run.stdout) == (2, "")
    assert re.fullmatch(
        r"pyfork: error: No such option.*--nope.* \(`pyfork --help` shows what there is\)\n", run.stderr
    )


def test_a_reader_that_has_seen_enough():
    """`pyfork --help | true`: no traceback, from neither process."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        run = subprocess.run(
            [*PYFORK, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    finally:
        os.close(writing)
    assert (run.returncode, run.stderr) == (1, "")


def test_a_parser_that_fails_tells_why(tmp_path):
    """As when the installation is broken: the traceback is the child's, the status says that it failed."""
    (tmp_path / "click.py").write_text("raise ImportError('a broken installation')\n")
    run = pyfork("app:app", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert run.returncode == 1
    assert run.stderr.count("\nImportError: a broken installation\n") == 1


def test_completion():
    """For each of the shells that click knows."""
    run = pyfork(env={**os.environ, "_PYFORK_COMPLETE": "bash_source"})
    assert run.returncode == 0
    assert "_pyfork_completion" in run.stdout


def test_where_children_are_not_waited_for():
    """Some supervisors start with SIGCHLD ignored, and that is inherited."""
    run = pyfork("--nope", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert run.returncode == 2


def test_a_closed_standard_output():
    """As of a daemon's: there is nothing to flush."""
    command = [*PYFORK, "--check-config", "nothing_here:app"]
    run = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, timeout=30, check=False, preexec_fn=lambda: os.close(1)
    )
    assert (run.returncode, "nothing_here" in run.stderr, "Traceback" in run.stderr) == (4, True, False)
