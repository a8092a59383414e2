"""When a worker asks to be replaced: after so many requests, so much time, or with so much memory.

The worker looks at itself, says one word with the reason on its heartbeat pipe, and serves on: the arbiter starts its
replacement and retires it when that is ready. So a limit is passed by what is served meanwhile (by a lot when several
workers reach it together: at most a quarter of them is in replacement at once), and nobody is refused because of it.

What it costs:

- Requests: one comparison of two integers where the slot is written, which the loop does once a turn (`Slot.flush`).
- Lifetime: nothing; the beat that is due next is brought forward to the moment.
- Memory: the kernel walks the page tables for PSS, some 40 ms for a gigabyte. So it is measured with a beat, no
  oftener than every `SAMPLE_INTERVAL`, only if requests were served since the last time, and a dear measurement is
  followed by a pause of `MOST_OF_TIME` times its length. psutil is imported if a limit is set, and only then.

What does not work: RSS for workers that were forked from a mold. Each counts all shared pages as its own, and a limit
that fits one that imports the application by itself would replace the others for what they share.
"""

import errno
import importlib
import logging
import math
from collections.abc import Callable
from random import Random
from time import monotonic
from typing import Any

from pyfork.config.schema import WorkerSettings
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.scoreboard import NEVER, Slot

SAMPLE_INTERVAL = 5.0
"""Seconds between two measurements of memory, at least."""
MOST_OF_TIME = 100
"""A measurement that took t seconds is followed by one that is at least so many times t later: 1 % of the time."""
MEBIBYTE = 2**20
_PASSING = frozenset({errno.EMFILE, errno.ENFILE})
"""What a worker meets now and then that has many connections."""

_log = logging.getLogger("pyfork.error")

Clock = Callable[[], float]
Meter = Callable[[], tuple[str, int] | None]
"""Measures this process's memory: the measure's name and octets, or None when it can never be measured.

An OSError that it raises says that it could not be this time.
"""


class Wear:
    """How worn one worker is; lives in the worker, in its loop's thread.

    Args:
        settings: the limits.
        slot: where its requests are counted.
        heartbeat: where it says that it is worn.
        random: for the jitter; never the application's generator, which it may have seeded the same in all workers.
        meter: measures the memory; `make_meter` by default.
        clock: tells monotonic seconds.

    Attributes:
        is_worn: it has said so.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        slot: Slot,
        heartbeat: Heartbeat,
        *,
        random: Random | None = None,
        meter: Meter | None = None,
        clock: Clock = monotonic,
    ) -> None:
        random = random or Random()  # noqa: S311 (to spread the workers' ends, not to keep a secret)
        self._settings = settings
        self._slot = slot
        self._heartbeat = heartbeat
        self._meter = meter
        self._clock = clock
        self._most_requests = NEVER
        if settings.max_requests:
            self._most_requests = settings.max_requests + random.randint(0, settings.max_requests_jitter)
        self._longest = math.inf
        if settings.max_lifetime:
            self._longest = settings.max_lifetime + random.uniform(0, settings.max_lifetime_jitter)
        self._most_memory = math.inf if settings.max_memory is None else settings.max_memory
        self._refork_at = NEVER
        self._began = 0.0
        self._sample_at = math.inf
        self._sampled_requests = 0
        self.is_worn = False

    def begin(self, now: float, *, refork_at: int | None = None) -> None:
        """Begin to count: the worker serves from now on.

        Args:
            now: monotonic seconds.
            refork_at: requests after which it offers to become a mold; None is never.
        """
        self._began = now
        self._slot.on_mark = self._on_mark
        self._refork_at = refork_at or NEVER
        self._slot.mark = min(self._most_requests, self._refork_at)
        if self._settings.max_memory is not None:
            self._meter = self._meter or make_meter(self._settings.memory_measure)
            self._sample_at = now + SAMPLE_INTERVAL
        self._bring_beat_forward(now)

    def look(self, now: float) -> None:
        """See whether the time is over or the memory too large; called with each beat."""
        if self.is_worn:
            return
        age = now - self._began
        if age >= self._longest:
            self._say_worn(self._describe_age(age))
        elif now >= self._sample_at and self._slot.requests() != self._sampled_requests:
            self._sample()
        self._bring_beat_forward(now)

    def forget(self) -> None:
        """Never say anything any more; called in a process that the application forks."""
        self.is_worn = True
        self._slot.mark = NEVER
        self._slot.on_mark = None

    def _on_mark(self, requests: int) -> None:
        """Say what so many requests mean; called by the slot, and again at its next flush if the pipe was full."""
        if requests >= self._refork_at and self._heartbeat.say_ripe():
            self._refork_at = NEVER
        if requests >= self._most_requests and not self.is_worn:
            self._say_worn(self._describe_requests(requests))
        self._slot.mark = min(NEVER if self.is_worn else self._most_requests, self._refork_at)

    def _bring_beat_forward(self, now: float) -> None:
        """Have the worker look here when its time is over; not again if that could not be said (the pipe was full)."""
        if now < self._began + self._longest < self._heartbeat.next_beat:
            self._heartbeat.next_beat = self._began + self._longest

    def _sample(self) -> None:
        """Measure the memory and judge it."""
        self._sampled_requests = self._slot.requests()
        before = self._clock()
        sample: tuple[str, int] | None
        try:
            sample = None if self._meter is None else self._meter()
        except OSError:  # no descriptor is left at the moment: again at the next time, whatever is served until then
            sample, self._sampled_requests = ("", 0), -1
        after = self._clock()
        self._sample_at = after + max(SAMPLE_INTERVAL, MOST_OF_TIME * (after - before))
        if sample is None:
            self._sample_at = math.inf
        elif sample[1] > self._most_memory:
            measure, octets = sample
            self._say_worn(
                f"it uses {octets / MEBIBYTE:.1f} MB of memory ({measure.upper()}), "
                f"workers.max_memory is {self._most_memory / MEBIBYTE:g} MB"
            )

    def _say_worn(self, reason: str) -> None:
        self.is_worn = self._heartbeat.say_worn(reason)

    def _describe_requests(self, requests: int) -> str:
        settings = self._settings
        jitter = f", with jitter {self._most_requests}" if settings.max_requests_jitter else ""
        served = "1 request" if requests == 1 else f"{requests} requests"
        return f"it has served {served} (workers.max_requests is {settings.max_requests}{jitter})"

    def _describe_age(self, age: float) -> str:
        settings = self._settings
        jitter = f", with jitter {self._longest:.1f} s" if settings.max_lifetime_jitter else ""
        return f"it has served for {age:.1f} s (workers.max_lifetime is {settings.max_lifetime:g} s{jitter})"


def prepare(settings: WorkerSettings) -> None:
    """Import what measuring takes, if it is wanted; called before the worker drops its privileges.

    Afterwards it might not be able to read the files, and in the application's path something else may have the name.
    """
    if settings.max_memory is not None:
        importlib.import_module("psutil")


def make_meter(measure: str) -> Meter:
    """Return what measures this process; called in the process itself.

    Args:
        measure: "pss" or "rss". Where the kernel has no PSS (before Linux 4.14 it takes long, macOS has none), it is
            RSS after all, and the log says so once.
    """
    psutil = importlib.import_module("psutil")
    return _Meter(psutil.Process(), measure, psutil.Error)


class _Meter:
    def __init__(self, process: Any, measure: str, failure: type[Exception]) -> None:
        self._process = process
        self._measure = measure
        self._failure = failure

    def __call__(self) -> tuple[str, int] | None:
        if self._measure == "pss":
            # psutil 8 has it under a name of its own, and warns of the old one.
            footprint = getattr(self._process, "memory_footprint", None) or self._process.memory_full_info
            try:
                return "pss", int(footprint().pss)
            except (self._failure, AttributeError, OSError) as error:
                _let_pass(error)
                _log.warning("the PSS of this process cannot be measured, workers.max_memory compares RSS: %s", error)
                self._measure = "rss"
        try:
            return "rss", int(self._process.memory_info().rss)
        except (self._failure, OSError) as error:
            _let_pass(error)
            _log.warning("the memory of this process cannot be measured, workers.max_memory has no effect: %s", error)
            return None


def _let_pass(error: Exception) -> None:
    """Raise ``error`` if it says nothing of the next measurement.

    Raises:
        OSError: the process, or the system, has no descriptor left.
    """
    if isinstance(error, OSError) and error.errno in _PASSING:
        raise error
