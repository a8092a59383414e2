"""How slow a client may be: the deadlines of a request's body and of a response, by time and by rate.

A wait for the next octets alone does not bound a request: one octet before each deadline, and it lasts for ever
(R.U.D.Y., slow read). So the octets must come, and be taken, at a rate as well.

- The body has a credit of ``body_timeout`` seconds. It falls while the client is waited for, and each octet of content
  brings back as much as it may take at ``min_body_rate``, up to the full credit. So a client may pause after it has
  sent much, but not after it has sent next to nothing; chunks that hold none bring nothing.
- A response is looked at when its client has not made room in the kernel for ``write_timeout``: it must have taken as
  many octets in that time as ``min_write_rate`` asks for, one at least.

When a worker has as many connections as it may and others wait, those make way for them that were idle, or slow, for
the longest (`may_yield_at`); of readers those that have taken the least (`lag_of`). Two kinds of readers are told apart
by what the kernel knows of their connections (`Delivery`):

- Octets are on their way: the line is slow, and may need seconds for what a fast sender gave it at once, or for one
  segment. Such a client has taken too little when nothing like the least rate was acknowledged for `READER_PATIENCE`.
- None is, though there are more: the client's window is closed, because nobody reads there. It may be closed for
  `STALL_PATIENCE`, and a second longer for each 8 KiB that the client has taken, up to `READER_PATIENCE`. For a kernel
  does not open the window again for each octet that is read: Linux waits until a quarter of a buffer of 32 KiB is free,
  or a sixteenth of one of 128. It has taken that whole buffer before, so whoever reads 2 kB a second or more is in
  time. What holds a place without reading takes as little as it can, and so has least of this.

Apache's mod_reqtimeout has the first for requests, Kestrel both; 240 octets a second is Kestrel's figure.
"""

import math
from typing import NamedTuple

from pyfork.config.schema import HttpSettings
from pyfork.connection.host import FIRST_PATIENCE, Phase, Watched
from pyfork.errors import DisconnectedError, ProtocolError

SLOW_PATIENCE = 2.0
"""Seconds that a body may have fallen behind when others wait, or a reader of whom the kernel says nothing."""
STALL_PATIENCE = 0.5
"""Seconds that a reader's window may be closed when others wait for its place, if it has taken next to nothing."""
READER_PATIENCE = 5.0
"""Seconds that it may be closed, however much the reader has taken, and that a slow line has to acknowledge something.

At 300 octets a second that is one segment on Ethernet, and more than `min_write_rate` asks for by default.
"""
_OCTETS_PER_SECOND = 8 * 1024
"""So many that a reader has taken bring it one more second: a quarter of them is read meanwhile at 2 KiB a second."""


class Delivery(NamedTuple):
    """What the kernel knows of a connection whose client does not take all that there is for it.

    Attributes:
        acknowledged: octets, since the client connected.
        is_stalled: none is on its way: the client's window is closed.
        quiet: seconds since the last one was sent.
    """

    acknowledged: int
    is_stalled: bool
    quiet: float


class Lag(NamedTuple):
    """How far a reader is behind that may be broken off when others wait.

    Attributes:
        is_on_its_way: octets are, so it may be the line's fault.
        acknowledged: octets, since the client connected; 0 if nobody knows.
        seconds: for how long it has taken too little.
        taken: octets in that time.
    """

    is_on_its_way: bool
    acknowledged: int
    seconds: float
    taken: int

    @property
    def rank(self) -> tuple[bool, int, float]:
        """What readers are sorted by: of those that have taken the same, the one goes first that has waited longest."""
        return self.is_on_its_way, self.acknowledged, -self.seconds

    @property
    def error(self) -> DisconnectedError:
        """What the reader is broken off with."""
        return DisconnectedError(f"the client took {_amount(self.taken)} for {self.seconds:.2g} s, and others wait")


def body_deadline(http: HttpSettings, now: float, deadline: float = math.inf, octets: int = 0) -> float:
    """Return until when a body is waited for.

    Args:
        http: the settings.
        now: monotonic seconds.
        deadline: until when it was waited for so far; infinity if it begins.
        octets: of content, that have come since that was set.
    """
    rate = http.min_body_rate
    return min(now + http.body_timeout, deadline + octets / rate) if rate else now + http.body_timeout


def slow_body(http: HttpSettings) -> ProtocolError:
    """Return what a body is refused with, when its deadline has passed."""
    rate, timeout = http.min_body_rate, http.body_timeout
    if rate:
        return ProtocolError(408, f"The request's body came at less than {rate:g} octets a second for {timeout:g} s")
    return ProtocolError(408, f"The request's body stopped for {timeout:g} s")


def slow_reader(http: HttpSettings, taken: int, seconds: float) -> DisconnectedError | None:
    """Return why a client is broken off that has taken so many octets in so many seconds; None if it is waited for."""
    if taken > 0 and taken >= http.min_write_rate * seconds:
        return None
    return DisconnectedError(f"the client took {_amount(taken)} for {seconds:g} s")


def lag_of(http: HttpSettings, delivery: Delivery | None, taken: int, seconds: float) -> Lag | None:
    """Return why a reader may make way for others that wait; None if it has done its part.

    Args:
        http: the settings.
        delivery: what the kernel knows; None if it does not say.
        taken: octets, since the reader was looked at.
        seconds: since then.
    """
    if delivery is not None and delivery.is_stalled:
        closed = min(delivery.quiet, seconds)  # for longer only if it was so before there was anything for it
        patience = min(READER_PATIENCE, STALL_PATIENCE + delivery.acknowledged / _OCTETS_PER_SECOND)
        return Lag(False, delivery.acknowledged, closed, 0) if closed >= patience else None
    if seconds < (SLOW_PATIENCE if delivery is None else READER_PATIENCE) or slow_reader(http, taken, seconds) is None:
        return None
    return Lag(True, 0 if delivery is None else delivery.acknowledged, seconds, taken)


def may_yield_at(connection: Watched) -> float:
    """Return from when a connection may make way for others that wait (monotonic); infinity if its client is served.

    A reader is asked about then, see `lag_of`.
    """
    http, deadline = connection.context.http, connection.deadline
    if connection.phase is Phase.READING:
        return deadline - (http.keep_alive if connection.is_kept else http.header_timeout - FIRST_PATIENCE)
    if connection.phase is Phase.BODY:
        return deadline - http.body_timeout + SLOW_PATIENCE
    if connection.phase is Phase.SENDING:
        return deadline - http.write_timeout + STALL_PATIENCE
    return math.inf


def _amount(taken: int) -> str:
    return f"only {taken} octets" if taken > 0 else "nothing"
