"""How busy the workers are, and how many connections wait: what scaling judges by. In the arbiter; decides nothing.

Costs one read of the scoreboard for each worker, one ``getsockopt`` for each TCP listener, and for types with a loop
one read of ``/proc/PID/stat`` for each worker. It is done once a second, and only while there is something to decide.

How busy a worker is, by its type:

- sync, threadpool: the time that requests took, of those that have ended and of those that are under way, divided by
  how many it can serve at once (1, or ``workers.threads``). Waiting for a database counts: nobody else is served by
  that process or thread meanwhile. Of a threadpool only the oldest request's age is known; the others are taken to be
  half as old.
- async: its CPU time, or the stretch that it is inside the application for, if that is more. What requests take says
  nothing there: a thousand slow downloads keep nobody from being served. Handlers that block for less than a second
  are seen only by the queue that they cause.
- gevent and classes of the user's own: CPU time alone; what they do with a request is theirs.

A worker of which the last look knew nothing has not been busy before. CPU time stands still where there is no
``/proc``: those types are then scaled by the queue alone.
"""

import os
import socket
from collections.abc import Iterable

from msgspec import Struct

from pyfork.config.schema import WorkerSettings
from pyfork.ipc.scoreboard import Slot, SlotState
from pyfork.process.queues import count_queued

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = "/proc"
_BY_REQUESTS = {"pyfork.workers.sync:SyncWorker": False, "pyfork.workers.threadpool:ThreadpoolWorker": True}
"""Classes that are busy while a request is under way, and whether with several at once."""
_INLINE = "pyfork.workers.selector:AsyncWorker"
"""The class whose loop serves nobody while it is inside the application."""


class Measured(Struct, frozen=True):
    """A worker to measure.

    Attributes:
        pid: not yet reaped.
        slot: its own.
        worker_class: "module:Class".
        settings: of its generation.
    """

    pid: int
    slot: Slot
    worker_class: str
    settings: WorkerSettings


class LoadMeter:
    """Compares each look with the one before.

    Args:
        proc: where processes are listed, for tests.
    """

    def __init__(self, proc: str | os.PathLike[str] = _PROC) -> None:
        self._proc = proc
        self._looked_at: float | None = None
        self._used: dict[int, float] = {}  # seconds of work until the last look, by pid

    def measure(self, workers: Iterable[Measured], listeners: Iterable[socket.socket], now: float) -> tuple[float, int]:
        """Return what the workers that say that they are ready have done since the last look, and who waits.

        Args:
            workers: all of them.
            listeners: that are accepted from.
            now: monotonic seconds.

        Returns:
            The part of their capacity that was used, 0 to 1 (0 at the first look, and without a ready worker), and the
            number of connections that wait to be accepted.
        """
        elapsed = 0.0 if self._looked_at is None else now - self._looked_at
        since, self._looked_at = self._looked_at, now
        used_before, self._used = self._used, {}
        shares = []
        for worker in workers:
            if worker.slot.statistics().state is not SlotState.READY:
                continue
            used = self._used_by(worker, now)
            by_requests = worker.worker_class in _BY_REQUESTS
            before = used_before.get(worker.pid, 0.0 if by_requests else used)
            self._used[worker.pid] = used
            if since is None or elapsed <= 0:
                continue
            share = (used - before) / elapsed / _places(worker)
            if worker.worker_class == _INLINE:
                share = max(share, _stretch(worker.slot, since, now) / elapsed)
            shares.append(min(1.0, max(0.0, share)))
        utilisation = sum(shares) / len(shares) if shares else 0.0
        return utilisation, sum(count_queued(listener) for listener in listeners)

    def _used_by(self, worker: Measured, now: float) -> float:
        """Return how many seconds the worker has worked; only differences mean something."""
        if worker.worker_class not in _BY_REQUESTS:
            return self._cpu_time(worker.pid)
        figures = worker.slot.statistics()
        used = figures.busy_ns / 1e9
        if figures.in_flight and figures.oldest is not None:
            age = max(0.0, now - figures.oldest.started_ns / 1e9)
            used += age * (1 + min(figures.in_flight, _places(worker))) / 2
        return used

    def _cpu_time(self, pid: int) -> float:
        """Return the CPU seconds of a process: ``utime`` and ``stime`` of proc_pid_stat(5), the name left out."""
        try:
            with open(os.path.join(self._proc, str(pid), "stat"), encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # no /proc, or it is hidden
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _places(worker: Measured) -> int:
    """Return how many requests the worker can be at, at once."""
    return worker.settings.threads if _BY_REQUESTS.get(worker.worker_class) else 1


def _stretch(slot: Slot, since: float, now: float) -> float:
    """Return how long of the time from ``since`` on the present stretch inside the application has lasted."""
    entered = slot.in_application_since()
    return 0.0 if entered is None else now - max(entered, since)
