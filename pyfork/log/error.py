"""The logs of a process: opened in the arbiter, inherited by the workers, opened anew on USR1 and HUP.

The arbiter calls `configure` before it forks (and again whenever the configuration was loaded anew). A child calls
`set_identity` first of all. Both call `reopen` when told to. Everyone else only asks the standard library for
``logging.getLogger("pyfork.error")``.
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator

from msgspec import Struct

from pyfork.config.schema import LogSettings
from pyfork.errors import ConfigurationError
from pyfork.log.formats import compile_format
from pyfork.log.handlers import ACCESS_LOGGER, ERROR_LOGGER, ErrorFormatter, SinkHandler, get_lasting_logger
from pyfork.log.log_config import apply_log_config, read_log_config
from pyfork.log.opening import give, open_log
from pyfork.log.sink import STDERR_FD, STDOUT_FD, Sink, explain_unusable

ARBITER = "arbiter"
"""The identity until `set_identity` is called."""


class _Logs(Struct):
    """What this process has open.

    Attributes:
        access: None when no file was asked for; ``log.config`` or the application may still log accesses.
        owner: uid and gid of the workers; -1 is "as it is".
        is_captured: standard output and error of this process go to the error log.
    """

    settings: LogSettings
    error: Sink
    access: Sink | None
    formatter: ErrorFormatter
    owner: tuple[int, int]
    is_captured: bool = False

    def sinks(self) -> list[Sink]:
        return [self.error, self.access] if self.access else [self.error]


_logs: _Logs | None = None


def check(settings: LogSettings) -> list[str]:
    """Return what is wrong with the settings, a sentence each; opens, makes and changes nothing."""
    problems: list[str] = []
    for name, path in (("error", settings.error), ("access", settings.access)):
        reason = explain_unusable(path) if path else None
        if reason:
            problems.append(f"log.{name}: cannot open {path!r}: {reason}")
    try:
        compile_format(settings.format)
    except ConfigurationError as error:
        problems += error.problems
    if settings.config:
        try:
            read_log_config(settings.config)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def configure(settings: LogSettings, owner: tuple[int, int] = (-1, -1)) -> None:
    """Open the logs and attach them to the loggers; called in the arbiter, at start and when settings are new.

    Args:
        settings: the table ``[log]``.
        owner: uid and gid of the workers, to whom root gives the files so that they can reopen them; -1 is
            "as it is".

    Raises:
        ConfigurationError: a file cannot be opened, or ``log.config`` not be applied. The logs then are what they
            were before.
    """
    global _logs  # noqa: PLW0603 (a process has one set of logs, as it has one standard error)
    logs = _open(settings, owner)
    _attach(logs)
    try:
        warnings = apply_log_config(settings.config) if settings.config else ()
    except ConfigurationError:
        if _logs:
            _return_to(_logs)
        _close(logs.sinks())
        raise
    if _logs:
        _close(_logs.sinks())
    _logs = logs
    _give_handlers_files(owner)
    for warning in warnings:
        logging.getLogger(ERROR_LOGGER).warning(warning)


def set_identity(identity: str) -> None:
    """Say who this process is ("worker 2 gen 5"), and capture its output if so set; called in a child, first."""
    logs = _require()
    logs.formatter.identity = identity
    if logs.settings.capture_output:
        logs.is_captured = True
        _capture(logs.error)


def reopen() -> None:
    """Open all log files anew: pyfork's, and those of every other logger's file handlers; on USR1 and HUP.

    A file that cannot be opened is reported and the old one stays. Descriptors keep their numbers.
    """
    logs = _require()
    for sink in logs.sinks():
        try:
            sink.reopen()
        except OSError as error:
            _complain_of(sink.path, error)
    for handler in _file_handlers():
        try:
            _reopen_handler(handler, logs.owner)
        except OSError as error:
            _complain_of(handler.baseFilename, error)
    if logs.is_captured:
        _capture(logs.error)


def error_log_fd() -> int:
    """Return the descriptor of the error log, for `faulthandler`; `reopen` keeps it, `configure` may not."""
    return _require().error.fd


def _require() -> _Logs:
    if _logs is None:
        raise RuntimeError("configure() has not been called: the process has no logs yet")
    return _logs


def _complain_of(path: str, error: OSError) -> None:
    logging.getLogger(ERROR_LOGGER).error(
        "cannot reopen the log %r: %s; the old file stays in use", path, error.strerror
    )


def _open(settings: LogSettings, owner: tuple[int, int]) -> _Logs:
    problems: list[str] = []
    sinks: dict[str, Sink] = {}
    for name, path, stream in (("error", settings.error, STDERR_FD), ("access", settings.access, STDOUT_FD)):
        try:
            if path:
                sinks[name] = Sink(path, stream, owner)
        except OSError as error:
            problems.append(f"log.{name}: cannot open {path!r}: {error.strerror}")
    if problems:
        _close(sinks.values())
        raise ConfigurationError(*problems)
    if "access" in sinks:
        sinks["access"].complain = logging.getLogger(ERROR_LOGGER).error
    formatter = ErrorFormatter(_logs.formatter.identity if _logs else ARBITER)
    return _Logs(settings, sinks["error"], sinks.get("access"), formatter, owner)


def _close(sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        sink.close()


def _attach(logs: _Logs) -> None:
    """Give the loggers the handlers of ``logs``, and no others."""
    error_logger, access_logger = get_lasting_logger(ERROR_LOGGER), get_lasting_logger(ACCESS_LOGGER)
    error_logger.handlers = [SinkHandler(logs.error, logs.formatter)]
    access_logger.handlers = [SinkHandler(logs.access, logging.Formatter())] if logs.access else []
    for logger in (error_logger, access_logger):
        logger.propagate = False
    error_logger.setLevel(logs.settings.level.upper())
    access_logger.setLevel(logging.INFO)


def _return_to(logs: _Logs) -> None:
    """Attach ``logs`` again after a failure; without their ``log.config`` if that file is broken by now."""
    _attach(logs)
    try:
        if logs.settings.config:
            apply_log_config(logs.settings.config)
    except ConfigurationError:
        _attach(logs)


def _capture(sink: Sink) -> None:
    """Send what the process prints to ``sink``, a line at a time (Python would keep 8 KiB back in a file)."""
    for stream, fd in ((sys.stdout, STDOUT_FD), (sys.stderr, STDERR_FD)):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):  # full, or closed: what it still held is lost anyway
                stream.reconfigure(line_buffering=True)  # flushes too
        os.dup2(sink.fd, fd)


def _file_handlers() -> Iterator[logging.FileHandler]:
    """Yield the file handlers of all loggers, the application's too: log rotation means them as well."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    loggers = [logger for logger in known if isinstance(logger, logging.Logger)]
    handlers = {handler: None for logger in loggers for handler in logger.handlers}  # in order, each once
    return (handler for handler in handlers if isinstance(handler, logging.FileHandler))


def _give_handlers_files(owner: tuple[int, int]) -> None:
    """Give the workers the files of ``log.config``, as `Sink` does: they reopen them when they are root no more."""
    for handler in _file_handlers():
        try:
            fd = -1 if handler.stream is None else handler.stream.fileno()
            # Not through a link, which may have been there when the file was opened, and be gone by now.
            if fd != -1 and os.path.samestat(os.lstat(handler.baseFilename), os.fstat(fd)):
                give(fd, owner)
        except OSError as error:
            logging.getLogger(ERROR_LOGGER).warning(
                "cannot give the log %r to the workers: %s; they may not be able to reopen it",
                handler.baseFilename,
                error.strerror,
            )


def _reopen_handler(handler: logging.FileHandler, owner: tuple[int, int]) -> None:
    if handler.stream is None:  # it opens the file when it first has something to write
        return
    fd = open_log(handler.baseFilename, owner)
    stream = open(fd, "a", encoding=handler.encoding, errors=handler.errors)  # noqa: SIM115 (the handler owns it from now on)
    old = handler.stream
    handler.setStream(stream)
    old.close()
