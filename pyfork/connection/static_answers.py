"""A request's way to a static file in place of the application, and on to the application where there is none.

Only a worker that has `[static]` makes these; the application's requests cost a look at their path there, and nothing
elsewhere. The hooks around a request are the application's: a file that is served calls none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from pyfork.config.schema_static import StaticSettings
from pyfork.connection.answer import Answer
from pyfork.connection.context import Line, MakeAnswer
from pyfork.connection.hooked import HookedAnswer, RequestHooks
from pyfork.errors import ApplicationError, DisconnectedError
from pyfork.gateway.input import InputStream
from pyfork.gateway.wsgi import Sendable, Write
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder
from pyfork.static.paths import Place, mounts_of
from pyfork.static.serving import StaticFiles

_NO_HOOKS = RequestHooks(None, None)


@dataclass(frozen=True, slots=True)
class StaticRouter:
    """Tells requests of files from those of the application.

    Attributes:
        files: what is served.
        otherwise: makes what answers the application's requests.
        hooks: those around the application's requests; None for none.
    """

    files: StaticFiles
    otherwise: MakeAnswer
    hooks: RequestHooks | None

    def make_answer(
        self, line: Line, request: Request, body: InputStream, encoder: ResponseEncoder, write: Write
    ) -> Answer:
        """Return what answers one request."""
        place = self.files.find(request.path)
        if place is None:
            return self.otherwise(line, request, body, encoder, write)
        if self.hooks is None or not place.mount.falls_through:
            answer: StaticAnswer | HookedStaticAnswer = StaticAnswer(line, request, body, encoder, write)
        else:
            answer = HookedStaticAnswer(line, request, body, encoder, write)
            answer.hooks = self.hooks
            answer.began = monotonic()
        answer.files = self.files
        answer.place = place
        answer.is_ours = False
        return answer


def route(
    settings: StaticSettings, seconds: Callable[[], float], otherwise: MakeAnswer, hooks: RequestHooks | None
) -> MakeAnswer:
    """Return what answers the requests of a worker; called in it, as the user that it has become.

    Args:
        settings: what is served.
        seconds: returns seconds since the epoch.
        otherwise: as of `StaticRouter`.
        hooks: as of `StaticRouter`.
    """
    files = StaticFiles(mounts_of(settings), seconds)
    files.check()
    return StaticRouter(files, otherwise, hooks).make_answer


class _FileFirst(Answer):
    """An `Answer` with a file, or the application's if there is none and the mount says so.

    Attributes:
        files: what is served.
        place: where the request's path leads.
        is_ours: no application is asked.
    """

    __slots__ = ()  # its two kinds have them: with hooks there is another base beside it

    files: StaticFiles
    place: Place
    is_ours: bool

    def begin(self) -> Sendable:
        """Find the file; call the application if there is none."""
        response = self.files.answer(self.place, self._request)
        self.is_ours = response is not None  # type: ignore[misc]  # both kinds have the slot
        if response is not None:
            self._application = response
            self.forget_hooks()
        return super().begin()

    def forget_hooks(self) -> None:
        """A file is served: the application's hooks are not called."""

    def fail(self, error: BaseException) -> bytes:
        """See `Answer.fail`; what the file system says is not the application's fault."""
        return super().fail(_translate(error) if self.is_ours else error)


class StaticAnswer(_FileFirst):
    """In a worker without hooks."""

    __slots__ = ("files", "is_ours", "place")


class HookedStaticAnswer(_FileFirst, HookedAnswer):
    """In a worker with hooks around the application's requests."""

    __slots__ = ("files", "is_ours", "place")

    def forget_hooks(self) -> None:
        """See `_FileFirst.forget_hooks`."""
        self.hooks = _NO_HOOKS


def _translate(error: BaseException) -> BaseException:
    """Return what the log is to say of an error while a file was sent."""
    if isinstance(error, OSError) and not isinstance(error, DisconnectedError):
        return ApplicationError(f"a static file cannot be read: {error.strerror or error}")
    return error
