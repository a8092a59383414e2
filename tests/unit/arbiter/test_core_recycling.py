"""A worker that asks for it is replaced: the new one first, few at once."""

from pyfork.arbiter import actions as act
from pyfork.arbiter import events as ev
from tests.unit.arbiter.script import Script, plan, term

WORN = "it has served 1000 requests (workers.max_requests)"


def test_the_replacement_is_ready_before_the_old_one_goes() -> None:
    """The log has the reason."""
    script = Script.serving()
    assert script.tell(ev.WorkerWorn(100, WORN)) == [act.SpawnWorker(0, 1)]
    assert script.says(act.Level.INFO, "worker 0 gen 1 (pid 100) is to be replaced", WORN)
    assert script.ready(1100) == [term(100)]


def test_few_are_replaced_at_once() -> None:
    """A quarter of the workers, at least one."""
    script = Script.serving(plan(count=8))
    orders = [script.tell(ev.WorkerWorn(100 + number, WORN)) for number in range(8)]
    assert orders == [[act.SpawnWorker(0, 1)], [act.SpawnWorker(1, 1)], *[[]] * 6]
    assert script.ready(1101) == [term(101), act.SpawnWorker(2, 1)]


def test_a_replacement_that_cannot_boot_leaves_the_old_one_serving() -> None:
    """The next try waits."""
    script = Script.serving(plan(count=1))
    script.tell(ev.WorkerWorn(100, WORN))
    assert script.boot_fails(1100) == []
    script.exits(1100, 4)
    again = script.core.next_deadline()
    assert again is not None
    assert script.time(again) == [act.SpawnWorker(0, 1)]


def test_asking_twice_or_too_early_changes_nothing() -> None:
    """Only a worker that serves is replaced, and once."""
    script = Script.serving(plan(count=1))
    script.tell(ev.WorkerWorn(100, WORN))
    assert script.tell(ev.WorkerWorn(100, WORN)) == []
    assert script.tell(ev.WorkerWorn(1100, WORN)) == []
    assert script.tell(ev.WorkerWorn(999, WORN)) == []


def test_an_outworn_worker_that_dies_leaves_an_empty_place() -> None:
    """Its replacement is on its way already."""
    script = Script.serving(plan(count=1))
    script.tell(ev.WorkerWorn(100, WORN))
    assert script.killed(100) == []
    assert script.ready(1100) == []


def test_a_reload_is_done_although_its_workers_wear_out() -> None:
    """With a small max_requests some always do."""
    script = Script.serving()
    script.reloading()
    script.ready(200)
    script.tell(ev.WorkerWorn(200, WORN))
    orders = script.ready(201)
    assert act.AdoptGeneration(2) in orders


def test_a_reload_comes_to_every_place_although_its_workers_wear_out_at_once() -> None:
    """The first places do not take the turn of the last one again and again."""
    script = Script.serving(plan(count=3))
    script.reloading(plan(count=3))
    assert act.SpawnWorker(1, 2) in script.ready(200)
    script.tell(ev.WorkerWorn(200, WORN))
    assert act.SpawnWorker(2, 2) in script.ready(201)
    script.tell(ev.WorkerWorn(201, WORN))
    assert act.AdoptGeneration(2) in script.ready(202)


def test_the_outworn_are_replaced_in_the_order_in_which_they_asked() -> None:
    """Not of their places, and whoever asks twice keeps the first turn."""
    script = Script.serving(plan(count=3))
    script.tell(ev.WorkerWorn(101, WORN))
    for pid in (102, 100, 102):
        script.at(script.now + 1).tell(ev.WorkerWorn(pid, WORN))
    assert script.ready(1101) == [term(101), act.SpawnWorker(2, 1)]
    assert script.ready(1102) == [term(102), act.SpawnWorker(0, 1)]


def test_a_worker_too_many_goes_although_others_wear_out() -> None:
    """TTOU does not wait for a moment in which nobody is outworn."""
    script = Script.serving(plan(count=3))
    script.tell(ev.WorkerWorn(100, WORN))
    assert script.verb(ev.Verb.SCALE_DOWN) == [term(102)]
