"""The shell's side of the children: their descriptors, slots and words. Lives in the arbiter; decides nothing.

A child that a mold or a worker forks is known by its heartbeat pipe from the moment it was ordered, and by its pid only
when it says so (`ipc.messages.Born`). Until then it is *awaited*, and these things can happen in any order:

- it says that it is born: from then on it is like any other;
- its pipe ends before: it was never born. The forker closed the pipe, or died over the order, or the child itself did;
- it dies: its pid is one that nobody knows yet. It said that pid before it could die, so the pipes of all that are
  awaited are read before a dead process is taken for a stranger's;
- the core has waited long enough (`Children.give_up`): its lifeline is cut, so that a late birth ends by itself. Its
  pipe and its slot are kept until it does, for it may have been born a moment ago and be using them.

What a child says its pid to be is believed only if it is a child of the arbiter's: it is going to be signalled, perhaps
by root.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum

from msgspec import Struct, field

from pyfork.arbiter.events import (
    BootFailed,
    Event,
    MoldReady,
    MoldRefused,
    MoldSpawned,
    SpawnFailed,
    WorkerBeat,
    WorkerReady,
    WorkerRipe,
    WorkerSpawned,
    WorkerWorn,
)
from pyfork.arbiter.figures import Work
from pyfork.arbiter.spawn import Ends
from pyfork.ipc.messages import Beat, BootReport, Born, GarbledPipeError, Ready, Ripe, WordDecoder, Worn
from pyfork.ipc.messages import Word as HeartbeatWord
from pyfork.ipc.passing import close_all
from pyfork.ipc.scoreboard import SLOTS, Scoreboard, Slot

MOST_READS = 4
"""Reads of one pipe in a turn: a worker that floods it must not keep the arbiter from the others."""


class Role(Enum):
    """What a child is."""

    WORKER = "worker"
    MOLD = "mold"


class Child(Struct, eq=False):
    """One worker or mold that has not been reaped.

    Attributes:
        number: a worker's place, a mold's serial.
        pid: None as long as it is awaited.
        slot_index: a worker's; None for a mold, which has none.
        has_hung_up: its heartbeat pipe was read to the end; there is nothing more to hear.
        is_given_up: the core does not know of it any more.
        is_killed: it was sent SIGKILL by pyfork.
    """

    role: Role
    number: int
    generation: int
    ends: Ends
    pid: int | None = None
    slot_index: int | None = None
    slot: Slot | None = None
    decoder: WordDecoder = field(default_factory=WordDecoder)
    has_hung_up: bool = False
    is_given_up: bool = False
    is_killed: bool = False

    @property
    def name(self) -> str:
        """How the log calls it."""
        return f"{self.role.value} {self.number} gen {self.generation}"

    @property
    def heartbeat_fd(self) -> int:
        """Where its words are read."""
        return self.ends.heartbeat


def is_own_child(pid: int) -> bool:
    """Whether ``pid`` is a child of this process, dead or alive; it stays what it is."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


class Children:
    """All children, by pid and by heartbeat pipe, and which slots of the scoreboard are free.

    Args:
        scoreboard: whose slots they get.
        is_child: says whether a pid is a child's of the arbiter.
    """

    def __init__(self, scoreboard: Scoreboard, is_child: Callable[[int], bool] = is_own_child) -> None:
        self._scoreboard = scoreboard
        self._is_child = is_child
        self._by_pid: dict[int, Child] = {}
        self._by_fd: dict[int, Child] = {}
        self._slots_in_use: set[int] = set()

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_fd.values())

    def find(self, pid: int) -> Child | None:
        """Return the child with ``pid``, or None for a stranger's."""
        return self._by_pid.get(pid)

    def by_heartbeat(self, fd: int) -> Child | None:
        """Return the child whose heartbeat pipe ``fd`` is."""
        return self._by_fd.get(fd)

    def find_mold(self, serial: int) -> Child | None:
        """Return the mold ``serial``."""
        molds = (child for child in self if child.role is Role.MOLD)
        return next((mold for mold in molds if mold.number == serial), None)

    def find_awaited(self, role: Role, number: int, generation: int) -> Child | None:
        """Return the child that was ordered as this and is not born yet."""
        wanted = [child for child in self.awaited() if not child.is_given_up]
        return next(
            (child for child in wanted if (child.role, child.number, child.generation) == (role, number, generation)),
            None,
        )

    def awaited(self) -> list[Child]:
        """Return the children whose pids are not known yet, those that were given up among them."""
        return [child for child in self if child.pid is None]

    def free_slot(self) -> int:
        """Return the lowest slot that nobody uses.

        Raises:
            OSError: EAGAIN, all are in use (1 024 processes that will not die).
        """
        for index in range(SLOTS):
            if index not in self._slots_in_use:
                self._scoreboard.reserve(index)
                return index
        raise OSError(errno.EAGAIN, "all slots of the scoreboard are in use")

    def add(self, child: Child) -> None:
        """Remember a new child; one whose pid is None is awaited."""
        if child.slot_index is not None:
            child.slot = self._scoreboard.slot(child.slot_index)
            self._slots_in_use.add(child.slot_index)
        if child.pid is not None:
            self._by_pid[child.pid] = child
        self._by_fd[child.heartbeat_fd] = child

    def remove(self, child: Child) -> None:
        """Forget a child that was reaped, or never born: close its pipes and clear its slot."""
        if child.pid is not None:
            del self._by_pid[child.pid]
        del self._by_fd[child.heartbeat_fd]
        lifeline = [] if child.is_given_up else [child.ends.lifeline]
        control = [] if child.ends.control is None else [child.ends.control]
        close_all([child.heartbeat_fd, *lifeline, *control])
        if child.slot is not None and child.slot_index is not None:
            child.slot.clear()
            child.slot.release()
            self._slots_in_use.discard(child.slot_index)

    def give_up(self, child: Child) -> None:
        """Cut the lifeline of an awaited child; it is removed when its pipe ends or when it is reaped."""
        child.is_given_up = True
        os.close(child.ends.lifeline)

    def descriptors(self) -> list[int]:
        """Return the descriptors that no new child may keep."""
        return [
            fd
            for child in self
            for fd in child.ends.descriptors()
            if fd != child.ends.lifeline or not child.is_given_up
        ]

    def generations(self) -> set[int]:
        """Return the generations that have processes, or will have."""
        return {child.generation for child in self}

    def work(self) -> dict[int, Work]:
        """Return what each worker has done and does, by pid."""
        figures = [(child.pid, child.slot.statistics()) for child in self if child.slot is not None]
        return {pid: Work(slot.requests, slot.in_flight) for pid, slot in figures if pid is not None}

    def in_application(self) -> dict[int, float]:
        """Return since when each child is inside the application, for those that are."""
        workers = ((child.pid, child.slot) for child in self)
        stretches = (
            (pid, slot.in_application_since()) for pid, slot in workers if pid is not None and slot is not None
        )
        return {pid: since for pid, since in stretches if since is not None}

    def read(self, child: Child) -> tuple[list[Event], bool]:
        """Read what ``child`` has said.

        Returns:
            The events, none of a child that was given up; and whether the pipe is at its end (the child has closed it
            or is dead).

        Raises:
            GarbledPipeError: somebody else wrote to the pipe.
        """
        events: list[Event] = []
        with suppress(BlockingIOError):  # all read
            for _ in range(MOST_READS):
                octets = os.read(child.heartbeat_fd, 65536)
                if not octets:
                    return events, True
                heard = [self._event_of(child, word) for word in child.decoder.feed(octets)]
                events += [] if child.is_given_up else heard
        return events, False

    def _event_of(self, child: Child, word: HeartbeatWord) -> Event:
        if isinstance(word, Born):
            return self._bear(child, word.pid)
        if child.pid is None:
            raise GarbledPipeError(f"{word!r} came from a child that has not said its pid")
        if child.role is Role.MOLD:
            return _event_of_mold(child.pid, word)
        return _event_of_worker(child.pid, child.slot, word)

    def _bear(self, child: Child, pid: int) -> Event:
        """Learn the pid of an awaited child."""
        if child.pid is not None or pid in self._by_pid or not self._is_child(pid):
            raise GarbledPipeError(f"pid {pid} was said to be born there, and is not")
        child.pid = pid
        self._by_pid[pid] = child
        return spawned(child, pid)


def spawned(child: Child, pid: int) -> Event:
    """Return the event of a birth."""
    if child.role is Role.MOLD:
        return MoldSpawned(child.generation, child.number, pid)
    return WorkerSpawned(child.number, child.generation, pid)


def refused(child: Child, reason: str) -> Event:
    """Return the event of a birth that did not happen."""
    if child.role is Role.MOLD:
        return MoldRefused(child.generation, child.number, reason)
    return SpawnFailed(child.number, child.generation, reason)


def _event_of_worker(pid: int, slot: Slot | None, word: HeartbeatWord) -> Event:
    match word:
        case Beat():
            return WorkerBeat(pid, None if slot is None else slot.in_application_since())
        case Ready():
            return WorkerReady(pid)
        case Worn(reason):
            return WorkerWorn(pid, reason)
        case Ripe():
            return WorkerRipe(pid)
        case BootReport(kind, message, traceback):
            return BootFailed(pid, kind, message, traceback)
    raise GarbledPipeError(f"{word!r} is no word of a worker")


def _event_of_mold(pid: int, word: HeartbeatWord) -> Event:
    match word:
        case Ready():
            return MoldReady(pid)
        case BootReport(kind, message, traceback):
            return BootFailed(pid, kind, message, traceback)
    raise GarbledPipeError(f"{word!r} is no word of a mold")
