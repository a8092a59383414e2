"""Receiving a request's body, as the application asks for it."""

import math
from time import monotonic

from pyfork.connection.context import READABLE, Line
from pyfork.connection.patience import SLOW_PATIENCE, body_deadline, slow_body
from pyfork.connection.sending import send_all
from pyfork.errors import DisconnectedError, ProtocolError, RequestBodyError
from pyfork.gateway.trailers import Trailers, offered
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Event, Request
from pyfork.http1.response import ResponseEncoder

READ_SIZE = 64 * 1024
"""Octets for each read: the application has asked for them, so they are not read ahead."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyReceiver:
    """Pulls one request's body from a client; `receive` is what `InputStream` calls.

    Args:
        line: the client's.
        parser: has just returned ``request``.
        request: the head.
        events: what the parser returned behind it.
        encoder: of the response; a 100 (Continue) must not follow its head.
    """

    __slots__ = (
        "_credit",
        "_encoder",
        "_error",
        "_events",
        "_expects_continue",
        "_line",
        "_parser",
        "has_been_asked",
        "has_ended",
        "may_yield_at",
        "trailers",
    )

    def __init__(
        self,
        line: Line,
        parser: RequestParser,
        request: Request,
        events: list[Event],
        encoder: ResponseEncoder,
    ) -> None:
        self._line = line
        self._parser = parser
        self._events: list[Event] = []
        self._encoder = encoder
        self._expects_continue = request.expects_continue
        self._credit = line.context.http.body_timeout  # seconds: falls in waits alone, whatever the application does
        self._error: ProtocolError | None = None
        self.may_yield_at = math.inf
        """From when the wait that is under way may end, if others wait for a place (monotonic); infinity: none is."""
        self.trailers: Trailers | None = [] if request.is_chunked else None
        """``wsgi.trailers``: filled with the end of a chunked body."""
        self.has_ended = False
        """Whether the whole body has come, if the application has taken it or not."""
        self.has_been_asked = False
        """Whether the application wants any of it."""
        self._take(events)

    def receive(self) -> bytes:
        """Return the next octets of the body, b"" at its end; called inside the application.

        Raises:
            RequestBodyError: the client sends what is no body, or too much, or too slowly.
            DisconnectedError: the client has gone.
        """
        self.has_been_asked = True
        while not self._events:
            if self._error is not None:
                raise RequestBodyError(self._error)
            if self.has_ended:
                return b""
            self._line.context.give_way()
            try:
                data = self._read()
            finally:
                self._line.progress.enter_application()  # anew, though the client may never have made us wait
            self._take(self._parser.feed(data) if data else self._parser.feed_eof())
            self._credit = body_deadline(self._line.context.http, 0.0, self._credit, _octets(self._events))
        event = self._events.pop(0)
        assert isinstance(event, bytes)  # noqa: S101 (what `_take` leaves)
        return event

    def _take(self, events: list[Event]) -> None:
        """Keep the octets among ``events``, and remember how they end."""
        if not events:
            return
        last = events[-1]
        if isinstance(last, EndOfMessage):
            self.has_ended = True
            if last.trailers and self.trailers is not None:
                self.trailers += offered(last.trailers)
            events.pop()
        elif isinstance(last, ProtocolError):
            self._error = last
            events.pop()
        if events:
            self._expects_continue = False  # it did not wait for the 100 (RFC 9110, section 10.1.1)
        self._events = events

    def _read(self) -> bytes:
        """Return what the client sends next, b"" if it sends no more."""
        while True:
            try:
                return self._line.sock.recv(READ_SIZE)
            except BlockingIOError:
                self._wait()
            except OSError as error:
                raise DisconnectedError(f"the client has gone: {error.strerror}") from error

    def _wait(self) -> None:
        """Wait for the client; the application's time stands still until `receive` goes on."""
        line = self._line
        if self._expects_continue:
            self._expects_continue = False
            if not self._encoder.head_sent:
                send_all(line, _CONTINUE)
        line.progress.leave_application()
        began = monotonic()
        deadline = began + self._credit
        self.may_yield_at = deadline - line.context.http.body_timeout + SLOW_PATIENCE
        has_come = line.context.wait(line.sock, READABLE, deadline)
        self.may_yield_at = math.inf
        if not has_come:
            self._error = slow_body(line.context.http)
            raise RequestBodyError(self._error)
        self._credit -= monotonic() - began


def _octets(events: list[Event]) -> int:
    return sum(len(event) for event in events if isinstance(event, bytes))
