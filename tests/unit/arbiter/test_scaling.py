"""The policy of scaling, look by look; how it fares with whole loads is in tests/simulation/test_scaled_loads.py."""

import pytest

from pyfork.arbiter.scaling import DOWN_INTERVAL, GAP, LONGEST_PATIENCE, PATIENCE, Scaling


class Looks:
    """A policy between 1 and 16, and the time; workers are ready at once unless the test says otherwise."""

    def __init__(self, wanted: int = 1, minimum: int = 1, maximum: int = 16) -> None:
        self.scaling = Scaling(minimum, maximum)
        self.now = 100.0
        self.wanted = wanted
        self.look(0.0)

    def look(self, utilisation: float, queued: int = 0, ready: int | None = None, after: float = 1.0) -> int:
        self.now += after
        ready = self.wanted if ready is None else ready
        self.wanted = self.scaling.observe(self.now, utilisation, queued, ready, self.wanted)
        return self.wanted

    def looks(self, times: int, utilisation: float, queued: int = 0, ready: int | None = None) -> list[int]:
        return [self.look(utilisation, queued, ready) for _ in range(times)]


def test_busy_workers_call_for_more_after_three_looks() -> None:
    """As many as are busy for two thirds of the time, or twice as many as serve."""
    one = Looks(4)
    assert one.looks(3, 0.9) == [4, 4, 6]
    one = Looks(2)
    assert one.looks(3, 1.0) == [2, 2, 4]


def test_one_busy_second_is_no_load() -> None:
    """The average counts."""
    one = Looks(2)
    assert one.looks(3, 0.1) == [2, 2, 2]
    assert [one.look(1.0), one.look(0.1), one.look(0.1)] == [2, 2, 2]


def test_lasting_queue_calls_for_more() -> None:
    """One that is gone at the next look does not."""
    one = Looks(1)
    one.looks(2, 0.7)
    assert [one.look(0.7, 9), one.look(0.7), one.look(0.7, 9)] == [1, 1, 1]
    assert one.look(0.7, 9) == 2


def test_workers_that_boot_are_counted() -> None:
    """More are wanted only if those will not be enough, and never more than twice those that serve."""
    one = Looks(2)
    one.looks(3, 1.0)
    assert one.wanted == 4
    assert one.looks(20, 1.0, 50, ready=2) == [4] * 20
    assert one.look(1.0, 50, ready=3) == 6
    one = Looks(8)
    assert one.looks(3, 0.81)[-1] == 10
    assert one.looks(3, 1.0, 0, ready=9) == [10, 13, 13]


def test_bounds_hold_and_may_move() -> None:
    """Whatever was wanted before, and without any look back."""
    one = Looks(3, 2, 4)
    assert one.looks(6, 1.0, 100)[-1] == 4
    one.scaling.bound(6, 8)
    assert one.look(0.0) == 6
    one.scaling.bound(1, 3)
    assert one.look(1.0, 100) == 3
    assert one.looks(6, 1.0, 100) == [3] * 6
    one.scaling.bound(1, 1)
    assert one.look(0.0, after=100) == 1


def test_idle_workers_go_one_at_a_time() -> None:
    """After the patience, then one for each interval, down to the minimum."""
    one = Looks(4, 2)
    wanted = one.looks(60, 0.1)
    assert wanted.index(3) == PATIENCE - 1
    assert wanted.index(2) == PATIENCE + DOWN_INTERVAL - 1
    assert wanted[-1] == 2


def test_one_busy_stretch_keeps_the_workers() -> None:
    """For as long as the patience."""
    one = Looks(4)
    one.looks(20, 0.1)
    one.looks(3, 0.7)
    assert one.looks(28, 0.1) == [4] * 28
    assert one.looks(4, 0.1)[-1] == 3


def test_no_worker_goes_while_others_boot_or_the_rest_would_be_busy() -> None:
    """The rest has to bear it with something to spare."""
    one = Looks(4)
    assert one.looks(60, 0.1, 0, ready=3) == [4] * 60
    one = Looks(4)
    assert one.looks(60, 0.45) == [4] * 60
    assert one.looks(60, 0.40)[-1] == 3


def test_mistake_doubles_the_patience_and_calm_halves_it() -> None:
    """A worker that is wanted again soon after it went should have stayed."""
    one = Looks(2)
    for expected in (60, 120, 240, LONGEST_PATIENCE):
        one.looks(int(one.scaling.patience) + 1, 0.1)
        assert one.wanted == 1
        one.looks(3, 1.0)
        assert one.wanted == 2
        assert one.scaling.patience == expected
    for expected in (120, 60, PATIENCE, PATIENCE):
        one.looks(1200, 0.1)
        assert one.wanted == 1
        one.looks(3, 1.0)
        assert one.wanted == 2
        assert one.scaling.patience == expected


def test_patience_is_judged_once_for_each_time_that_workers_went() -> None:
    """A rise of many steps is one rise."""
    one = Looks(2)
    one.looks(31, 0.1)
    one.looks(3, 1.0)
    assert one.looks(30, 1.0)[-1] == 16
    assert one.scaling.patience == 60


@pytest.mark.parametrize("gap", [GAP + 0.1, 0.0, -5.0])
def test_what_is_seen_across_a_gap_is_not_judged(gap: float) -> None:
    """Nor what was before it."""
    one = Looks(2)
    one.looks(2, 1.0)
    assert one.look(1.0, 100, after=gap) == 2
    assert one.looks(3, 1.0, 100) == [2, 2, 4]


def test_stall_of_the_arbiter_is_a_gap() -> None:
    """The core says so, although its clock may seem to have gone on as usual."""
    one = Looks(2)
    one.looks(25, 0.1)
    one.scaling.shift(1000.0)
    one.now += 1000.0
    assert one.looks(28, 0.1) == [2] * 28
    assert one.looks(4, 0.1)[-1] == 1
    one.scaling.shift(1000.0)
    one.now += 1000.0
    one.looks(4, 1.0)
    assert one.scaling.patience == 2 * PATIENCE


def test_without_ready_workers_nothing_is_known() -> None:
    """All have died: the number stays."""
    one = Looks(2)
    assert one.looks(60, 0.0, 500, ready=0) == [2] * 60


def test_odd_figures_do_no_harm() -> None:
    """A share above the whole, or below nothing, is what rounding makes."""
    one = Looks(2)
    assert one.looks(3, 1.7)[-1] == 4
    assert one.looks(36, -0.2, -3)[-1] == 3
