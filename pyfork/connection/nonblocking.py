"""The non-blocking shell: many connections on one loop (worker types async and threadpool).

The loop calls `NonblockingConnection.on_event` when the kernel has news, and `NonblockingConnection.on_deadline` when
`NonblockingConnection.deadline` has passed: a float that a sweep looks at, because a timer for each request would cost
more than the rest of its waiting. The phases of a connection:

- READING: a head is awaited: for ``keep_alive`` its first octet, then for ``header_timeout`` the whole of it.
- BODY: the body is read whole before the application runs (`incoming`); how slow it may be, `patience` says.
- RUNNING: the application has it, in line or on a thread, and nobody else touches the connection. What the kernel
  reports meanwhile (a pipelined request, or the client's end) would be reported over and over: such a connection is
  taken out of the loop until the application is done. The common one is not, and costs no system call.
- SENDING: the client does not take what is there (`outgoing`), and is looked at each ``write_timeout`` (`patience`).
  The application is not asked for more, and no thread is held.
- ENDED: the socket belongs to nobody, or to the sockets that linger.

The application runs in `NonblockingConnection.run`, which the worker calls where it wants it to run, and what follows
from it is done in `NonblockingConnection.settle`, in the loop's thread.

An ordinary request is one ``recv``, one ``send`` and no other system call: it never leaves the head of this file's
path `on_event`, `_proceed`, `run`, `settle`. Nobody reads ahead: one feed is at most `MAX_FEED` octets, the parser
stops behind each message, and after `MOST_IN_A_ROW` of one client's requests the others have their turn.
"""

import contextlib
import logging
import math
from socket import socket
from time import monotonic
from typing import Any

from pyfork.connection.answer import Answer, log_refusal, refuse
from pyfork.connection.context import READABLE, WRITABLE, ConnectionContext, Line
from pyfork.connection.ending import close_well, has_come, has_news, may_close_destroy, reset, shut_down
from pyfork.connection.host import MOST_HELD, MOST_IN_A_ROW, MOST_OWED, Host, Phase
from pyfork.connection.incoming import BODY_READ, IncomingBody
from pyfork.connection.outgoing import Outgoing
from pyfork.connection.patience import body_deadline, slow_body
from pyfork.connection.spool import temporary_directory
from pyfork.connection.uptake import Uptake
from pyfork.errors import ApplicationError, DisconnectedError, ProtocolError
from pyfork.gateway.input import EMPTY_INPUT, InputStream
from pyfork.gateway.wsgi import Sendable
from pyfork.http1.limits import MAX_FEED
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import END_OF_MESSAGE, Event, Request
from pyfork.http1.response import ResponseEncoder

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger("pyfork.error")

_READING, _BODY, _RUNNING, _SENDING = Phase.READING, Phase.BODY, Phase.RUNNING, Phase.SENDING


class NonblockingConnection(Line):
    """One client's connection, in the worker that accepted it.

    Args:
        sock: just accepted; it belongs to the connection.
        peer: the client's address, as ``accept`` returned it.
        context: of the listener.
        host: the worker; it watches the socket for `READABLE` already.

    Attributes:
        phase: what it is at.
        deadline: when `on_deadline` is to be called (monotonic seconds).
        watched: the events that it is watched for.
        is_kept: a request has been answered, and of the next not one octet has come.
        uptake: how the client takes what is there, since `deadline` was set; SENDING only.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_held",
        "_host",
        "_outgoing",
        "_owed",
        "_parser",
        "_request",
        "deadline",
        "is_kept",
        "phase",
        "uptake",
        "watched",
    )

    uptake: Uptake

    def __init__(self, sock: socket, peer: Any, context: ConnectionContext, host: Host) -> None:
        super().__init__(sock, peer, context)
        sock.setblocking(False)
        self._host = host
        self._parser = RequestParser(context.limits)
        self.is_kept = False
        self._request: Request | None = None  # whose body is awaited
        self._body: IncomingBody | None = None
        self._answer: Answer | None = None
        self._outgoing: Outgoing | None = None
        self._held: Sendable = b""
        self._owed = 0  # requests that had come when the connection was to end
        self.phase = _READING
        self.watched = READABLE
        self.deadline = monotonic() + context.http.header_timeout

    # What the loop calls.

    def on_event(self, _events: int) -> None:
        """Deal with what the kernel reports."""
        if self.phase is not _READING and self.phase is not _BODY:
            if self.phase is _SENDING:
                self._write_on()
            elif self.phase is _RUNNING:
                self._host.watch(self, 0)
            return
        try:
            data = self.sock.recv(MAX_FEED if self._body is None else BODY_READ)
        except BlockingIOError:
            return
        except OSError as error:
            _log.debug("%s: the client has gone: %s", self.remote or "a unix socket", error.strerror)
            self._finish(must_reset=False)
            return
        if not data:
            self._take_end(self._parser.feed_eof())
            return
        events = self._parser.feed(data)
        if len(events) == 2 and events[1] is END_OF_MESSAGE and self._body is None:  # nearly always
            if not self._start(events[0], EMPTY_INPUT) or not self._parser.leftover:  # type: ignore[arg-type]
                return
            events = self._parser.feed(b"")
        self._proceed(events)

    def on_deadline(self, _now: float) -> None:
        """Deal with a client that took too long."""
        if self.phase is _READING or self.phase is _BODY:
            deadline = self.deadline
            self.on_event(READABLE)  # what came in time counts, however long the loop has been busy
            if self.deadline == deadline:
                self._give_up_reading()
        elif self.phase is _SENDING:
            if error := self.uptake.shortfall(self.context.http.write_timeout):
                self.break_off(error)
            else:
                self._await_client()  # it takes little at a time; the kernel calls it writable when much is free

    def resume(self) -> None:
        """Go on, after `Host.soon`, or after the application ran elsewhere and `settle` returned True."""
        if self._answer is None:
            self.phase = _READING
            if self.watched != READABLE:
                self._host.watch(self, READABLE)
        elif not self._host.start(self):
            return
        self._proceed(self._parser.feed(b""))

    @property
    def is_idle(self) -> bool:
        """Whether not one octet of a request has come since the last, or since the beginning."""
        return self.phase is _READING and self._parser.is_idle

    def make_way(self) -> bool:
        """End, as others wait; return False, and go on, if the client has done its part. See `may_yield_at`."""
        if has_news(self.sock):
            return False
        if self.is_idle:
            self._finish(must_reset=False)
        else:
            self._refuse(ProtocolError(408, "The request did not come in time for others who wait"))
        return True

    def turn_away(self, error: ProtocolError) -> None:
        """Answer in place of the application, which nobody has called; one that was is broken off."""
        answer = self._answer
        assert answer is not None  # noqa: S101 (the phase)
        if answer.has_begun:
            answer.fail(DisconnectedError(error.detail))
        else:
            self._send(answer.decline(error), answer)
        answer.close()
        self.settle()

    def abandon(self) -> None:
        """Let go of all that is left, after a fault of the server over this connection; its host has forgotten it."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self.progress.end_request(0, is_error=True)
            if not answer.is_closed:
                answer.close()
        self._release()
        self.sock.close()

    # What the worker calls where the application is to run.

    def run(self, *, may_hold: bool = False, until: float = math.inf) -> bool:
        """Have the application go on until the response is complete or the client does not keep up.

        Args:
            may_hold: a response that is small and complete may be left unsent until `send_held`, unless the client
                has sent its next request already.
            until: when to stop between two blocks, so that others have their turn (monotonic seconds).

        Returns:
            Whether it was left unsent.

        Raises:
            QuitNow: the worker is to end at once.
        """
        answer = self._answer
        assert answer is not None  # noqa: S101 (the phase)
        may_hold = may_hold and not self._parser.leftover
        left = 0 if answer.is_finished else MOST_IN_A_ROW  # finished: the client has gone
        while left:
            left -= 1
            data = answer.produce()
            if may_hold and answer.is_finished and data.__class__ is bytes and len(data) <= MOST_HELD:
                self._held = data
                answer.close()
                return True
            may_hold = False
            if data:
                self._send(data, answer)
            if answer.is_finished or self._outgoing is not None or monotonic() >= until:
                break
        if answer.is_finished:
            answer.close()
        return False

    def send_held(self) -> None:
        """Send what `run` has left unsent, in the loop's thread."""
        data, self._held = self._held, b""
        answer = self._answer
        assert answer is not None  # noqa: S101 (the phase)
        self._send(data, answer)
        self.settle()

    def settle(self) -> bool:
        """Do what follows from `run`, in the loop's thread; return whether a next request may be looked for."""
        answer = self._answer
        assert answer is not None  # noqa: S101 (the phase)
        if self._outgoing is not None or not answer.is_finished:
            self.progress.leave_application()
            if self._outgoing is not None:
                self._await_client()
            else:
                self._host.soon(self)
            return False
        answer.end()
        self._answer = None
        if self._body is not None:
            self._body.close()
            self._body = None
            self._request = None
        if answer.can_persist:
            self.phase = _READING
            self.is_kept = True
            self.deadline = monotonic() + self.context.http.keep_alive
            if self.watched != READABLE:
                self._host.watch(self, READABLE)
            return True
        self._finish(must_reset=answer.must_reset)
        return False

    # Octets in.

    def _take_end(self, events: list[Event]) -> None:
        """The client sends no more."""
        if events:
            self._proceed(events)
        elif self.phase is not Phase.ENDED:
            self._finish(must_reset=False)

    def _proceed(self, events: list[Event]) -> None:
        """Do what ``events`` say, and go on with what was pipelined, until there is somebody to wait for."""
        parser = self._parser
        left = MOST_IN_A_ROW
        while events:
            first = events[0]
            if len(events) == 2 and events[1] is END_OF_MESSAGE and isinstance(first, Request):
                has_ended = self._start(first, EMPTY_INPUT)
            else:
                has_ended = self._take(events)
            if not has_ended or not parser.leftover:
                return
            left -= 1
            if not left or monotonic() >= self._host.batch_until:
                self.phase = _RUNNING
                self._host.soon(self)
                return
            events = parser.feed(b"")
        if self.phase is _BODY:  # the frame of a chunk
            self.deadline = body_deadline(self.context.http, monotonic(), self.deadline)
        elif self.is_kept and not parser.is_idle:
            self.is_kept = False
            self.deadline = monotonic() + self.context.http.header_timeout

    def _take(self, events: list[Event]) -> bool:
        """Take a message with a body, or part of one; return whether it has been answered and a next one may come."""
        first = events[0]
        if isinstance(first, Request):
            self._request = first
            self._body = IncomingBody(is_chunked=first.is_chunked)
            self.is_kept = False
            self.phase = _BODY
            self.deadline = math.inf  # `_take_body` sets it
            del events[0]
            if not events and first.expects_continue:
                with contextlib.suppress(OSError):  # nothing is in its way; a client that has gone is noticed later
                    self.sock.send(_CONTINUE)
        elif self._body is None:
            assert isinstance(first, ProtocolError)  # noqa: S101 (the parser's order of events)
            self._refuse(first)
            return False
        return self._take_body(events)

    def _take_body(self, events: list[Event]) -> bool:
        """Keep what has come of a body; start the application when it is whole."""
        body, request = self._body, self._request
        assert body is not None and request is not None  # noqa: S101, PT018 (the phase)
        before = body.octets
        outcome = body.take(events)
        if isinstance(outcome, ProtocolError):
            self._refuse(outcome)
        elif outcome is not None:
            return self._start(request, outcome)
        else:
            self.deadline = body_deadline(self.context.http, monotonic(), self.deadline, body.octets - before)
        return False

    def _start(self, request: Request, body: InputStream) -> bool:
        """Have the application answer; return whether it has, and a next request may come."""
        context = self.context
        keep_alive = request.keep_alive and (context.persistence.is_allowed or self._is_owed_another())
        encoder = ResponseEncoder(request.method, request.http_version, keep_alive, context.clock.latest)
        self._answer = context.make_answer(self, request, body, encoder, self._write)
        self.phase = _RUNNING
        self.deadline = math.inf
        return self._host.start(self)

    def _is_owed_another(self) -> bool:
        """Whether a next request has come, though the worker is to end: it must not be dropped."""
        if not self.context.persistence.is_retiring or self._owed >= MOST_OWED:
            return False
        self._owed += 1
        return self._parser.leftover > 0 or has_come(self.sock)

    # Octets out.

    def _send(self, data: Sendable, answer: Answer) -> None:
        """Send a block; what the client does not take at once is kept."""
        try:
            if self._outgoing is None and data.__class__ is bytes:
                sent = self.sock.send(data)
                if sent == len(data):
                    return
                data = memoryview(data)[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            answer.fail(DisconnectedError(f"the client has gone: {error.strerror}"))
            return
        if self._outgoing is None:
            self._outgoing = Outgoing()
        self._flush(self._outgoing, answer, data)

    def _flush(self, outgoing: Outgoing, answer: Answer, data: Sendable = b"") -> int:
        """Send what the client takes now, ``data`` last of all; return how many octets that were."""
        try:
            if data:
                outgoing.put(data)
            sent = outgoing.send_to(self.sock)
        except (ApplicationError, OSError) as error:
            answer.fail(error)
            sent = 0
            outgoing.close()
        if not outgoing:
            outgoing.close()
            self._outgoing = None
        return sent

    def _write(self, data: bytes) -> None:
        """Send what the application gives to the ``write()`` of PEP 3333; it cannot be held back, so all is kept."""
        if self._outgoing is None:
            self._outgoing = Outgoing()
        try:
            self._outgoing.write(self.sock, data)
        except DisconnectedError:
            raise
        except OSError as error:
            _log.error("cannot keep a response: %s (the directory is %s)", error, temporary_directory())
            shut_down(self.sock)  # nothing may follow the gap, though the application may catch this and go on
            raise
        finally:
            if not self._outgoing:
                self._outgoing.close()
                self._outgoing = None

    def _await_client(self) -> None:
        """Go on when the client takes what is there."""
        self.phase = _SENDING
        self.uptake = Uptake(self.sock, self.context.http, monotonic())
        self.deadline = self.uptake.deadline
        if self.watched != WRITABLE:
            self._host.watch(self, WRITABLE)

    def _write_on(self) -> None:
        """Send more, and go on with whatever comes behind it."""
        outgoing, answer = self._outgoing, self._answer
        assert outgoing is not None  # noqa: S101 (the phase)
        if answer is None:
            self._send_refusal(outgoing)
            return
        sent = self._flush(outgoing, answer)
        if self._outgoing is not None:
            if sent:
                self._await_client()
            return
        self._host.watch(self, READABLE)
        if self._go_on(answer):
            self._proceed(self._parser.feed(b""))

    def _go_on(self, answer: Answer) -> bool:
        """Have the application go on, unless it has done all; return whether a next request may be looked for."""
        self.phase = _RUNNING
        self.deadline = math.inf
        return self.settle() if answer.is_closed else self._host.start(self)

    # The end.

    def _give_up_reading(self) -> None:
        """Wait for no more of a request."""
        if self.phase is _BODY:
            self._refuse(slow_body(self.context.http))
        elif self._parser.is_idle:
            self._finish(must_reset=False)
        else:
            self._refuse(ProtocolError(408, "The request did not come in time"))

    def break_off(self, error: DisconnectedError) -> None:
        """Break off a client that has taken too little; SENDING only."""
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None
        if self._answer is None:
            self._finish(must_reset=True)
        else:
            self._answer.fail(error)
            self._go_on(self._answer)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that the application does not see, and end the connection."""
        request = self._request
        octets = refuse(self, error, self._parser.method if request is None else request.method)
        log_refusal(self, octets, request)
        self._outgoing = Outgoing()
        self._outgoing.put(octets)
        self._send_refusal(self._outgoing)

    def _send_refusal(self, outgoing: Outgoing) -> None:
        try:
            outgoing.send_to(self.sock)
        except DisconnectedError:
            self._finish(must_reset=False)
            return
        if outgoing:
            self._await_client()
            return
        self._leave()
        if shut_down(self.sock):
            self._host.linger(self.sock)
        else:
            self.sock.close()

    def _finish(self, *, must_reset: bool) -> None:
        """Close the connection, so that what was sent arrives."""
        self._leave()
        if must_reset:
            reset(self.sock)
        elif (self._parser.leftover or may_close_destroy(self.sock)) and shut_down(self.sock):
            self._host.linger(self.sock)
        else:
            close_well(self.sock)

    def _leave(self) -> None:
        """Be nobody's connection any more."""
        self._host.forget(self)
        self._release()

    def _release(self) -> None:
        self.phase = Phase.ENDED
        self.deadline = math.inf
        if self._body is not None:
            self._body.close()
            self._body = None
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None
