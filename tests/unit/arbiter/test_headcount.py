"""How many workers are wanted, and who has said so."""

from pyfork.arbiter.headcount import Bounds, Headcount


def test_operators_change_the_count_by_one_within_limits() -> None:
    """At least one, at most what the scoreboard holds twice."""
    headcount = Headcount(2)
    assert headcount.scale(-1) == "1 worker is wanted"
    assert headcount.scale(-1) == "1 worker is wanted, as before: it is the limit"
    headcount = Headcount(511)
    headcount.scale(+1)
    assert headcount.scale(+1) == "512 workers are wanted, as before: it is the limit"


def test_drained_workers_have_no_places_but_are_still_wanted() -> None:
    """One more means all again; one less means one less afterwards."""
    headcount = Headcount(3)
    headcount.is_drained = True
    assert headcount.places == 0
    headcount.scale(-1)
    assert headcount.places == 0
    assert headcount.scale(+1) == "2 workers are wanted again"
    assert headcount.places == 2


def test_file_that_fails_is_taken_back_and_operators_are_not() -> None:
    """What was said meanwhile stays said."""
    headcount = Headcount(4)
    assert headcount.follow_file(2) == "workers.count has changed: 2 workers are wanted, 4 were"
    headcount.scale(+1)
    headcount.take_back()
    assert headcount.wanted == 5
    headcount.take_back()
    assert headcount.wanted == 5


def test_file_that_succeeds_is_kept() -> None:
    """A later failure has nothing of it to take back."""
    headcount = Headcount(4)
    headcount.follow_file(2)
    headcount.keep()
    headcount.take_back()
    assert headcount.wanted == 2


def test_take_back_stays_within_limits() -> None:
    """TTOU after a file's increase may have gone below it."""
    headcount = Headcount(1)
    headcount.follow_file(5)
    for _ in range(3):
        headcount.scale(-1)
    headcount.take_back()
    assert headcount.wanted == 1


# Bounds.


def test_operators_move_both_bounds() -> None:
    """The count stays where it is between them, and goes with the one that reaches it."""
    headcount = Headcount(2, Bounds(2, 4))
    assert headcount.scale(+1) == "3 to 5 workers are wanted (3 now)"
    assert headcount.scale(-1) == "2 to 4 workers are wanted (3 now)"
    headcount.follow_load(4, 0.9, 0)
    assert headcount.scale(-1) == "1 to 3 workers are wanted (3 now)"
    assert headcount.scale(-1) == "1 to 2 workers are wanted (2 now)"
    assert headcount.scale(-1) == "1 worker is wanted"
    assert headcount.scale(-1) == "1 worker is wanted, as before: it is the limit"


def test_the_way_back_from_a_limit_is_the_way_there() -> None:
    """A range that operators have pressed together is as wide as before when they are back."""
    headcount = Headcount(2, Bounds(1, 3))
    assert [headcount.scale(-1) for _ in range(2)] == ["1 to 2 workers are wanted (2 now)", "1 worker is wanted"]
    headcount.scale(-1)
    assert headcount.scale(+1) == "1 to 2 workers are wanted (1 now)"
    assert headcount.scale(+1) == "1 to 3 workers are wanted (1 now)"
    assert headcount.scale(+1) == "2 to 4 workers are wanted (2 now)"


def test_what_operators_said_survives_an_upgrade() -> None:
    """In the count, or in the bounds."""
    assert Headcount(2, None, (5, 3)).wanted == 5
    headcount = Headcount(2, Bounds(2, 4), (6, 4))
    assert (headcount.bounds, headcount.wanted) == (Bounds(6, 8), 6)
    assert headcount.scale(-1) == "5 to 7 workers are wanted (6 now)"


def test_bounds_stay_within_the_limits() -> None:
    """Each by itself: the lower one may still rise when the upper one cannot."""
    headcount = Headcount(510, Bounds(510, 512))
    assert headcount.scale(+1) == "511 to 512 workers are wanted (511 now)"
    headcount.scale(+1)
    assert headcount.scale(+1) == "512 workers are wanted, as before: it is the limit"


def test_count_begins_within_the_bounds() -> None:
    """Whatever the file says of it."""
    assert Headcount(9, Bounds(2, 4)).wanted == 4
    assert Headcount(1, Bounds(2, 4)).wanted == 2


def test_load_decides_between_the_bounds() -> None:
    """The log has what was measured."""
    headcount = Headcount(2, Bounds(2, 8))
    assert headcount.follow_load(5, 0.914, 12) == (
        "scaling: the workers are busy for 91% of the time and 12 connections wait: 5 are wanted, 2 were (2 to 8)"
    )
    assert headcount.follow_load(1, 0.1, 1).endswith("time and 1 connection waits: 2 are wanted, 5 were (2 to 8)")
    headcount.follow_load(5, 0.9, 0)
    assert headcount.follow_load(9, 1.0, 0).endswith("busy for 100% of the time: 8 are wanted, 5 were (2 to 8)")


def test_file_that_changes_the_bounds_leaves_the_load_its_count() -> None:
    """Unless that is out of bounds now; a fixed count is the file's."""
    headcount = Headcount(2, Bounds(2, 8))
    headcount.follow_load(5, 0.9, 0)
    assert headcount.follow_file(1, Bounds(1, 4)) == (
        "workers.min or workers.max have changed: 1 to 4 workers are wanted (4 now), 5 were"
    )
    headcount.keep()
    assert headcount.follow_file(6) == "workers.count has changed: 6 workers are wanted, 4 were"
    assert headcount.follow_file(1, Bounds(2, 10)).endswith("2 to 10 workers are wanted (6 now), 6 were")


def test_bounds_of_a_file_that_fails_are_taken_back() -> None:
    """With the steps of operators since, and the count of the load where it fits."""
    headcount = Headcount(5, Bounds(5, 6))
    headcount.follow_file(1, Bounds(1, 8))
    for _ in range(3):
        headcount.scale(-1)
    headcount.follow_load(1, 0.1, 0)
    headcount.take_back()
    assert (headcount.bounds, headcount.wanted) == (Bounds(2, 3), 2)


def test_steps_at_the_limit_are_none() -> None:
    """They are not taken back either."""
    headcount = Headcount(4)
    headcount.follow_file(1)
    headcount.scale(-1)
    headcount.take_back()
    assert headcount.wanted == 4


def test_one_is_not_many() -> None:
    """Whoever reads the log reads English."""
    headcount = Headcount(1, Bounds(1, 2))
    assert headcount.follow_load(2, 0.9, 0).endswith(": 2 are wanted, 1 was (1 to 2)")
    assert headcount.follow_load(1, 0.1, 0).endswith(": 1 is wanted, 2 were (1 to 2)")
    assert headcount.follow_file(1) == "workers.count has changed: 1 worker is wanted, 1 was"
    headcount.is_drained = True
    assert headcount.scale(+1) == "1 worker is wanted again"
