"""What pyfork tells systemd, as octets: one datagram of ``NAME=value`` lines for each notice; sd_notify(3). Pure.

systemd reads at most 4 096 octets of a datagram, and each line is an assignment, whatever it says: so a value is made
one line here, printable and short, however long the traceback is that it comes from.
"""

import math
from collections.abc import Mapping

from msgspec import Struct

from pyfork.arbiter.figures import Look, Work
from pyfork.arbiter.lifecycle import ArbiterState, WorkerState
from pyfork.ipc.messages import Listener

LONGEST_STATUS = 400
"""Characters; four octets each at most, so the whole datagram is far below what systemd reads."""
LONGEST_NAME = 255
"""Characters of the name of a stored descriptor; sd_pid_notify_with_fds(3)."""
STORE_PREFIX = "pyfork-"
"""Our descriptors' names begin with it: those of socket units are called as their unit or as it says."""
RATE_SPAN = 5.0
"""Seconds: over less than that, requests per second say nothing."""

_SERVING = frozenset({WorkerState.READY, WorkerState.DRAINING, WorkerState.STUCK})


class Notice(Struct, frozen=True):
    """One datagram.

    Attributes:
        payload: the lines.
        is_passing: another of its kind follows soon, so it may be lost when systemd's queue is full.
    """

    payload: bytes
    is_passing: bool = False


def encode(*assignments: tuple[str, str | int]) -> bytes:
    """Return the lines of a datagram."""
    return "\n".join(f"{name}={_as_line(str(value))}" for name, value in assignments).encode("utf-8", "replace")


def microseconds(seconds: float) -> int:
    """Return ``seconds`` in systemd's unit, never less."""
    return math.ceil(seconds * 1_000_000)


def store_name(listener: Listener) -> str:
    """Return the name under which systemd keeps the socket of ``listener``; it tells the address apart from others.

    sd_pid_notify_with_fds(3): ASCII without control characters and ":", which is written %3A, and at most 255 of them:
    a long path of strange octets is written in hexadecimal, whole.
    """
    place = listener.host if listener.family == "unix" else f"{listener.host}:{listener.port}"
    octets = place.encode("utf-8", "surrogateescape")
    name = f"{STORE_PREFIX}{listener.family}-{''.join(map(_as_safe, octets))}"
    return name if len(name) <= LONGEST_NAME else f"{STORE_PREFIX}{listener.family}-hex-{octets.hex()}"


def describe(look: Look, rate: float) -> str:
    """Return the live figures: workers ready and busy, requests per second."""
    statistics = look.statistics
    workers = statistics.workers
    ready = sum(worker.state is WorkerState.READY for worker in workers)
    serving = [look.work.get(worker.pid) for worker in workers if worker.pid is not None and worker.state in _SERVING]
    busy = sum(work is not None and work.in_flight > 0 for work in serving)
    if statistics.state is ArbiterState.STOPPING:
        return f"stopping: {len(workers)} worker{'s' * (len(workers) != 1)} left, {busy} busy"
    figures = f"{ready} of {statistics.wanted} workers ready, {busy} busy, {rate:.1f} requests/s"
    if statistics.is_drained:
        return f"drained by WINCH: {figures}"
    return figures if statistics.state is ArbiterState.RUNNING else f"{statistics.state.value}: {figures}"


class Throughput:
    """Requests per second, from what the living workers have counted.

    A worker's count ends with it: what it answered after the last look at it is not in the figure.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._seen: Mapping[int, Work] = {}
        self._since: float | None = None

    def measure(self, work: Mapping[int, Work], now: float) -> float:
        """Return the present figure; it is made anew when the last one is `RATE_SPAN` old."""
        if self._since is None:
            self._seen, self._since = work, now
        elif now - self._since >= RATE_SPAN:
            nothing = Work(0, 0)
            answered = sum(max(0, one.requests - self._seen.get(pid, nothing).requests) for pid, one in work.items())
            self.rate = answered / (now - self._since)
            self._seen, self._since = work, now
        return self.rate


def _as_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
    return line if len(line) <= LONGEST_STATUS else f"{line[: LONGEST_STATUS - 3]}..."


def _as_safe(octet: int) -> str:
    return chr(octet) if 0x20 <= octet < 0x7F and octet not in b":%" else f"%{octet:02X}"
