"""TTIN, TTOU, WINCH, USR1: how many workers there are, and what they are told."""

from pyfork.arbiter.actions import Level, ReopenLogs, SpawnWorker
from pyfork.arbiter.events import Verb
from tests.unit.arbiter.script import Script, plan, term, usr1


def test_ttin_spawns_one_more() -> None:
    """The new worker takes the next number."""
    script = Script.serving(plan(count=2))
    assert script.verb(Verb.SCALE_UP) == [SpawnWorker(2, 1)]
    assert script.says(Level.INFO, "3 workers are wanted")


def test_ttou_retires_the_last() -> None:
    """The highest number goes."""
    script = Script.serving(plan(count=2))
    assert script.verb(Verb.SCALE_DOWN) == [term(101)]
    assert script.says(Level.INFO, "1 worker is wanted")
    assert script.exits(101) == []


def test_ttou_never_goes_below_one() -> None:
    """An arbiter without workers is WINCH's business."""
    script = Script.serving(plan(count=1))
    assert script.verb(Verb.SCALE_DOWN) == []
    assert script.says(Level.INFO, "as before: it is the limit")


def test_ttou_waits_while_another_place_is_empty() -> None:
    """The worker that is too many stands in for one that is lost."""
    script = Script.serving(plan(count=3))
    script.killed(100)
    assert script.verb(Verb.SCALE_DOWN) == []
    assert script.ready(1100) == [term(102)]


def test_winch_retires_everybody_until_ttin() -> None:
    """The listeners stay open; TTIN brings back as many as there were."""
    script = Script.serving(plan(count=2))
    assert script.verb(Verb.DRAIN_WORKERS) == [term(100), term(101)]
    assert script.exits(100) == []
    assert script.exits(101) == []
    assert script.core.statistics().is_drained
    assert script.verb(Verb.SCALE_DOWN) == []
    assert script.verb(Verb.SCALE_UP) == [SpawnWorker(0, 1)]
    assert script.says(Level.INFO, "1 worker is wanted again")


def test_usr1_reaches_everybody_who_can_hear_it() -> None:
    """A worker that boots would be ended by it and hears it when it is ready; a draining one still logs."""
    script = Script.serving(plan(count=2))
    script.verb(Verb.SCALE_DOWN)
    script.verb(Verb.SCALE_UP)
    assert script.verb(Verb.REOPEN_LOGS) == [ReopenLogs(), usr1(100), usr1(101)]
    assert script.ready(1101) == [usr1(1101)]


def test_usr1_spares_who_was_told_to_end_at_once() -> None:
    """Its handler may never have been installed."""
    script = Script.serving(plan(count=1))
    script.verb(Verb.SCALE_UP)
    script.verb(Verb.SCALE_DOWN)
    assert script.verb(Verb.REOPEN_LOGS) == [ReopenLogs(), usr1(100)]
