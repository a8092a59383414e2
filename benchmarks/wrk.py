"""wrk, the load generator: its command line and its report.

wrk takes whole seconds only, so it is told to run for long and interrupted when its time is over; it then reports as
usual. Its latencies are those of a closed loop: each connection sends its next request when it has its answer.
"""

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loads import PATIENCE_SECONDS, Load

HERE = Path(__file__).resolve().parent
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Report:
    """What one run of wrk did; latencies in milliseconds."""

    requests: int
    errors: int
    p50: float
    p99: float
    seconds: float


def command(load: Load, url: str) -> list[str]:
    """Return the command line for a load."""
    headers = [part for header in load.headers for part in ("-H", header)]
    script = ["-s", str(HERE / load.script)] if load.script else []
    options = ["-t", "1", "-c", str(load.connections), "-d", f"{LONGEST_SECONDS}s"]
    return ["wrk", *options, "--timeout", f"{PATIENCE_SECONDS}s", "--latency", *script, *headers, url]


def run(load: Load, url: str, seconds: float, *, is_closing: bool) -> Report:
    """Make load for ``seconds`` and return what came of it.

    Raises:
        ValueError: wrk gave no report; the message has what it said.
    """
    with subprocess.Popen(
        command(load, url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        try:
            text, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=PATIENCE_SECONDS + 10)
        finally:
            process.kill()
    return parse(text, is_closing=is_closing)


def parse(text: str, *, is_closing: bool = False) -> Report:
    """Read wrk's report.

    Args:
        text: the report.
        is_closing: the server closes each connection without announcing it, which wrk counts as one read error a
            request: those are not counted here.

    Raises:
        ValueError: this is no report.
    """
    total = re.search(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text, re.MULTILINE)
    if total is None:
        raise ValueError(f"this is no report of wrk's:\n{text}")
    requests = int(total[1])
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    connect, read, write, timeout = map(int, socket_errors.groups()) if socket_errors else (0, 0, 0, 0)
    if is_closing:
        read = max(0, read - requests)
    bad_statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = connect + read + write + timeout + (int(bad_statuses[1]) if bad_statuses else 0)
    return Report(requests, errors, _percentile(text, 50), _percentile(text, 99), _seconds(total[2], total[3]))


def _percentile(text: str, percent: int) -> float:
    """Return a line of the latency distribution, in milliseconds; 0 when nothing was answered."""
    match = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s|m|h)\s*$", text, re.MULTILINE)
    return _seconds(match[1], match[2]) * 1000 if match else 0.0


def _seconds(number: str, unit: str) -> float:
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]
