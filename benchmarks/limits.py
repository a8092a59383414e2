"""What the figures must be, as data, and the judgement of a run by it.

A limit is met when the upper end of the interval is within it: of the ratios of two servers' figures, round by round,
or of one server's own figure where there is no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from figures import Interval, median_interval, paired_ratios


@dataclass(frozen=True)
class Limit:
    """One promise.

    Attributes:
        load: by name.
        server: whose figure.
        figure: which, as rounds.Measurement has it.
        against: the server whose figure it is divided by, or "".
        at_most: what the upper end of the interval may be.
        is_aim: wished for, and not promised.
    """

    load: str
    server: str
    figure: str
    against: str
    at_most: float
    is_aim: bool = False

    def __str__(self) -> str:
        """Say it in words, with the unit."""
        if self.against:
            return f"{self.load}: {self.server} at most {self.at_most:g} x {self.against}, CPU per request"
        what, unit = SINGLE_FIGURES[self.figure]
        return f"{self.load}: {self.server}, {what} at most {self.at_most:g}{unit}"


SINGLE_FIGURES = {
    "p99": ("99th percentile", " ms"),
    "octets": ("memory for each idle connection", " octets"),
    "growth": ("a fresh request's median time with them", " x that without"),
}

LIMITS = (
    Limit("hello", "async", "cpu", "granian-1", 0.85),
    Limit("hello", "async", "cpu", "granian-8", 1.0),
    Limit("hello", "async", "cpu", "bjoern", 1.0, is_aim=True),
    Limit("varied", "async", "cpu", "granian-8", 1.0, is_aim=True),
    Limit("falcon", "async", "cpu", "granian-8", 1.0),
    Limit("hello", "threadpool", "cpu", "gunicorn-gthread", 0.17),
    Limit("hello", "threadpool", "cpu", "granian-8", 1.25),
    Limit("hello", "gevent", "cpu", "gunicorn-gevent", 0.25),
    Limit("connect", "sync", "cpu", "gunicorn-sync", 0.33),
    Limit("log", "async-log", "cpu", "async", 1.35),
    Limit("log", "threadpool-log", "cpu", "threadpool", 1.35),
    Limit("log", "gevent-log", "cpu", "gevent", 1.35),
    Limit("log", "sync-log", "cpu", "sync", 1.35),
    Limit("slow", "threadpool", "p99", "", 400),
    Limit("slow", "gevent", "p99", "", 400),
    Limit("idle", "async", "octets", "", 3000),
    Limit("idle", "threadpool", "octets", "", 4000),
    Limit("idle", "async", "growth", "", 1.5),
    Limit("idle", "threadpool", "growth", "", 1.5),
)


class Figures(Protocol):
    """Where the figures of a load come from: rounds.Outcome."""

    def of(self, server: str, figure: str) -> dict[int, float]:
        """Return one figure of one server by the rounds' numbers."""

    def errors(self, server: str) -> int:
        """Return how many requests of a server were not answered, or wrongly."""


@dataclass(frozen=True)
class Verdict:
    """What a run says of a limit.

    Attributes:
        limit: which.
        interval: of the median; None when the run did not measure it.
        errors: of the server that the limit is about; who answers wrongly is not fast.
    """

    limit: Limit
    interval: Interval | None
    errors: int = 0

    @property
    def word(self) -> str:
        """Met or not, in a word or two."""
        if self.interval is None:
            return "not measured"
        if self.errors:
            return f"NOT MET ({self.errors} errors)"
        if self.interval.high <= self.limit.at_most:
            return "met"
        return "not reached (an aim)" if self.limit.is_aim else "NOT MET"


def judge(limits: Sequence[Limit], outcomes: Mapping[str, Figures]) -> list[Verdict]:
    """Return a verdict for each limit; ``outcomes`` has what was measured, by the loads' names."""
    return [_judge_one(limit, outcomes.get(limit.load)) for limit in limits]


def _judge_one(limit: Limit, outcome: Figures | None) -> Verdict:
    if outcome is None:
        return Verdict(limit, None)
    own = outcome.of(limit.server, limit.figure)
    values = paired_ratios(own, outcome.of(limit.against, limit.figure)) if limit.against else list(own.values())
    return Verdict(limit, median_interval(values) if values else None, outcome.errors(limit.server))
