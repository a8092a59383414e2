"""What comes before the first request of a connection: the TLS handshake.

A connection of a listener that speaks TLS begins as an `Opening`, which the loop treats as it treats the
`NonblockingConnection` that then takes its place. The rules:

- A handshake costs as much as a dozen requests, or more. So an event only takes what has come; the work waits in
  `Openings`, and is done when all else of the loop's turn has been, for `LONGEST_SLICE` at most, or for one step of one
  handshake. Clients that have connections do not wait for those that want one.
- It has ``http.header_timeout`` in all; then the connection is closed without a word.
- Who speaks plain HTTP to it gets a readable 400 (`handshake.send_plain_refusal`).

A header of the PROXY protocol comes before all of this (`pyfork.connection.introduction`).
"""

import math
from collections import deque
from collections.abc import Callable
from socket import socket
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, cast

from pyfork.connection.context import READABLE, WRITABLE, ConnectionContext
from pyfork.connection.ending import has_come, shut_down
from pyfork.connection.handshake import HANDSHAKE, READ_SIZE, send_plain_refusal, tell
from pyfork.connection.host import Phase, Watched
from pyfork.connection.introduction import Introduction, IntroductionHost, needs_introduction
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.errors import HandshakeError

if TYPE_CHECKING:
    from pyfork.connection.tls import TlsSocket

LONGEST_SLICE = 0.000_2
"""Seconds of handshakes in one turn of the loop, after which no other step begins."""


class OpeningHost(IntroductionHost, Protocol):
    """The worker, as an `Opening` sees it."""

    openings: "Openings"


class Openings(deque["Opening"]):
    """The handshakes of one loop that have something to do, first come, first served.

    Args:
        clock: tells monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock

    def run(self, fail: Callable[["Opening", Exception], None]) -> None:
        """Do one step at least, and as many as there is time for.

        Args:
            fail: called with an opening whose step was a fault of the server's, and that fault.
        """
        ends = self._clock() + LONGEST_SLICE
        while self:
            opening = self.popleft()
            try:
                opening.advance()
            except Exception as error:  # noqa: BLE001 (our fault or a log handler's: it ends this connection)
                fail(opening, error)
            if self._clock() >= ends:
                return


class Opening:
    """One connection during its handshake, in a worker with a loop.

    Args:
        sock: just accepted; it belongs to the opening.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener, which speaks TLS.
        host: the worker; it watches the socket for `READABLE` already.

    Attributes:
        sock: the kernel's.
        peer: as given.
        context: as given.
        phase: READING until it has ended: for the loop a connection without a response under way.
        deadline: when `on_deadline` is to be called (monotonic seconds).
        watched: the events that it is watched for.
    """

    __slots__ = ("_host", "_is_over", "_is_queued", "_tls", "context", "deadline", "peer", "phase", "sock", "watched")

    is_idle = True
    """No request has begun: it may be closed if others wait."""
    is_kept = False
    """Nor has one been answered."""

    def __init__(self, sock: socket, peer: Any, context: ConnectionContext, host: OpeningHost) -> None:
        assert context.certificates is not None  # noqa: S101 (`begin` sees to it)
        self._tls: TlsSocket | None = context.certificates.wrap(sock)
        self.sock = sock
        self.peer = peer
        self.context = context
        self._host = host
        self._is_queued = False
        self._is_over = False  # as far as we are concerned
        self.phase = Phase.READING
        self.watched = READABLE
        self.deadline = monotonic() + context.http.header_timeout

    def on_event(self, events: int) -> None:
        """Take what has come; the work waits for its turn, and what comes until then waits in the kernel."""
        if self._is_queued:
            return
        assert self._tls is not None  # noqa: S101 (the phase)
        is_first = not self._tls.has_begun
        if not self._is_over and events & ~WRITABLE:
            try:
                data = self.sock.recv(READ_SIZE)
            except BlockingIOError:
                data = None
            except OSError as error:
                self._end(f"the client has gone: {error.strerror}")
                return
            if data == b"":
                self._end("the client has gone")
                return
            if data:
                if is_first and data[0] != HANDSHAKE:
                    self._refuse_plain()
                    return
                self._tls.feed(data)
        self._is_queued = True
        self._host.openings.append(self)

    def advance(self) -> None:
        """Do the next step of the handshake; called when its turn has come."""
        self._is_queued = False
        tls = self._tls
        if tls is None:  # it has ended meanwhile
            return
        try:
            if not self._is_over:
                self._is_over = tls.shake_hands()
            else:
                tls.flush()
        except HandshakeError as error:
            self._end(str(error), has_alert=True)
            return
        wanted = READABLE if not self._is_over else 0
        if tls.has_unsent:
            wanted |= WRITABLE
        elif self._is_over:
            self._become_connection(tls)
            return
        if wanted != self.watched:
            self._host.watch(self, wanted)

    def on_deadline(self, _now: float) -> None:
        """Give up on a client that takes too long."""
        self._end(f"the handshake took more than {self.context.http.header_timeout:g} s")

    def make_way(self) -> bool:
        """End it, as others wait; return False, and go on, if more has come meanwhile."""
        if self._is_queued or has_come(self.sock):
            return False
        self._end("others wait")
        return True

    def abandon(self) -> None:
        """Let go of all, after a fault of the server; its host has forgotten it."""
        self._release()
        self.sock.close()

    def _become_connection(self, tls: "TlsSocket") -> None:
        if self.watched != READABLE:
            self._host.watch(self, READABLE)
        sock = cast("socket", tls)  # what the shells use of one
        connection = NonblockingConnection(sock, self.peer, self.context, self._host)
        self._release()
        self._host.replace(self, connection)

    def _refuse_plain(self) -> None:
        """Answer who speaks plain HTTP, or anything else, so that it can be read."""
        self._leave()
        send_plain_refusal(self.sock, self.context)
        self._see_off("it does not speak TLS")

    def _end(self, reason: str, *, has_alert: bool = False) -> None:
        """Close the connection; behind an alert so that the client can read it."""
        self._leave()
        if has_alert:
            self._see_off(reason)
        else:
            tell(self.peer, reason)
            self.sock.close()

    def _see_off(self, reason: str) -> None:
        tell(self.peer, reason)
        if shut_down(self.sock):
            self._host.linger(self.sock)
        else:
            self.sock.close()

    def _leave(self) -> None:
        self._host.forget(self)
        self._release()

    def _release(self) -> None:
        self._tls = None
        self.phase = Phase.ENDED
        self.deadline = math.inf


def begin(sock: socket, peer: Any, context: ConnectionContext, host: OpeningHost) -> Watched:
    """Return what a connection begins as that a worker with a loop has just accepted."""
    if needs_introduction(peer, context):
        return Introduction(sock, peer, context, host, _go_on)
    return _go_on(sock, peer, context, host)


def _go_on(sock: socket, peer: Any, context: ConnectionContext, host: OpeningHost) -> Watched:
    if context.certificates is None:
        return NonblockingConnection(sock, peer, context, host)
    return Opening(sock, peer, context, host)
