"""How many workers are wanted, and who has said so."""

from pyfork.arbiter.headcount import Headcount


def test_operators_change_the_count_by_one_within_limits() -> None:
    """At least one, at most what the scoreboard holds twice."""
    headcount = Headcount(2)
    assert headcount.scale(-1) == "1 workers are wanted"
    assert headcount.scale(-1) == "1 workers are wanted, as before: it is the limit"
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
