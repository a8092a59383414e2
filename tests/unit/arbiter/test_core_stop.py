"""TERM, INT and QUIT: stopping always ends."""

import pytest

from pyfork.arbiter.actions import DumpStacks, Exit, Level, ReopenLogs, StopAccepting
from pyfork.arbiter.events import Started, Verb
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import Script, kill, plan, quit_, term


def test_term_drains_everybody_and_exits() -> None:
    """No new connections, TERM to those who serve, exit 0 when the last one is gone."""
    script = Script.serving()
    assert script.verb(Verb.STOP) == [StopAccepting(), term(100), term(101)]
    assert script.exits(101) == []
    assert script.exits(100) == [Exit(ExitStatus.OK)]


def test_term_ends_a_boot_at_once() -> None:
    """Nobody waits for a worker that has served nothing yet."""
    script = Script.serving()
    script.killed(101)
    assert script.verb(Verb.STOP) == [StopAccepting(), term(100), term(1101)]
    assert script.exits(1101, 1) == []


def test_term_kills_who_does_not_end_in_time() -> None:
    """graceful_timeout is the longest that a stop may take."""
    script = Script.serving(plan(count=1, graceful_timeout=20))
    script.verb(Verb.STOP)
    assert script.core.next_deadline() == 20
    assert script.time(20) == [kill(100)]
    assert script.says(
        Level.WARNING, "worker 0 gen 1 (pid 100) did not end within 20 s (workers.graceful_timeout): it is killed"
    )
    assert script.core.next_deadline() is None
    assert script.killed(100) == [Exit(ExitStatus.OK)]


def test_second_term_means_at_once() -> None:
    """QUIT, and KILL 2 s later; a third one changes nothing."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.STOP)
    script.at(5)
    assert script.verb(Verb.STOP) == [quit_(100)]
    assert script.verb(Verb.STOP) == []
    assert script.time(7) == [kill(100)]
    assert script.says(Level.WARNING, "worker 0 gen 1 (pid 100) did not end at once: it is killed")
    assert script.verb(Verb.STOP_NOW) == []


def test_int_means_at_once() -> None:
    """Requests in flight are given up."""
    script = Script.serving()
    assert script.verb(Verb.STOP_NOW) == [StopAccepting(), quit_(100), quit_(101)]
    assert script.time(2) == [kill(100), kill(101)]


def test_second_term_does_not_give_more_time() -> None:
    """A worker whose drain ends sooner than the QUIT's 2 s keeps its deadline."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.STOP)
    script.at(29)
    script.verb(Verb.STOP)
    assert script.core.next_deadline() == 30


def test_stuck_worker_is_killed_in_a_stop_as_planned() -> None:
    """It has had its warning; the stop waits for its end too."""
    script = Script.serving(plan(count=1, timeout=1, beat_interval=0.25))
    script.time(0.5)
    orders = script.time(1)
    assert orders[0] == DumpStacks(100)
    assert script.verb(Verb.STOP) == [StopAccepting(), term(1100)]
    assert script.exits(1100) == []
    assert script.time(2) == [kill(100)]
    assert script.killed(100) == [Exit(ExitStatus.OK)]


@pytest.mark.parametrize("verb", [Verb.RELOAD, Verb.SCALE_UP, Verb.SCALE_DOWN, Verb.DRAIN_WORKERS])
def test_nothing_else_counts_any_more(verb: Verb) -> None:
    """A stopping arbiter starts nothing."""
    script = Script.serving()
    script.verb(Verb.STOP)
    assert script.verb(verb) == []


def test_logs_can_still_be_reopened() -> None:
    """A drain may take long."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.STOP)
    assert script.verb(Verb.REOPEN_LOGS)[0] == ReopenLogs()


def test_stop_forgets_the_delay_of_a_failed_boot() -> None:
    """The arbiter would wake for it again and again, with nothing to do."""
    script = Script.serving(plan(count=2, timeout=0))
    script.killed(101)
    script.exits(1101, 1)
    assert script.core.next_deadline() is not None
    script.verb(Verb.STOP)
    assert script.core.next_deadline() == 30


def test_workers_that_die_during_a_stop_are_not_replaced() -> None:
    """Not even those that nobody asked to end."""
    script = Script.serving()
    script.verb(Verb.STOP)
    assert script.killed(100) == []
    assert script.says(Level.WARNING, "pid 100) was killed by SIGKILL", "while it was ending")


def test_exit_is_said_once() -> None:
    """Whatever the shell still hands over."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.STOP)
    assert script.exits(100) == [Exit(ExitStatus.OK)]
    assert script.time(100) == []


def test_a_worker_that_becomes_ready_as_it_is_told_to_end_finishes_its_requests() -> None:
    """It may have accepted before the order came: it is a loss to kill it 2 s later."""
    script = Script(plan(count=1, graceful_timeout=20))
    script.tell(Started())
    assert script.verb(Verb.STOP) == [StopAccepting(), term(100)]
    script.ready(100)
    assert script.time(2) == []
    assert script.time(20) == [kill(100)]
