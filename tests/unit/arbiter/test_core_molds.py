"""With preload: a mold first, workers from it, another when it is gone."""

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from pyfork.arbiter.policy import DUMP_GRACE, SPAWN_TIMEOUT
from pyfork.ipc.exits import ExitStatus
from tests.unit.arbiter.script import Script, kill, mold_pid, plan, quit_, term, usr1

PRELOADING = plan(preload=True)


def molds(script: Script) -> list[tuple[int, int, WorkerState]]:
    return [(mold.serial, mold.generation, mold.state) for mold in script.core.statistics().molds]


def spawn(number: int, generation: int = 1, mold: int = 1) -> act.SpawnWorker:
    return act.SpawnWorker(number, generation, mold=mold)


# The start.


def test_the_mold_comes_first_and_the_workers_from_it() -> None:
    """No worker is ordered while there is nothing to fork it from."""
    script = Script(PRELOADING)
    assert script.tell(ev.Started()) == [act.SpawnMold(1, 1)]
    assert script.mold_ready(1) == [spawn(0), spawn(1)]
    script.ready(100, 101)
    assert script.core.statistics().state is ArbiterState.RUNNING


def test_an_application_that_does_not_import_ends_the_start() -> None:
    """As with a worker that imports it itself, and with the same status."""
    script = Script(PRELOADING)
    script.tell(ev.Started())
    orders = script.boot_fails(mold_pid(1))
    assert orders == [act.StopAccepting()]
    assert script.mold_exits(1, 4, None) == [act.Exit(ExitStatus.APPLICATION)]
    assert script.says(act.Level.CRITICAL, "mold 1 gen 1", "no module named shop")


def test_a_mold_that_dies_as_it_boots_ends_the_start() -> None:
    """Without a word of it, the kernel's is told."""
    script = Script(PRELOADING)
    script.tell(ev.Started())
    assert script.mold_exits(1, None, "SIGSEGV") == [act.StopAccepting(), act.Exit(ExitStatus.BOOT)]


def test_a_mold_that_cannot_be_forked_ends_the_start() -> None:
    """There is nobody to serve."""
    script = Script(PRELOADING)
    script.refusals = 1
    assert script.tell(ev.Started())[-1] == act.Exit(ExitStatus.BOOT)


def test_a_mold_that_hangs_ends_the_start_after_its_stacks() -> None:
    """The boot's timeout is the mold's, too."""
    script = Script(PRELOADING)
    script.tell(ev.Started())
    assert script.core.next_deadline() == 60
    orders = script.time(60)
    assert orders == [act.DumpStacks(mold_pid(1)), act.StopAccepting()]
    assert script.time(60 + DUMP_GRACE) == [kill(mold_pid(1))]


def test_a_fork_from_the_mold_is_tried_again_before_the_start_is_given_up() -> None:
    """The mold may have been killed by somebody; three times in a row is another thing."""
    script = Script(plan(count=1, preload=True))
    script.is_shell_slow = True
    script.tell(ev.Started())
    script.mold_ready(1)
    for _ in range(2):
        assert script.tell(ev.SpawnFailed(0, 1, "its mold has ended")) == []
        again = script.core.next_deadline()
        assert again is not None
        assert script.time(again) == [spawn(0)]
    orders = script.tell(ev.SpawnFailed(0, 1, "its mold has ended"))
    assert orders == [act.StopAccepting(), quit_(mold_pid(1))]


def test_a_mold_that_dies_at_once_ends_the_start() -> None:
    """Nobody has served yet, and the next one would die as well."""
    script = Script(PRELOADING)
    script.is_shell_slow = True
    script.tell(ev.Started())
    script.mold_ready(1)
    assert script.mold_exits(1) == [act.StopAccepting()]


# Life.


def test_a_mold_that_dies_is_rebuilt_and_the_workers_serve_on() -> None:
    """Nobody is retired for it: what the old one loaded is as good."""
    script = Script.preloading()
    assert script.mold_exits(1) == [act.SpawnMold(1, 2)]
    assert script.mold_ready(2) == []
    assert script.says(act.Level.ERROR, "mold 1", "SIGKILL", "another is made")
    assert script.killed(100) == [spawn(0, mold=2)]


def test_a_mold_that_dies_at_once_is_rebuilt_later() -> None:
    """As a worker that does."""
    script = Script.preloading()
    script.mold_exits(1)
    script.mold_ready(2)
    assert script.mold_exits(2) == []
    again = script.core.next_deadline()
    assert again is not None
    assert script.time(again) == [act.SpawnMold(1, 3)]


def test_a_mold_that_cannot_be_forked_later_is_tried_again() -> None:
    """The workers serve on."""
    script = Script.preloading()
    script.refusals = 1
    script.mold_exits(1)
    again = script.core.next_deadline()
    assert again is not None
    assert act.SpawnMold(1, 3) in script.time(again)


def test_a_worker_that_waits_for_a_mold_is_spawned_when_there_is_one() -> None:
    """Mold and worker died together."""
    script = Script.preloading()
    script.mold_exits(1)
    assert script.killed(100) == []
    assert script.mold_ready(2) == [spawn(0, mold=2)]


def test_a_mold_that_does_not_fork_in_time_is_killed_and_replaced() -> None:
    """It may be stopped, or stuck in what the application left in it."""
    script = Script.preloading()
    script.is_shell_slow = True
    assert script.killed(100) == [spawn(0)]
    assert script.core.next_deadline() == SPAWN_TIMEOUT
    orders = script.time(SPAWN_TIMEOUT, {})
    assert orders == [act.DumpStacks(mold_pid(1)), act.CancelSpawn(0, 1), act.SpawnMold(1, 2)]
    assert script.time(SPAWN_TIMEOUT + DUMP_GRACE) == [kill(mold_pid(1))]
    assert script.says(act.Level.ERROR, "mold 1", "has not forked a worker within 10 s")


def test_a_spawn_that_is_late_for_another_reason_ends_no_mold() -> None:
    """Its mold is gone already."""
    script = Script.preloading()
    script.is_shell_slow = True
    script.killed(100)
    script.mold_exits(1)
    script.mold_ready(2)
    script.time(SPAWN_TIMEOUT)
    assert [state for _, _, state in molds(script)] == [WorkerState.READY]


def test_drained_workers_take_their_mold_along() -> None:
    """WINCH leaves nothing of the application behind; TTIN brings all back."""
    script = Script.preloading()
    assert script.verb(ev.Verb.DRAIN_WORKERS) == [term(100), term(101), quit_(mold_pid(1))]
    script.mold_exits(1, 0, None)
    assert script.verb(ev.Verb.SCALE_UP) == [act.SpawnMold(1, 2)]


def test_a_stop_ends_the_mold_and_waits_for_it() -> None:
    """The last one out is reaped."""
    script = Script.preloading(count=1)
    assert script.verb(ev.Verb.STOP) == [act.StopAccepting(), quit_(mold_pid(1)), term(100)]
    assert script.exits(100) == []
    assert script.time(2) == [kill(mold_pid(1))]
    assert script.mold_exits(1) == [act.Exit(ExitStatus.OK)]


def test_a_stop_kills_no_spawn() -> None:
    """A worker that is being forked is told to end when it is there, or counts as gone when it is not."""
    script = Script.preloading(count=1)
    script.is_shell_slow = True
    script.killed(100)
    script.verb(ev.Verb.STOP)
    script.mold_exits(1, 0, None)
    assert script.tell(ev.SpawnFailed(0, 1, "its mold has ended")) == [act.Exit(ExitStatus.OK)]


def test_logs_are_reopened_in_the_mold() -> None:
    """Whatever it logs, and its workers' first lines, go to the new file."""
    script = Script.preloading(count=1)
    assert script.verb(ev.Verb.REOPEN_LOGS) == [act.ReopenLogs(), usr1(100), usr1(mold_pid(1))]


def test_words_of_a_mold_that_is_on_its_way_out_are_late() -> None:
    """They have crossed an order to end; what is not known at all is nobody's."""
    script = Script.preloading()
    script.verb(ev.Verb.DRAIN_WORKERS)
    assert script.mold_ready(1) == []
    assert script.mold_ready(7) == []
    assert script.mold_exits(7) == []


# Reload.


def test_a_reload_starts_a_new_mold_and_proves_it_by_one_worker() -> None:
    """Then the others are replaced, and the old mold goes when the last of them is."""
    script = Script.preloading()
    assert script.reloading(PRELOADING) == [
        act.LoadConfiguration(2),
        act.ReopenLogs(),
        usr1(100),
        usr1(101),
        usr1(90_001),
        act.SpawnMold(2, 2),
    ]
    assert script.mold_ready(2) == [spawn(0, 2, 2)]
    assert script.ready(200) == [term(100), spawn(1, 2, 2)]
    orders = script.ready(201)
    assert orders == [act.AdoptGeneration(2), term(101), quit_(mold_pid(1))]
    assert script.news[-2:] == [act.ReloadEnded(None), act.StateChanged(ArbiterState.RUNNING)]


def test_a_new_mold_that_fails_rolls_the_reload_back() -> None:
    """The old mold is there as if nothing had been."""
    script = Script.preloading()
    script.reloading(PRELOADING)
    script.boot_fails(mold_pid(2), trace="Traceback")
    assert script.core.statistics().reload is ReloadState.IDLE
    assert script.mold_exits(2, 4, None) == []
    assert script.killed(100) == [spawn(0, mold=1)]
    [ended] = [one for one in script.news if isinstance(one, act.ReloadEnded)]
    assert ended.error is not None
    assert "no module named shop" in ended.error


def test_a_reload_that_fails_half_way_goes_back_to_the_old_mold() -> None:
    """What is on the disk by then is the new code: the old mold has the old."""
    script = Script.preloading()
    script.reloading(PRELOADING)
    script.mold_ready(2)
    script.ready(200)
    script.exits(100)
    orders = script.boot_fails(201)
    assert spawn(0, 1, 1) in orders
    assert (1, 1, WorkerState.READY) in molds(script)


def test_forks_that_fail_again_and_again_roll_a_reload_back() -> None:
    """A mold from which nobody is born is no better than one that does not boot."""
    script = Script.preloading()
    script.is_shell_slow = True
    script.reloading(PRELOADING)
    script.mold_ready(2)
    for _ in range(2):
        script.tell(ev.SpawnFailed(0, 2, "its mold has ended"))
        script.time(script.core.next_deadline() or 0)
    orders = script.tell(ev.SpawnFailed(0, 2, "its mold has ended"))
    assert quit_(mold_pid(2)) in orders
    assert script.says(act.Level.ERROR, "reload failed")


def test_preload_can_be_turned_off_and_on() -> None:
    """The mold goes with its generation."""
    script = Script.preloading(count=1)
    assert script.reloading(plan(count=1))[-1] == act.SpawnWorker(0, 2)
    assert script.ready(200) == [act.AdoptGeneration(2), term(100), quit_(mold_pid(1))]
    assert act.SpawnMold(3, 2) in script.reloading(plan(count=1, preload=True))


def test_a_stall_moves_the_deadlines_of_molds() -> None:
    """Nobody is judged by a time in which nobody ran."""
    script = Script(PRELOADING)
    script.tell(ev.Started())
    script.stalled(100)
    assert script.core.next_deadline() == 160
