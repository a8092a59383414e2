"""Which requests were lost, and which of them somebody has to answer for. Pure: facts in, a verdict out.

A request that got no whole answer is excused for one reason only: the process that held its connection was killed
while the request was on it. Who held what is known from the kernel: a victim is stopped, its connections are listed
(`procfs.held_ports`), and only then is it killed. "A worker was killed at about that time" excuses nothing.

Three things are no losses by definition, and counted apart: after a stop began, a connection that was refused or not
yet made when it began; a connection that the server closed in the face of a client that had left it idle for longer
than it may; and what was pipelined behind a response that said ``Connection: close``, where the server closes each
connection.
"""

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

REFUSED_BY_STOP = "refused after the stop began"
RESET_BY_STOP = "let in after the stop began, and reset"


class Outcome(enum.Enum):
    """How a request ended that got no whole answer."""

    REFUSED = "its connection was refused"
    BROKEN = "its connection ended before the answer was whole"
    LATE = "its answer did not come in time"
    WRONG = "its answer was not the one to it"
    BEHIND_CLOSE = "it was pipelined behind the connection's last response"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was not answered, as its client saw it; moments are monotonic seconds.

    Attributes:
        client: the habit of who sent it.
        number: its own, which the answer would have told.
        port: the client's port, 0 when there was no connection.
        opened: when the connection was begun.
        connected: when it was made; None if it never was.
        began: when the request's first octets had been sent.
        ended: when the client knew.
        idle: seconds for which the connection had been idle before; None for its first request.
        octets: of the answer that came.
        pid: who has answered on this connection before.
        detail: what the client saw.
    """

    client: str
    number: int
    outcome: Outcome
    port: int
    opened: float
    connected: float | None
    began: float
    ended: float
    idle: float | None = None
    octets: int = 0
    pid: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Death:
    """A process that was killed, by us or by the arbiter's deadline.

    Attributes:
        at: when its connections were listed; it did nothing after that.
        ports: the client ports of these connections.
    """

    pid: int
    at: float
    ports: frozenset[int]

    def explains(self, attempt: Attempt) -> bool:
        """Return whether the attempt's connection was this process's when it died."""
        return attempt.port in self.ports and attempt.opened <= self.at <= attempt.ended


@dataclass(frozen=True, slots=True)
class Terms:
    """What the server has promised.

    Attributes:
        idle_limit: seconds for which an idle connection is kept in any case.
        closes_each: each connection is closed after its response.
        stopped_at: when a stop was asked for, or None.
    """

    idle_limit: float
    closes_each: bool = False
    stopped_at: float | None = None


@dataclass(slots=True)
class Verdict:
    """What became of the requests that were not answered."""

    losses: list[Attempt] = field(default_factory=list)
    excused: list[Attempt] = field(default_factory=list)
    apart: Counter[str] = field(default_factory=Counter)


def judge(attempts: Iterable[Attempt], deaths: Iterable[Death], terms: Terms) -> Verdict:
    """Tell losses from what a death explains and from what is no loss."""
    deaths = list(deaths)
    verdict = Verdict()
    for attempt in attempts:
        reason = _no_loss(attempt, terms)
        if reason is not None:
            verdict.apart[reason] += 1
        elif attempt.outcome in {Outcome.BROKEN, Outcome.LATE} and any(death.explains(attempt) for death in deaths):
            verdict.excused.append(attempt)
        else:
            verdict.losses.append(attempt)
    return verdict


def _no_loss(attempt: Attempt, terms: Terms) -> str | None:
    """Return by which definition this is no loss, or None."""
    if attempt.outcome is Outcome.BEHIND_CLOSE and terms.closes_each:
        return "pipelined behind a close"
    is_stopping = terms.stopped_at is not None and attempt.ended >= terms.stopped_at
    if is_stopping and attempt.outcome in {Outcome.REFUSED, Outcome.BROKEN}:
        if attempt.connected is None:
            return REFUSED_BY_STOP
        if attempt.connected >= terms.stopped_at:
            return RESET_BY_STOP
        if attempt.idle is not None and attempt.octets == 0 and attempt.began >= terms.stopped_at:
            return "idle connection closed by the stop"
    if attempt.outcome is Outcome.BROKEN and attempt.octets == 0 and _silence(attempt) > terms.idle_limit:
        return "idle for longer than promised"
    return None


def _silence(attempt: Attempt) -> float:
    """Return for how many seconds the client had sent nothing, on a new connection too: it may not have run."""
    if attempt.idle is not None or attempt.connected is None:
        return attempt.idle or 0.0
    return attempt.began - attempt.connected
