"""What comes before everything else of a connection from a proxy that speaks the PROXY protocol: its header.

``proxy.protocol`` says which versions are spoken, ``proxy.allow_from`` by whom. From those peers the header is awaited,
for ``http.header_timeout`` in all; then the connection goes on as if its client had come to us, by TLS if the listener
speaks that. From others nothing is awaited, and a header of theirs is a bad request.

Exactly the octets of the header are taken from the socket: they are looked at first (``MSG_PEEK``). But what has come
of a header that is not whole is taken at once, or the poller would report it over and over.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from socket import MSG_PEEK, socket
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, cast

from pyfork.connection.context import READABLE, ConnectionContext
from pyfork.connection.ending import has_come, shut_down
from pyfork.connection.host import Host, Phase, Watched
from pyfork.connection.proxy_protocol import LONGEST_V2, Header, read_header
from pyfork.errors import DisconnectedError, ProxyHeaderError
from pyfork.gateway.peers import name_of
from pyfork.http1.response import error_response

if TYPE_CHECKING:
    from pyfork.connection.answer import Answer
    from pyfork.connection.blocking import BlockingConnection
    from pyfork.connection.nonblocking import NonblockingConnection

_log = logging.getLogger("pyfork.error")


class IntroductionHost(Host, Protocol):
    """The worker, as an `Introduction` sees it."""

    def replace(self, old: Watched, new: Watched) -> None:
        """Have ``new`` take the place of ``old``, and look at once for what has come already."""


class Intake:
    """Takes the header from the socket of one connection.

    Args:
        sock: non-blocking.
        protocol: as `read_header` has it.

    Attributes:
        octets: of the header, as long as it is not whole; once it is known that there is none, what belongs to the
            client, and was taken for the beginning of one.
    """

    __slots__ = ("_protocol", "_sock", "octets")

    def __init__(self, sock: socket, protocol: str) -> None:
        self._sock = sock
        self._protocol = protocol
        self.octets = b""

    def take(self) -> Header | None:
        """Take what has come of the header; return it when it is whole.

        Raises:
            DisconnectedError: nothing more will come.
            ProxyHeaderError: it is none.
        """
        try:
            seen = self._sock.recv(LONGEST_V2, MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise DisconnectedError(f"the client has gone: {error.strerror}") from error
        if not seen:
            raise DisconnectedError("the client has gone")
        octets = self.octets + seen
        header = read_header(octets, self._protocol)
        if header is None:
            self._take(len(seen))
            self.octets = octets
        elif header.length:
            self._take(header.length - len(self.octets))
            self.octets = b""
        return header

    def _take(self, count: int) -> None:
        while count:
            count -= len(self._sock.recv(count))


class Introduction:
    """One connection until its header is there, in a worker with a loop.

    Args:
        sock: just accepted; it belongs to the introduction.
        peer: the proxy's address, as ``accept`` returned it.
        context: of the listener.
        host: the worker; it watches the socket for `READABLE` already.
        go_on: makes what takes its place, of the same arguments.

    Attributes:
        sock: as given.
        peer: as given.
        context: as given.
        phase: READING until it has ended: for the loop a connection without a response under way.
        deadline: when `on_deadline` is to be called (monotonic seconds).
        watched: the events that it is watched for.
    """

    is_kept = False
    """No request has been answered."""

    __slots__ = ("_go_on", "_host", "_intake", "context", "deadline", "peer", "phase", "sock", "watched")

    def __init__(
        self,
        sock: socket,
        peer: Any,
        context: ConnectionContext,
        host: IntroductionHost,
        go_on: Callable[[socket, Any, ConnectionContext, Any], Watched],
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.peer = peer
        self.context = context
        self._host = host
        self._go_on = go_on
        self._intake = Intake(sock, context.proxy_protocol)
        self.phase = Phase.READING
        self.watched = READABLE
        self.deadline = monotonic() + context.http.header_timeout

    @property
    def is_idle(self) -> bool:
        """Whether not one octet has come."""
        return not self._intake.octets

    def on_event(self, _events: int) -> None:
        """Take what has come."""
        try:
            header = self._intake.take()
            if header is not None:
                self._become(header)
        except ProxyHeaderError as error:
            self._leave()
            if send_refusal(self.sock, self.peer, self.context, error):
                self._host.linger(self.sock)
            else:
                self.sock.close()
        except DisconnectedError as error:
            self._end(str(error))

    def on_deadline(self, _now: float) -> None:
        """Give up on a proxy that takes too long."""
        self._end("its PROXY header did not come in time")

    def make_way(self) -> bool:
        """End, as others wait; return False, and go on, if something has come meanwhile."""
        if has_come(self.sock):
            return False
        self._end("others wait")
        return True

    def abandon(self) -> None:
        """Let go of all, after a fault of the server; its host has forgotten it."""
        self._release()
        self.sock.close()

    def _become(self, header: Header) -> None:
        """Make room for what comes next.

        Raises:
            ProxyHeaderError: what was taken for the beginning of a header does not begin anything else either.
        """
        early = self._intake.octets
        check_early(early, self.context)
        peer, context = introduce(header, self.peer, self.context)
        connection = self._go_on(self.sock, peer, context, self._host)
        if early:
            put_back(cast("NonblockingConnection", connection), early)
        self._release()
        self._host.replace(self, connection)

    def _end(self, reason: str) -> None:
        tell(self.peer, reason)
        self._leave()
        self.sock.close()

    def _leave(self) -> None:
        self._host.forget(self)
        self._release()

    def _release(self) -> None:
        self.phase = Phase.ENDED
        self.deadline = math.inf


def needs_introduction(peer: Any, context: ConnectionContext) -> bool:
    """Say whether a connection may begin with a header."""
    return context.proxy_protocol != "off" and context.introducers.has_peer(peer)


def introduce(header: Header, peer: Any, context: ConnectionContext) -> tuple[Any, ConnectionContext]:
    """Return the peer and the context of a connection that began with ``header``.

    The application is told as by gunicorn: PROXY_PROTOCOL, and where the client connected to in PROXY_ADDR and
    PROXY_PORT. That is the connection's own, so its context is too. A client whose address is not told is not the
    proxy: nothing that it says of itself counts.
    """
    if not header.length:
        return peer, context
    if header.local:
        host, port = header.local
        variables = {"PROXY_PROTOCOL": header.family, "PROXY_ADDR": host, "PROXY_PORT": str(port)}
        return header.peer, replace(context, make_answer=partial(_make_introduced, context.make_answer, variables))
    context = replace(context, proxies=context.proxies.of_strangers())
    if header.peer is None:
        return peer, context
    variables = {"PROXY_PROTOCOL": header.family}
    return header.peer, replace(context, make_answer=partial(_make_introduced, context.make_answer, variables))


def _make_introduced(make_answer: Callable[..., "Answer"], variables: dict[str, str], *arguments: Any) -> "Answer":
    answer = make_answer(*arguments)
    answer.add_variables(variables)
    return answer


def check_early(early: bytes, context: ConnectionContext) -> None:
    """Look at octets that were taken for the beginning of a header, and are none.

    Raises:
        ProxyHeaderError: they begin no request line, or a listener that speaks TLS.
    """
    if b"\0" in early or (early and context.certificates is not None):
        raise ProxyHeaderError("This begins neither with a PROXY header nor as it should without one")


def put_back(connection: "BlockingConnection | NonblockingConnection", early: bytes) -> None:
    """Have a connection begin with octets that were taken already: a few, and no whole line but empty ones."""
    events = connection._parser.feed(early)  # noqa: SLF001 (nobody else has octets before there is a connection)
    assert not events  # noqa: S101 (`check_early`)


def send_refusal(sock: socket, peer: Any, context: ConnectionContext, error: ProxyHeaderError) -> bool:
    """Answer what is no header, so that the client can read it; return whether there is somebody to linger for."""
    _log.info("refused the proxy at %s with 400: %s", name_of(peer), error)
    try:
        sock.send(error_response(400, str(error), context.clock.date()))
    except OSError:  # the proxy has gone
        return False
    return shut_down(sock)


def tell(peer: Any, reason: str) -> None:
    """Health checks come and go without a word: that is worth a line to who looks for it."""
    _log.debug("%s: %s", name_of(peer), reason)
