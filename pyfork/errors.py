"""Every exception that pyfork raises on purpose.

::

    PyforkError
    ├── ConfigurationError      the operator's: exit status 2, all problems at once
    ├── ApplicationLoadError    the application cannot be imported: exit status 4
    ├── BootError               a worker cannot boot for another reason: exit status 3
    ├── LaunchError             the new arbiter of an upgrade cannot be executed
    ├── HookError               a hook raised; stops what the table in docs/hooks.md says
    ├── ProtocolError           the client's fault: carries the status that answers it
    ├── RequestBodyError        the same, as wsgi.input tells the application: an OSError
    ├── HandshakeError          a connection does not come to speak TLS; told at debug level
    ├── ProxyHeaderError        a trusted proxy's header of the PROXY protocol is refused: answered with a 400
    ├── DisconnectedError       the client has gone; nobody is left to answer: an OSError (ConnectionError)
    └── ApplicationError        the application broke PEP 3333: answered with a 500, the culprit is named
    QuitNow (BaseException)     an order to end at once: unwinds whatever runs, no ``except Exception`` stops it
"""

from types import TracebackType


def text_of(error: BaseException) -> str:
    """Return what ``error`` says; who raised it may have a ``__str__`` that fails."""
    try:
        return str(error)
    except QuitNow:
        raise
    except BaseException as failure:  # noqa: BLE001 - it is the user's code, and what is told is another failure
        return f"(its __str__ raised {type(failure).__name__})"


def describe_exception(error: BaseException) -> str:
    """Return the class of ``error`` and what it says, as the last line of a traceback has it."""
    return f"{type(error).__name__}: {text_of(error)}"


def describe_code(error: SystemExit) -> str:
    """Return what ``sys.exit`` was called with: a number or a text as it is written, of anything else its kind."""
    code = error.code if isinstance(error.code, int | str | None) else type(error.code).__name__
    return repr(code)


class PyforkError(Exception):
    """The root of the tree; never raised itself."""


class ConfigurationError(PyforkError):
    """The settings, the command line or what they name are wrong.

    Args:
        problems: one complete sentence for each problem: it names the setting, where it came from and the way out.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ApplicationLoadError(PyforkError):
    """The application cannot be imported or is not one.

    Args:
        message: one sentence that says what is wrong with which name.
        traceback_text: the traceback from the user's first frame on ("" when the import itself worked).
    """

    def __init__(self, message: str, traceback_text: str = "") -> None:
        super().__init__(message)
        self.traceback_text = traceback_text


class BootError(PyforkError):
    """A worker cannot boot for a reason that is not the application's (privileges, directory, descriptors)."""


class LaunchError(PyforkError):
    """The new arbiter of an upgrade cannot be executed: its program or its working directory is not there."""


class HookError(PyforkError):
    """A hook of the user's raised; the message names it, and ``__cause__`` is what it raised.

    Args:
        message: which hook raised what.
        consequence: what that stops, as the end of a log line.
    """

    def __init__(self, message: str, consequence: str) -> None:
        super().__init__(message)
        self.consequence = consequence

    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        """Return what it raised, for a log line; the traceback begins with the hook's own frame."""
        cause = self.__cause__ or self
        calling = cause.__traceback__  # the frame that called the hook is ours
        return type(cause), cause, calling and calling.tb_next


class ProtocolError(PyforkError):
    """What the client sent is refused.

    Args:
        status: the HTTP status code that answers it (400, 408, 413, 414, 417, 421, 431, 501, 505).
        detail: one short sentence for the client and the log; never contains octets of the client's unescaped.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class RequestBodyError(PyforkError, OSError):
    """What `ProtocolError` becomes inside the application, which reads its input as a file and expects an OSError.

    Args:
        error: the refusal; it answers the request if the application does not.
    """

    def __init__(self, error: ProtocolError) -> None:
        super().__init__(error.detail)
        self.error = error


class HandshakeError(PyforkError):
    """A TLS handshake has failed; the message says why, in OpenSSL's words."""


class ProxyHeaderError(PyforkError):
    """What a trusted proxy sends is no header of the PROXY protocol, but should be; a short sentence says why."""


class DisconnectedError(PyforkError, ConnectionError):
    """The client has gone, or takes nothing any more; there is nobody to answer."""


class ApplicationError(PyforkError):
    """The application returned what PEP 3333 or RFC 9110 forbids; the message names the culprit."""


class QuitNow(BaseException):
    """End at once, running only ``finally`` blocks and ``atexit``.

    SIGQUIT in a worker raises it, SIGTERM too while a worker or a mold boots, and TERM, INT and QUIT in an arbiter that
    still starts.
    """
