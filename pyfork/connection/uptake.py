"""How a client takes what it is sent: what the kernel tells, since somebody last looked.

Nothing here is called while the kernel takes all that there is.
"""

import socket
import struct
import sys

from pyfork.config.schema import HttpSettings
from pyfork.connection.patience import Delivery, Lag, lag_of, slow_reader
from pyfork.connection.sending import octets_unsent
from pyfork.errors import DisconnectedError

_TCP_INFO = struct.Struct("=24x I 16x I 72x Q 16x I")
"""Of struct tcp_info (linux/tcp.h): tcpi_unacked, tcpi_last_data_sent, tcpi_bytes_acked, tcpi_notsent_bytes."""


class Uptake:
    """What one client has taken since a moment.

    Args:
        sock: the kernel has octets for its client.
        http: the settings.
        now: monotonic seconds.

    Attributes:
        since: the moment, in monotonic seconds.
    """

    __slots__ = ("_http", "_sock", "_unsent", "since")

    def __init__(self, sock: socket.socket, http: HttpSettings, now: float) -> None:
        self._sock = sock
        self._http = http
        self._unsent = octets_unsent(sock)
        self.since = now

    @property
    def deadline(self) -> float:
        """When to ask for the `shortfall`, in monotonic seconds."""
        return self.since + self._http.write_timeout

    def shortfall(self, seconds: float) -> DisconnectedError | None:
        """Return why the client is broken off, ``seconds`` after the moment; None if it is waited for."""
        return slow_reader(self._http, self._unsent - octets_unsent(self._sock), seconds)

    def lag(self, now: float) -> Lag | None:
        """Return why the client may make way for others that wait; None if not.

        Who has taken enough is looked at from now on, or from when it took the last, so that it is not asked about
        again before it can have fallen behind.
        """
        delivery = delivery_to(self._sock)
        unsent = octets_unsent(self._sock)
        seconds = now - self.since
        taken = self._unsent - unsent
        lag = lag_of(self._http, delivery, taken, seconds)
        if lag is None and slow_reader(self._http, taken, seconds) is None:
            self._unsent = unsent
            self.since = max(self.since, now - delivery.quiet) if delivery and delivery.is_stalled else now
        return lag


def delivery_to(sock: socket.socket) -> Delivery | None:
    """Return what the kernel knows of the way to a client that does not take all; None where it does not say.

    It says so of TCP, on Linux.
    """
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return None
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(information) < _TCP_INFO.size:  # before Linux 4.6
        return None
    on_their_way, quiet_ms, acknowledged, not_sent = _TCP_INFO.unpack(information)
    return Delivery(acknowledged, not_sent > 0 and not on_their_way, quiet_ms / 1000)
