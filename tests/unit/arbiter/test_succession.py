"""The upgrade: a new arbiter is tried, and takes over or is ended; nothing of the old one is touched before."""

from random import Random

import pytest

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import (
    Action,
    Exit,
    HandOver,
    Level,
    LoadConfiguration,
    MeasureLoad,
    Order,
    ReportReady,
    SignalWorker,
    SpawnWorker,
    StartUpgrade,
    StopAccepting,
)
from pyfork.arbiter.core import Core
from pyfork.arbiter.events import Verb
from pyfork.arbiter.lifecycle import ArbiterState, IllegalMoveError, UpgradeState
from pyfork.arbiter.succession import PreviousCount, Succession
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import Script, kill, plan, quit_, term

NEW = 9000


def ready(script: Script) -> list[Action]:
    """The new arbiter serves, and the shell hands everything over."""
    return [*script.tell(ev.UpgradeReady(NEW)), *script.tell(ev.HandedOver(NEW))]


def upgrading(first: ev.Plan | None = None) -> Script:
    script = Script.serving(first)
    assert script.verb(Verb.UPGRADE) == [StartUpgrade()]
    assert script.tell(ev.UpgradeStarted(NEW)) == []
    return script


def successor(previous: PreviousCount, first: ev.Plan | None = None) -> Script:
    script = Script(first)
    script.core = Core(first or plan(), random=Random(1), succession=Succession(previous))
    return script


def state_of(script: Script) -> tuple[ArbiterState, UpgradeState]:
    statistics = script.core.statistics()
    return statistics.state, statistics.upgrade


def test_a_ready_successor_gets_everything_and_the_workers_drain() -> None:
    """Without the filter of a stop: the sockets are in use. Its exit, later, is not waited for."""
    script = upgrading()
    assert state_of(script) == (ArbiterState.UPGRADING, UpgradeState.TRYING)
    assert script.tell(ev.UpgradeReady(NEW)) == [HandOver(NEW)]
    assert state_of(script) == (ArbiterState.UPGRADING, UpgradeState.READY)
    assert script.tell(ev.HandedOver(NEW)) == [term(100), term(101)]
    assert state_of(script) == (ArbiterState.STOPPING, UpgradeState.HANDED_OVER)
    assert script.exits(100) == []
    assert script.exits(101) == [Exit(ExitStatus.OK)]
    assert script.says(Level.INFO, "(pid 9000) is ready")


def test_a_drain_after_the_hand_over_has_its_deadline() -> None:
    """graceful_timeout, as in every stop."""
    script = upgrading(plan(count=1, graceful_timeout=20))
    ready(script)
    assert script.core.next_deadline() == 20
    assert script.time(20) == [kill(100)]


def test_one_term_after_the_hand_over_takes_nothing_from_requests() -> None:
    """A supervisor that follows the first pid sends it; only the second hurries, and INT does."""
    script = upgrading(plan(count=1))
    ready(script)
    assert script.verb(Verb.STOP) == []
    assert script.verb(Verb.STOP) == [quit_(100)]
    script = upgrading(plan(count=1))
    ready(script)
    assert script.verb(Verb.STOP_NOW) == [quit_(100)]


def test_the_successors_end_after_the_hand_over_is_told() -> None:
    """There is nothing left that could go on."""
    script = upgrading()
    ready(script)
    assert script.tell(ev.UpgradeExited(NEW, None, "SIGSEGV")) == []
    assert script.says(Level.ERROR, "was ended by SIGSEGV after it had taken over")


def test_a_successor_that_exits_changes_nothing() -> None:
    """The old arbiter goes on, and another USR2 tries again."""
    script = upgrading()
    assert script.tell(ev.UpgradeExited(NEW, 2, None)) == []
    assert script.says(Level.ERROR, "upgrade failed", "exited with status 2", "this one goes on")
    assert state_of(script) == (ArbiterState.RUNNING, UpgradeState.NONE)
    assert script.core.next_deadline() == 10  # the silence of its workers, and nothing else
    assert script.verb(Verb.UPGRADE) == [StartUpgrade()]


def test_a_refusal_of_the_shell_changes_nothing() -> None:
    """Process 1, or a kernel that does not fork."""
    script = Script.serving()
    script.verb(Verb.UPGRADE)
    assert script.tell(ev.UpgradeRefused("pyfork is process 1 here")) == []
    assert script.says(Level.ERROR, "upgrade refused: pyfork is process 1 here")
    assert state_of(script) == (ArbiterState.RUNNING, UpgradeState.NONE)


def test_a_late_successor_is_told_to_end_and_killed() -> None:
    """boot_timeout; then its workers' time for their requests, and a bit more; it may say ready in vain."""
    script = upgrading(plan(timeout=0, boot_timeout=5, graceful_timeout=20))
    assert script.core.next_deadline() == 5
    assert script.time(4.9) == []
    assert script.time(5) == [term(NEW)]
    assert script.says(Level.ERROR, "(pid 9000) was not ready within 5 s (workers.boot_timeout)")
    assert script.tell(ev.UpgradeReady(NEW)) == []
    assert script.core.next_deadline() == 27
    assert script.time(27) == [kill(NEW)]
    assert script.core.next_deadline() is None
    script.tell(ev.UpgradeExited(NEW, None, "SIGKILL"))
    assert state_of(script) == (ArbiterState.RUNNING, UpgradeState.NONE)


def test_without_a_boot_timeout_it_may_take_for_ever() -> None:
    """As a worker may."""
    script = upgrading(plan(timeout=0, boot_timeout=0))
    assert script.core.next_deadline() is None
    assert script.says(Level.INFO, "it has no time limit")


def test_a_successor_that_cannot_be_given_everything_is_told_to_end() -> None:
    """Nothing has happened then; it has its time, as one that is late, and the old arbiter goes on."""
    script = upgrading(plan(timeout=0, graceful_timeout=20))
    assert script.tell(ev.UpgradeReady(NEW)) == [HandOver(NEW)]
    assert script.tell(ev.HandOverRefused(NEW, "systemd does not listen")) == [term(NEW)]
    assert script.says(Level.ERROR, "the new arbiter (pid 9000) takes over nothing: systemd does not listen")
    assert state_of(script) == (ArbiterState.UPGRADING, UpgradeState.ENDING)
    assert script.core.next_deadline() == 22
    assert script.tell(ev.UpgradeExited(NEW, 0, None)) == []
    assert script.says(Level.ERROR, "upgrade failed: the new arbiter (pid 9000) exited with status 0: this one goes on")
    assert state_of(script) == (ArbiterState.RUNNING, UpgradeState.NONE)
    assert script.verb(Verb.UPGRADE) == [StartUpgrade()]


def test_a_successor_that_was_killed_was_killed_by_us() -> None:
    """Its log line names no other suspect; one that somebody else has killed is another matter."""
    script = upgrading(plan(timeout=0, boot_timeout=5))
    script.time(5)
    script.time(37)
    script.tell(ev.UpgradeExited(NEW, None, "SIGKILL"))
    assert script.says(
        Level.ERROR, "upgrade failed: the new arbiter (pid 9000) is gone before it was ready: this one goes on"
    )
    assert not script.says(Level.ERROR, "did not send")
    script = upgrading()
    script.tell(ev.UpgradeExited(NEW, None, "SIGKILL"))
    assert script.says(Level.ERROR, "upgrade failed", "SIGKILL that pyfork did not send", "before it was ready")


def test_a_stall_is_not_the_successors() -> None:
    """Its deadline moves with all others."""
    script = upgrading(plan(timeout=0, boot_timeout=5))
    script.stalled(100)
    assert script.core.next_deadline() == 105
    script.tell(ev.UpgradeExited(NEW, 1, None))
    script.stalled(100)
    assert script.core.next_deadline() is None


def test_term_ends_the_successor_too() -> None:
    """And the exit waits for it: it would be nobody's child."""
    script = upgrading(plan(count=1))
    assert script.verb(Verb.STOP) == [StopAccepting(), term(NEW), term(100)]
    assert script.exits(100) == []
    assert script.tell(ev.UpgradeExited(NEW, 0, None)) == [Exit(ExitStatus.OK)]
    assert script.says(Level.INFO, "upgrade abandoned")


def test_a_hurried_stop_hurries_the_successor() -> None:
    """INT at once; a second TERM later."""
    script = upgrading(plan(count=1, timeout=0))
    assert script.verb(Verb.STOP_NOW) == [StopAccepting(), quit_(NEW), quit_(100)]
    assert script.time(2) == [kill(100)]
    assert script.killed(100) == []
    assert script.time(4) == [kill(NEW)]
    assert script.verb(Verb.STOP_NOW) == []
    assert script.tell(ev.UpgradeExited(NEW, None, "SIGKILL")) == [Exit(ExitStatus.OK)]
    script = upgrading(plan(count=1))
    script.verb(Verb.STOP)
    assert script.verb(Verb.STOP) == [quit_(NEW), quit_(100)]


def test_a_worker_that_dies_meanwhile_is_replaced() -> None:
    """The old arbiter serves as ever."""
    script = upgrading()
    script.at(5)
    assert script.killed(100) == [SpawnWorker(0, 1)]


def test_hup_waits_for_the_upgrade_to_fail() -> None:
    """And then it is done; after a hand-over it is the new arbiter's to do, which may have read the old file."""
    script = upgrading()
    assert script.verb(Verb.RELOAD) == []
    assert script.says(Level.INFO, "reload: it begins when what is under way has ended")
    assert script.tell(ev.UpgradeExited(NEW, 4, None)) == [LoadConfiguration(2)]
    script = upgrading()
    script.verb(Verb.RELOAD)
    assert ready(script) == [HandOver(NEW), SignalWorker(NEW, Order.HUP), term(100), term(101)]


def test_the_new_arbiter_hears_what_came_while_it_started() -> None:
    """It has opened the old log; a count it has been given already is told to be lost."""
    script = upgrading()
    script.verb(Verb.REOPEN_LOGS)
    script.verb(Verb.SCALE_UP)
    script.ready(102)
    assert SignalWorker(NEW, Order.USR1) in ready(script)
    assert script.says(Level.WARNING, "TTIN and TTOU that came meanwhile are lost: say them again, to pid 9000")


def test_usr2_waits_for_a_reload_to_end() -> None:
    """Whichever way it ends."""
    script = Script.serving(plan(count=1))
    script.reloading(plan(count=1))
    assert script.verb(Verb.UPGRADE) == []
    assert script.says(Level.INFO, "upgrade: it begins when what is under way has ended")
    assert script.boot_fails(200)[-1] == StartUpgrade()


def test_usr2_waits_for_the_start() -> None:
    """Nobody knows yet whether this arbiter serves."""
    script = Script(plan(count=2))
    script.tell(ev.Started())
    assert script.verb(Verb.UPGRADE) == []
    assert script.ready(100) == [StartUpgrade()]


def test_a_reload_that_was_asked_for_first_comes_first() -> None:
    """Both asked for during the start: one after the other."""
    script = Script(plan(count=1))
    script.tell(ev.Started())
    script.verb(Verb.UPGRADE)
    script.verb(Verb.RELOAD)
    assert script.ready(100) == [LoadConfiguration(2)]
    assert script.refused("no")[-1] == StartUpgrade()


def test_a_usr2_beside_an_upgrade_is_ignored() -> None:
    """With the pid that is being tried."""
    script = upgrading()
    assert script.verb(Verb.UPGRADE) == []
    assert script.says(Level.INFO, "upgrade: ignored, pid 9000 is being tried already")


@pytest.mark.parametrize("verb", [one for one in Verb if one not in {Verb.STOP, Verb.STOP_NOW, Verb.REOPEN_LOGS}])
@pytest.mark.parametrize(
    ("before", "words"),
    [
        ([ev.UpgradeReady(NEW), ev.HandedOver(NEW)], "ignored, this arbiter is replaced already; send it to pid 9000"),
        ([ev.UpgradeExited(NEW, 0, None), ev.VerbReceived(Verb.STOP)], "ignored, pyfork stops"),
    ],
)
def test_an_arbiter_that_ends_says_what_it_does_not_do(before: list[ev.Event], words: str, verb: Verb) -> None:
    """Whoever has an old pid is told the new one."""
    script = upgrading()
    for event in before:
        script.tell(event)
    assert script.verb(verb) == []
    assert script.says(Level.INFO, f"{verb.name.lower().replace('_', ' ')}: {words}")


def test_a_successor_reports_once_when_all_are_ready() -> None:
    """So capacity never falls; and only then can it be replaced itself."""
    script = successor(PreviousCount(count=2, wanted=3, steps=1))
    assert script.tell(ev.Started())[-1] == SpawnWorker(2, 1)
    assert script.ready(100, 101) == []
    assert script.verb(Verb.UPGRADE) == []
    assert script.says(Level.INFO, "it begins when what is under way has ended")
    assert script.ready(102) == [ReportReady(), StartUpgrade()]
    script.tell(ev.UpgradeRefused("no"))
    script.at(5)
    script.killed(101)
    assert script.ready(1101) == []


def test_the_count_in_the_file_wins_when_it_has_changed() -> None:
    """As at a reload."""
    script = successor(PreviousCount(count=4, wanted=3))
    script.tell(ev.Started())
    assert script.core.statistics().wanted == 2


def test_moved_bounds_are_inherited() -> None:
    """Or the capacity would fall by an upgrade."""
    bounds = (2, 4)
    script = successor(PreviousCount(2, 6, bounds, steps=4), plan(bounds=bounds))
    script.tell(ev.Started())
    assert script.core.statistics().wanted == 6
    script.ready(*(100 + number for number in range(6)))
    script.verb(Verb.SCALE_DOWN)
    assert script.says(Level.INFO, "5 to 7 workers are wanted (6 now)")


def test_answers_that_nobody_asked_for_are_our_mistake() -> None:
    """The table has no such moves."""
    with pytest.raises(IllegalMoveError):
        Script.serving().tell(ev.UpgradeStarted(NEW))


def test_a_replaced_arbiter_looks_at_the_load_no_more() -> None:
    """It only drains; a deadline of its own would wake it every second until the last request is answered."""
    script = upgrading(plan(count=2, bounds=(1, 4)))
    assert script.time(0) == [MeasureLoad()]
    assert script.core.next_deadline() == 1.0
    ready(script)
    assert MeasureLoad() not in script.time(1)
    assert (script.core.next_deadline() or 0) >= 30
