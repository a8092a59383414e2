"""How slow a client may be: the deadlines of a request's body and of a response, by time and by rate.

A wait for the next octets alone does not bound a request: one octet before each deadline, and it lasts for ever
(R.U.D.Y., slow read). So the octets must come, and be taken, at a rate as well.

- The body has a credit of ``body_timeout`` seconds. It falls while the client is waited for, and each octet of content
  brings back as much as it may take at ``min_body_rate``, up to the full credit. So a client may pause after it has
  sent much, but not after it has sent next to nothing; chunks that hold none bring nothing.
- A response is looked at when its client has not made room in the kernel for ``write_timeout``: it must have taken as
  many octets in that time as ``min_write_rate`` asks for, one at least.

When a worker has as many connections as it may and others wait, those make way for them that were idle, or slow, for
the longest (`may_yield_at`).

Apache's mod_reqtimeout has the first for requests, Kestrel both; 240 octets a second is Kestrel's figure.
"""

import math

from pyfork.config.schema import HttpSettings
from pyfork.connection.host import FIRST_PATIENCE, Phase, Watched
from pyfork.errors import DisconnectedError, ProtocolError

SLOW_PATIENCE = 2.0
"""Seconds that a body may have fallen behind, or a reader, when others wait for its place."""


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
    return DisconnectedError(f"the client took {f'only {taken} octets' if taken > 0 else 'nothing'} for {seconds:g} s")


def may_yield_at(connection: Watched) -> float:
    """Return from when a connection may make way for others that wait (monotonic); infinity if its client is served."""
    http, deadline = connection.context.http, connection.deadline
    if connection.phase is Phase.READING:
        return deadline - (http.keep_alive if connection.is_kept else http.header_timeout - FIRST_PATIENCE)
    if connection.phase is Phase.BODY:
        return deadline - http.body_timeout + SLOW_PATIENCE
    if connection.phase is Phase.SENDING:
        return deadline - http.write_timeout + SLOW_PATIENCE
    return math.inf
