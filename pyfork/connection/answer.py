"""One request's way through the application, whichever shell carries the octets.

The shell asks for the next octets, sends them, and asks again::

    answer = Answer(line, request, body, encoder, write)
    while True:
        send(answer.produce())
        if answer.is_finished:
            break
    answer.close()
    answer.end()

Only `Answer.produce` and `Answer.close` run the application; they may be called in one thread after another. What the
application raises never leaves them: it becomes the octets that are sent in its place. Nobody can answer a client that
has gone, so the shell says `Answer.fail`, and then closes and ends.

The time inside the application begins with `Answer.produce`. The shell stops it (`Progress.leave_application`) when it
waits for the client; `Answer.end` ends it for good.
"""

import logging
import os
import sys
from collections.abc import Mapping
from time import monotonic
from typing import NoReturn

from pyfork.connection.context import Line
from pyfork.connection.failures import clients_fault, is_clients_fault_alone, line_of, log_failure, warn_of_response
from pyfork.errors import DisconnectedError, ProtocolError, QuitNow, RequestBodyError
from pyfork.gateway.environ import Environ, build_environ
from pyfork.gateway.input import InputStream
from pyfork.gateway.wsgi import Exchange, Sendable, Write
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder, error_response
from pyfork.log.record import AccessRecord

_log = logging.getLogger("pyfork.error")
_NO_ENVIRON: Environ = {}


class Answer(Exchange):
    """What becomes of one request: an `Exchange` that knows whose it is.

    Args:
        line: the client's connection.
        request: its head.
        body: ``wsgi.input``.
        encoder: of the response.
        write: sends octets for the ``write()`` of PEP 3333.

    Attributes:
        is_finished: what `produce` returned last is the last, or the answer has failed.
        has_begun: the application has been called.
        is_closed: `close` has been called.
        must_reset: the response was broken off, and only a reset can tell the client so.
    """

    __slots__ = (
        "_has_failed",
        "_line",
        "_refusal",
        "_request",
        "_started",
        "_substitute",
        "has_begun",
        "is_closed",
        "must_reset",
    )

    def __init__(self, line: Line, request: Request, body: InputStream, encoder: ResponseEncoder, write: Write) -> None:
        context = line.context
        self._refusal: ProtocolError | None = None
        try:
            environ = build_environ(context.base_environ, request, body, line.peer, context.proxies)
        except ProtocolError as error:
            self._refusal = error
            environ = build_environ(context.base_environ, request, body, line.peer, context.proxies, is_refused=True)
        environ["wsgi.early_hints"] = self.send_early_hints
        Exchange.__init__(self, context.application, environ, encoder, write)  # super() would cost more
        self._line = line
        self._request = request
        self.has_begun = False
        self._has_failed = False
        self._substitute = b""  # what is sent in the application's place
        self.is_closed = False
        self.must_reset = False
        self._started = 0.0 if context.access_log is None else monotonic()
        line.progress.begin_request(request.method, request.path)

    def add_variables(self, variables: Mapping[str, str]) -> None:
        """Add to the environ what is the connection's; called before `produce`."""
        self._environ.update(variables)

    @property
    def can_persist(self) -> bool:
        """Whether the connection may go on to a next request, as far as the response is concerned."""
        return self._encoder.keep_alive and not self.must_reset

    @property
    def remote(self) -> str:
        """The client's address as REMOTE_ADDR has it: a proxy may have told it, and a middleware may know better."""
        remote = self._environ.get("REMOTE_ADDR")
        return remote if isinstance(remote, str) else self._line.remote

    def produce(self) -> Sendable:
        """Have the application go on; return the next octets to send (none yet: b"").

        Raises:
            QuitNow: the worker is to end at once.
        """
        self._line.progress.enter_application()
        try:
            if self.has_begun:
                return self.advance()
            if self._refusal is not None:
                return self.fail(RequestBodyError(self._refusal))
            self.has_begun = True
            return self.begin()
        except QuitNow:
            raise
        except BaseException as error:  # noqa: BLE001 (SystemExit too: no request may end the worker)
            return self.fail(error)

    def close(self) -> None:
        """Call the ``close()`` that the application may wait for.

        Raises:
            QuitNow: the worker is to end at once.
        """
        self.is_closed = True
        if self._iterable is None:  # a list, nearly always
            return
        try:
            super().close()
        except QuitNow:
            raise
        except BaseException as error:  # noqa: BLE001 (the response has been sent; nothing else can be done)
            log_failure(self._request, self.remote, error, where=" in close()")

    def end(self) -> None:
        """Tell the logs and the scoreboard; called when the last octet is on its way, or the client has gone."""
        line, encoder = self._line, self._encoder
        context = line.context
        is_error = self._has_failed
        if not is_error and not self._substitute:
            is_error = self.status[:1] == "5"  # "": the client left before the application began
            if encoder.dropped or encoder.excess or encoder.missing:
                warn_of_response(self._request, self, encoder, context.warned_fields)
                is_error = is_error or encoder.missing > 0
        if context.access_log is not None:
            self._log_access()
        errors = context.base_environ["wsgi.errors"]
        if errors.pending:
            errors.flush()
        is_plain = encoder.has_body and encoder.head_sent and not encoder.excess
        octets = self._octets if is_plain else self.octets_sent
        line.progress.end_request(octets, is_error=is_error)
        self._environ = _NO_ENVIRON  # its `wsgi.early_hints` leads back here: without the collector, neither would go

    def fail(self, error: BaseException) -> bytes:
        """Take note that the response cannot be completed: by the application, or because the client has gone.

        Returns:
            An answer in the application's place; nothing, if the client must notice that it is broken off.
        """
        context, encoder, request = self._line.context, self._encoder, self._request
        if os.getpid() != context.pid:
            _end_copy(error)
        encoder.keep_alive = False
        self.is_finished = True
        fault = clients_fault(error)
        self._has_failed = fault is None
        if not is_clients_fault_alone(error):
            log_failure(request, self.remote, error)
        if isinstance(fault, DisconnectedError):
            _log.debug("%s: %s", line_of(request), fault)
            self.must_reset = True  # the kernel need not go on trying to deliver what it has
        elif encoder.head_sent:
            self.must_reset = encoder.remaining is None and request.http_version == "1.0"
        else:
            refusal = fault or ProtocolError(500, "The application failed")
            self._substitute = refuse(self._line, refusal, request.method)
        return self._substitute

    def decline(self, error: ProtocolError) -> bytes:
        """Return an answer in place of the application, which has not been called and will not be."""
        self._encoder.keep_alive = False
        self.is_finished = True
        self._has_failed = True
        self._substitute = refuse(self._line, error, self._request.method)
        return self._substitute

    def _log_access(self) -> None:
        """Tell the access log, unless nothing was answered."""
        context = self._line.context
        status, headers, octets = self.status, self.headers, self.octets_sent
        if self._substitute:
            status, octets = summarise(self._substitute)
            headers = ()
        if status and context.access_log is not None:
            duration = monotonic() - self._started
            started = context.clock.seconds() - duration
            environ = self._environ
            record = AccessRecord(self._request, environ, self.remote, status, headers, octets, started, duration)
            context.access_log.log(record)


def refuse(line: Line, error: ProtocolError, method: str) -> bytes:
    """Return an answer of our own, the connection's last; tell the error log unless it is our or the application's."""
    if error.status != 500:
        _log.info("refused %s with %d: %s", line.remote or "a unix socket", error.status, error.detail)
    return error_response(error.status, error.detail, line.context.clock.date(), method=method)


def log_refusal(line: Line, answer: bytes, request: Request | None) -> None:
    """Tell the access log of a request that the application never saw.

    Args:
        line: the client's connection.
        answer: from `refuse`.
        request: its head, None if that is what was refused.
    """
    context = line.context
    if context.access_log is not None:
        status, octets = summarise(answer)
        now = context.clock.seconds()
        context.access_log.log(AccessRecord(request, None, line.remote, status, (), octets, now, 0.0))


def summarise(answer: bytes) -> tuple[str, int]:
    """Return the status and the octets of the body of an answer of our own."""
    head, _, content = answer.partition(b"\r\n\r\n")
    return head[9 : head.find(b"\r\n")].decode("ascii"), len(content)


def _end_copy(error: BaseException) -> NoReturn:
    """End a process that the application forked from the worker: the client and the scoreboard are its parent's."""
    if not isinstance(error, SystemExit | DisconnectedError):
        _log.error("a process that the application forked has failed", exc_info=error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
