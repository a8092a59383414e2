"""Workers that die, hang, are silent or cannot boot while the arbiter runs."""

import pytest

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import DumpStacks, Exit, Level, SpawnMold, SpawnWorker
from pyfork.arbiter.events import SpawnFailed, Verb, WorkerBeat, WorkerSpawned
from pyfork.arbiter.lifecycle import IllegalMoveError, WorkerState
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import Script, kill, mold_pid, plan, quit_, term


@pytest.mark.parametrize(
    ("code", "signal", "level", "words"),
    [
        (None, "SIGKILL", Level.ERROR, "was killed by SIGKILL that pyfork did not send: out of memory"),
        (None, "SIGSEGV", Level.ERROR, "was ended by SIGSEGV"),
        (3, None, Level.ERROR, "exited with status 3"),
        (0, None, Level.WARNING, "exited with status 0"),
    ],
)
def test_ready_worker_that_dies_is_replaced_at_once(
    code: int | None, signal: str | None, level: Level, words: str
) -> None:
    """The log says who it was and how it ended."""
    script = Script.serving()
    assert script.exits(101, code, signal) == [SpawnWorker(1, 1)]
    assert script.says(level, "worker 1 gen 1 (pid 101)", words, "nobody asked it to")


def test_stuck_worker_is_replaced_after_its_stacks_were_asked_for_and_killed_a_second_later() -> None:
    """timeout counts from the start of its stretch in the application when that is later than its last beat."""
    script = Script.serving(plan(count=1))
    assert script.core.next_deadline() == 10  # suspect after two beats
    assert script.time(10, {100: 4.0}) == []
    assert script.core.next_deadline() == 34
    assert script.time(34, {100: 4.0}) == [DumpStacks(100), SpawnWorker(0, 1)]
    assert script.says(Level.ERROR, "worker 0 gen 1 (pid 100) has made no progress for 30 s (workers.timeout)")
    assert script.state_of(100) is WorkerState.STUCK
    assert script.core.next_deadline() == 35
    assert script.time(35) == [kill(100)]
    assert script.killed(100) == []
    assert script.says(Level.INFO, "pid 100) is gone after it was killed")


def test_stuck_worker_that_goes_by_itself_is_not_killed() -> None:
    """Between the dump and the kill it may die: its pid is never signalled again."""
    script = Script.serving(plan(count=1))
    script.time(10)
    script.time(30)
    assert script.exits(100, 1) == []
    assert script.time(31) == []


def test_worker_whose_loop_lives_is_replaced_at_once_and_drained() -> None:
    """Only one of its requests is stuck: the others have graceful_timeout to end."""
    script = Script.serving(plan(count=1))
    assert script.at(5).beat_inside(100, 1.0) == []
    assert script.at(30.9).beat_inside(100, 1.0) == []
    assert script.at(31).beat_inside(100, 1.0) == [DumpStacks(100), term(100), SpawnWorker(0, 1)]
    assert script.says(Level.ERROR, "worker 0 gen 1 (pid 100) has a request that has made no progress for 30 s")
    assert script.state_of(100) is WorkerState.DRAINING
    assert script.ready(1100) == []
    assert script.at(36).beat_inside(100, 1.0) == []
    assert script.core.next_deadline() == pytest.approx(41)  # the new one's silence
    script.at(40).beat(1100)
    assert script.time(50) == []
    script.at(58).beat(1100)
    assert script.time(61) == [kill(100)]
    assert script.says(Level.WARNING, "did not end within 30 s (workers.graceful_timeout): it is killed")


def test_live_worker_without_grace_has_the_time_to_write_its_stacks() -> None:
    """graceful_timeout 0 is about requests, not about the dump."""
    script = Script.serving(plan(count=1, graceful_timeout=0))
    script.at(31).beat_inside(100, 1.0)
    assert script.time(32.9) == []
    assert script.time(33) == [kill(100)]


def test_live_worker_that_is_stuck_ends_at_once_when_everything_shall() -> None:
    """A second TERM, while it drains."""
    script = Script.serving(plan(count=1))
    script.at(31).beat_inside(100, 1.0)
    assert quit_(100) in script.verb(Verb.STOP_NOW)


def test_live_stuck_worker_of_an_old_generation_is_replaced_by_the_target() -> None:
    """During a reload its place is empty, like that of any lost worker."""
    script = Script.serving(plan(count=2))
    script.reloading()
    assert script.at(31).beat_inside(101, 1.0) == [DumpStacks(101), term(101), SpawnWorker(1, 1)]
    script.ready(200)
    assert SpawnWorker(0, 2) not in script.at(32).beat_inside(100, 2.5)


def test_silence_counts_outside_of_requests_too() -> None:
    """A loop that turns no more is stuck without any request."""
    script = Script.serving(plan(count=1))
    script.time(10)
    assert script.time(30) == [DumpStacks(100), SpawnWorker(0, 1)]


def test_beat_ends_the_silence() -> None:
    """An idle worker beats and is never looked at."""
    script = Script.serving(plan(count=1))
    script.at(5).beat(100)
    assert script.core.next_deadline() == 15
    script.at(15).time(15)
    script.at(16).beat(100)
    assert script.core.next_deadline() == 26


def test_worker_without_timeout_is_never_stuck() -> None:
    """timeout 0: nothing to wake up for."""
    script = Script.serving(plan(timeout=0))
    assert script.core.next_deadline() is None
    assert script.time(1e6, {100: 1.0}) == []


def test_stall_of_the_arbiter_is_not_held_against_the_workers() -> None:
    """All deadlines move by the stall, those of delays too."""
    script = Script.serving(plan(count=2))
    script.killed(101)
    script.exits(1101, 1)
    delayed = script.core.next_deadline()
    assert delayed is not None
    script.stalled(40)
    assert script.core.next_deadline() == pytest.approx(delayed + 40)
    assert script.time(41.5) == [SpawnWorker(1, 1)]
    assert script.time(50) == []  # suspect, at 10 + 40
    assert script.time(69) == []
    assert script.time(70)[0] == DumpStacks(100)


def test_boot_failures_are_tried_again_with_growing_delays() -> None:
    """1 s, 1.5 s, 2.25 s, up to a fifth shorter or longer; a worker that stays ready ends it."""
    script = Script.serving(plan(count=2))
    script.killed(101)
    pid, delays = 1101, []
    for _ in range(3):
        assert script.boot_fails(pid) == []
        assert script.exits(pid, 4) == []
        deadline = script.core.next_deadline()
        assert deadline is not None
        delays.append(deadline - script.now)
        assert script.time(deadline, {}) == [SpawnWorker(1, 1)]
        pid += 1000
    assert delays == [pytest.approx(1, rel=0.2), pytest.approx(1.5, rel=0.2), pytest.approx(2.25, rel=0.2)]
    assert script.says(Level.ERROR, "could not boot: no module named shop\nthe next try is in ")
    script.ready(pid)
    script.at(script.now + 6).beat(100)
    script.killed(pid)
    script.exits(pid + 1000, 1)
    deadline = script.core.next_deadline()
    assert deadline is not None
    assert deadline - script.now == pytest.approx(1, rel=0.2)


def test_worker_that_dies_as_soon_as_it_is_ready_is_replaced_after_a_delay() -> None:
    """An application that cannot serve must not be started a hundred times a second."""
    script = Script.serving(plan(count=2))
    script.killed(101)
    script.ready(1101)
    assert script.at(0.9).exits(1101, 1) == []
    assert script.says(Level.WARNING, "worker 1 gen 1 (pid 1101) died within 1 s of getting ready\nthe next try is in ")
    deadline = script.core.next_deadline()
    assert deadline is not None
    assert deadline - script.now == pytest.approx(1, rel=0.2)
    assert script.killed(100) == [SpawnWorker(0, 1)]
    assert script.time(deadline) == [SpawnWorker(1, 1)]


def test_stall_is_no_time_in_which_a_worker_has_served() -> None:
    """It was frozen with everything else."""
    script = Script.serving(plan(count=1))
    script.killed(100)
    script.ready(1100)
    script.stalled(40)
    assert script.exits(1100, 1) == []


def test_worker_of_an_old_generation_that_dies_early_makes_nobody_wait() -> None:
    """Its place is for the new generation, which it says nothing about."""
    script = Script.serving(plan(count=2))
    script.killed(101)
    script.reloading()
    script.ready(200, 1101)
    assert script.killed(1101) == []  # its successor boots already
    assert not script.says(Level.WARNING, "the next try is in")


def test_lost_worker_does_not_wait_for_the_delay_of_another() -> None:
    """The delay is for boots that fail; this one served."""
    script = Script.serving(plan(count=2))
    script.killed(101)
    script.exits(1101, 1)
    assert script.killed(100) == [SpawnWorker(0, 1)]


def test_boot_that_hangs_is_dumped_killed_and_tried_again() -> None:
    """boot_timeout, while others serve."""
    script = Script.serving(plan(count=2, timeout=0, boot_timeout=5))
    script.killed(101)
    assert script.core.next_deadline() == 5
    assert script.time(5) == [DumpStacks(1101)]
    assert script.says(Level.ERROR, "worker 1 gen 1 (pid 1101) could not boot: it was not ready within 5 s")
    deadline = script.core.next_deadline()
    assert deadline is not None
    orders = script.time(deadline) + script.time(7)
    assert kill(1101) in orders
    assert SpawnWorker(1, 1) in orders


def test_refused_fork_is_tried_again_later() -> None:
    """EAGAIN is nobody's fault, and no reason for a storm."""
    script = Script.serving(plan(count=2, timeout=0))
    script.refusals = 1
    assert script.killed(101) == [SpawnWorker(1, 1)]
    assert script.says(Level.ERROR, "worker 1 gen 1 could not be forked: [Errno 12]", "the next try is in")
    deadline = script.core.next_deadline()
    assert deadline is not None
    assert script.time(deadline) == [SpawnWorker(1, 1)]


def test_words_of_workers_that_are_on_their_way_out_are_late() -> None:
    """Ready, beats and boot failures may cross our orders, or come for pids that are gone."""
    script = Script.serving(plan(count=1))
    script.time(10)
    script.time(30)
    before = script.core.statistics()
    for pid in (100, 999):
        assert script.ready(pid) == []
        assert script.boot_fails(pid) == []
        assert script.tell(WorkerBeat(pid)) == []
    assert script.exits(999) == []
    assert script.core.statistics() == before


@pytest.mark.parametrize("answer", [WorkerSpawned(0, 1, 7), SpawnFailed(5, 1, "no")])
def test_answer_to_no_question_is_our_bug(answer: WorkerSpawned | SpawnFailed) -> None:
    """The shell may not spawn what was not ordered."""
    with pytest.raises(IllegalMoveError, match="nobody ordered"):
        Script.serving().tell(answer)


def test_a_garbled_pipe_is_the_end_of_a_worker() -> None:
    """Who can write to it can lie: it is killed by the core's own order, replaced, and no other suspect is named."""
    script = Script.serving()
    script.at(5)
    assert script.tell(ev.PipeGarbled(100, "b'?' is no word")) == [kill(100), SpawnWorker(0, 1)]
    assert script.says(Level.ERROR, "worker 0 gen 1 (pid 100): b'?' is no word; it is killed")
    assert script.state_of(100) is WorkerState.KILLED
    assert script.tell(ev.PipeGarbled(100, "again")) == script.tell(ev.PipeGarbled(4711, "a stranger's")) == []
    script.log.clear()
    assert script.killed(100) == []
    assert script.messages(Level.INFO) == ["worker 0 gen 1 (pid 100) is gone after it was killed"]
    assert script.messages(Level.ERROR) == []


def test_a_garbled_pipe_of_one_that_boots_is_a_failed_boot() -> None:
    """At the first start it ends pyfork, as any other; one that drains has nothing to lose."""
    script = Script(plan(count=1))
    script.tell(ev.Started())
    script.tell(ev.PipeGarbled(100, "b'?' is no word"))
    assert script.says(Level.CRITICAL, "worker 0 gen 1 (pid 100) could not boot: b'?' is no word", "pyfork ends")
    assert script.killed(100) == [Exit(ExitStatus.BOOT)]
    script = Script.serving(plan(count=1))
    script.verb(Verb.STOP)
    assert script.tell(ev.PipeGarbled(100, "b'?' is no word")) == [kill(100)]


def test_a_garbled_pipe_is_the_end_of_a_mold() -> None:
    """A ready one is missed and made anew, one that boots has failed to."""
    script = Script.preloading(count=1)
    script.at(5)
    assert script.tell(ev.PipeGarbled(mold_pid(1), "b'?' is no word")) == [
        kill(mold_pid(1)),
        SpawnMold(1, 2),
    ]
    assert script.says(Level.ERROR, "mold 1 gen 1", "b'?' is no word; it is killed")
    script.mold_exits(1)
    assert not script.says(Level.ERROR, "did not send")
    assert script.tell(ev.PipeGarbled(mold_pid(2), "b'!' is no word")) == [kill(mold_pid(2))]
    assert script.says(Level.ERROR, "mold 2 gen 1", "could not boot: b'!' is no word")
    script = Script.preloading(count=1)
    script.verb(Verb.STOP)
    script.killed(100)
    assert script.tell(ev.PipeGarbled(mold_pid(1), "b'?' is no word")) == [kill(mold_pid(1))]
