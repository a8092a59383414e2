"""The hooks that run in processes of their own: started, bounded, timed and reaped. Lives in the arbiter's shell.

Nobody waits for them here (`hook_waits` does, for the two that are waited for). What is called while `MOST_AT_ONCE` run
waits its turn, in order; what is called while `MOST_WAITING` wait is dropped, and the log says how many were: a crash
loop or a storm of HUPs must not become one of forks.

A hook is the leader of a process group of its own: a deadline ends what it has started as well. So does the end of the
arbiter, by the hook's lifeline (`process.lifeline`).
"""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from msgspec import Struct

from pyfork.config.schema import Settings
from pyfork.hooks.catalogue import KINDS, describe
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import HookHandoff
from pyfork.process.signals import name_of

MOST_AT_ONCE = 16
"""Hook processes; each may import as much as a worker does."""
MOST_WAITING = 1000
"""Calls: at a tenth of a second each, the last of them is made a few seconds later."""
_TOLD_BY_ITSELF = {ExitStatus.OK, ExitStatus.FAILURE, ExitStatus.BOOT, ExitStatus.APPLICATION}
"""Statuses of a hook process that has logged what there is to say."""

_log = logging.getLogger("pyfork.error")


class _Process(Struct):
    """A hook that runs.

    Attributes:
        lifeline: the arbiter's end, which no other child may keep.
        deadline: when it is killed (monotonic seconds).
        is_killed: it has been.
    """

    handoff: HookHandoff
    lifeline: int
    deadline: float
    is_killed: bool = False


def kill_group(pid: int) -> None:
    """End the group that ``pid``, which has not been reaped, leads."""
    with suppress(ProcessLookupError):  # it has ended already, and left nobody
        os.killpg(pid, signal.SIGKILL)


class HookRunner:
    """All hook processes.

    Args:
        fork: makes the process of one hook and returns its pid, and the arbiter's end of its lifeline; raises OSError
            when the kernel refuses.
        kill: ends one with all that it has started.
        clock: monotonic seconds.
        close: lets go of the lifeline of one that has ended.

    Attributes:
        failed: the hooks that have failed, with the exit status that this means for a start.
    """

    def __init__(
        self,
        fork: Callable[[HookHandoff], tuple[int, int]],
        kill: Callable[[int], None] = kill_group,
        clock: Callable[[], float] = monotonic,
        close: Callable[[int], None] = os.close,
    ) -> None:
        self._fork = fork
        self._kill = kill
        self._clock = clock
        self._close = close
        self._running: dict[int, _Process] = {}
        self._waiting: deque[HookHandoff] = deque()
        self._dropped = 0
        self.failed: dict[str, ExitStatus] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no hook runs or waits."""
        return not self._running and not self._waiting

    def descriptors(self) -> list[int]:
        """Return the arbiter's ends of the lifelines."""
        return [process.lifeline for process in self._running.values()]

    def run(self, settings: Settings, name: str, pid: int | None = None, status: int | str | None = None) -> None:
        """Have the hook ``name`` called, if ``settings`` name one; returns at once.

        Args:
            settings: those in force.
            name: of the hook.
            pid: of the process that the event is about.
            status: how that process ended.

        Raises:
            BecameChild: in the hook's process.
        """
        specification = getattr(settings.hooks, name)
        if specification is None:
            return
        handoff = HookHandoff(name, specification, pid, status, settings)
        if len(self._running) < MOST_AT_ONCE:
            self._start(handoff)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(handoff)
        else:
            if not self._dropped:
                _log.warning(
                    "%d hooks run and %d wait: no more are called until one has ended", MOST_AT_ONCE, MOST_WAITING
                )
            self._dropped += 1

    def next_deadline(self) -> float | None:
        """Return when `on_time` has something to do; None when only the end of a hook can matter."""
        return min((process.deadline for process in self._running.values() if not process.is_killed), default=None)

    def on_time(self, now: float) -> None:
        """Kill what has run for too long."""
        for pid, process in self._running.items():
            if now >= process.deadline and not process.is_killed:
                handoff = process.handoff
                self.failed[handoff.name] = ExitStatus.BOOT
                _log.error(
                    "%s has not ended within %g s (hooks.timeout): its process (pid %d) is killed; %s",
                    describe(handoff.name, handoff.specification),
                    handoff.settings.hooks.timeout,
                    pid,
                    KINDS[handoff.name].consequence,
                )
                self._end(pid, process)

    def shift(self, seconds: float) -> None:
        """Move all deadlines: the arbiter, and perhaps everybody, did not run for ``seconds``."""
        for process in self._running.values():
            process.deadline += seconds

    def reaped(self, pid: int, code: int) -> bool:
        """Take note that a process has ended, and start what waited for that.

        Args:
            pid: whose.
            code: its exit status, or the number of the signal that ended it, negative.

        Returns:
            Whether it was a hook's.
        """
        process = self._running.pop(pid, None)
        if process is None:
            return False
        self._close(process.lifeline)
        if code and not process.is_killed:
            self._note_failure(process.handoff, code)
        while self._waiting and len(self._running) < MOST_AT_ONCE:
            self._start(self._waiting.popleft())
        if self._dropped and not self._waiting:
            _log.warning("%d calls of hooks were dropped", self._dropped)
            self._dropped = 0
        return True

    def kill_all(self, why: str) -> None:
        """End all hooks, and forget what waits; ``why`` is for the log."""
        if self._waiting:
            _log.warning("%s: %d calls of hooks that wait for their turn are dropped", why, len(self._waiting))
            self._waiting.clear()
        for pid, process in self._running.items():
            if not process.is_killed:
                _log.warning("%s: %s is killed", why, describe(process.handoff.name, process.handoff.specification))
                self._end(pid, process)

    def _start(self, handoff: HookHandoff) -> None:
        try:
            pid, lifeline = self._fork(handoff)
        except OSError as error:
            self.failed[handoff.name] = ExitStatus.BOOT
            _log.error(
                "%s could not be forked: %s; %s",
                describe(handoff.name, handoff.specification),
                error.strerror,
                KINDS[handoff.name].consequence,
            )
            return
        self._running[pid] = _Process(handoff, lifeline, self._clock() + handoff.settings.hooks.timeout)

    def _end(self, pid: int, process: _Process) -> None:
        process.is_killed = True
        try:
            self._kill(pid)
        except PermissionError as error:  # root without CAP_KILL, and a process that became another user
            _log.error("cannot end the process of a hook (pid %d): %s", pid, error.strerror)

    def _note_failure(self, handoff: HookHandoff, code: int) -> None:
        is_application = code == ExitStatus.APPLICATION
        self.failed[handoff.name] = ExitStatus.APPLICATION if is_application else ExitStatus.BOOT
        if code not in _TOLD_BY_ITSELF:
            how = f"was ended by {name_of(-code)}" if code < 0 else f"ended its process with status {code}"
            what = describe(handoff.name, handoff.specification)
            _log.error("%s %s; %s", what, how, KINDS[handoff.name].consequence)
