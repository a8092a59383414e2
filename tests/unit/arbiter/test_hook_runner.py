"""Hook processes without processes: what is started, what waits, what is killed, what the log says."""

import errno
import logging
import signal

import pytest

from pyfork.arbiter.hook_runner import MOST_AT_ONCE, MOST_WAITING, HookRunner, kill_group
from pyfork.config.schema import Settings
from pyfork.config.schema_hooks import HookSettings
from pyfork.ipc.exits import ExitStatus

SETTINGS = Settings(hooks=HookSettings(child_exit="a:b", on_starting="c:d", timeout=10))


class World:
    """Forks by counting, from 101, and keeps what is killed."""

    def __init__(self):
        self.now = 1000.0
        self.handoffs = []
        self.killed = []
        self.closed = []
        self.refusal = None
        self.denial = None
        self.runner = HookRunner(self.fork, self.kill, lambda: self.now, self.closed.append)

    def fork(self, handoff):
        if self.refusal:
            raise self.refusal
        self.handoffs.append(handoff)
        return 100 + len(self.handoffs), 500 + len(self.handoffs)

    def kill(self, pid):
        self.killed.append(pid)
        if self.denial:
            raise self.denial

    def run(self, name="child_exit", pid=7, status=0):
        self.runner.run(SETTINGS, name, pid, status)


@pytest.fixture
def world():
    """A world without hooks so far."""
    return World()


@pytest.fixture
def said(caplog):
    """The lines of the log, with their levels."""
    caplog.set_level(logging.DEBUG, logger="pyfork.error")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_hook_that_is_not_set_costs_nothing(world):
    """No fork, no deadline."""
    world.runner.run(Settings(), "child_exit", 7, 0)
    assert world.handoffs == []
    assert world.runner.is_idle
    assert world.runner.next_deadline() is None


def test_a_hook_is_given_its_values(world):
    """The event by its name, the pid that it is about, and how that ended."""
    world.run(pid=7, status="SIGKILL")
    [handoff] = world.handoffs
    assert (handoff.name, handoff.specification, handoff.pid, handoff.status) == ("child_exit", "a:b", 7, "SIGKILL")
    assert handoff.settings is SETTINGS
    assert not world.runner.is_idle
    assert world.runner.next_deadline() == 1010
    assert world.runner.reaped(101, 0)
    assert world.runner.is_idle
    assert world.runner.failed == {}


def test_strangers_are_not_ours(world):
    """The arbiter reaps for everybody."""
    world.run()
    assert not world.runner.reaped(55, 0)
    assert not world.runner.is_idle


def test_a_hook_that_takes_too_long_is_killed_once(world, said):
    """And is waited for no longer than for its end."""
    world.run()
    world.runner.on_time(1009.9)
    assert world.killed == []
    for _ in range(2):
        world.runner.on_time(1010)
    assert world.killed == [101]
    assert world.runner.next_deadline() is None
    line = (
        "the hook child_exit (a:b) has not ended within 10 s (hooks.timeout): its process (pid 101) is killed; "
        "nothing is stopped by that"
    )
    assert said() == [("ERROR", line)]
    assert world.runner.reaped(101, -signal.SIGKILL)
    assert len(said()) == 1
    assert world.runner.failed == {"child_exit": ExitStatus.BOOT}


def test_a_stall_moves_deadlines(world):
    """Nobody is judged by a time in which the arbiter did not run."""
    world.run()
    world.runner.shift(60)
    assert world.runner.next_deadline() == 1070


@pytest.mark.parametrize(
    ("code", "means", "line"),
    [
        (1, ExitStatus.BOOT, None),
        (4, ExitStatus.APPLICATION, None),
        (7, ExitStatus.BOOT, "the hook on_starting (c:d) ended its process with status 7; pyfork does not start"),
        (-signal.SIGSEGV, ExitStatus.BOOT, "the hook on_starting (c:d) was ended by SIGSEGV; pyfork does not start"),
    ],
)
def test_how_a_hook_ends_is_remembered(world, said, code, means, line):
    """What it has not logged itself, the arbiter logs; a path that leads nowhere is the application's fault."""
    world.run("on_starting")
    assert world.runner.reaped(101, code)
    assert world.runner.failed == {"on_starting": means}
    assert said() == ([("ERROR", line)] if line else [])


def test_a_fork_that_fails_is_told(world, said):
    """And is not tried again."""
    world.refusal = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    world.run("on_starting")
    assert world.runner.is_idle
    assert world.runner.failed == {"on_starting": ExitStatus.BOOT}
    assert said() == [
        (
            "ERROR",
            "the hook on_starting (c:d) could not be forked: Resource temporarily unavailable; pyfork does not start",
        )
    ]


def test_a_storm_is_bounded(world, said):
    """So many run, so many wait in order, the rest is dropped and counted."""
    for number in range(MOST_AT_ONCE + MOST_WAITING + 5):
        world.run(pid=number)
    assert len(world.handoffs) == MOST_AT_ONCE
    assert said() == [("WARNING", "16 hooks run and 1000 wait: no more are called until one has ended")]
    for pid in range(101, 101 + MOST_AT_ONCE + MOST_WAITING):
        assert world.runner.reaped(pid, 0)
    assert world.runner.is_idle
    assert [handoff.pid for handoff in world.handoffs] == [*range(MOST_AT_ONCE + MOST_WAITING)]
    assert said()[1:] == [("WARNING", "5 calls of hooks were dropped")]


def test_all_are_ended_at_once(world, said):
    """Those that run are killed, those that wait forgotten."""
    for number in range(MOST_AT_ONCE + 2):
        world.run(pid=number)
    world.runner.kill_all("signal SIGTERM")
    world.runner.kill_all("signal SIGTERM")
    assert world.killed == [*range(101, 101 + MOST_AT_ONCE)]
    assert said()[:2] == [
        ("WARNING", "signal SIGTERM: 2 calls of hooks that wait for their turn are dropped"),
        ("WARNING", "signal SIGTERM: the hook child_exit (a:b) is killed"),
    ]
    for pid in world.killed:
        world.runner.reaped(pid, -signal.SIGKILL)
    assert world.runner.is_idle
    assert len(world.handoffs) == MOST_AT_ONCE


def test_a_process_that_cannot_be_ended_is_told(world, said):
    """Root without CAP_KILL."""
    world.denial = PermissionError(errno.EPERM, "Operation not permitted")
    world.run()
    world.runner.kill_all("pyfork ends")
    assert said()[-1] == ("ERROR", "cannot end the process of a hook (pid 101): Operation not permitted")


def test_a_group_that_has_gone_is_ended(monkeypatch):
    """The hook has ended in that moment."""

    def killpg(pid, number):
        assert (pid, number) == (7, signal.SIGKILL)
        raise ProcessLookupError

    monkeypatch.setattr("os.killpg", killpg)
    kill_group(7)


def test_a_lifeline_is_held_as_long_as_its_hook_runs(world):
    """No other child may keep it, and the arbiter does not run out of descriptors."""
    world.run()
    world.run()
    assert world.runner.descriptors() == [501, 502]
    assert world.runner.reaped(101, 0)
    assert world.runner.descriptors() == [502]
    assert world.closed == [501]
    world.runner.kill_all("pyfork ends")
    assert world.runner.descriptors() == [502], "it has not ended yet"
    assert world.runner.reaped(102, -signal.SIGKILL)
    assert world.closed == [501, 502]
    assert world.runner.descriptors() == []
