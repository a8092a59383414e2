"""The pidfile: holding it means an flock on it, not a living pid in it.

A pid that is read from a volume after a restart may be anyone's; the kernel lets go of a lock the moment its holder
dies, however it dies. The lock belongs to the open file description, so every child closes its copy at birth
(`arbiter.spawn`); at an upgrade the descriptor is what is handed on.
"""

import fcntl
import logging
import os

from pyfork.errors import ConfigurationError

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
                    f"server.pidfile: {path} cannot be opened: {error.strerror}; name a file that can be written"
                ) from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        found = os.pread(fd, 64, 0).strip()
        if found and not found.isdigit():
            os.close(fd)
            raise ConfigurationError(f"server.pidfile: {path} exists and holds no pid; remove it or name another file")
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
