"""The pidfile: holding it means an flock on it, not a living pid in it.

A pid that is read from a volume after a restart may be anyone's; the kernel lets go of a lock the moment its holder
dies, however it dies. The lock belongs to the open file description, so every child closes its copy at birth
(`arbiter.spawn`); at an upgrade the descriptor is what is handed on.
"""

import errno
import fcntl
import logging
import os
import stat
from contextlib import suppress

from pyfork.config.reading import IrregularFileError, check_regular, read_regular
from pyfork.errors import ConfigurationError

_LONGEST = 64
"""Octets that are read of a file that may be no pidfile."""
_NAME_A_FILE = "name a file that can be written"
_HOLDS_NO_PID = "exists and holds no pid; remove it or name another file"

_log = logging.getLogger("pyfork.error")


class Pidfile:
    """A pidfile that this process holds; made by `acquire`.

    Attributes:
        path: as the user wrote it, absolute.
        fd: the locked descriptor; it survives ``exec`` only where an upgrade lets it.
        is_ours: the pid in it is this process's, and so is its removal. Not so in a new arbiter that has yet to take
            over, nor in an old one that has handed over.
    """

    def __init__(self, path: str, fd: int, *, is_ours: bool = True) -> None:
        self.path = path
        self.fd = fd
        self.is_ours = is_ours

    @classmethod
    def acquire(cls, path: str) -> "Pidfile":
        """Create or take over the pidfile, lock it and write this process's pid and a newline to it.

        Raises:
            ConfigurationError: another process holds it, or it cannot be written.
        """
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                raise ConfigurationError(
                    f"server.pidfile: {path} cannot be opened: {error.strerror}; {_NAME_A_FILE}"
                ) from error
            try:
                check_regular(os.fstat(fd).st_mode)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except IrregularFileError as error:
                os.close(fd)
                raise ConfigurationError(f"server.pidfile: {path} is {error.kind}; {_NAME_A_FILE}") from error
            except BlockingIOError as error:
                holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise ConfigurationError(
                    f"server.pidfile: {path} is held by a running pyfork (pid {holder}); stop that one or name "
                    "another file"
                ) from error
            if _is_at(path, fd):
                break
            os.close(fd)  # its holder removed it between our open and our lock: this inode is nobody's, begin anew
        if not _is_pid(os.pread(fd, _LONGEST, 0)):
            os.close(fd)
            raise ConfigurationError(f"server.pidfile: {path} {_HOLDS_NO_PID}")
        _write(fd, os.getpid())
        return cls(path, fd)

    def is_at(self, path: str) -> bool:
        """Whether ``path`` leads to it."""
        return _is_at(path, self.fd)

    def take_over(self) -> None:
        """Make an inherited pidfile this process's own."""
        self.is_ours = True
        self._name(os.getpid())

    def hand_over(self, pid: int) -> None:
        """Write the new arbiter's ``pid``, which holds the lock as well; from now on the file is its own."""
        self.is_ours = False
        self._name(pid)

    def restore(self) -> None:
        """Make the file anew if somebody has removed it; called in the arbiter at a reload. Tells what it does.

        It gets the owner and the mode of the one that is gone, and the lock; the descriptor keeps its number. A file
        that is there by now is somebody else's, and stays as it is.
        """
        try:
            if not self.is_ours or _is_at(self.path, self.fd):
                return
            self._make_anew()
        except (FileExistsError, BlockingIOError):
            _log.warning(
                "server.pidfile: %s is another file than pyfork's own by now, and is left as it is; to have pid %d in "
                "it again, remove it and send HUP",
                self.path,
                os.getpid(),
            )
        except OSError as error:
            _log.warning("server.pidfile: %s was removed, and cannot be made anew: %s", self.path, error.strerror)
        else:
            _log.info("server.pidfile: %s was removed; it is made anew, with pid %d in it", self.path, os.getpid())

    def _make_anew(self) -> None:
        before = os.fstat(self.fd)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(self.path, fd):  # another pyfork was faster, and has gone again
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))  # noqa: TRY301 - one place tells of both
            _write(fd, os.getpid())
            with suppress(PermissionError):  # it was given to somebody by root, which this is not
                os.fchown(fd, before.st_uid, before.st_gid)
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
            os.dup2(fd, self.fd, inheritable=False)  # the lock goes with it, and the old file's ends
        except (FileExistsError, BlockingIOError):
            raise
        except OSError:  # the disk is full, say: an empty file would pass for another's at the next HUP
            with suppress(OSError):
                os.unlink(self.path)
            raise
        finally:
            os.close(fd)

    def release(self) -> None:
        """Remove the file, if it is ours and the path still leads to it; called in the arbiter at its end.

        The lock is let go of with the last descriptor of this open file.
        """
        try:
            if self.is_ours and _is_at(self.path, self.fd):
                os.unlink(self.path)
        except FileNotFoundError:
            pass  # somebody else removed it in this instant: that is what we wanted
        except OSError as error:  # its directory may be root's
            _log.warning("server.pidfile: %s cannot be removed: %s", self.path, error.strerror)
        os.close(self.fd)

    def _name(self, pid: int) -> None:
        """Have the file name ``pid``; that it cannot be written keeps nobody from serving."""
        try:
            _write(self.fd, pid)
        except OSError as error:
            _log.error("server.pidfile: %s cannot be written to name pid %d: %s", self.path, pid, error.strerror)


def find_fault(path: str) -> str | None:
    """Return why there can be no pidfile at ``path``, as far as that can be told without making one; None when it can.

    Whether another process holds it is not asked.
    """
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"server.pidfile: there is no directory {directory}"
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return f"server.pidfile: {path} is a symbolic link, which is not followed; name the file itself"
        check_regular(mode)
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        is_pid = _is_pid(read_regular(path, _LONGEST))
    except FileNotFoundError:
        if os.access(directory, os.W_OK | os.X_OK):
            return None
        return f"server.pidfile: no file can be made in {directory}: permission denied; {_NAME_A_FILE}"
    except IsADirectoryError:
        return f"server.pidfile: {path} is a directory; {_NAME_A_FILE}"
    except IrregularFileError as error:
        return f"server.pidfile: {path} is {error.kind}; {_NAME_A_FILE}"
    except OSError as error:
        return f"server.pidfile: {path} cannot be opened: {error.strerror}; {_NAME_A_FILE}"
    return None if is_pid else f"server.pidfile: {path} {_HOLDS_NO_PID}"


def _is_pid(content: bytes) -> bool:
    """Whether a file with that content may be overwritten: it is a pidfile, or empty."""
    found = content.strip()
    return not found or found.isdigit()


def _write(fd: int, pid: int) -> None:
    """Replace the content; who reads at any moment finds one pid or, for an instant, a longer line's end behind it."""
    line = f"{pid}\n".encode()
    os.pwrite(fd, line, 0)
    os.ftruncate(fd, len(line))


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
