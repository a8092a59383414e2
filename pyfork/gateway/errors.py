"""``wsgi.errors``: a text stream whose lines become records of the error log (PEP 3333, "Input and Error Streams")."""

import logging
import threading
from collections.abc import Iterable

MOST_PENDING = 64 * 1024
"""Characters of an unfinished line that are kept; a longer one is logged in pieces."""

_log = logging.getLogger("pyfork.error")


class ErrorStream:
    """Collects what is written until it makes whole lines; one for each worker, shared by its requests and threads.

    Attributes:
        pending: an unfinished line; whoever would `flush` can see that there is none.
    """

    __slots__ = ("_lock", "pending")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.pending = ""

    def write(self, text: str) -> int:
        """Add ``text``; log the lines that are whole, several of them as one record.

        Raises:
            TypeError: it is no text (PEP 3333: "the stream is in text mode").
        """
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors.write() takes a str, not {type(text).__name__}")
        with self._lock:
            lines, newline, rest = (self.pending + text).rpartition("\n")
            if len(rest) > MOST_PENDING:
                lines, newline, rest = lines + newline + rest, "\n", ""
            self.pending = rest
        if newline:
            self._emit(lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Add each of ``lines``; they bring their own line ends."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Log an unfinished line too; called at the end of each request as well."""
        if not self.pending:
            return
        with self._lock:
            text, self.pending = self.pending, ""
        self._emit(text)

    @staticmethod
    def _emit(text: str) -> None:
        text = text.rstrip("\n")
        if text:
            _log.error("%s", text)
