"""How a log file is opened: by root in a directory that somebody else may write, it is opened with suspicion.

The arbiter of root's opens the logs and gives them to the workers' user, who has to reopen them after a rotation. So
that user often owns the directory as well, and an application that was broken into could put something else in a
log's place and wait for the next USR1: a link to a file of root's, which lines with octets of a client's choice are
then appended to, or a second name of that file. Root therefore follows only links that root made, and appends to no
file that has a second name, while the workers are somebody else. Who is not root may do what that user may.

What does not work: ``lstat`` before ``open`` (the link is put there in between). A link is opened itself (O_PATH), and
read by that descriptor. The directories above the file are taken as they are: whoever can exchange those has been given
them by root.
"""

import errno
import os
import stat

STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Paths of which the descriptor is taken: a socket, as journald's, cannot be opened by the path of the stream."""
_HARMLESS = (*STREAMS, "/dev/null")
"""Where anybody's link may lead."""
_MOST_LINKS = 40
"""As many as Linux follows (path_resolution(7))."""
# O_NONBLOCK: a FIFO nobody reads is an error and not a hang.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def open_log(path: str, owner: tuple[int, int]) -> int:
    """Open ``path`` for appending, and make it if it is not there; in the arbiter and in the workers.

    Args:
        path: of the file, or of a link to it.
        owner: uid and gid of the workers, whom root gives the file if it was not reached through a link; -1 is "as it
            is".

    Returns:
        The descriptor: blocking, not inherited by programs.

    Raises:
        OSError: it cannot be opened, or root would have to trust what somebody else made; ``strerror`` then says
            what, and the way out.
    """
    is_for_others = os.geteuid() == 0 and owner[0] not in {-1, 0}
    fd, is_direct = _open_direct(path, is_for_others=is_for_others)
    try:
        os.set_blocking(fd, True)
        if is_for_others:
            _refuse_second_name(fd)
        if is_direct:
            give(fd, owner)
    except OSError:
        os.close(fd)
        raise
    return fd


def give(fd: int, owner: tuple[int, int]) -> None:
    """Give the file behind ``fd`` to the workers, if this is root, and it is a file with no other name.

    Args:
        fd: open; not reached through a link.
        owner: uid and gid; -1 is "as it is".

    Raises:
        OSError: the system refused.
    """
    status = os.fstat(fd)
    if os.geteuid() == 0 and owner != (-1, -1) and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        os.fchown(fd, *owner)


def duplicate(stream: int) -> int:
    """Return a descriptor of our own for ``stream``: the application may close or redirect the original."""
    try:
        fd = os.dup(stream)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # started with the stream closed: nobody listens
    os.set_inheritable(fd, False)
    return fd


def _open_direct(path: str, *, is_for_others: bool) -> tuple[int, bool]:
    """Return the descriptor, and whether ``path`` was no link."""
    try:
        return os.open(path, _FLAGS | os.O_NOFOLLOW, 0o666), True
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    return (_follow_trusted(path) if is_for_others else os.open(path, _FLAGS, 0o666)), False


def _follow_trusted(path: str) -> int:
    """Open what the link ``path`` leads to, through links that root made and no others."""
    for _ in range(_MOST_LINKS):
        target = _read_trusted(path)
        if target is None:
            return os.open(path, _FLAGS, 0o666)
        path = os.path.join(os.path.dirname(path), target)
        if path in STREAMS:
            return duplicate(STREAMS[path])
        try:
            return os.open(path, _FLAGS | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _read_trusted(path: str) -> str | None:
    """Return where the link ``path`` leads; None if it is one of the kernel's own (/dev/fd/5), which need no reading.

    Raises:
        PermissionError: somebody else than root made it, or has given it a second name.
    """
    open_itself = getattr(os, "O_PATH", None)
    if open_itself is None:
        raise _distrust("it is a symbolic link, and on this system nobody can tell for sure whose; name its target")
    link = os.open(path, open_itself | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(link)
        target = os.readlink("", dir_fd=link)
    finally:
        os.close(link)
    if target in _HARMLESS:
        return target
    if status.st_uid != 0 or status.st_nlink > 1:
        raise _distrust(
            f"it is a symbolic link of user {status.st_uid}'s to {target!r}, and root follows none but its own while "
            "the workers are another user (server.user); remove it, name its target, or make it root's (chown -h root)"
        )
    return None if status.st_dev == os.stat("/proc/self").st_dev else target


def _refuse_second_name(fd: int) -> None:
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise _distrust(
            f"the file has {status.st_nlink} names (hard links), and may be another that the workers' user has linked "
            "here; remove it, or the other names"
        )


def _distrust(why: str) -> PermissionError:
    return PermissionError(errno.EPERM, why)
