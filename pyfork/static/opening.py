"""Opens what a path leads to, and never anything outside of its directory.

The directory itself is the operator's word: links in its own path are followed, anew for each request, so that
``current -> releases/5`` may be switched. Below it every name is looked at and opened by itself, relative to the
descriptor of the directory before it, and never as a link. What a link says is read and walked in the same way, its
``..`` back to the descriptor that we came from and never above the first one; an absolute link, and one that leads
outside, are not there. So there is no moment at which anybody could put a link in the place of what was checked
(Go's ``os.Root`` does it like this).

What does not work: ``realpath`` and a comparison of prefixes leaves that moment; openat2(2) has a flag for all of it
(``RESOLVE_BENEATH``), but some container runtimes refuse it, and other systems do not have it.

A FIFO, a device or a socket is never opened: to open one may already do something.
"""

import errno
import os
import stat
from collections.abc import Iterable
from types import TracebackType
from typing import Self

MOST_LINKS = 8
"""Links on the way to one file."""
ABSENT = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)
)
"""What an OSError says when nothing that may be sent is there, or not any more."""

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Walk:
    """A way from a mount's directory downwards; a context manager, which closes what it has opened on the way.

    All methods raise OSError; `ABSENT` has those that mean that nothing is there.

    Args:
        directory: where it begins; absolute.
    """

    __slots__ = ("_links", "_stack")

    def __init__(self, directory: str) -> None:
        self._links = 0
        self._stack = [os.open(directory, _DIRECTORY)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._stack:
            os.close(fd)

    def try_to_enter(self) -> None:
        """Look for what every directory has: to open one takes less than to look into it."""
        os.stat(b".", dir_fd=self._stack[-1])

    def follow(self, names: Iterable[bytes]) -> tuple[bytes, os.stat_result] | None:
        """Go where ``names`` lead.

        Returns:
            Name and status of the regular file at their end; None if it is a directory: the walk goes on there.
        """
        waiting = [*names][::-1]
        while waiting:
            name = waiting.pop()
            if name in {b"", b"."}:  # only in a link
                continue
            if name == b"..":  # as well
                self._go_back()
                continue
            status = os.stat(name, dir_fd=self._stack[-1], follow_symlinks=False)
            mode = status.st_mode
            if stat.S_ISLNK(mode):
                waiting += self._read_link(name)
            elif stat.S_ISREG(mode) and not waiting:
                return name, status
            elif stat.S_ISDIR(mode):
                self._stack.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._stack[-1]))
            else:
                raise FileNotFoundError(errno.ENOENT, "it is no regular file")
        return None

    def open(self, name: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file where the walk has come to; return its descriptor, which is the caller's, and status."""
        fd = os.open(name, _FILE, dir_fd=self._stack[-1])
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):  # it was a moment ago
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "it is no regular file any more")
        return fd, status

    def look(self, name: bytes) -> os.stat_result | None:
        """Return the status of a regular file where the walk has come to; None if there is none of that name."""
        if not os.access(name, os.F_OK, dir_fd=self._stack[-1]):  # nearly always, and an exception takes longer
            return None
        try:
            status = os.stat(name, dir_fd=self._stack[-1], follow_symlinks=False)
        except OSError:  # gone in this moment: the file beside it is served
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _go_back(self) -> None:
        if len(self._stack) == 1:
            raise FileNotFoundError(errno.ENOENT, "a link leads outside")
        os.close(self._stack.pop())

    def _read_link(self, name: bytes) -> list[bytes]:
        """Return the names that a link consists of, the last one first."""
        self._links += 1
        target = os.readlink(name, dir_fd=self._stack[-1])
        if target.startswith(b"/"):
            raise FileNotFoundError(errno.ENOENT, "a link is absolute")
        if self._links > MOST_LINKS:
            raise FileNotFoundError(errno.ENOENT, "too many links")
        return target.split(b"/")[::-1]
