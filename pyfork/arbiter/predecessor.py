"""The old arbiter as the new one sees it, which an upgrade has started; `upgrade` tells the whole story."""

import os
import socket
from collections.abc import Iterable, MutableMapping
from contextlib import suppress

from pyfork.arbiter.handover import VARIABLE, Handover, PassedListener, decode
from pyfork.arbiter.inheritance import Passed
from pyfork.arbiter.listeners import BoundListener
from pyfork.arbiter.pidfile import Pidfile
from pyfork.errors import ConfigurationError
from pyfork.ipc.messages import READY, BootReport, FailureKind, encode_report


class Predecessor:
    """The old arbiter, as the new one that it has started sees it.

    Args:
        handover: what it said.

    Attributes:
        passed: its listeners, open here as well.
        pid: its own.
        fd: our end of the pair of sockets, or -1 after its end.
    """

    def __init__(self, handover: Handover) -> None:
        self.handover = handover
        self.pid = handover.predecessor
        self.fd = handover.ready_fd
        try:
            os.set_inheritable(self.fd, False)
            os.set_blocking(self.fd, False)
            self.passed = [_open_passed(listener, handover.predecessor) for listener in handover.listeners]
            if handover.pidfile_fd is not None:
                os.set_inheritable(handover.pidfile_fd, False)
        except OSError as error:
            raise ConfigurationError(
                f"environment {VARIABLE}: a descriptor that it names is not open: {error}"
            ) from error
        self._unwanted: list[BoundListener] = []
        self._old_pidfile: Pidfile | None = None

    @classmethod
    def find(cls, environ: MutableMapping[str, str]) -> "Predecessor | None":
        """Return the old arbiter if an upgrade has started this process; its variable is taken out of ``environ``.

        Raises:
            ConfigurationError: the variable is garbled, or a descriptor that it names is not open.
        """
        text = environ.pop(VARIABLE, None)
        return None if text is None else cls(decode(text))

    def take_pidfile(self, path: str | None) -> Pidfile | None:
        """Return the old arbiter's pidfile if ``path`` leads to it; any other is removed when we are in charge."""
        if self.handover.pidfile_fd is None or self.handover.pidfile is None:
            return None
        pidfile = Pidfile(self.handover.pidfile, self.handover.pidfile_fd, is_ours=False)
        if path is not None and pidfile.is_at(path):
            pidfile.path = path
            return pidfile
        self._old_pidfile = pidfile
        return None

    def leave_behind(self, unwanted: Iterable[Passed]) -> None:
        """Note the sockets that no bind wants: they are closed, and their paths removed, when we are in charge."""
        self._unwanted += [one.listener for one in unwanted]

    def descriptors(self) -> list[int]:
        """Return what no child may keep."""
        pidfile = [] if self._old_pidfile is None else [self._old_pidfile.fd]
        line = [] if self.fd == -1 else [self.fd]
        return [*line, *pidfile, *(listener.socket.fileno() for listener in self._unwanted)]

    def abandon(self) -> None:
        """Let go of the objects; called in a child, which has closed their descriptors."""
        for listener in self._unwanted:
            listener.socket.detach()

    def say_ready(self) -> None:
        """Tell that all workers are ready."""
        self._say(READY)

    def report_failure(self, message: str) -> None:
        """Tell why there will be no new arbiter."""
        self._say(encode_report(BootReport(FailureKind.BOOT, message, "")))

    def read_release(self) -> bool:
        """Read what the old arbiter says, once; return whether it has let go of everything, by its word or its end."""
        try:
            os.read(self.fd, 1)  # its word, or the end of the stream
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass  # it died before it had read what we said
        return True

    def succeed(self) -> None:
        """Remove what it leaves behind and we do not use; called once, when we are in charge."""
        os.close(self.fd)
        self.fd = -1
        for listener in self._unwanted:
            listener.take_over()
            listener.close()
        self._unwanted.clear()
        if self._old_pidfile is not None:
            self._old_pidfile.is_ours = True
            self._old_pidfile.release()
            self._old_pidfile = None

    def _say(self, octets: bytes) -> None:
        with suppress(OSError):  # it is gone, which the end of the stream tells too
            os.write(self.fd, octets)


def _open_passed(passed: PassedListener, owner: int) -> Passed:
    os.set_inheritable(passed.fd, False)
    listener = BoundListener(
        passed.bind, socket.socket(fileno=passed.fd), is_inherited=passed.passed, inode=passed.owns_path, maker=owner
    )
    # fd://N was asked for by name: it is not served unless it is asked for again.
    return Passed(listener, is_foreign=passed.passed and not passed.bind.startswith("fd:"))
