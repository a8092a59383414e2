"""The arbiter's side of the process that watches files (`development.reload`): born, heard, born again.

It is no worker: the core knows nothing of it but the reload that a change asks for. When it dies it is started again,
with the delays of a boot that fails; when the configuration that it was born with is replaced, at once.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from random import Random

from msgspec import Struct

from pyfork.arbiter.pacing import Backoff
from pyfork.arbiter.reports import describe_exit
from pyfork.arbiter.spawn import Ends, spawn
from pyfork.config.load import Loaded
from pyfork.ipc.messages import WatchHandoff, decode_changes
from pyfork.ipc.passing import close_all

STEADY = 10.0
"""Seconds after which a watcher that dies is not one that cannot watch."""


class _Watcher(Struct, frozen=True):
    """The process that lives now."""

    pid: int
    ends: Ends


class Watching:
    """The watcher, as long as it is wanted.

    Args:
        loaded: what it is to watch follows from this.
        epoll: the loop's, where its pipe is registered.
        now: monotonic; the first is due at once.
    """

    def __init__(self, loaded: Loaded, epoll: select.epoll, now: float) -> None:
        self._loaded = loaded
        self._epoll = epoll
        self._random = Random()  # noqa: S311 - jitter, not a secret
        self._backoff = Backoff()
        self._process: _Watcher | None = None
        self._born = now
        self._due: float | None = now
        self._is_outdated = False
        self._has_hung_up = False

    def next_deadline(self) -> float | None:
        """Return when `on_time` has something to do, or None."""
        return self._due

    def on_time(self, now: float, private: Callable[[], list[int]]) -> str | None:
        """Start a watcher if one is due.

        Args:
            now: monotonic.
            private: returns the arbiter's descriptors, which the child closes.

        Returns:
            Why it could not be started, for the log.

        Raises:
            BecameChild: this is the watcher.
        """
        if self._due is None or now < self._due:
            return None
        loaded = self._loaded
        try:
            pid, ends = spawn(
                lambda ends: WatchHandoff(ends.heartbeat, ends.lifeline, loaded.settings, loaded.file),
                private(),
                has_control=False,
            )
        except OSError as error:
            return f"the watcher could not be forked: {error}; {self._fail(now)}"
        self._process = _Watcher(pid, ends)
        self._due = None
        self._born = now
        self._is_outdated = self._has_hung_up = False
        self._epoll.register(self._process.ends.heartbeat, select.EPOLLIN)
        return None

    def descriptors(self) -> list[int]:
        """Return the descriptors that no child may keep."""
        process = self._process
        return [] if process is None else process.ends.descriptors()

    def read(self) -> list[str]:
        """Return what the watcher has said: what has changed, a line each."""
        process = self._process
        if process is None or self._has_hung_up:
            return []
        try:
            octets = os.read(process.ends.heartbeat, 65536)
        except BlockingIOError:
            return []
        if not octets:  # it is ending
            self._hang_up(process)
        return decode_changes(octets)

    def take_exit(self, pid: int, code: int, now: float) -> str | None:
        """Take note that a child was reaped, if it was the watcher.

        Args:
            pid: of the child.
            code: its exit status, or the number of the signal that ended it, negative.
            now: monotonic.

        Returns:
            What the log should say, "" for nothing; None when it was not the watcher.
        """
        process = self._process
        if process is None or pid != process.pid:
            return None
        self._forget(process)
        if self._is_outdated:
            self._due = now
            return ""
        if now - self._born > STEADY:
            self._backoff = Backoff()
        how = describe_exit(code, None) if code >= 0 else f"was ended by signal {-code}"
        return f"the watcher (pid {pid}) {how}: changes are not seen, HUP reloads; {self._fail(now)}"

    def follow(self, loaded: Loaded, now: float) -> None:
        """Watch what ``loaded`` says from now on; ``now`` is monotonic."""
        old, self._loaded = self._loaded, loaded
        if self._process is None or _concerns(old) == _concerns(loaded):
            return
        self._is_outdated = True
        if not self._end():
            self._forget(self._process)  # its lifeline ends it
            self._due = now

    def close(self) -> None:
        """End the watcher and reap it; called at the arbiter's end, and when it begins to stop."""
        process = self._process
        self._due = None
        if process is None:
            return
        if self._end():
            with suppress(ChildProcessError):  # SIGCHLD is ignored at the arbiter's end: the kernel has reaped it
                os.waitpid(process.pid, 0)
        self._forget(process)

    def _end(self) -> bool:
        """Kill the watcher, which has nothing to lose; return whether that may be done (not without CAP_KILL)."""
        if self._process is None:
            return False
        try:
            os.kill(self._process.pid, signal.SIGKILL)
        except PermissionError:
            return False
        return True

    def _forget(self, process: _Watcher) -> None:
        if not self._has_hung_up:
            self._hang_up(process)
        close_all(process.ends.descriptors())
        self._process = None

    def _hang_up(self, process: _Watcher) -> None:
        self._has_hung_up = True
        self._epoll.unregister(process.ends.heartbeat)

    def _fail(self, now: float) -> str:
        delay = self._backoff.fail(now, self._random)
        self._due = now + delay
        return f"the next try is in {delay:.1f} s"


def _concerns(loaded: Loaded) -> tuple[object, ...]:
    settings = loaded.settings
    return (settings.server, settings.log, settings.development.watch, loaded.file)
