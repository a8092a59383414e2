"""The standard library's side of the logs: the loggers' handler, the error log's lines, loggers that stay enabled.

An entry of the error log begins with ``[`` in the first column and nothing else does: the further lines of an entry
(a traceback, a message of several lines) are indented, and control characters are escaped. So what a client sends
may well appear in an exception's message; it cannot pass for an entry.
"""

import logging
import re
import time
import traceback

from pyfork.log.sink import Sink

ERROR_LOGGER = "pyfork.error"
ACCESS_LOGGER = "pyfork.access"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # all line ends but \n; tabs are harmless


class LastingLogger(logging.Logger):
    """A logger that no ``dictConfig`` of the application disables.

    ``disable_existing_loggers`` is true by default, as every Django project whose LOGGING does not mention it finds
    out; it is meant for the application's own loggers and would silence the server's.
    """

    @property
    def disabled(self) -> bool:
        """False, always."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Take no notice."""


def get_lasting_logger(name: str) -> logging.Logger:
    """Return the logger ``name``, made lasting whoever asked for it first."""
    logger = logging.getLogger(name)
    if not isinstance(logger, LastingLogger):
        logger.__class__ = LastingLogger
        logger.__dict__.pop("disabled", None)
    return logger


class SinkHandler(logging.Handler):
    """Writes each record to a `Sink` as one ``write``; closing it (``dictConfig`` does) leaves the sink open."""

    def __init__(self, sink: Sink, formatter: logging.Formatter) -> None:
        super().__init__()
        self.sink = sink
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``; one that cannot be formatted is written as it is."""
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001 (the arguments are anybody's; the line must not be lost)
            text = f"cannot format {record.msg!r} with {_safe_repr(record.args)}: {error!r}".replace("\n", " ")
        self.sink.write(text.encode("utf-8", "backslashreplace") + b"\n")


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 (a __repr__ may raise anything)
        return f"<{type(value).__name__}: {type(error).__name__} in repr>"


class ErrorFormatter(logging.Formatter):
    """``[2026-11-20 18:55:00 +0000] [4711] [INFO] [worker 2 gen 5] message``.

    Attributes:
        identity: the fourth bracket; each process sets its own after the fork.
    """

    def __init__(self, identity: str) -> None:
        super().__init__()
        self.identity = identity

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry, without its last newline."""
        parts = [record.getMessage()]
        if record.exc_info and record.exc_info[1]:
            parts.append("".join(traceback.format_exception(*record.exc_info)))  # its traceback may be cut
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(record.stack_info)
        body = indent_further_lines("\n".join(part.rstrip("\n") for part in parts))
        moment = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(record.created))
        return f"[{moment}] [{record.process}] [{record.levelname}] [{self.identity}] {body}"


def indent_further_lines(text: str) -> str:
    """Return ``text`` with its control characters escaped and all lines but the first indented."""
    escaped = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    return escaped.replace("\n", "\n  ")
