"""The connections of a worker that gives a greenlet to each of them."""

import codecs
import contextlib
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import Progress
from pyfork.connection.patience import STALL_PATIENCE
from pyfork.connection.sending import silence
from pyfork.errors import QuitNow
from pyfork.ipc.progress import ActiveRequests
from pyfork.workers.greenlets import Place, Places

LAST_WORDS = 1.0
"""Seconds that QUIT leaves the application's ``finally`` blocks."""
LATE = 1.0
"""Seconds after its deadline at which a loop that runs has long seen a request to be overdue."""

_escape = codecs.getencoder("unicode_escape")  # found now: to import it later takes a descriptor, which may be wanting
_log = logging.getLogger("pyfork.error")


@dataclass(slots=True)
class _Visit:
    """One connection, where it waits, and who serves it."""

    shell: BlockingConnection
    place: Place
    greenlet: Any = None


class Visits:
    """The open connections of one worker.

    Args:
        gevent: the module; this one can be imported without it.
        places: where connections wait.
        on_end: called in a connection's greenlet when it has ended, with whether its socket has to linger.
    """

    def __init__(self, gevent: Any, places: Places, on_end: Callable[[BlockingConnection, Outcome], None]) -> None:
        self._gevent = gevent
        self._places = places
        self._on_end = on_end
        self._visits: dict[int, _Visit] = {}
        self._is_quitting = False
        hub = gevent.get_hub()
        hub.SYSTEM_ERROR = (*hub.SYSTEM_ERROR, QuitNow)  # wherever it is raised, the main greenlet gets it,
        hub.NOT_ERROR = (*hub.NOT_ERROR, QuitNow)  # and nobody prints a traceback
        self._copied_in: Any = None  # in a copy of the process: the greenlet that forked it

    def __len__(self) -> int:
        return len(self._visits)

    def begin(self, shell: BlockingConnection) -> None:
        """Serve a connection that was just accepted."""
        fd = shell.sock.fileno()
        visit = self._visits[fd] = _Visit(shell, self._places.open(fd))
        shell.wait_for_head = visit.place.wait
        visit.greenlet = self._gevent.spawn(self._serve, fd, visit)

    def limit_idle(self, deadline: float) -> None:
        """Wait no longer than until ``deadline`` (monotonic) for a request that has not begun."""
        for visit in self._visits.values():
            if visit.shell.is_idle:
                visit.place.limit(deadline)

    def make_room(self, now: float, most: int) -> None:
        """Have so many end, if that many may: idle clients first, of them the longest idle, and readers last."""
        waiting = [visit for visit in self._visits.values() if visit.shell.may_yield_at <= now]
        waiting.sort(key=lambda visit: (not visit.shell.is_idle, visit.shell.may_yield_at))
        for visit in waiting[:most]:
            visit.place.limit(0.0)
        if len(waiting) < most:
            self._break_off(now, most - len(waiting))

    def _break_off(self, now: float, most: int) -> None:
        """Break off readers, at most so many: those that have taken the least.

        Whose greenlet waits to send finds that it cannot.
        """
        lags = []
        for visit in self._visits.values():
            uptake = visit.place.uptake
            if uptake is not None and uptake.since + STALL_PATIENCE <= now and (lag := uptake.lag(now)) is not None:
                lags.append((lag, visit.shell))
        lags.sort(key=lambda pair: pair[0].rank)
        for lag, shell in lags[:most]:
            _log.debug("%s: %s", shell.remote or "a unix socket", lag.error)
            silence(shell.sock)

    def retire(self, kill_at: float) -> None:
        """Wait for idle clients no longer than half the time until ``kill_at`` (monotonic), nor let later ones wait."""
        for visit in self._visits.values():
            visit.shell.wait_for_head = partial(_wait_briefly, visit, kill_at)
        self.limit_idle(_midway(kill_at))

    def close_idle(self) -> None:
        """Serve what is in flight, and no further request."""
        for visit in self._visits.values():
            visit.shell.is_last = True
        self.limit_idle(0.0)

    def quit(self) -> None:
        """End them all at once; ``finally`` blocks run."""
        self._is_quitting = True
        self._gevent.killall([visit.greenlet for visit in self._visits.values()], QuitNow, timeout=LAST_WORDS)

    def stack_of(self, progress: Progress) -> str:
        """Return the stack of the greenlet whose connection has this progress, as faulthandler would write it."""
        for visit in self._visits.values():
            if visit.shell.progress is progress:
                return format_stack(visit.greenlet.gr_frame)
        return ""

    def become_copy(self) -> None:
        """Leave the clients to the process that this one was forked from; called in the copy.

        None of them is answered here, or would wait for this process to see the end. The other greenlets may go on, as
        gevent has it, and find that their clients have gone; the one that forks ends the process then.
        """
        self._copied_in = self._gevent.getcurrent()
        self._places.abandon()
        for visit in self._visits.values():
            shell = visit.shell
            shell.is_last = True
            shell.sock.close()
            pid = shell.context.pid if visit.greenlet is self._copied_in else os.getpid()
            shell.context = replace(shell.context, access_log=None, pid=pid)

    def _serve(self, fd: int, visit: _Visit) -> None:
        """Be the life of a connection's greenlet."""
        shell = visit.shell
        outcome = Outcome.CLOSED
        try:
            outcome = shell.serve()
        except QuitNow:
            if not self._is_quitting:
                raise  # the hub passes it on to the main greenlet
        except Exception:  # noqa: BLE001 (our fault or a log handler's: it ends this connection, not the worker)
            if self._copied_in is None:  # else its socket was taken from it
                with contextlib.suppress(
                    Exception
                ):  # the handler may raise again; our own has written the line by then
                    _log.exception("a connection ended by a fault of the server")
        finally:
            if self._copied_in is None:
                self._places.close(fd)
                del self._visits[fd]
            elif self._copied_in is self._gevent.getcurrent():  # it came back from the application, where it was forked
                os._exit(0)
        if self._copied_in is None:
            self._on_end(shell, outcome)


def _wait_briefly(visit: _Visit, kill_at: float, deadline: float) -> bool:
    """Be the `BlockingConnection.wait_for_head` of a worker that is to end."""
    return visit.place.wait(min(deadline, _midway(kill_at)) if visit.shell.is_idle else deadline)


def _midway(moment: float) -> float:
    return (monotonic() + moment) / 2


class OverdueRequests:
    """Tells of the requests that outlast ``timeout`` inside the application while the hub lives.

    The arbiter's signal could show no more than the hub, so the stack of the request's greenlet is logged here.

    Args:
        active: the requests.
        visits: the connections.
        timeout: ``workers.timeout`` in seconds; 0 is none.
    """

    def __init__(self, active: ActiveRequests, visits: Visits, timeout: float) -> None:
        self._active = active
        self._visits = visits
        self._timeout = timeout
        self._told = 0.0  # the beginning of the last stretch that was told of
        self._spared = 0.0  # the beginning of the last stretch that was noticed too late to be judged at once

    def next_deadline(self) -> float:
        """Return when the oldest request will be overdue (monotonic seconds); infinity when it has been told of."""
        oldest = self._active.oldest()
        if oldest is None or not self._timeout or oldest.entered in {0.0, self._told}:
            return math.inf
        return oldest.entered + self._timeout

    def tell(self, now: float) -> bool:
        """Log the stack of the oldest request if it has become overdue; return whether it has.

        When that is noticed late, the hub has not run (the process was stopped, or the machine), and the request may
        only be waiting for it: it has one more turn.
        """
        oldest = self._active.oldest()
        due = self.next_deadline()
        if oldest is None or now < due:
            return False
        if now - due > LATE and self._spared != oldest.entered:
            self._spared = oldest.entered
            return False
        self._told = oldest.entered
        path = _escape(oldest.path.decode("latin-1"))[0].decode("ascii")
        stack = self._visits.stack_of(oldest)
        _log.error("stuck in %s %s; its greenlet (most recent call first):\n%s", oldest.method, path, stack)
        return True


def format_stack(frame: FrameType | None) -> str:
    """Return the stack that ends in ``frame``, a line for each call, the latest first."""
    lines = []
    while frame is not None:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}\n')
        frame = frame.f_back
    return "".join(lines)
