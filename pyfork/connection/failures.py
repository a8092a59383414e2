"""Telling of what went wrong: whose fault it was, and a traceback that begins where the application does."""

import codecs
import logging
import os
from types import TracebackType

import pyfork
from pyfork.errors import (
    ApplicationError,
    DisconnectedError,
    HookError,
    ProtocolError,
    RequestBodyError,
    describe_code,
)
from pyfork.gateway.wsgi import Exchange
from pyfork.http1.request import Request
from pyfork.http1.response import ResponseEncoder

_log = logging.getLogger("pyfork.error")
_OURS = os.path.join(os.path.dirname(pyfork.__file__), "")
_LONGEST_CHAIN = 100

codecs.lookup("unicode_escape")  # its module is imported here: later there may be no descriptor left to do so


def warn_of_response(request: Request, exchange: Exchange, encoder: ResponseEncoder, warned: set[str]) -> None:
    """Log what was wrong with a response that was sent nevertheless.

    Args:
        request: what was answered.
        exchange: the application's side of the answer.
        encoder: what became of it.
        warned: hop-by-hop names that have been warned of; grows.
    """
    for name in encoder.dropped:
        if name not in warned:
            warned.add(name)
            _log.warning(
                "the application set the hop-by-hop header %s, which is the server's: dropped from now on (%s)",
                name,
                line_of(request),
            )
    if encoder.excess and not exchange.is_file:
        _log.warning(
            "the application returned more than its Content-Length: %d octets were cut (%s)",
            encoder.excess,
            line_of(request),
        )
    if encoder.missing:
        _log.error(
            "the application returned less than its Content-Length: %d octets are missing, the connection ends (%s)",
            encoder.missing,
            line_of(request),
        )


def clients_fault(error: BaseException) -> ProtocolError | DisconnectedError | None:
    """Return what the client did, if ``error`` or what it was raised from says so.

    An application that reads its input may translate what that raises into an exception of its own, or trip over
    another while it handles it (`is_clients_fault_alone` tells which).
    """
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return None
        if isinstance(link, RequestBodyError):
            return link.error
        if isinstance(link, DisconnectedError):
            return link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def is_clients_fault_alone(error: BaseException) -> bool:
    """Return whether ``error`` is what the client did, or was raised from it in so many words (``raise ... from``).

    If not, something else went wrong while the application handled it, which its author wants to know.
    """
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if isinstance(link, RequestBodyError | DisconnectedError):
            return True
        link = link and link.__cause__
    return False


def log_failure(request: Request, remote: str, error: BaseException, *, where: str = "") -> None:
    """Log an exception of the application or of a request's hook, with its traceback.

    Args:
        request: what it was at.
        remote: the client's address.
        error: the exception.
        where: where it came from, if not from the call: " in close()".
    """
    if isinstance(error, SystemExit):
        said = f"the application called sys.exit({describe_code(error)})"
    elif isinstance(error, ApplicationError):
        said = str(error)
    elif isinstance(error, HookError):
        said = f"{error}; {error.consequence}"
        error = error.__cause__ or error
    else:
        said = f"the application raised {type(error).__name__}"
    traceback = application_frames(error.__traceback__)
    show = traceback is not None or not isinstance(error, ApplicationError)
    _log.error(
        "%s%s: %s from %s",
        said,
        where,
        line_of(request),
        remote or "a unix socket",
        exc_info=(type(error), error, traceback) if show else None,
    )


def application_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame on that is not ours; None if all are."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS):
        traceback = traceback.tb_next
    return traceback


def line_of(request: Request) -> str:
    """Return method and target for a log line, with nothing in it that could forge one."""
    return f"{request.method} {request.target.decode('latin-1')}".encode("unicode_escape").decode("ascii")
