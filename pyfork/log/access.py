"""The access log: one line for each answered request, or nothing at all."""

import logging

from pyfork.config.schema import LogSettings
from pyfork.log.formats import Format, compile_format
from pyfork.log.handlers import ACCESS_LOGGER, ERROR_LOGGER, SinkHandler
from pyfork.log.record import AccessRecord


class AccessLog:
    """Writes records to the logger ``pyfork.access``, or straight to its file when only that listens.

    The short cut saves the standard library's record for each request; it is taken as long as the logger has no
    other handler, no filter and no parent to pass records to, which is looked up each time.
    """

    def __init__(self, write_line: Format, logger: logging.Logger) -> None:
        self._write_line = write_line
        self._logger = logger
        own = [handler for handler in logger.handlers if isinstance(handler, SinkHandler)]
        self._handler = own[0] if own else None

    def log(self, record: AccessRecord) -> None:
        """Write the line of ``record``; a failure is told to the error log and never to the caller."""
        try:
            line = self._write_line(record)
            logger, handler = self._logger, self._handler
            handlers = logger.handlers
            if handler and len(handlers) == 1 and handlers[0] is handler and not (logger.propagate or logger.filters):
                handler.sink.add(line)
            else:
                logger.info("%s", line, extra={"access": record})
        except Exception as error:  # noqa: BLE001 (values of the environ and handlers are the application's)
            logging.getLogger(ERROR_LOGGER).error("cannot write a line of the access log: %r", error)  # noqa: TRY400 (the sentence says it; a line a request would drown the log)

    def gather(self) -> None:
        """Let the lines that this thread logs from now on wait for `flush`: one system call then writes many.

        The caller runs no application and waits for nothing before it calls that: a line that is not written yet is
        lost if the process is killed, and it is those before the end that somebody looks for.
        """
        if self._handler:
            self._handler.sink.gather()

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._handler:
            self._handler.sink.flush()


def create_access_log(settings: LogSettings) -> AccessLog | None:
    """Return the access log, or None when nobody wants it; called in the worker, once the application is loaded.

    Somebody wants it when ``log.access`` names a file, ``log.config`` gives the logger ``pyfork.access`` a handler,
    or the application has attached one.

    Raises:
        ConfigurationError: ``log.format`` is impossible.
    """
    logger = logging.getLogger(ACCESS_LOGGER)
    if not logger.hasHandlers() or not logger.isEnabledFor(logging.INFO):
        return None
    return AccessLog(compile_format(settings.format), logger)
