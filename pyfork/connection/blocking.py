"""The blocking shell: serves one connection from its first octet to its last (worker types sync and gevent).

The socket itself does not block. Each step is tried first, and only when the kernel says "not yet" the worker is asked
to wait, which it does in its own way, until a deadline:

- idle: between two requests, ``keep_alive``; the connection is closed then.
- header: the whole head must be there in ``header_timeout``; then 408, or silence if not one octet has come.
- body: it has ``body_timeout`` to go on, and what falls behind ``min_body_rate`` uses that up (`patience`); then 408.
- write: a client that takes nothing for ``write_timeout``, or less than ``min_write_rate`` asks for, is broken off.

Behind a response the shell waits before it tries: nearly always the next request is not there yet, and a client that
sends faster than it is served must not keep a loop from its other work. For the same reason it says ``give_way``
between the blocks of a response and of a body. Nobody reads ahead: one feed is at most `MAX_FEED` octets, and the
parser stops behind each message.

How a connection ends:

- `Outcome.CLOSED`, and the socket is closed, when everything that the client sent has been read, and its kernel has
  the whole answer.
- `Outcome.LINGER` when not: `pyfork.connection.ending` says why. The worker then does it beside its work.
- Broken off, when a response cannot be completed. The client must be able to tell: a length that is not reached or a
  last chunk that is missing say so. A body that the connection's end delimits (HTTP/1.0) does not, so that connection
  is reset. A unix socket knows no such reset, and nothing can be done: the body looks complete.

The application's time is stopped by every wait (`sending.wait_writable`, `BodyReceiver`).
"""

import logging
import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from socket import socket
from time import monotonic
from typing import Any

from pyfork.connection.answer import Answer, log_refusal, refuse
from pyfork.connection.context import READABLE, ConnectionContext, Line
from pyfork.connection.ending import close_well, has_come, may_close_destroy, reset, shut_down
from pyfork.connection.host import FIRST_PATIENCE
from pyfork.connection.receiving import BodyReceiver
from pyfork.connection.sending import send_all, send_region
from pyfork.errors import DisconnectedError, ProtocolError, QuitNow
from pyfork.gateway.file_wrapper import FileRegion
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.gateway.wsgi import Sendable
from pyfork.http1.fields import ResponseHeaders
from pyfork.http1.limits import MAX_FEED
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import Event, Request
from pyfork.http1.response import ResponseEncoder

MOST_OWED = 64
"""Pipelined requests of one client that a worker still answers when it is to end."""
_log = logging.getLogger("pyfork.error")


class Outcome(Enum):
    """What is left for the worker to do."""

    CLOSED = "nothing: the socket is closed"
    LINGER = "to read and forget what comes, and to close the socket at its end: its writing side is shut down"


class _ReceivingEncoder(ResponseEncoder):
    """Encodes a response that may begin before the request's body has come.

    If the application has not asked for the body by then, the connection will end (RFC 9112, section 9.3), and the
    client is told so: one that expects a 100 need not send it (RFC 9110, section 10.1.1).

    Attributes:
        receiver: of the request's body.
    """

    __slots__ = ("receiver",)

    receiver: BodyReceiver

    def start(self, status: str, headers: ResponseHeaders) -> None:
        """See `ResponseEncoder.start`."""
        super().start(status, headers)
        self.keep_alive = self.keep_alive and (self.receiver.has_ended or self.receiver.has_been_asked)


class _RetiringEncoder(ResponseEncoder):
    """Encodes a response of a worker that is to end: the last of its connection, unless more requests have come.

    That is asked as late as can be, when the application gives its head.

    Args:
        request: that is answered.
        date: as `http_date` makes it.
        owes_more: whether more have come, once this one is whole.

    Attributes:
        receiver: of the request's body.
    """

    __slots__ = ("_owes_more", "receiver")

    def __init__(self, request: Request, date: bytes, owes_more: Callable[[], bool]) -> None:
        super().__init__(request.method, request.http_version, request.keep_alive, date)
        self._owes_more = owes_more
        self.receiver: BodyReceiver | None = None

    def start(self, status: str, headers: ResponseHeaders) -> None:
        """See `ResponseEncoder.start`."""
        super().start(status, headers)
        is_read = self.receiver is None or self.receiver.has_ended
        self.keep_alive = self.keep_alive and is_read and self._owes_more()


class BlockingConnection(Line):
    """One client's connection, in the worker that accepted it.

    Args:
        sock: just accepted; `serve` takes it over.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener.

    Attributes:
        is_idle: a request is waited for, and not one octet of it has come.
        wait_for_head: waits for octets until a deadline; a worker may put a quicker way here than the context's.
        is_last: the worker wants no further request to be served here, whatever the client was told.
    """

    __slots__ = (
        "_events",
        "_has_answered",
        "_head_deadline",
        "_must_linger",
        "_must_reset",
        "_owed",
        "_parser",
        "_receiver",
        "is_idle",
        "is_last",
        "wait_for_head",
    )

    def __init__(self, sock: socket, peer: Any, context: ConnectionContext) -> None:
        super().__init__(sock, peer, context)
        self._parser = RequestParser(context.limits)
        self._events: list[Event] = []  # behind the head that was returned last
        self._has_answered = False  # a request
        self._must_linger = False
        self._must_reset = False
        self._owed = 0  # requests that had come when the connection was to end
        self.is_idle = True
        self._head_deadline = math.inf  # until when a head is waited for
        self._receiver: BodyReceiver | None = None  # of the body that the application may wait for
        self.is_last = False
        self.wait_for_head: Callable[[float], bool] = partial(context.wait, sock, READABLE)

    def serve(self) -> Outcome:
        """Answer the connection's requests; one, unless the context says that it may persist.

        Raises:
            QuitNow: the worker was told to end at once; the socket is closed.
        """
        sock = self.sock
        sock.setblocking(False)
        outcome = Outcome.CLOSED
        is_over = False
        try:
            request = self._receive_head()
            while request is not None and self._respond(request):
                request = self._receive_head()
            if self._must_linger and shut_down(sock):
                outcome = Outcome.LINGER
            is_over = outcome is Outcome.CLOSED
        except DisconnectedError as error:
            _log.debug("%s: %s", self.remote or "a unix socket", error)
        finally:
            if self._must_reset:
                reset(sock)
            elif is_over:
                close_well(sock)
            elif outcome is Outcome.CLOSED:
                sock.close()
        return outcome

    # Receiving a head.

    def _receive_head(self) -> Request | None:
        """Return the next request, or None when there is none: the client is silent, or has been refused.

        Raises:
            DisconnectedError: the client has gone.
        """
        events = self._parser.feed(b"") if self._parser.leftover else None
        if not events:
            events = self._await_head(is_idle=events is None)
            if not events:
                return None
        first = events.pop(0)
        if isinstance(first, Request):
            self._events = events
            return first
        assert isinstance(first, ProtocolError)  # noqa: S101 (the parser's order of events)
        self._refuse(first)
        return None

    def _await_head(self, *, is_idle: bool) -> list[Event]:
        """Wait for a head; return what the parser makes of it, nothing when none comes."""
        parser, http = self._parser, self.context.http
        self.is_idle = is_idle
        must_wait = self._has_answered
        is_in_time = True
        deadline = monotonic() + (http.keep_alive if must_wait and is_idle else http.header_timeout)
        self._head_deadline = deadline
        while True:
            if must_wait:
                is_in_time = self.wait_for_head(deadline)
            try:
                data = self.sock.recv(MAX_FEED)
            except BlockingIOError:
                if is_in_time:
                    must_wait = True
                    continue
                return self._give_up_waiting()
            except OSError as error:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error
            events = parser.feed(data) if data else parser.feed_eof()
            if events or not data:
                self.is_idle = False
                self._head_deadline = math.inf
                return events
            if is_idle and not parser.is_idle:
                self.is_idle = is_idle = False
                if self._has_answered:
                    self._head_deadline = deadline = monotonic() + http.header_timeout
            elif not is_in_time:
                return self._give_up_waiting()

    @property
    def may_yield_at(self) -> float:
        """From when the wait for a request may end if others wait for a place (monotonic); infinity: none is."""
        http = self.context.http
        if self._receiver is not None:
            return self._receiver.may_yield_at
        is_kept = self._has_answered and self.is_idle
        return self._head_deadline - (http.keep_alive if is_kept else http.header_timeout - FIRST_PATIENCE)

    def _give_up_waiting(self) -> list[Event]:
        """The client's time is up: refuse what has come of a head."""
        if self._parser.is_idle:
            return []
        return [ProtocolError(408, "The request did not come in time")]

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request whose head is wrong, or never came whole."""
        answer = refuse(self, error, self._parser.method)
        self._must_linger = True
        send_all(self, answer)
        self.progress.leave_application()  # sending it may have begun a stretch
        log_refusal(self, answer, None)

    # Answering it.

    def _respond(self, request: Request) -> bool:
        """Have the application answer; return whether the connection can go on to a next request."""
        context = self.context
        keep_alive = request.keep_alive and context.persistence.is_allowed
        has_body = request.content_length or request.is_chunked
        if keep_alive or not (request.keep_alive and context.persistence.is_retiring):
            kind = _ReceivingEncoder if has_body else ResponseEncoder
            encoder = kind(request.method, request.http_version, keep_alive, context.clock.date())
        else:
            encoder = _RetiringEncoder(request, context.clock.date(), self._owes_more)
        receiver = None
        body = EMPTY_INPUT
        if has_body:
            self._receiver = receiver = BodyReceiver(self, self._parser, request, self._events, encoder)
            if isinstance(encoder, _ReceivingEncoder | _RetiringEncoder):
                encoder.receiver = receiver
            body = InputStream(receiver.receive, receiver.trailers)
        answer = context.make_answer(self, request, body, encoder, self._send)
        try:
            self._carry(answer)
        finally:
            answer.close()
            answer.end()
            self._receiver = None
        self._has_answered = True
        is_read = receiver is None or receiver.has_ended
        if answer.can_persist and is_read and not self.is_last:
            return True
        self._must_reset = answer.must_reset
        if not self._must_reset:
            is_done = is_read and not self._parser.leftover
            # Behind its "close" a client sends nothing (RFC 9112, section 9.6): two system calls less.
            self._must_linger = not is_done or (request.keep_alive and may_close_destroy(self.sock))
        return False

    def _owes_more(self) -> bool:
        """Return whether a worker that is to end answers another request here: one that has come, or begun to."""
        if self.is_last or self._owed >= MOST_OWED or not (self._parser.leftover or has_come(self.sock)):
            return False
        self._owed += 1
        return True

    def _carry(self, answer: Answer) -> None:
        """Send what the application gives, until it is finished."""
        while True:
            data = answer.produce()
            try:
                if data:
                    self._send(data)
            except QuitNow:
                raise
            except BaseException as error:  # noqa: BLE001 (what ends a wait may be the application's own timeout)
                self._fail(answer, error)
                return
            if answer.is_finished:
                return
            self.context.give_way()

    def _fail(self, answer: Answer, error: BaseException) -> None:
        """Answer in the application's place, or break off."""
        try:
            if octets := answer.fail(error):
                self._send(octets)
        except DisconnectedError as gone:
            answer.fail(gone)

    def _send(self, data: Sendable) -> None:
        """Send octets; as a rule the kernel takes them all at once."""
        if isinstance(data, FileRegion):
            send_region(self, data)
            return
        try:
            sent = self.sock.send(data)
        except OSError:
            sent = 0  # what it is will come out again
        if sent != len(data):
            send_all(self, memoryview(data)[sent:])
