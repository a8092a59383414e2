"""A request's way through the application with hooks around it: `pre_request` and `post_request`.

Only a worker that has such hooks makes a `HookedAnswer`; nobody else asks whether there are any. The hooks run where
the application does: in its thread or greenlet, and on its time (``timeout``).
"""

import os
from dataclasses import dataclass
from time import monotonic

from pyfork.connection.answer import Answer, summarise
from pyfork.connection.context import Line
from pyfork.connection.failures import log_failure
from pyfork.errors import HookError
from pyfork.gateway.input import InputStream
from pyfork.gateway.wsgi import Sendable, Write
from pyfork.hooks.calling import Hook
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder


@dataclass(frozen=True, slots=True)
class RequestHooks:
    """The hooks of all requests of a worker; None where there is none."""

    pre_request: Hook | None
    post_request: Hook | None

    def make_answer(
        self, line: Line, request: Request, body: InputStream, encoder: ResponseEncoder, write: Write
    ) -> Answer:
        """Return what answers one request."""
        answer = HookedAnswer(line, request, body, encoder, write)
        answer.hooks = self
        answer.began = monotonic()
        return answer


class HookedAnswer(Answer):
    """An `Answer` with hooks.

    Attributes:
        hooks: which.
        began: when the request's head was there (monotonic seconds).
    """

    __slots__ = ("began", "hooks")

    hooks: RequestHooks
    began: float

    def begin(self) -> Sendable:
        """Call the hook, then the application.

        Raises:
            HookError: the hook raised: the application is not called.
        """
        if self.hooks.pre_request is not None:
            try:
                self.hooks.pre_request.call(self._environ)
            except HookError as error:
                if self._is_copy and error.__cause__ is not None:
                    raise error.__cause__ from None  # sys.exit() there means what it says
                raise
        return super().begin()

    def produce(self) -> Sendable:
        """See `Answer.produce`.

        A complete response must not be held back to be sent with others, as octets in one `bytes` object may be: the
        hook behind it would delay it, and be called before it is sent.
        """
        data = super().produce()
        return memoryview(data) if data.__class__ is bytes and self.is_finished else data

    def close(self) -> None:
        """Call the application's ``close()``, then the hook, unless the application was never called."""
        is_over = self.is_closed
        super().close()
        if self.hooks.post_request is None or is_over or not self.has_begun or self._is_copy:
            return
        self._line.progress.enter_application()  # sending the response may have ended the stretch
        status, octets = self._outcome()
        try:
            self.hooks.post_request.call(self._environ, status, octets, monotonic() - self.began)
        except HookError as error:
            log_failure(self._request, self.remote, error)

    @property
    def _is_copy(self) -> bool:
        """Whether this process is one that the application forked: the request is its parent's."""
        return os.getpid() != self._line.context.pid

    def _outcome(self) -> tuple[int, int]:
        """Return the status that was sent, 0 if none was, and the octets of the body."""
        if self._substitute:
            status, octets = summarise(self._substitute)
            return int(status[:3]), octets
        return int(self.status[:3]) if self._encoder.head_sent else 0, self.octets_sent
