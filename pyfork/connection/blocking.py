"""The blocking shell: serves one connection from its first octet to its last (worker types sync and gevent).

The socket itself does not block. Each step is tried first, and only when the kernel says "not yet" the worker is asked
to wait, which it does in its own way, until a deadline:

- header: the whole head must be there in ``header_timeout``; then 408, or silence if not one octet has come.
- body: each wait for more of it may take ``body_timeout``; then 408.
- write: a client that takes nothing at all for ``write_timeout`` is broken off; a slow one is waited for.

How a connection ends:

- `Outcome.CLOSED`, and the socket is closed, when everything that the client sent has been read, and its kernel has
  the whole answer.
- `Outcome.LINGER` when not. Octets that are unread at close(2), or that come after it, have the kernel reset the
  connection and drop what it has not delivered of the answer (RFC 9112, section 9.6). So the writing side is shut
  down, and the worker reads and forgets the rest beside its work. A unix socket delivers what was sent in any case.
- Broken off, when a response cannot be completed. The client must be able to tell: a length that is not reached or a
  last chunk that is missing say so. A body that the connection's end delimits (HTTP/1.0) does not, so that connection
  is reset. A unix socket knows no such reset, and nothing can be done: the body looks complete.

The application is entered at `Exchange.begin`, and left for good when the response has ended; every wait in between
stops its time (`sending.wait_writable`, `BodyReceiver`).
"""

import logging
import os
import socket
import struct
import sys
from enum import Enum
from time import monotonic
from typing import Any, NoReturn

from pyfork.connection.context import READABLE, AccessSink, ConnectionContext, Line
from pyfork.connection.failures import clients_fault, is_clients_fault_alone, line_of, log_failure, warn_of_response
from pyfork.connection.receiving import BodyReceiver
from pyfork.connection.sending import octets_unsent, send_all, send_region
from pyfork.errors import DisconnectedError, ProtocolError, QuitNow
from pyfork.gateway.environ import Environ, build_environ
from pyfork.gateway.file_wrapper import FileRegion
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.gateway.wsgi import Exchange
from pyfork.http1.limits import MAX_FEED
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import Event, Request
from pyfork.http1.response import ResponseEncoder, error_response
from pyfork.log.record import AccessRecord

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close(2) resets

_log = logging.getLogger("pyfork.error")


class Outcome(Enum):
    """What is left for the worker to do."""

    CLOSED = "nothing: the socket is closed"
    LINGER = "to read and forget what comes, and to close the socket at its end: its writing side is shut down"


class BlockingConnection:
    """One client's connection, in the worker that accepted it.

    Args:
        sock: just accepted; `serve` takes it over.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener.
    """

    __slots__ = (
        "_answer_sent",
        "_context",
        "_events",
        "_line",
        "_must_linger",
        "_must_reset",
        "_parser",
        "_peer",
        "_sock",
    )

    def __init__(self, sock: socket.socket, peer: Any, context: ConnectionContext) -> None:
        self._sock = sock
        self._peer = peer
        self._context = context
        self._line = Line(sock, peer, context)
        self._parser = RequestParser(context.limits)
        self._events: list[Event] = []  # behind the head that was returned last
        self._answer_sent = b""  # in the application's place
        self._must_linger = False
        self._must_reset = False

    def serve(self) -> Outcome:
        """Answer the connection's requests; one, unless the context says that it can keep connections alive.

        Raises:
            QuitNow: the worker was told to end at once; the socket is closed.
        """
        sock = self._sock
        sock.setblocking(False)
        outcome = Outcome.CLOSED
        try:
            request = self._receive_head([])
            while request is not None and self._respond(request):
                request = self._receive_head(self._parser.feed(b""))  # what was pipelined
            if self._must_linger:
                outcome = self._shut_down()
        except DisconnectedError as error:
            _log.debug("%s: %s", self._remote() or "a unix socket", error)
        finally:
            if outcome is Outcome.CLOSED:
                if self._must_reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()
        return outcome

    def _shut_down(self) -> Outcome:
        """Say that no more will be sent; what the client sends is the worker's then."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has reset the connection: there is nothing to linger for
            return Outcome.CLOSED
        return Outcome.LINGER

    def _remote(self) -> str:
        """Return the client's address, "" for a unix socket."""
        return self._peer[0] if isinstance(self._peer, tuple) else ""

    # Receiving a head.

    def _receive_head(self, events: list[Event]) -> Request | None:
        """Return the next request, or None when there is none: the client is silent, or has been refused.

        Args:
            events: what the parser knows of it already.

        Raises:
            DisconnectedError: the client has gone.
        """
        parser = self._parser
        deadline = 0.0
        while not events:
            try:
                data = self._sock.recv(MAX_FEED)
            except BlockingIOError:
                deadline = deadline or monotonic() + self._context.http.header_timeout
                if not self._context.wait(self._sock, READABLE, deadline):
                    if not parser.is_idle:
                        self._refuse(ProtocolError(408, "The request did not come in time"))
                    return None
                continue
            except OSError as error:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error
            events = parser.feed(data) if data else parser.feed_eof()
            if not data and not events:
                return None
        first = events.pop(0)
        if isinstance(first, Request):
            self._events = events
            return first
        assert isinstance(first, ProtocolError)  # noqa: S101 (the parser's order of events)
        self._refuse(first)
        return None

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request whose head is wrong, or never came whole."""
        context = self._context
        self._must_linger = True
        self._answer(error, self._parser.method)
        self._line.progress.leave_application()  # sending it may have begun a stretch
        if context.access_log is not None:
            status, octets = _summary(self._answer_sent)
            now = context.clock.seconds()
            context.access_log.log(AccessRecord(None, None, self._remote(), status, (), octets, now, 0.0))

    def _answer(self, error: ProtocolError, method: str) -> None:
        """Send an answer of our own, the connection's last."""
        if error.status != 500:
            _log.info("refused %s with %d: %s", self._remote() or "a unix socket", error.status, error.detail)
        answer = error_response(error.status, error.detail, self._context.clock.date(), method=method)
        send_all(self._line, answer)
        self._answer_sent = answer

    # Answering it.

    def _respond(self, request: Request) -> bool:
        """Have the application answer; return whether the connection can go on to a next request.

        Raises:
            DisconnectedError: the client has gone.
        """
        context = self._context
        progress = self._line.progress
        keep_alive = context.persistence.is_allowed and request.keep_alive
        encoder = ResponseEncoder(request.method, request.http_version, keep_alive, context.clock.date())
        receiver = None
        body = EMPTY_INPUT
        if request.content_length or request.is_chunked:
            receiver = BodyReceiver(self._line, self._parser, request, self._events, encoder)
            body = InputStream(receiver.receive)
        environ = build_environ(context.base_environ, request, body, self._peer, context.proxies)
        exchange = Exchange(context.application, environ, encoder, self._send)
        started = monotonic()
        self._answer_sent = b""
        is_error = True
        progress.begin_request(request.method, request.path)
        try:
            self._run(exchange)
            is_error = exchange.status[0] == "5"
            if encoder.dropped or encoder.excess or encoder.missing:
                warn_of_response(request, exchange, encoder, context.warned_fields)
                is_error = is_error or encoder.missing > 0
        except QuitNow:
            raise
        except BaseException as error:  # noqa: BLE001 (SystemExit too: no request may end the worker)
            if os.getpid() != context.pid:
                _end_copy(error)
            is_error = self._fail(error, request, encoder)
        finally:
            if context.access_log is not None:
                self._log_access(context.access_log, exchange, request, environ, monotonic() - started)
            self._close(exchange, request)
            context.base_environ["wsgi.errors"].flush()
            progress.end_request(exchange.octets_sent, is_error=is_error)
        return self._can_go_on(receiver, encoder)

    def _run(self, exchange: Exchange) -> None:
        """Send what the application gives, until it is finished."""
        enter_application = self._line.progress.enter_application
        enter_application()
        data = exchange.begin()
        while True:
            if isinstance(data, FileRegion):
                send_region(self._line, data)
            elif data:
                self._send(data)
            if exchange.is_finished:
                return
            enter_application()
            data = exchange.advance()

    def _send(self, data: bytes | memoryview) -> None:
        """Send octets; as a rule the kernel takes them all at once."""
        try:
            sent = self._sock.send(data)
        except OSError:
            sent = 0  # what it is will come out again
        if sent != len(data):
            send_all(self._line, memoryview(data)[sent:])

    def _fail(self, error: BaseException, request: Request, encoder: ResponseEncoder) -> bool:
        """Answer in the application's place, or break off; return whether the application is to blame.

        Raises:
            DisconnectedError: the client has gone.
        """
        encoder.keep_alive = False
        fault = clients_fault(error)
        if not is_clients_fault_alone(error):
            log_failure(request, self._remote(), error)
        if isinstance(fault, DisconnectedError):
            _log.debug("%s: %s", line_of(request), fault)
            self._must_reset = True  # the kernel need not go on trying to deliver what it has
            return False
        if encoder.head_sent:
            self._must_reset = encoder.remaining is None and request.http_version == "1.0"
        else:
            self._answer(fault or ProtocolError(500, "The application failed"), request.method)
        return fault is None

    def _close(self, exchange: Exchange, request: Request) -> None:
        """Call the ``close()`` that the application may wait for."""
        try:
            exchange.close()
        except QuitNow:
            raise
        except BaseException as error:  # noqa: BLE001 (the response has been sent; nothing else can be done)
            log_failure(request, self._remote(), error, where=" in close()")

    def _log_access(
        self, access_log: AccessSink, exchange: Exchange, request: Request, environ: Environ, duration: float
    ) -> None:
        """Tell the access log, unless nothing was answered."""
        status, headers, octets = exchange.status, exchange.headers, exchange.octets_sent
        if self._answer_sent:
            status, octets = _summary(self._answer_sent)
            headers = ()
        if status:
            started = self._context.clock.seconds() - duration
            access_log.log(AccessRecord(request, environ, self._remote(), status, headers, octets, started, duration))

    def _can_go_on(self, receiver: BodyReceiver | None, encoder: ResponseEncoder) -> bool:
        """Return whether a next request may come; decide how the connection ends if not."""
        if self._must_reset:
            return False
        is_read = receiver is None or receiver.has_ended
        if encoder.keep_alive and is_read:
            return True
        self._must_linger = not is_read or self._parser.leftover > 0 or self._may_close_destroy()
        return False

    def _may_close_destroy(self) -> bool:
        """Whether the client has gone on sending meanwhile (a pipelined request, say), or its answer is on its way."""
        sock = self._sock
        try:
            return bool(sock.recv(1))  # b"": it sends no more
        except BlockingIOError:  # nothing, as it should be
            return octets_unsent(sock) > 0 and sock.family != socket.AF_UNIX
        except OSError:  # the client has gone
            return False


def _end_copy(error: BaseException) -> NoReturn:
    """End a process that the application forked from the worker: the client and the scoreboard are its parent's."""
    if not isinstance(error, SystemExit):
        _log.error("a process that the application forked has failed", exc_info=error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)


def _summary(answer: bytes) -> tuple[str, int]:
    """Return the status and the octets of the body of an answer of our own."""
    head, _, content = answer.partition(b"\r\n\r\n")
    return head[9 : head.find(b"\r\n")].decode("ascii"), len(content)
