"""Who is missing and who is too many."""

from typing import Any

from pyfork.arbiter.handles import WorkerHandle
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.placement import Aim, Vacancy, find_surplus, find_vacancies, is_reached, served_places
from tests.unit.arbiter.script import plan

SPAWNING, BOOTING, READY = WorkerState.SPAWNING, WorkerState.BOOTING, WorkerState.READY


def worker(number: int, generation: int = 1, state: WorkerState = READY, **more: Any) -> WorkerHandle:
    return WorkerHandle(number=number, generation=generation, plan=plan(), state=state, **more)


def test_empty_places_come_before_replacements_and_the_trial_last() -> None:
    """Those who serve can wait."""
    workers = [worker(0), worker(2, state=WorkerState.STUCK)]
    aim = Aim(places=3, target=2, trial=3)
    assert find_vacancies(workers, aim) == [
        Vacancy(1, 2, is_empty=True),
        Vacancy(2, 2, is_empty=True),
        Vacancy(0, 2, is_empty=False),
        Vacancy(0, 3, is_empty=False),
    ]


def test_whoever_spawns_boots_or_serves_fills_a_place() -> None:
    """The others are on their way out."""
    for state in WorkerState:
        missing = find_vacancies([worker(0, state=state)], Aim(places=1, target=1))
        assert bool(missing) == (state not in {SPAWNING, BOOTING, READY})


def test_replacements_under_way_count_against_the_surge() -> None:
    """Only where a ready worker is in replacement: the boot of an empty place takes nobody's turn."""
    old = [worker(number) for number in range(4)]
    aim = Aim(places=4, target=2)
    assert find_vacancies(old, aim) == [Vacancy(0, 2, is_empty=False)]
    assert find_vacancies([*old, worker(0, 2, BOOTING)], aim) == []
    assert find_vacancies([*old[:3], worker(3, 2, BOOTING)], aim) == [Vacancy(0, 2, is_empty=False)]
    assert find_vacancies([*old, worker(0, 2, READY)], aim) == [Vacancy(1, 2, is_empty=False)]


def test_places_with_another_generation_are_replaced_before_outworn_workers() -> None:
    """Where those wear out as fast as they are replaced, a reload would never end otherwise."""
    workers = [worker(0, 2, outworn_since=5.0), worker(1, 2, outworn_since=6.0), worker(2), worker(3)]
    assert find_vacancies(workers, Aim(places=4, target=2)) == [Vacancy(2, 2, is_empty=False)]


def test_outworn_workers_are_replaced_in_the_order_in_which_they_asked() -> None:
    """Not by place: the last one would wait for ever while the first wear out again and again."""
    workers = [worker(number, outworn_since=since) for number, since in enumerate((7.0, 5.0, 6.0))]
    aim = Aim(places=3, target=1)
    assert find_vacancies(workers, aim) == [Vacancy(1, 1, is_empty=False)]
    workers[1] = worker(1, outworn_since=8.0)
    assert find_vacancies(workers, aim) == [Vacancy(2, 1, is_empty=False)]


def test_a_place_that_is_given_up_takes_nobodys_turn() -> None:
    """What is being forked for it when the count falls cannot be called back, and goes as soon as it is there."""
    old, coming = [worker(number) for number in range(3)], worker(2, 2, SPAWNING)
    assert find_vacancies([*old, coming], Aim(places=3, target=2)) == []
    assert find_vacancies([*old, coming], Aim(places=2, target=2)) == [Vacancy(0, 2, is_empty=False)]
    assert coming not in find_surplus([*old, coming], Aim(places=2, target=2))


def test_trial_is_one_worker_beside_the_others() -> None:
    """It is missing once, and never surplus."""
    aim = Aim(places=1, target=1, trial=2)
    assert find_vacancies([worker(0), worker(0, 2, BOOTING)], aim) == []
    assert find_surplus([worker(0), worker(0, 2, BOOTING)], aim) == []


def test_old_worker_goes_when_its_replacement_is_ready() -> None:
    """And not while that boots."""
    old, aim = worker(0), Aim(places=1, target=2)
    assert find_surplus([old, worker(0, 2, BOOTING)], aim) == []
    assert find_surplus([old, worker(0, 2)], aim) == [old]


def test_workers_beyond_the_places_go_last() -> None:
    """When every place is served by the target; a booting one at once."""
    beyond, booting = worker(2), worker(3, state=BOOTING)
    aim = Aim(places=2, target=2)
    assert find_surplus([worker(0, 2), worker(1, 2, BOOTING), beyond, booting], aim) == [booting]
    assert find_surplus([worker(0, 2), worker(1, 2), beyond], aim) == [beyond]


def test_no_ready_worker_goes_while_fewer_than_wanted_would_be_left() -> None:
    """A second old worker in one place stands in for another place that is empty."""
    first, second = worker(0), worker(0, 2)
    aim = Aim(places=2, target=3)
    assert find_surplus([first, second, worker(0, 3)], aim) == [first]
    assert find_surplus([first, worker(0, 3)], aim) == []


def test_booting_worker_goes_when_nobody_waits_for_it() -> None:
    """Its place is served by a newer one, or its generation failed; otherwise it may be there sooner."""
    booting = worker(0, 1, BOOTING)
    assert find_surplus([booting], Aim(places=1, target=1)) == []
    assert find_surplus([booting, worker(0, 2, BOOTING)], Aim(places=1, target=2)) == []
    assert find_surplus([booting, worker(0, 2)], Aim(places=1, target=2)) == [booting]
    assert find_surplus([booting], Aim(places=1, target=2, failed=frozenset({1}))) == [booting]


def test_worker_without_a_process_cannot_be_told() -> None:
    """It is judged again when it has one."""
    assert find_surplus([worker(5, 1, SPAWNING)], Aim(places=0, target=1)) == []


def test_drained_means_everybody() -> None:
    """No places: all who serve or boot go."""
    everybody = [worker(0), worker(1, state=BOOTING), worker(1, 2)]
    assert set(map(id, find_surplus(everybody, Aim(places=0, target=2)))) == set(map(id, everybody))


def test_aim_is_reached_when_only_the_target_is_left() -> None:
    """Every place served, nobody else serving or booting; whoever ends does not count."""
    aim = Aim(places=2, target=2)
    reached = [worker(0, 2), worker(1, 2), worker(0, state=WorkerState.DRAINING)]
    assert is_reached(reached, aim)
    assert served_places(reached, aim) == {0, 1}
    assert not is_reached(reached[1:], aim)
    assert not is_reached([*reached, worker(1)], aim)
    assert not is_reached([*reached, worker(1, 1, BOOTING)], aim)
    assert is_reached([], Aim(places=0, target=2))
