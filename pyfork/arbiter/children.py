"""The shell's side of the workers: their descriptors, slots and words. Lives in the arbiter; decides nothing."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from pyfork.arbiter.events import BootFailed, Event, WorkerBeat, WorkerReady, WorkerRipe, WorkerWorn
from pyfork.arbiter.spawn import SpawnedWorker
from pyfork.ipc.messages import Beat, BootReport, GarbledPipeError, Ready, Ripe, WordDecoder, Worn
from pyfork.ipc.messages import Word as HeartbeatWord
from pyfork.ipc.scoreboard import SLOTS, Scoreboard, Slot

MOST_READS = 4
"""Reads of one pipe in a turn: a worker that floods it must not keep the arbiter from the others."""


@dataclass(slots=True)
class Child:
    """One worker that has not been reaped.

    Attributes:
        has_hung_up: its heartbeat pipe was read to the end; there is nothing more to hear.
        is_reaped: its pid may be anyone's by now.
    """

    pid: int
    number: int
    generation: int
    slot_index: int
    slot: Slot
    heartbeat_fd: int
    lifeline_fd: int
    decoder: WordDecoder = field(default_factory=WordDecoder)
    has_hung_up: bool = False
    is_reaped: bool = False

    @property
    def name(self) -> str:
        """How the log calls it."""
        return f"worker {self.number} gen {self.generation}"


class Children:
    """All children by pid, and which slots of the scoreboard are free."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._by_pid: dict[int, Child] = {}
        self._by_fd: dict[int, Child] = {}
        self._slots_in_use: set[int] = set()

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_pid.values())

    def find(self, pid: int) -> Child | None:
        """Return the child with ``pid``, or None for a stranger's."""
        return self._by_pid.get(pid)

    def by_heartbeat(self, fd: int) -> Child | None:
        """Return the child whose heartbeat pipe ``fd`` is."""
        return self._by_fd.get(fd)

    def free_slot(self) -> int:
        """Return the lowest slot that nobody uses.

        Raises:
            OSError: EAGAIN, all are in use (1 024 processes that will not die).
        """
        for index in range(SLOTS):
            if index not in self._slots_in_use:
                return index
        raise OSError(errno.EAGAIN, "all slots of the scoreboard are in use")

    def add(self, spawned: SpawnedWorker, number: int, generation: int, slot_index: int) -> Child:
        """Remember a new child."""
        child = Child(
            pid=spawned.pid,
            number=number,
            generation=generation,
            slot_index=slot_index,
            slot=self._scoreboard.slot(slot_index),
            heartbeat_fd=spawned.heartbeat_fd,
            lifeline_fd=spawned.lifeline_fd,
        )
        self._slots_in_use.add(slot_index)
        self._by_pid[child.pid] = child
        self._by_fd[child.heartbeat_fd] = child
        return child

    def remove(self, child: Child) -> None:
        """Forget a reaped child: close its pipes and clear its slot."""
        del self._by_pid[child.pid]
        self._by_fd.pop(child.heartbeat_fd, None)
        os.close(child.heartbeat_fd)
        os.close(child.lifeline_fd)
        child.slot.clear()
        child.slot.release()
        self._slots_in_use.discard(child.slot_index)

    def descriptors(self) -> list[int]:
        """Return the descriptors that no new child may keep."""
        return [fd for child in self._by_pid.values() for fd in (child.heartbeat_fd, child.lifeline_fd)]

    def generations(self) -> set[int]:
        """Return the generations that have processes."""
        return {child.generation for child in self._by_pid.values()}

    def in_application(self) -> dict[int, float]:
        """Return since when each child is inside the application, for those that are."""
        stretches = ((child.pid, child.slot.in_application_since()) for child in self._by_pid.values())
        return {pid: since for pid, since in stretches if since is not None}


def read_words(child: Child) -> tuple[list[Event], bool]:
    """Read what ``child`` has said.

    Returns:
        The events, and whether the pipe is at its end (the worker has closed it or is dead).

    Raises:
        GarbledPipeError: somebody else wrote to the pipe.
    """
    events: list[Event] = []
    with suppress(BlockingIOError):  # all read
        for _ in range(MOST_READS):
            octets = os.read(child.heartbeat_fd, 65536)
            if not octets:
                return events, True
            events += [_event_of(child, word) for word in child.decoder.feed(octets)]
    return events, False


def _event_of(child: Child, word: HeartbeatWord) -> Event:
    match word:
        case Beat():
            return WorkerBeat(child.pid, child.slot.in_application_since())
        case Ready():
            return WorkerReady(child.pid)
        case BootReport(kind, message, traceback):
            return BootFailed(child.pid, kind, message, traceback)
        case Worn(reason):
            return WorkerWorn(child.pid, reason)
        case Ripe():
            return WorkerRipe(child.pid)
    raise GarbledPipeError(f"{word!r} is no word")  # pragma: no cover - the union is exhausted above
