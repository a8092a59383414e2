"""What comes before the first request, where somebody waits for it (worker types sync and gevent): the TLS handshake.

`BlockingOpening` shakes hands first, and is then a `BlockingConnection` like any other. The handshake has
``http.header_timeout`` in all; before each step of it those go who have a connection. Who speaks plain HTTP gets a
readable 400: the octet by which TLS begins begins no request line. What waits in a loop is in
`pyfork.connection.opening`, and uses the same words.

In front of both kinds of connections there may be a header of the PROXY protocol (`pyfork.connection.introduction`).
"""

import logging
from socket import socket
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import READABLE, WRITABLE, ConnectionContext
from pyfork.connection.ending import shut_down
from pyfork.connection.introduction import (
    Intake,
    check_early,
    introduce,
    needs_introduction,
    put_back,
    send_refusal,
)
from pyfork.connection.introduction import tell as tell_of_none
from pyfork.connection.proxy_protocol import Header
from pyfork.errors import DisconnectedError, HandshakeError, ProxyHeaderError
from pyfork.http1.response import error_response

if TYPE_CHECKING:
    from pyfork.connection.tls import TlsSocket

READ_SIZE = 16 * 1024
"""Octets for each read during a handshake."""
HANDSHAKE = 22
"""The first octet of a connection that speaks TLS: the type of its record (RFC 8446, section 5.1)."""

_log = logging.getLogger("pyfork.error")


class BlockingOpening(BlockingConnection):
    """One client's connection, in a worker that waits for it, of a listener that speaks TLS.

    Args:
        sock: just accepted; `serve` takes it over.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener.
    """

    __slots__ = ("_raw",)

    def __init__(self, sock: socket, peer: Any, context: ConnectionContext) -> None:
        assert context.certificates is not None  # noqa: S101 (`begin_blocking` sees to it)
        self._raw = sock
        super().__init__(cast("socket", context.certificates.wrap(sock)), peer, context)

    def serve(self) -> Outcome:
        """Shake hands, then answer the connection's requests; see `BlockingConnection.serve`."""
        is_done = False
        try:
            is_done = self._shake_hands()
        except HandshakeError as error:
            tell(self.peer, str(error))
            if shut_down(self._raw):
                self.sock = self._raw
                is_done = True
                return Outcome.LINGER
            return Outcome.CLOSED
        finally:
            if not is_done:
                self._raw.close()
        return super().serve() if is_done else Outcome.CLOSED

    def _shake_hands(self) -> bool:
        """Shake hands until the deadline; return whether that is done.

        Raises:
            HandshakeError: it has failed, and the client should be able to read why.
        """
        tls = cast("TlsSocket", self.sock)
        self._head_deadline = deadline = monotonic() + self.context.http.header_timeout
        is_over = False
        while not is_over or tls.has_unsent:
            events = (0 if is_over else READABLE) | (WRITABLE if tls.has_unsent else 0)
            if not self.context.wait(self._raw, events, deadline):
                tell(self.peer, f"the handshake took more than {self.context.http.header_timeout:g} s")
                return False
            if is_over:
                tls.flush()
                continue
            try:
                data = self._raw.recv(READ_SIZE)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                tell(self.peer, "the client has gone")
                return False
            if data:
                if not tls.has_begun and data[0] != HANDSHAKE:
                    send_plain_refusal(self._raw, self.context)
                    raise HandshakeError("it does not speak TLS")
                tls.feed(data)
            self.context.step_aside()  # a step takes as long as many requests
            is_over = tls.shake_hands()
        return True


class IntroducedConnection(BlockingConnection):
    """The same, of a proxy that speaks the PROXY protocol: its header comes first."""

    __slots__ = ()

    def serve(self) -> Outcome:
        """See `BlockingConnection.serve`."""
        return receive_introduction(self, self.sock) or super().serve()


class IntroducedOpening(BlockingOpening):
    """The same, before TLS."""

    __slots__ = ()

    def serve(self) -> Outcome:
        """See `BlockingOpening.serve`."""
        outcome = receive_introduction(self, self._raw)
        if outcome is Outcome.LINGER:
            self.sock = self._raw
        return outcome or super().serve()


def receive_introduction(connection: BlockingConnection, raw: socket) -> Outcome | None:
    """Wait for the header of the PROXY protocol, and be the connection of its client from then on.

    Returns:
        How the connection has ended, None if it goes on.
    """
    raw.setblocking(False)
    outcome: Outcome | None = Outcome.CLOSED
    try:
        header, early = _await_header(connection, raw)
        check_early(early, connection.context)
        connection.peer, connection.context = introduce(header, connection.peer, connection.context)
        if early:
            put_back(connection, early)
        outcome = None
    except ProxyHeaderError as error:
        if send_refusal(raw, connection.peer, connection.context, error):
            outcome = Outcome.LINGER
    except DisconnectedError as error:
        tell_of_none(connection.peer, str(error))
    finally:
        if outcome is Outcome.CLOSED:
            raw.close()
    return outcome


def _await_header(connection: BlockingConnection, raw: socket) -> tuple[Header, bytes]:
    """Return the header, and what has been taken for one.

    Raises:
        DisconnectedError: there will be none.
        ProxyHeaderError: it is none.
    """
    context = connection.context
    intake = Intake(raw, context.proxy_protocol)
    connection._head_deadline = deadline = monotonic() + context.http.header_timeout  # noqa: SLF001 (the callers' own)
    while (header := intake.take()) is None:
        connection.is_idle = not intake.octets
        if not connection.wait_for_head(deadline):
            raise DisconnectedError("its PROXY header did not come in time")
    connection.is_idle = not intake.octets
    return header, intake.octets


def begin_blocking(sock: socket, peer: Any, context: ConnectionContext) -> BlockingConnection:
    """Return what serves a connection that a worker without a loop of its own has just accepted."""
    is_introduced = needs_introduction(peer, context)
    if context.certificates is None:
        return (IntroducedConnection if is_introduced else BlockingConnection)(sock, peer, context)
    return (IntroducedOpening if is_introduced else BlockingOpening)(sock, peer, context)


def send_plain_refusal(sock: socket, context: ConnectionContext) -> None:
    """Send a 400 without TLS; a socket that was just accepted has room for it."""
    detail = "The plain HTTP request was sent to an HTTPS port"
    try:
        sock.send(error_response(400, detail, context.clock.date()))
    except OSError:  # the client has gone
        return


def tell(peer: Any, reason: str) -> None:
    """Handshakes fail every minute on the internet: that is worth a line to who looks for it."""
    _log.debug("%s: no TLS: %s", peer[0] if peer.__class__ is tuple else "a unix socket", reason)
