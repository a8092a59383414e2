"""The children's words, slots and pids, and those that are not born yet."""

import os
from collections.abc import Iterator

import pytest

from pyfork.arbiter import events as ev
from pyfork.arbiter.children import Child, Children, Role, is_own_child, refused
from pyfork.arbiter.spawn import Ends
from pyfork.ipc import messages as m
from pyfork.ipc.messages import GarbledPipeError
from pyfork.ipc.scoreboard import Scoreboard

STRANGER = 999


class Nest:
    """Children whose ends the test holds."""

    def __init__(self) -> None:
        self.children = Children(Scoreboard(), is_child=lambda pid: pid != STRANGER)
        self.said: dict[int, int] = {}
        self.lifelines: dict[int, int] = {}

    def add(self, number: int = 0, *, role: Role = Role.WORKER, pid: int | None = None) -> Child:
        """Add a child; one without a pid is awaited."""
        heartbeat, said = os.pipe()
        lifeline_read, lifeline = os.pipe()
        for fd in (heartbeat, lifeline_read):
            os.set_blocking(fd, False)
        slot = self.children.free_slot() if role is Role.WORKER else None
        child = Child(role, number, 1, Ends(heartbeat, lifeline), pid=pid, slot_index=slot)
        self.children.add(child)
        self.said[heartbeat] = said
        self.lifelines[heartbeat] = lifeline_read
        return child

    def say(self, child: Child, octets: bytes) -> None:
        """Write to its pipe."""
        os.write(self.said[child.heartbeat_fd], octets)

    def end(self, child: Child) -> None:
        """Close its end of the pipe."""
        os.close(self.said.pop(child.heartbeat_fd))

    def is_cut(self, child: Child) -> bool:
        """Whether its lifeline says that nobody wants it."""
        try:
            return os.read(self.lifelines[child.heartbeat_fd], 1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close everything."""
        for child in list(self.children):
            self.children.remove(child)
        for fd in (*self.said.values(), *self.lifelines.values()):
            os.close(fd)


@pytest.fixture
def nest() -> Iterator[Nest]:
    """A nest that leaves nothing open."""
    nest = Nest()
    yield nest
    nest.close()


def test_an_awaited_child_is_known_by_its_pipe_and_then_by_its_pid(nest: Nest) -> None:
    """Its first word makes it one like any other; what it says behind it is heard with it."""
    child = nest.add(3)
    assert nest.children.awaited() == [child]
    assert nest.children.find_awaited(Role.WORKER, 3, 1) is child
    nest.say(child, m.encode_born(70) + m.READY)
    assert nest.children.read(child) == ([ev.WorkerSpawned(3, 1, 70), ev.WorkerReady(70)], False)
    assert nest.children.find(70) is child
    assert nest.children.awaited() == []


def test_words_of_molds_are_theirs(nest: Nest) -> None:
    """A promoted mold is awaited too; a mold neither beats nor is it ripe."""
    mold = nest.add(2, role=Role.MOLD)
    assert nest.children.find_mold(2) is mold
    assert nest.children.find_mold(1) is None
    nest.say(mold, m.encode_born(80) + m.READY)
    assert nest.children.read(mold) == ([ev.MoldSpawned(1, 2, 80), ev.MoldReady(80)], False)
    nest.say(mold, m.encode_report(m.BootReport(m.FailureKind.BOOT, "why", "")))
    assert nest.children.read(mold)[0] == [ev.BootFailed(80, m.FailureKind.BOOT, "why", "")]
    nest.say(mold, m.BEAT)
    with pytest.raises(GarbledPipeError, match="no word of a mold"):
        nest.children.read(mold)


def test_words_of_workers(nest: Nest) -> None:
    """Beats carry since when the worker is inside the application; the end of the pipe is told."""
    worker = nest.add(pid=70)
    nest.say(worker, m.BEAT + m.RIPE + m.encode_report(m.BootReport(m.FailureKind.APPLICATION, "why", "how")))
    events, is_over = nest.children.read(worker)
    assert events == [
        ev.WorkerBeat(70, None),
        ev.WorkerRipe(70),
        ev.BootFailed(70, m.FailureKind.APPLICATION, "why", "how"),
    ]
    assert not is_over
    nest.end(worker)
    assert nest.children.read(worker) == ([], True)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (m.READY, "has not said its pid"),
        (m.encode_born(STRANGER), "pid 999 was said to be born"),
        (m.encode_born(70), "pid 70 was said to be born"),
        (m.encode_born(71) + m.encode_born(72), "pid 72 was said to be born"),
    ],
)
def test_a_pid_is_not_believed_blindly(nest: Nest, octets: bytes, reason: str) -> None:
    """It has to come first, once, and be that of a child which is not another one: it is going to be signalled."""
    nest.add(pid=70)
    child = nest.add(1)
    nest.say(child, octets)
    with pytest.raises(GarbledPipeError, match=reason):
        nest.children.read(child)


def test_who_is_given_up_is_not_told_of(nest: Nest) -> None:
    """Its lifeline is cut; its slot and its pipe are kept until it has gone, though a successor is awaited already."""
    late = nest.add(3)
    nest.children.give_up(late)
    assert nest.is_cut(late)
    assert nest.children.find_awaited(Role.WORKER, 3, 1) is None
    assert nest.children.awaited() == [late], "a dead process may be this one"
    assert late.ends.lifeline not in nest.children.descriptors()
    successor = nest.add(3)
    assert successor.slot_index != late.slot_index
    assert nest.children.find_awaited(Role.WORKER, 3, 1) is successor
    nest.say(late, m.encode_born(70) + m.READY)
    assert nest.children.read(late) == ([], False)
    assert nest.children.find(70) is late
    nest.children.remove(late)
    assert nest.children.find(70) is None


def test_slots_are_used_again(nest: Nest) -> None:
    """The lowest free one is given, and none to a mold."""
    first, second = nest.add(0, pid=70), nest.add(1, pid=71)
    mold = nest.add(1, role=Role.MOLD, pid=72)
    assert (first.slot_index, second.slot_index, mold.slot_index) == (0, 1, None)
    nest.children.remove(first)
    assert nest.children.free_slot() == 0
    assert nest.children.generations() == {1}
    assert nest.children.in_application() == {}


def test_no_new_child_keeps_the_ends_of_others(nest: Nest) -> None:
    """Nor their control sockets."""
    child = nest.add(0)
    one, other = os.pipe()
    child.ends = Ends(child.ends.heartbeat, child.ends.lifeline, other)
    assert set(nest.children.descriptors()) == {child.ends.heartbeat, child.ends.lifeline, other}
    os.close(one)


def test_refusals_are_of_their_kind() -> None:
    """A mold's and a worker's."""
    ends = Ends(-1, -1)
    assert refused(Child(Role.MOLD, 2, 1, ends), "why") == ev.MoldRefused(1, 2, "why")
    assert refused(Child(Role.WORKER, 2, 1, ends), "why") == ev.SpawnFailed(2, 1, "why")


def test_who_is_no_child_is_known() -> None:
    """The parent is none, nor is the process itself."""
    assert not is_own_child(os.getppid())
    assert not is_own_child(os.getpid())
