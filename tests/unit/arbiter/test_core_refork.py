"""A worker that is warm becomes the mold of the others, and they are replaced in turn."""

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from pyfork.arbiter.policy import REFORK_PAUSE, SPAWN_TIMEOUT, refork_threshold
from tests.unit.arbiter.script import Script, mold_pid, plan, quit_, term


def spawn(number: int, mold: int, refork_at: int | None = None) -> act.SpawnWorker:
    return act.SpawnWorker(number, 1, mold=mold, refork_at=refork_at)


def promoted(script: Script, serial: int = 2) -> None:
    script.tell(ev.MoldSpawned(1, serial, mold_pid(serial)))
    script.mold_ready(serial)


def test_the_counts_go_up_by_how_often_it_happened() -> None:
    """The last one repeats, or not."""
    once = plan(refork_after=(500, 2000))
    assert [refork_threshold(once, layer) for layer in range(3)] == [500, 2000, None]
    again = plan(refork_after=(500, 2000), refork_repeats=True)
    assert [refork_threshold(again, layer) for layer in range(4)] == [500, 2000, 2000, 2000]
    assert refork_threshold(plan(), 0) is None


def test_an_operator_asks_for_it() -> None:
    """Whoever has served longest is asked, and serves on; the others are replaced one after another."""
    script = Script.preloading()
    assert script.verb(ev.Verb.REFORK) == [act.PromoteWorker(100, 1, 2)]
    assert script.tell(ev.MoldSpawned(1, 2, mold_pid(2))) == []
    assert script.mold_ready(2) == [quit_(mold_pid(1)), spawn(0, 2)]
    assert script.ready(1100) == [term(100), spawn(1, 2)]
    assert script.ready(1101) == [term(101)]
    assert script.verb(ev.Verb.SCALE_UP) == [spawn(2, 2)]


def test_a_ripe_worker_is_promoted_and_its_children_wait_for_the_next_count() -> None:
    """Each layer has its own."""
    script = Script.preloading(refork_after=(500, 2000))
    assert script.killed(100) == [spawn(0, 1, 500)]
    script.ready(1100)
    assert script.tell(ev.WorkerRipe(101)) == [act.PromoteWorker(101, 1, 2)]
    script.tell(ev.MoldSpawned(1, 2, mold_pid(2)))
    assert spawn(0, 2, 2000) in script.mold_ready(2)


def test_the_old_mold_stays_until_it_has_forked_what_it_was_asked_for() -> None:
    """It looks at its signals before its orders: what it did not get to would count as failed forks."""
    script = Script.preloading()
    script.verb(ev.Verb.REFORK)
    script.tell(ev.MoldSpawned(1, 2, mold_pid(2)))
    script.is_shell_slow = True
    assert script.killed(101) == [spawn(1, 1)]
    assert script.mold_ready(2) == [spawn(0, 2)]
    assert quit_(mold_pid(1)) in script.tell(ev.WorkerSpawned(1, 1, 1101))


def test_who_has_asked_before_keeps_its_turn() -> None:
    """The others come after it, by their places."""
    script = Script.preloading(count=3)
    script.verb(ev.Verb.REFORK)
    assert script.tell(ev.WorkerWorn(101, "it has served 1000 requests")) == [spawn(1, 1)]
    assert script.at(1.0).tell(ev.WorkerWorn(102, "it has served 1000 requests")) == []
    script.at(2.0).tell(ev.MoldSpawned(1, 2, mold_pid(2)))
    assert spawn(1, 2) in script.mold_ready(2)  # whose replacement boots, from the old mold
    assert spawn(2, 2) in script.ready(2101)
    assert spawn(0, 2) in script.ready(1102)


def test_nobody_is_promoted_beside_another() -> None:
    """One at a time, and nobody who is to be replaced."""
    script = Script.preloading()
    script.tell(ev.WorkerRipe(100))
    assert script.tell(ev.WorkerRipe(101)) == []
    assert script.tell(ev.WorkerRipe(999)) == []
    promoted(script)
    assert script.ready(1100) == [term(100), spawn(1, 2)]


def test_what_fails_is_tried_again_after_a_pause() -> None:
    """The mold and its workers stay as they are."""
    script = Script.preloading()
    script.tell(ev.WorkerRipe(100))
    assert script.tell(ev.MoldRefused(1, 2, "the worker has ended")) == []
    assert script.says(act.Level.WARNING, "refork: mold 2 gen 1", "stay as they are")
    assert script.core.next_deadline() == REFORK_PAUSE
    assert script.time(REFORK_PAUSE) == [act.PromoteWorker(100, 1, 3)]
    script.tell(ev.MoldSpawned(1, 3, mold_pid(3)))
    assert script.boot_fails(mold_pid(3)) == []
    assert script.mold_exits(3, 3, None) == []
    assert script.killed(101) == [spawn(1, 1)]


def test_the_pause_grows_until_a_promotion_succeeds() -> None:
    """What one fails of, the next fails of as a rule; ten minutes are the most."""
    script = Script.preloading(timeout=0.0)
    script.tell(ev.WorkerRipe(100))
    now = 0.0
    for number in range(9):
        script.tell(ev.MoldRefused(1, 2 + number, "the worker has ended"))
        pause = min(600, 10 * 2**number)
        assert script.says(act.Level.WARNING, f"the next try is in {pause} s at the earliest")
        assert script.time(now + pause - 0.1) == []
        now += pause
        assert script.time(now) == [act.PromoteWorker(100, 1, 3 + number)]
    script.tell(ev.MoldSpawned(1, 11, mold_pid(11)))
    script.mold_ready(11)
    script.ready(1100)
    script.tell(ev.WorkerRipe(1100))
    script.tell(ev.MoldRefused(1, 12, "the worker has ended"))
    assert script.says(act.Level.WARNING, "the next try is in 10 s at the earliest")


def test_an_operators_order_does_not_wait_for_the_pause() -> None:
    """Who has mended the hook wants to see it."""
    script = Script.preloading()
    script.verb(ev.Verb.REFORK)
    script.tell(ev.MoldRefused(1, 2, "the worker has ended"))
    assert act.PromoteWorker(100, 1, 3) in script.verb(ev.Verb.REFORK)


def test_a_pause_is_nobodys_deadline_when_nobody_waits_for_it() -> None:
    """An operator's wish is good for one try."""
    script = Script.preloading()
    script.verb(ev.Verb.REFORK)
    script.tell(ev.MoldRefused(1, 2, "the worker has ended"))
    assert script.core.next_deadline() == 10  # a suspicion of silence
    script.beat(100, 101)
    script.mold_exits(1)
    assert script.core.next_deadline() == 10


def test_a_worker_that_does_not_get_to_it_is_given_up() -> None:
    """It may be at a request for as long as `timeout`."""
    script = Script.preloading(timeout=20, beat_interval=5)
    script.verb(ev.Verb.REFORK)
    for now in (8, 16, 24, 29):
        script.at(now).beat(100, 101)
    assert script.time(20 + SPAWN_TIMEOUT) == [act.CancelMold(1, 2)]
    assert script.says(act.Level.WARNING, "refork: mold 2 gen 1")


def test_a_copy_that_dies_or_hangs_as_it_boots_changes_nothing() -> None:
    """Neither fails a reload nor ends a start."""
    script = Script.preloading(boot_timeout=5)
    script.verb(ev.Verb.REFORK)
    script.tell(ev.MoldSpawned(1, 2, mold_pid(2)))
    assert script.time(5) == [act.DumpStacks(mold_pid(2))]
    assert script.says(act.Level.WARNING, "was not ready within 5 s", "refork")
    script.time(6)
    assert script.mold_exits(2) == []


def test_a_stop_does_not_wait_for_a_copy() -> None:
    """The worker that was asked ends, and its copy with it."""
    script = Script.preloading(count=1)
    script.verb(ev.Verb.REFORK)
    script.verb(ev.Verb.STOP)
    script.exits(100)
    script.mold_exits(1, 0, None)
    assert isinstance(script.tell(ev.MoldRefused(1, 2, "the worker has ended"))[-1], act.Exit)


def test_a_copy_that_fails_while_all_stops_is_not_worth_a_word() -> None:
    """Everybody ends."""
    script = Script.preloading(count=1)
    script.verb(ev.Verb.REFORK)
    script.tell(ev.MoldSpawned(1, 2, mold_pid(2)))
    script.verb(ev.Verb.STOP)
    assert not script.messages(act.Level.WARNING)
    script.mold_exits(2)
    assert not script.messages(act.Level.WARNING)


def test_refork_is_refused_where_nobody_can_become_a_mold() -> None:
    """The reason names the settings."""
    script = Script.serving()
    assert script.verb(ev.Verb.REFORK) == []
    assert script.says(act.Level.WARNING, "refork", "workers.preload = true")
    script.verb(ev.Verb.STOP)
    assert script.verb(ev.Verb.REFORK) == []


def test_a_mold_that_cannot_be_copied_stays_alone() -> None:
    """Ripe or not."""
    script = Script(plan(count=1, preload=True))
    script.tell(ev.Started())
    script.mold_ready(1)
    script.ready(100)
    assert script.tell(ev.WorkerRipe(100)) == []


def test_a_reload_comes_before_a_refork() -> None:
    """It brings new code; the wish is kept."""
    script = Script.preloading(count=1)
    script.verb(ev.Verb.RELOAD)
    assert script.verb(ev.Verb.REFORK) == []
    script.loaded(plan(count=1, preload=True, can_refork=True))
    script.mold_ready(2)
    orders = script.ready(200)
    assert orders == [act.AdoptGeneration(2), term(100), quit_(mold_pid(1)), act.PromoteWorker(200, 2, 3)]
