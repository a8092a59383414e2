"""Where log lines go: a file or a standard stream, behind a descriptor whose number does not change.

Many processes append to one log, so each line is one ``write`` to a descriptor opened with ``O_APPEND``: the kernel
keeps the lines whole and nobody needs a lock. Opening anew, after a log was rotated away, moves the new file *onto
the old number*, so that whoever was given the number, such as `faulthandler`, keeps writing to the right place.
A log that cannot be written (a full disk, a reader that has gone) loses lines and never harms the server: the error log
says once a minute how many the access log has lost; for its own there is nowhere left to complain. A pipe whose reader
stands still would block whoever writes, the arbiter first of all; so anything but a file is asked whether it has room.
A line waits for that a moment, the following not at all. When there is room again, a line says how many are missing.
"""

import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from time import monotonic

from pyfork.log.opening import STREAMS, duplicate, open_log

LARGEST_WRITE = select.PIPE_BUF
"""Octets of lines that are written together: of more, a pipe may have another process's in between (pipe(7))."""
COMPLAINT_INTERVAL = 60.0
"""Seconds between two complaints of lost lines."""

STDOUT_FD = 1
STDERR_FD = 2
_STUFFED_PATIENCE = 100
"""Milliseconds that a line waits for a full pipe."""


class Sink:
    """An open log.

    Lives on both sides of the fork: the arbiter opens it, as root if it is, and every process writes to it and
    reopens its own descriptor.

    Args:
        path: of the file, or "-" for the stream.
        stream: the descriptor that "-" stands for.
        owner: uid and gid that the file is given when root opens it; -1 is "as it is".

    Attributes:
        complain: is told, in a sentence, that lines are lost; None when there is nowhere to tell it.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, stream: int, owner: tuple[int, int] = (-1, -1)) -> None:
        is_stream = path == "-" or path in STREAMS
        self.path = path if is_stream else os.path.abspath(path)  # a worker reopens it from another directory
        self.stream = stream
        self.owner = owner
        self.fd = _open(self.path, stream, owner)
        self._may_block = not _is_file(self.fd)
        self._lost = 0
        self.complain: Callable[[str], None] | None = None
        self._untold = 0  # lines lost since the last complaint
        self._complain_at = 0.0
        self._is_gathering = False
        self._gathered: list[str] = []
        self._size = 0  # characters gathered, newlines included

    def __repr__(self) -> str:
        return f"Sink({self.path!r}, fd={self.fd})"

    def write(self, data: bytes) -> None:
        """Append ``data``, whole lines, now; what cannot be written is lost."""
        try:
            if self._may_block:
                self._write_patiently(data)
            else:
                while (written := os.write(self.fd, data)) < len(data):
                    data = data[written:]
        except OSError as error:  # a full disk, a reader that has gone: see the head of this module
            self._untold += data.count(b"\n")
            self._tell_loss(f"cannot write the log {self.path!r}: {error.strerror}")
        else:
            if self._untold:
                self._tell_loss(f"the log {self.path!r} is written again")

    def gather(self) -> None:
        """Let the lines that are added wait for `flush`, to be written together; never while the process waits."""
        self._is_gathering = True

    def add(self, line: str) -> None:
        """Append a line: now, or with others if they are being gathered; in the thread that gathers."""
        if not self._is_gathering:
            self.write(_encode(line))
            return
        size = self._size + len(line) + 1
        if size > LARGEST_WRITE:
            self._write_gathered()
            size = len(line) + 1
        self._gathered.append(line)
        self._size = size

    def flush(self) -> None:
        """Write what was gathered, and gather no more."""
        self._is_gathering = False
        self._write_gathered()

    def _write_gathered(self) -> None:
        if self._gathered:
            lines, self._gathered, self._size = self._gathered, [], 0
            data = _encode("\n".join(lines))
            if len(data) <= LARGEST_WRITE:
                self.write(data)
            else:  # of characters that are several octets
                for line in lines:
                    self.write(_encode(line))

    def _tell_loss(self, what: str) -> None:
        """Complain, at most once in `COMPLAINT_INTERVAL`; what is lost until then is counted."""
        now = monotonic()
        if self.complain is None or now < self._complain_at:
            return
        self._complain_at = now + COMPLAINT_INTERVAL
        lost, self._untold = self._untold, 0
        with contextlib.suppress(Exception):  # a handler of the application's may raise; a lost line harms nobody
            self.complain(f"{what}; lines lost: {lost}")

    def _write_patiently(self, data: bytes) -> None:
        """Write to a pipe, a socket or a terminal, never more than there is room for at the moment."""
        patience = 0 if self._lost else _STUFFED_PATIENCE
        while data:
            if not self._has_room(patience):
                self._lost += max(1, data.count(b"\n"))
                return
            if self._lost:
                data = b"pyfork: lines of this log are lost, as nobody read them: %d\n%b" % (self._lost, data)
                self._lost = 0
            patience = _STUFFED_PATIENCE
            with contextlib.suppress(BlockingIOError):  # somebody made it non-blocking, and somebody else was faster
                data = data[os.write(self.fd, data[: select.PIPE_BUF]) :]

    def _has_room(self, patience: int) -> bool:
        """Whether `select.PIPE_BUF` octets can be written without waiting, within ``patience`` milliseconds."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(patience))

    def reopen(self) -> None:
        """Write what was gathered, and open the path anew; a stream stays as it is.

        Raises:
            OSError: it cannot be opened; the old one stays.
        """
        self._write_gathered()
        if self.path == "-" or self.path in STREAMS:
            return
        fd = _open(self.path, self.stream, self.owner)
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        self._may_block = not _is_file(self.fd)

    def close(self) -> None:
        """Write what was gathered, and give the descriptor back."""
        self._write_gathered()
        os.close(self.fd)


def _encode(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _open(path: str, stream: int, owner: tuple[int, int]) -> int:
    return duplicate(STREAMS.get(path, stream)) if path == "-" or path in STREAMS else open_log(path, owner)


def explain_unusable(path: str) -> str | None:
    """Return why ``path`` could not be opened for appending, without making it; None when it could."""
    if path == "-" or path in STREAMS:
        return None
    directory = os.path.dirname(path) or "."
    if os.path.isdir(path):
        return os.strerror(errno.EISDIR)
    if os.path.exists(path):
        return None if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
    if not os.path.isdir(directory):
        return f"there is no directory {directory!r}"
    return None if os.access(directory, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
