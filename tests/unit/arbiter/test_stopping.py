"""Everybody is told to end, and nobody twice without need."""

from pyfork.arbiter.actions import Exit
from pyfork.arbiter.lifecycle import WorkerMove, WorkerState
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.roster import Roster
from pyfork.arbiter.stopping import Stopping
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import plan, quit_, term


def roster_of_three() -> Roster:
    """One that spawns, one that boots (pid 1), one that serves (pid 2)."""
    roster = Roster()
    for number in range(3):
        roster.add(number, 1, plan())
    roster.find_spawning(1, 1).spawned(1, 0)
    serving = roster.find_spawning(2, 1)
    serving.spawned(2, 0)
    serving.got_ready(1)
    return roster


def test_everybody_is_told_once() -> None:
    """Who serves drains, who boots quits, who is not there yet is told later."""
    roster, stopping = roster_of_three(), Stopping()
    assert stopping.settle(roster, Molds(), 5) == [term(1), term(2)]
    assert stopping.settle(roster, Molds(), 6) == []
    roster.find_spawning(0, 1).spawned(3, 7)
    assert stopping.settle(roster, Molds(), 7) == [term(3)]


def test_hurry_is_told_to_those_who_drain() -> None:
    """And to those who were to end their boots; afterwards they know it."""
    roster, stopping = roster_of_three(), Stopping()
    stopping.settle(roster, Molds(), 5)
    stopping.is_hurried = True
    assert stopping.settle(roster, Molds(), 6) == [quit_(1), quit_(2)]
    assert stopping.settle(roster, Molds(), 7) == []


def test_hurry_from_the_start_drains_nobody() -> None:
    """INT."""
    roster, stopping = roster_of_three(), Stopping()
    stopping.is_hurried = True
    assert stopping.settle(roster, Molds(), 5) == [quit_(1), quit_(2)]


def test_worker_that_is_killed_is_told_nothing_more() -> None:
    """There is nothing to hurry."""
    roster, stopping = roster_of_three(), Stopping()
    for worker in roster:
        if worker.state is WorkerState.BOOTING:
            worker.dump(5)
    assert stopping.settle(roster, Molds(), 5) == [term(2)]
    stopping.is_hurried = True
    assert stopping.settle(roster, Molds(), 5) == [quit_(2)]


def test_exit_comes_once_with_the_status() -> None:
    """When nobody is left."""
    roster, stopping = Roster(), Stopping()
    stopping.status = ExitStatus.BOOT
    roster.add(0, 1, plan())
    assert stopping.settle(roster, Molds(), 5) == []
    roster.remove(roster.find_spawning(0, 1), WorkerMove.REFUSED)
    assert stopping.settle(roster, Molds(), 5) == [Exit(ExitStatus.BOOT)]
    assert stopping.settle(roster, Molds(), 5) == []
