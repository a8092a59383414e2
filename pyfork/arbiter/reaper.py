"""What children say, and how they end: words become events, the dead are reaped. Part of the shell.

The last words of a child come before its end, and its birth before both, in whatever order the kernel tells of them:
see `pyfork.arbiter.children`. A dead child stays a zombie until its pipe was read; so long its pid is nobody else's.
"""

import logging
import os
from collections.abc import Callable

from pyfork.arbiter.children import Child, Children, Role, refused
from pyfork.arbiter.events import Event, MoldExited, PipeGarbled, WorkerExited
from pyfork.ipc.messages import GarbledPipeError
from pyfork.process.signals import name_of

_log = logging.getLogger("pyfork.error")


def find_dead() -> int | None:
    """Return the pid of a child that has ended and was not reaped, and leave it so; None when there is none."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if dead is None else dead.si_pid


def is_alive(pid: int) -> bool:
    """Whether the child ``pid`` has not ended; it stays what it is."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def reap(pid: int) -> int:
    """Reap a child that has ended; return its exit status, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Reaper:
    """Listens to the children and reaps them.

    Args:
        children: all of them.
        handle: is given what has happened, in order.
        unwatch: has the loop listen to a pipe no longer.
        on_gone: called when a child was forgotten.
        count_oom_kills: asked about each child that pyfork did not kill itself and SIGKILL has ended; see
            `events.WorkerExited`.
        is_known: asked about a reaped process that is neither worker nor mold, with its pid and its exit status
            (negative: the number of a signal).
        find_dead: see `find_dead`.
        reap: see `reap`.
    """

    def __init__(  # noqa: PLR0913 - it stands between all of these, and the last two are for tests
        self,
        children: Children,
        *,
        handle: Callable[[Event], None],
        unwatch: Callable[[int], None],
        on_gone: Callable[[], None],
        count_oom_kills: Callable[[], int | None] = lambda: None,
        is_known: Callable[[int, int], bool] = lambda _pid, _status: False,
        find_dead: Callable[[], int | None] = find_dead,
        reap: Callable[[int], int] = reap,
    ) -> None:
        self._children = children
        self._handle = handle
        self._unwatch = unwatch
        self._on_gone = on_gone
        self._is_known = is_known
        self._count_oom_kills = count_oom_kills
        self._find_dead = find_dead
        self._reap = reap

    def listen_to(self, child: Child) -> None:
        """Hand over what a child has said; forget it if that was never to be born."""
        if child.has_hung_up:
            return
        try:
            events, is_over = self._children.read(child)
        except GarbledPipeError as error:
            events, is_over = [], True
            if child.pid is None:
                _log.error("%s (pid not known): %s; its lifeline is cut", child.name, error)
            else:
                events = [PipeGarbled(child.pid, str(error))]
        if is_over:
            child.has_hung_up = True
            self._unwatch(child.heartbeat_fd)
        for event in events:
            self._handle(event)
        if is_over and child.pid is None:
            self._forget_unborn(child)

    def reap(self) -> None:
        """Deal with all that have died."""
        while (pid := self._find_dead()) is not None:
            if self._children.find(pid) is None:
                for child in self._children.awaited():
                    self.listen_to(child)
            self._bury(pid)

    def _forget_unborn(self, child: Child) -> None:
        """Take note that an awaited child will not be born: nobody holds its end of the pipe any more."""
        self._children.remove(child)
        self._on_gone()
        if not child.is_given_up:
            self._handle(refused(child, "who was to fork it has ended or could not (see the log)"))

    def _bury(self, pid: int) -> None:
        child = self._children.find(pid)
        if child is not None:
            self.listen_to(child)
        try:
            status = self._reap(pid)
        except ChildProcessError:  # who listened has ended the watcher, and waited for it
            return
        if child is None and self._is_known(pid, status):
            return
        if child is None:
            _log.debug("reaped pid %d, which is none of our children", pid)
            return
        self._children.remove(child)
        self._on_gone()
        if child.is_given_up:
            return
        exited = MoldExited if child.role is Role.MOLD else WorkerExited
        ended_by = name_of(-status) if status < 0 else None
        oom_kills = self._count_oom_kills() if ended_by == "SIGKILL" and not child.is_killed else None
        self._handle(exited(pid, None if status < 0 else status, ended_by, oom_kills))
