"""HUP: the new generation proves itself, replaces the old one place by place, or is rolled back."""

import pytest

from pyfork.arbiter import events as ev
from pyfork.arbiter.actions import (
    AdoptGeneration,
    DropGeneration,
    DumpStacks,
    Level,
    LoadConfiguration,
    ReloadEnded,
    ReopenLogs,
    SpawnWorker,
    StopAccepting,
)
from pyfork.arbiter.events import Verb
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState
from tests.unit.arbiter.script import Script, kill, plan, term, usr1


def test_reload_replaces_place_by_place() -> None:
    """Each old worker goes when its replacement is ready, one at a time with two workers."""
    script = Script.serving(plan(count=2))
    assert script.verb(Verb.RELOAD) == [LoadConfiguration(2)]
    assert script.loaded() == [ReopenLogs(), usr1(100), usr1(101), SpawnWorker(0, 2)]
    assert script.core.statistics().reload is ReloadState.TRYING
    assert script.core.statistics().state is ArbiterState.RELOADING
    assert script.ready(200) == [term(100), SpawnWorker(1, 2)]
    assert script.core.statistics().reload is ReloadState.REPLACING
    assert script.exits(100) == []
    assert script.ready(201) == [AdoptGeneration(2), term(101)]
    assert script.core.statistics().state is ArbiterState.RUNNING
    assert script.core.statistics().generation == 2
    assert script.says(Level.INFO, "reload: generation 2 has replaced the others")


def test_a_quarter_of_the_workers_is_replaced_at_once() -> None:
    """surge = max(1, count // 4)."""
    script = Script.serving(plan(count=8))
    script.reloading(plan(count=8))
    assert script.ready(200) == [term(100), SpawnWorker(1, 2), SpawnWorker(2, 2)]
    assert script.ready(202) == [term(102), SpawnWorker(3, 2)]


def test_refused_configuration_changes_nothing_but_the_logs() -> None:
    """All problems are said, the old generation goes on, and logs were rotated for a reason."""
    script = Script.serving()
    script.verb(Verb.RELOAD)
    assert script.refused("[workers] conut: unknown", "bind: no") == [ReopenLogs(), usr1(100), usr1(101)]
    assert script.messages(Level.ERROR) == [
        "reload refused: [workers] conut: unknown",
        "reload refused: bind: no",
        "reload refused: generation 1 goes on",
    ]
    assert script.core.statistics().state is ArbiterState.RUNNING
    assert script.verb(Verb.RELOAD) == [LoadConfiguration(3)]


def test_candidate_that_cannot_boot_is_dropped() -> None:
    """No old worker has noticed anything."""
    script = Script.serving()
    script.reloading()
    assert script.boot_fails(200, trace="Traceback") == [DropGeneration(2)]
    assert script.says(Level.ERROR, "worker 0 gen 2 (pid 200) could not boot: no module named shop\nTraceback")
    assert script.says(Level.ERROR, "reload failed: generation 2 is ended, 1 goes on")
    assert script.core.statistics().state is ArbiterState.RUNNING
    assert script.exits(200, 4) == []


def test_candidate_that_dies_silently_is_dropped() -> None:
    """As one that says why."""
    script = Script.serving()
    script.reloading()
    assert script.killed(200, "SIGSEGV") == [DropGeneration(2)]


def test_candidate_that_hangs_is_dumped_and_dropped() -> None:
    """The stacks tell where the import hangs."""
    script = Script.serving(plan(timeout=0))
    script.reloading(plan(boot_timeout=5))
    assert script.time(5) == [DumpStacks(200), DropGeneration(2)]
    assert script.time(6) == [kill(200)]


def test_candidate_that_cannot_be_forked_is_tried_again() -> None:
    """That is the kernel's refusal, and says nothing about the new generation."""
    script = Script.serving(plan(timeout=0))
    script.refusals = 1
    script.reloading()
    deadline = script.core.next_deadline()
    assert deadline is not None
    assert script.time(deadline) == [SpawnWorker(0, 2)]


def test_old_worker_that_dies_is_replaced_by_the_old_generation_until_the_new_is_proved() -> None:
    """And by the new one afterwards."""
    script = Script.serving(plan(count=3))
    script.reloading(plan(count=3))
    assert script.killed(102) == [SpawnWorker(2, 1)]
    assert script.ready(1102) == []
    assert script.ready(200) == [term(100), SpawnWorker(1, 2)]
    assert script.killed(1102) == [SpawnWorker(2, 2)]


def test_candidate_whose_workers_die_as_soon_as_they_are_ready_is_given_up() -> None:
    """Each of them would have cost a worker that serves; the next HUP, with the repair, begins at once."""
    script = Script.serving(plan(count=2))
    script.reloading()
    assert script.ready(200) == [term(100), SpawnWorker(1, 2)]
    assert script.at(0.5).killed(200, "SIGSEGV") == [term(201), SpawnWorker(0, 1), DropGeneration(2)]
    assert script.says(Level.ERROR, "worker 0 gen 2 (pid 200) died within 1 s of getting ready")
    assert script.says(Level.ERROR, "reload failed: generation 2 is ended, 1 goes on")
    assert script.core.statistics().reload is ReloadState.IDLE
    assert script.verb(Verb.RELOAD) == [LoadConfiguration(3)]


def test_what_failed_before_is_dropped_before_another_is_adopted() -> None:
    """The adopted generation is then the only one that there is."""
    script = Script.serving(plan(count=1))
    script.reloading(plan(count=1, preload=True))
    script.is_shell_slow = True
    assert script.mold_ready(1) == [SpawnWorker(0, 2, mold=1)]
    assert script.verb(Verb.RELOAD) == [LoadConfiguration(3)]
    script.loaded(plan(count=1))
    script.tell(ev.WorkerSpawned(0, 3, 300))
    assert script.ready(300) == [term(100)]
    assert script.tell(ev.WorkerSpawned(0, 2, 200))[:3] == [DropGeneration(2), AdoptGeneration(3), term(200)]


def test_failure_after_the_proof_goes_back_as_carefully() -> None:
    """The candidate's ready workers serve until the old generation's are ready again."""
    script = Script.serving(plan(count=2))
    script.reloading()
    script.ready(200)
    script.exits(100)
    assert script.boot_fails(201) == [SpawnWorker(0, 1)]
    assert script.core.statistics().reload is ReloadState.ROLLING_BACK
    assert script.exits(201, 4) == []
    assert script.ready(1100) == [term(200), DropGeneration(2)]
    assert script.core.statistics().state is ArbiterState.RUNNING
    assert script.core.statistics().generation == 1


def test_booting_workers_of_a_failed_generation_are_ended_at_once() -> None:
    """Nobody waits for them any more."""
    script = Script.serving(plan(count=8))
    script.reloading(plan(count=8))
    script.ready(200)
    assert script.boot_fails(201) == [term(202), SpawnWorker(0, 1)]


def test_roll_back_backs_off_when_the_old_generation_does_not_boot_either() -> None:
    """A ready worker of the failed generation is better than none."""
    script = Script.serving(plan(count=1, timeout=0))
    script.reloading(plan(count=2, timeout=0))
    script.ready(200)
    script.exits(100)
    assert script.boot_fails(201) == [SpawnWorker(0, 1)]
    assert script.boot_fails(1100) == []
    deadline = script.core.next_deadline()
    assert deadline is not None
    assert script.time(deadline) == [SpawnWorker(0, 1)]
    assert script.ready(2100) == [term(200), DropGeneration(2)]


def test_hup_while_rolling_back_begins_at_once() -> None:
    """The old generation may not boot any more: only something new helps."""
    script = Script.serving(plan(count=2))
    script.reloading()
    script.ready(200)
    script.boot_fails(201)
    assert script.boot_fails(1100) == []
    assert script.verb(Verb.RELOAD) == [LoadConfiguration(3)]
    assert SpawnWorker(0, 3) in script.loaded()
    assert script.ready(300) == [term(200), SpawnWorker(1, 3), DropGeneration(2)]
    assert script.ready(301) == [AdoptGeneration(3), term(101)]


def test_hup_while_the_candidate_is_tried_abandons_it() -> None:
    """The file has changed again."""
    script = Script.serving()
    script.reloading()
    assert script.verb(Verb.RELOAD) == [term(200), DropGeneration(2), LoadConfiguration(3)]
    assert script.says(Level.INFO, "reload abandoned: generation 2 is ended, 1 goes on")
    assert script.messages(Level.ERROR) == []
    assert SpawnWorker(0, 3) in script.loaded()


def test_hup_while_the_candidate_replaces_is_remembered() -> None:
    """It runs when this reload has ended."""
    script = Script.serving()
    script.reloading()
    script.ready(200)
    assert script.verb(Verb.RELOAD) == []
    assert script.ready(201) == [AdoptGeneration(2), term(101), LoadConfiguration(3)]
    assert script.core.statistics().state is ArbiterState.RELOADING


def test_remembered_hup_runs_when_the_reload_fails_too() -> None:
    """It may well bring the repair."""
    script = Script.serving()
    script.reloading()
    script.ready(200)
    script.verb(Verb.RELOAD)
    assert script.boot_fails(201) == [SpawnWorker(0, 1), LoadConfiguration(3)]


def test_winch_while_the_candidate_is_tried_abandons_it() -> None:
    """Nobody is to serve: there is nothing to try."""
    script = Script.serving(plan(count=1))
    script.reloading(plan(count=1))
    assert script.verb(Verb.DRAIN_WORKERS) == [term(200), term(100), DropGeneration(2)]


def test_winch_while_the_candidate_replaces_ends_the_reload() -> None:
    """What is left of it is that the next workers are new."""
    script = Script.serving(plan(count=2))
    script.reloading()
    script.ready(200)
    orders = script.verb(Verb.DRAIN_WORKERS)
    assert set(orders) == {term(101), term(200), term(201), AdoptGeneration(2)}
    assert script.verb(Verb.SCALE_UP) == [SpawnWorker(0, 2), SpawnWorker(1, 2)]


@pytest.mark.parametrize("is_proved", [False, True])
def test_term_during_a_reload_stops_all_generations(is_proved: bool) -> None:
    """Nothing is adopted or dropped any more: everything ends."""
    script = Script.serving(plan(count=2))
    script.reloading()
    if is_proved:
        script.ready(200)
    orders = script.verb(Verb.STOP)
    assert orders[0] == StopAccepting()
    told = {term(100), term(101), term(200)} if not is_proved else {term(101), term(200), term(201)}
    assert set(orders[1:]) == told
    assert script.boot_fails(200) == []


def test_answer_to_a_load_that_a_stop_overtook_is_dropped() -> None:
    """The shell answers at once; one that does not must not revive a stopping arbiter."""
    for answer in (Script.loaded, Script.refused):
        script = Script.serving(plan(count=1))
        script.verb(Verb.RELOAD)
        script.verb(Verb.STOP)
        assert answer(script) == []


def test_count_of_ttin_survives_a_reload() -> None:
    """The file says 2, an operator made it 3, and the file has not changed."""
    script = Script.serving(plan(count=2))
    script.verb(Verb.SCALE_UP)
    script.ready(102)
    script.reloading(plan(count=2))
    script.ready(200)
    script.ready(201)
    assert script.ready(202) == [AdoptGeneration(2), term(102)]


def test_changed_count_in_the_file_wins() -> None:
    """More workers: the empty places are filled at once."""
    script = Script.serving(plan(count=2))
    script.verb(Verb.SCALE_UP)
    script.ready(102)
    script.reloading(plan(count=5))
    orders = script.ready(200)
    assert orders == [SpawnWorker(3, 2), SpawnWorker(4, 2), SpawnWorker(1, 2)]
    assert script.says(Level.INFO, "workers.count has changed: 5 workers are wanted, 3 were")


def test_fewer_workers_in_the_file_retire_last() -> None:
    """Those beyond the count serve until all the others are replaced."""
    script = Script.serving(plan(count=3))
    script.reloading(plan(count=1))
    assert script.ready(200) == [AdoptGeneration(2), term(100), term(101), term(102)]


def test_count_of_a_failed_generation_is_taken_back() -> None:
    """The old generation gets its count back, too."""
    script = Script.serving(plan(count=4, timeout=0))
    script.reloading(plan(count=2, timeout=0))
    script.ready(200)
    assert script.core.statistics().wanted == 2
    script.boot_fails(201)
    assert script.core.statistics().wanted == 4


def test_old_worker_keeps_booting_while_its_place_has_no_new_one() -> None:
    """It may be there sooner; its failure is nobody's business any more."""
    script = Script.serving(plan(count=3))
    script.killed(102)
    script.reloading(plan(count=3))
    assert script.ready(200) == [SpawnWorker(2, 2), SpawnWorker(1, 2)]
    assert script.boot_fails(1102) == []
    assert script.says(Level.WARNING, "worker 2 gen 1 (pid 1102) could not boot", "it is not needed any more")


def test_ready_worker_stands_in_for_an_empty_place() -> None:
    """No ready worker is retired while fewer than wanted would be left."""
    script = Script.serving(plan(count=2))
    script.reloading()
    assert script.killed(101) == [SpawnWorker(1, 1)]
    assert script.ready(200) == [SpawnWorker(1, 2)]  # worker 0 of generation 1 goes on: place 1 is empty
    assert script.ready(201) == [AdoptGeneration(2), term(1101), term(100)]


def _errors(script: Script) -> list[str | None]:
    return [one.error for one in script.news if isinstance(one, ReloadEnded)]


def test_the_end_of_a_reload_is_told_with_its_error() -> None:
    """Whoever shows it (a supervisor, a page) needs the whole: message and traceback; an abandoned one goes on."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.RELOAD)
    script.refused("workers.count: 0 is less than 1", "log.level: x")
    assert _errors(script) == ["workers.count: 0 is less than 1\nlog.level: x"]
    script.reloading(plan(count=1))
    script.verb(Verb.RELOAD)
    assert len(_errors(script)) == 1
    script.loaded(plan(count=1))
    script.boot_fails(400, trace="Traceback: line 1")
    assert "worker 0 gen 4" in (_errors(script)[1] or "")
    assert (_errors(script)[1] or "").endswith("no module named shop\nTraceback: line 1")
    script.exits(400)
    script.reloading(plan(count=1))
    script.ready(500)
    assert _errors(script)[2:] == [None]
