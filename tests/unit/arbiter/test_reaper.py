"""A birth, words, the end of a pipe and a death, in every order in which the kernel can tell of them."""

import logging
from collections.abc import Callable, Iterator

import pytest

from pyfork.arbiter import events as ev
from pyfork.arbiter.children import Role
from pyfork.arbiter.reaper import Reaper
from pyfork.ipc import messages as m
from tests.unit.arbiter.test_children import STRANGER, Nest


class Ward(Nest):
    """A nest with a reaper, and a kernel that the test plays."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[ev.Event] = []
        self.react: Callable[[ev.Event], None] = self.events.append
        self.zombies: dict[int, int] = {}
        self.oom_kills: int | None = None
        self.looks = 0
        self.unwatched: list[int] = []
        self.reaper = Reaper(
            self.children,
            handle=self.handle,
            unwatch=self.unwatched.append,
            on_gone=lambda: None,
            count_oom_kills=self.count,
            find_dead=lambda: next(iter(self.zombies), None),
            reap=self.zombies.pop,
        )

    def count(self) -> int | None:
        """Be the cgroup."""
        self.looks += 1
        return self.oom_kills

    def handle(self, event: ev.Event) -> None:
        """Be the core."""
        self.react(event)

    def told(self) -> list[ev.Event]:
        """Return what the core has heard since the last call."""
        told = self.events[:]
        self.events.clear()
        return told


@pytest.fixture
def ward() -> Iterator[Ward]:
    """A ward that leaves nothing open."""
    ward = Ward()
    yield ward
    ward.close()


def test_born_then_dead(ward: Ward) -> None:
    """The ordinary order."""
    child = ward.add()
    ward.say(child, m.encode_born(70))
    ward.reaper.listen_to(child)
    assert ward.told() == [ev.WorkerSpawned(0, 1, 70)]
    ward.say(child, m.READY)
    ward.zombies[70] = 0
    ward.reaper.reap()
    assert ward.told() == [ev.WorkerReady(70), ev.WorkerExited(70, 0, None)]
    assert list(ward.children) == []


def test_dead_before_its_birth_was_read(ward: Ward) -> None:
    """Its pipe has both its pid and why it could not boot; a stranger dies in between."""
    child, other = ward.add(0), ward.add(1)
    report = m.BootReport(m.FailureKind.BOOT, "why", "")
    ward.say(child, m.encode_born(70) + m.encode_report(report))
    ward.end(child)
    ward.zombies.update({STRANGER: 0, 70: 3})
    ward.reaper.reap()
    assert ward.told() == [
        ev.WorkerSpawned(0, 1, 70),
        ev.BootFailed(70, m.FailureKind.BOOT, "why", ""),
        ev.WorkerExited(70, 3, None),
    ]
    assert list(ward.children) == [other]


def test_never_born(ward: Ward) -> None:
    """The pipe ends without a pid: who was to fork it could not, or has died; whoever dies after that is a stranger."""
    worker, mold = ward.add(4), ward.add(2, role=Role.MOLD)
    for child in (worker, mold):
        ward.end(child)
        ward.reaper.listen_to(child)
    [first, second] = ward.told()
    assert isinstance(first, ev.SpawnFailed)
    assert (first.number, first.generation) == (4, 1)
    assert isinstance(second, ev.MoldRefused)
    assert (second.serial, second.generation) == (2, 1)
    assert ward.unwatched == [worker.heartbeat_fd, mold.heartbeat_fd]
    ward.zombies[70] = -9
    ward.reaper.reap()
    assert ward.told() == []
    assert list(ward.children) == []


def test_killed_between_its_fork_and_its_first_word(ward: Ward) -> None:
    """Its end is seen before that of its pipe: it is a stranger's by then, and the pipe tells the rest."""
    child = ward.add()
    ward.end(child)
    ward.zombies[STRANGER] = -9
    ward.reaper.reap()
    [event] = ward.told()
    assert isinstance(event, ev.SpawnFailed)


def test_the_mold_dies_first(ward: Ward) -> None:
    """A worker that it had forked is born nevertheless; one whose order it never read is not."""
    mold = ward.add(1, role=Role.MOLD, pid=60)
    born, unborn = ward.add(0), ward.add(1)
    ward.zombies[60] = -9
    ward.reaper.reap()
    assert ward.told() == [ev.MoldExited(60, None, "SIGKILL")]
    assert mold not in list(ward.children)
    ward.say(born, m.encode_born(70))
    ward.end(unborn)
    ward.reaper.listen_to(born)
    ward.reaper.listen_to(unborn)
    [first, second] = ward.told()
    assert first == ev.WorkerSpawned(0, 1, 70)
    assert isinstance(second, ev.SpawnFailed)


@pytest.mark.parametrize("order", ["born dead", "dead", "end", "born end dead"])
def test_who_was_given_up_comes_and_goes_in_silence(ward: Ward, order: str) -> None:
    """In whatever order: the core has had its answer."""
    child = ward.add()
    ward.children.give_up(child)
    if "born" in order or order == "dead":
        ward.say(child, m.encode_born(70))
    if "end" in order:
        ward.end(child)
    if order != "dead":
        ward.reaper.listen_to(child)
    if "dead" in order:
        ward.zombies[70] = 0
        ward.reaper.reap()
    assert ward.told() == []
    assert list(ward.children) == []


def test_the_core_may_give_up_another_meanwhile(ward: Ward) -> None:
    """While the awaited are looked at for the sake of a dead process."""
    first, second = ward.add(0), ward.add(1)

    def give_up_second(event: ev.Event) -> None:
        ward.events.append(event)
        ward.children.give_up(second)

    ward.react = give_up_second
    ward.say(first, m.encode_born(70))
    ward.say(second, m.encode_born(71))
    ward.zombies[STRANGER] = 0
    ward.reaper.reap()
    assert ward.told() == [ev.WorkerSpawned(0, 1, 70)]
    assert ward.children.find(71) is second


def test_who_killed_a_child_is_asked_only_if_it_was_not_pyfork(ward: Ward) -> None:
    """One that it has killed itself is no victim of the kernel's, and takes the blame from one that is."""
    ward.oom_kills = 1
    ours = ward.add(0, pid=70)
    ours.is_killed = True
    ward.add(1, pid=71)
    ward.add(2, pid=72)
    ward.zombies.update({70: -9, 71: -9, 72: -15})
    ward.reaper.reap()
    assert ward.told() == [
        ev.WorkerExited(70, None, "SIGKILL", None),
        ev.WorkerExited(71, None, "SIGKILL", 1),
        ev.WorkerExited(72, None, "SIGTERM", None),
    ]
    assert ward.looks == 1


def test_who_garbles_its_pipe_is_told_of(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    """If its pid is known, the core has it killed; one that is not born loses its lifeline."""
    caplog.set_level(logging.ERROR, "pyfork.error")
    born, unborn = ward.add(0, pid=70), ward.add(1)
    for child in (born, unborn):
        ward.say(child, b"?")
        ward.reaper.listen_to(child)
    [garbled, event] = ward.told()
    assert isinstance(garbled, ev.PipeGarbled)
    assert garbled.pid == 70
    assert isinstance(event, ev.SpawnFailed)
    assert "worker 1 gen 1" in caplog.text
    assert ward.is_cut(unborn)
    assert not ward.is_cut(born)
    ward.reaper.listen_to(born)  # it is not heard any more
    assert ward.told() == []


def test_who_was_waited_for_meanwhile_is_nobodys(ward: Ward) -> None:
    """The watcher of --reload is ended, and waited for, by what a child's last words lead to."""

    def take(pid: int) -> int:
        del ward.zombies[pid]
        raise ChildProcessError

    ward.zombies[99] = 0
    ward.reaper._reap = take  # type: ignore[method-assign]
    ward.reaper.reap()
    assert ward.told() == []
