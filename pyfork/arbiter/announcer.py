"""When systemd is told what: notices out of what happens to the arbiter. No I/O, no clock; `systemd` sends them.

The rules:

- READY=1 when the first worker serves, and whenever a reload has ended, however it did: systemd has no word for one
  that failed, so STATUS= and ERRNO= tell.
- RELOADING=1 at each HUP, before the configuration is read, with the time in the same datagram: ``Type=notify-reload``
  takes one that is older than its own signal for the answer to another. A HUP during a reload is announced as well;
  READY=1 comes once, when the arbiter has nothing to reload any more.
- An upgrade that has failed is told by STATUS= and ERRNO= too, until the next reload or upgrade. The new arbiter of one
  that went well says ERRNO=0: what its predecessor has left there is not its own.
- STOPPING=1 once. While workers boot at the first start, or drain at the stop, EXTEND_TIMEOUT_USEC says how long that
  may take by *their* deadlines: so the unit's timeouts never cut off what is within pyfork's own, and nothing is
  extended beyond it. A reload extends nothing: it may have no end (the old release is gone and the new one fails).
- WATCHDOG=1 twice in the time that systemd allows.
- STATUS= at every change, and every ten seconds when the figures have changed. That has no deadline of its own: the
  workers' beats wake the arbiter often enough.
"""

import errno
from collections.abc import Callable

from pyfork.arbiter.figures import Look
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.notices import Notice, Throughput, describe, encode, microseconds

STATUS_PERIOD = 10.0
EXTENSION = 10.0
"""Seconds by which systemd is asked to wait longer, at most; a hung arbiter is noticed when they are over."""
EXTENSION_PERIOD = 4.0
"""Seconds between two of these."""
ENDING = 2.0
"""Seconds beyond the last worker's deadline, for killing and reaping it."""

_WITH_AN_END = frozenset({ArbiterState.STARTING, ArbiterState.STOPPING})


class Announcer:
    """Finds the words for what happens.

    Args:
        watchdog: seconds within which systemd wants a sign of life, or None.
    """

    def __init__(self, watchdog: float | None) -> None:
        self._watchdog_period = None if watchdog is None else watchdog / 2
        self._watchdog_at = 0.0
        self._extend_at = 0.0
        self._status_at = 0.0
        self._status = ""
        self._state = ArbiterState.STARTING
        self._is_ready = False
        self._is_reloading = False
        self._failure: str | None = None
        self._owes_error = False
        self._throughput = Throughput()

    def state_changed(self, state: ArbiterState, now: float, look: Look) -> list[Notice]:
        """Tell of a move of the arbiter that has been made."""
        self._state = state
        if state is ArbiterState.RELOADING and not self._is_reloading:  # its HUP came when it could not begin yet
            return self.reload_asked(now)
        if state is ArbiterState.UPGRADING:
            self._failure = None  # it is the outcome of this that counts
        status = ("STATUS", self._describe(look, now))
        waits = self._is_reloading and look.statistics.is_reload_asked  # a HUP, until what was under way had ended
        if state is ArbiterState.RUNNING and not waits and (self._is_reloading or not self._is_ready):
            error = [("ERRNO", errno.ECANCELED if self._failure else 0)] if self._is_reloading else []
            self._is_ready, self._is_reloading, self._owes_error = True, False, False
            return [Notice(encode(("READY", 1), status, *error))]
        if state is ArbiterState.STOPPING:
            self._extend_at = now + EXTENSION_PERIOD
            extension = self._extension(look, now)
            return [Notice(encode(("STOPPING", 1), status, *extension))]
        if self._owes_error:
            self._owes_error = False
            return [Notice(encode(status, ("ERRNO", errno.ECANCELED)))]
        return [Notice(encode(status), is_passing=True)]

    def taken_over(self, now: float, look: Look) -> list[Notice]:
        """Tell that this arbiter is the main process now; whatever its predecessor announced last, it serves."""
        self._is_ready = True
        self._watchdog_at = now
        return [Notice(encode(("READY", 1), ("STATUS", self._describe(look, now)), ("ERRNO", 0)))]

    def reload_asked(self, now: float) -> list[Notice]:
        """Tell of a HUP, before anything is done about it; ``now`` is the time after it has come."""
        if self._state in _WITH_AN_END:
            return []
        self._is_reloading = True
        self._failure = None
        self._status = "reloading"
        reloading = encode(("RELOADING", 1), ("MONOTONIC_USEC", microseconds(now)), ("STATUS", self._status))
        return [Notice(reloading)]

    def reload_ended(self, error: str | None, generation: int) -> None:
        """Remember how a reload ended, until the next one; ``generation`` goes on. It is told with the arbiter's move.

        Args:
            error: why it failed, the first line of which is told; None when it went well.
            generation: the current one.
        """
        self._failure = error and f"reload failed: {_first_line(error)}; generation {generation} goes on"

    def upgrade_failed(self, reason: str) -> None:
        """Remember why an upgrade has come to nothing, the first line of which is told with the arbiter's move."""
        self._failure = f"upgrade failed: {_first_line(reason)}; this arbiter goes on"
        self._owes_error = True

    def failed(self, message: str) -> None:
        """Remember why the arbiter ends; it is told with the stop."""
        self._failure = f"failed: {_first_line(message)}"

    def next_deadline(self) -> float | None:
        """Return the moment by which `on_time` has to be called, or None."""
        moments = []
        if self._watchdog_period is not None:
            moments.append(self._watchdog_at)
        if self._state in _WITH_AN_END:
            moments.append(self._extend_at)
        return min(moments, default=None)

    def on_time(self, now: float, look: Callable[[], Look]) -> list[Notice]:
        """Tell what is due; ``look`` is called only for what needs it."""
        notices = []
        if self._watchdog_period is not None and now >= self._watchdog_at:
            self._watchdog_at = now + self._watchdog_period
            notices.append(Notice(encode(("WATCHDOG", 1)), is_passing=True))
        if self._state in _WITH_AN_END and now >= self._extend_at:
            self._extend_at = now + EXTENSION_PERIOD
            extension = self._extension(look(), now)
            if extension:
                notices.append(Notice(encode(*extension), is_passing=True))
        if now >= self._status_at:
            told = self._status
            status = self._describe(look(), now)
            if status != told:
                notices.append(Notice(encode(("STATUS", status)), is_passing=True))
        return notices

    def _describe(self, look: Look, now: float) -> str:
        figures = describe(look, self._throughput.measure(look.work, now))
        self._status_at = now + STATUS_PERIOD
        self._status = f"{self._failure}: {figures}" if self._failure else figures
        return self._status

    @staticmethod
    def _extension(look: Look, now: float) -> list[tuple[str, int]]:
        """Return by how long systemd must wait at least, as an assignment, or none when nobody has a right to it."""
        deadlines = [worker.deadline for worker in look.statistics.workers]
        deadlines += [mold.deadline for mold in look.statistics.molds]
        deadlines.append(look.statistics.upgrade_deadline)  # a new arbiter that ends with this one cannot speak itself
        last = max((deadline for deadline in deadlines if deadline is not None), default=now - ENDING)
        rest = last + ENDING - now
        return [("EXTEND_TIMEOUT_USEC", microseconds(min(rest, EXTENSION)))] if rest > 0 else []


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
