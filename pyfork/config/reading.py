"""How the arbiter reads a file that a setting names: it never waits for one.

The arbiter has one thread. Where a file has been replaced by a named pipe, a plain ``open`` waits until somebody writes
to it: no worker is replaced meanwhile, and no signal obeyed. So what is opened must not wait (O_NONBLOCK), and must be
a regular file.

What does not work: ``stat`` before ``open`` (another file may be there a moment later).
"""

import errno
import os
import stat

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class IrregularFileError(OSError):
    """A path leads to a pipe, a socket or a device; ``strerror`` says so.

    Args:
        kind: which of them, as in "a pipe".
    """

    def __init__(self, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}, not a regular file")
        self.kind = kind


def read_regular(path: str, most: int = -1) -> bytes:
    """Return the content of a regular file, the first ``most`` octets of it; never waits.

    Raises:
        IrregularFileError: it is something else, and no directory.
        OSError: it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise IrregularFileError("a socket, or a device that is not there") from None
    try:
        check_regular(os.fstat(fd).st_mode)
    except OSError:
        os.close(fd)
        raise
    with open(fd, "rb") as file:
        return file.read(most)


def check_regular(mode: int) -> None:
    """Refuse what is no regular file, by its mode.

    Raises:
        IsADirectoryError: it is a directory.
        IrregularFileError: it is something else.
    """
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise IrregularFileError(_KINDS.get(stat.S_IFMT(mode), "something else"))
