"""``--check-config``: whether the application can be imported, found out in a process of its own."""

import os
import signal
import sys
from typing import TYPE_CHECKING

from msgspec import json

from pyfork.config.schema import Settings
from pyfork.errors import ApplicationLoadError
from pyfork.ipc.exits import ExitStatus

if TYPE_CHECKING:
    import subprocess

_START = "import sys; sys.path[:] = sys.argv[2:]; from pyfork.cli import scratch; scratch.main(int(sys.argv[1]))"


def try_application(settings: Settings) -> int:
    """Import the application, and a worker class of the user's own, as a worker would.

    Returns:
        The exit status: OK, CONFIGURATION or APPLICATION.

    What is wrong is on standard error by then, and so is what the application prints, traceback first.

    Raises:
        ApplicationLoadError: the process ended, or had to be ended after ``boot_timeout``, before it could tell.
    """
    import subprocess  # noqa: PLC0415 (kept out of the arbiter, which never asks)

    reading, writing = os.pipe()
    try:
        command = [sys.executable, "-P", "-c", _START, str(writing), *sys.path]
        process = subprocess.Popen(  # noqa: S603 (our own interpreter)
            command, pass_fds=(writing,), stdin=subprocess.PIPE, stdout=sys.stderr.fileno()
        )
        os.close(writing)
        ended = _wait(process, json.encode(settings), settings.workers.boot_timeout or None)
        verdict = _read_verdict(reading)
    finally:
        os.close(reading)
    if verdict is not None:
        return verdict
    app, worker_type = settings.server.app, settings.workers.type
    what = f"the worker class {worker_type!r}" if app is None else f"the application {app!r}"
    raise ApplicationLoadError(f"{what} cannot be imported: its process {ended}")


def _wait(process: "subprocess.Popen[bytes]", settings: bytes, timeout: float | None) -> str:
    """Give the process its settings, wait at most ``timeout`` seconds for its end, and say how it ended."""
    from subprocess import TimeoutExpired  # noqa: PLC0415 (as above)

    try:
        process.communicate(settings, timeout)
    except TimeoutExpired:
        process.kill()
        process.wait()
        return f"was still importing after workers.boot_timeout ({timeout:g} s)"
    except BaseException:
        process.kill()
        process.wait()
        raise
    status = process.returncode
    if status >= 0:
        return f"ended by itself with status {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-status, f'signal {-status}')}"


def _read_verdict(fd: int) -> int | None:
    """Return the status that the scratch process wrote, None when it wrote none.

    The read must not wait: a grandchild may still hold the pipe's other end.
    """
    os.set_blocking(fd, False)
    try:
        octet = os.read(fd, 1)
    except BlockingIOError:
        return None
    return ExitStatus(octet[0]) if octet else None
