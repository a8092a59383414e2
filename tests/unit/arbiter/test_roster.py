"""Handles of workers, and the roster of them."""

import pytest

from pyfork.arbiter.actions import DumpStacks, Order
from pyfork.arbiter.handles import WorkerHandle
from pyfork.arbiter.lifecycle import IllegalMoveError, WorkerMove, WorkerState
from pyfork.arbiter.roster import Roster
from tests.unit.arbiter.script import kill, plan, quit_, term, usr1


def booting(**settings: float) -> WorkerHandle:
    worker = WorkerHandle(number=2, generation=5, plan=plan(**settings))
    worker.spawned(77, 10)
    return worker


def ready(**settings: float) -> WorkerHandle:
    worker = booting(**settings)
    worker.got_ready(20)
    return worker


def test_name_is_what_the_log_says() -> None:
    """Number, generation and pid."""
    assert str(ready()) == "worker 2 gen 5 (pid 77)"


def test_boot_is_overdue_after_its_timeout() -> None:
    """And ends in a dump, then a kill."""
    worker = booting(boot_timeout=60)
    assert worker.next_deadline() == 70
    assert not worker.is_overdue(69.9, None)
    assert worker.is_overdue(70, None)
    assert worker.dump(70) == [DumpStacks(77)]
    assert worker.state is WorkerState.STUCK
    assert worker.next_deadline() == 71
    assert worker.kill() == [kill(77)]
    assert worker.next_deadline() is None
    assert not worker.is_overdue(1e9, None)


def test_boot_without_timeout_has_no_deadline() -> None:
    """0 is never."""
    assert booting(boot_timeout=0).next_deadline() is None


def test_ready_worker_is_judged_by_its_silence() -> None:
    """Not by the boot's deadline."""
    worker = ready(timeout=30, boot_timeout=12)
    assert not worker.is_overdue(22, None)
    assert worker.next_deadline() == 30


def test_ready_worker_drains_and_a_booting_one_ends_at_once() -> None:
    """TERM for both, as who boots may just have become ready; until graceful_timeout, and until 2 s later."""
    worker = ready(graceful_timeout=40)
    assert worker.retire(20) == [term(77)]
    assert worker.next_deadline() == 60
    worker = booting(graceful_timeout=40)
    assert worker.retire(20) == [term(77)]
    assert worker.next_deadline() == 22
    assert not worker.is_active
    assert worker.reopen_logs() == []


def test_worker_that_was_ready_when_it_was_told_to_end_has_the_time_for_its_requests() -> None:
    """Its word and the order have crossed; it says so once."""
    worker = booting(graceful_timeout=40)
    worker.retire(20)
    worker.serves_after_all(21)
    assert worker.next_deadline() == 61
    worker.serves_after_all(30)
    assert worker.next_deadline() == 61
    assert worker.reopen_logs() == [usr1(77)]


def test_quit_never_gives_more_time() -> None:
    """The earlier deadline counts."""
    worker = ready(graceful_timeout=40)
    worker.retire(20)
    assert worker.quit(30) == [quit_(77)]
    assert worker.next_deadline() == 32
    worker.quit(31)
    assert worker.next_deadline() == 32


def test_worker_that_gave_up_has_two_seconds_to_go() -> None:
    """Nobody has to tell it."""
    worker = booting()
    worker.gave_up(15)
    assert worker.state is WorkerState.DRAINING
    assert worker.next_deadline() == 17


def test_stall_moves_deadlines_and_silence() -> None:
    """Whatever it waits for."""
    worker = booting(boot_timeout=60)
    worker.shift(5, 20)
    assert worker.next_deadline() == 75
    worker.got_ready(30)
    worker.shift(5, 40)
    assert worker.next_deadline() == 45
    WorkerHandle(number=0, generation=1, plan=plan()).shift(5, 20)


def test_logs_are_reopened_when_the_signal_can_be_heard() -> None:
    """At once by whoever serves or drains; later by whoever boots; never by whoever was told to go at once."""
    worker = booting()
    assert worker.reopen_logs() == []
    assert worker.got_ready(20) == [usr1(77)]
    assert worker.reopen_logs() == [usr1(77)]
    worker.retire(30)
    assert worker.reopen_logs() == [usr1(77)]
    worker.quit(30)
    assert worker.reopen_logs() == []


def test_worker_without_a_process_cannot_be_signalled() -> None:
    """Signalling pid 0 would reach the arbiter's own group."""
    with pytest.raises(IllegalMoveError, match=r"worker 0 gen 1 .* has no process yet"):
        WorkerHandle(number=0, generation=1, plan=plan()).signal(Order.USR1)


def test_roster_knows_each_worker_until_it_is_gone() -> None:
    """From the order to the end."""
    roster = Roster()
    assert not roster
    roster.add(0, 1, plan())
    roster.add(1, 1, plan())
    with pytest.raises(IllegalMoveError, match="nobody ordered worker 0 gen 2"):
        roster.find_spawning(0, 2)
    worker = roster.find_spawning(1, 1)
    worker.spawned(77, 0)
    assert roster.find(77) is worker
    assert roster.find(78) is None
    assert roster.has_active(1)
    assert not roster.has_active(2)
    assert roster.next_deadline() == 60
    assert [one.number for one in roster] == [0, 1]
    roster.shift(5, 10)
    assert roster.next_deadline() == 65
    roster.remove(worker, WorkerMove.EXITED)
    assert worker.state is WorkerState.GONE
    assert roster.find(77) is None
    roster.remove(roster.find_spawning(0, 1), WorkerMove.REFUSED)
    assert not roster
    assert roster.next_deadline() is None
