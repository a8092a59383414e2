"""What those are told who look on: each move of the arbiter, and how each reload has ended."""

from pyfork.arbiter.actions import ReloadEnded, StateChanged, StopAccepting, UpgradeFailed
from pyfork.arbiter.events import Started, UpgradeExited, UpgradeRefused, UpgradeStarted, Verb, VerbReceived
from pyfork.arbiter.lifecycle import ArbiterState
from tests.unit.arbiter.script import Script, plan

RUNNING, RELOADING, STOPPING = map(StateChanged, (ArbiterState.RUNNING, ArbiterState.RELOADING, ArbiterState.STOPPING))


def test_the_first_ready_worker_is_told_once() -> None:
    """That is the moment from which somebody serves."""
    script = Script(plan(count=2))
    script.tell(Started())
    assert script.news == []
    script.ready(100, 101)
    assert script.news == [RUNNING]


def test_a_reload_that_goes_well_is_told_from_its_beginning_to_its_end() -> None:
    """It has ended when the new generation is adopted."""
    script = Script.serving(plan(count=1))
    script.news.clear()
    script.reloading(plan(count=1))
    assert script.news == [RELOADING]
    script.ready(200)
    assert script.news == [RELOADING, ReloadEnded(None), RUNNING]


def test_the_beginning_of_a_reload_is_told_before_the_configuration_is_read() -> None:
    """The shell answers that order at once, and a refusal ends the reload: told later, the end would come first."""
    script = Script.serving()
    script.news.clear()
    actions = script.core.handle(VerbReceived(Verb.RELOAD), 0.0)
    assert actions[0] == RELOADING
    script.refused("[workers] conut: unknown", "bind: no")
    assert script.news == [ReloadEnded("[workers] conut: unknown\nbind: no"), RUNNING]


def test_a_reload_that_fails_is_told_with_the_reason() -> None:
    """Message and traceback, as in the log."""
    script = Script.serving()
    script.news.clear()
    script.reloading()
    script.boot_fails(200, trace="Traceback")
    why = "worker 0 gen 2 (pid 200) could not boot: no module named shop\nTraceback"
    assert script.news == [RELOADING, ReloadEnded(why), RUNNING]


def test_an_upgrade_that_fails_is_told_with_the_reason() -> None:
    """What the new arbiter said is the best, then how it ended; before the move that ends the upgrade."""
    for event, why in (
        (UpgradeRefused("pyfork is process 1 here"), "pyfork is process 1 here"),
        (UpgradeExited(9000, 2, None, "workers.cuont: unknown"), "workers.cuont: unknown"),
        (UpgradeExited(9000, None, "SIGSEGV"), "the new arbiter (pid 9000) was ended by SIGSEGV"),
    ):
        script = Script.serving()
        script.verb(Verb.UPGRADE)
        if isinstance(event, UpgradeExited):
            script.tell(UpgradeStarted(9000))
        script.news.clear()
        script.tell(event)
        assert script.news == [UpgradeFailed(why), RUNNING]


def test_a_new_arbiter_that_was_told_to_end_has_not_failed_by_its_own_end() -> None:
    """Its exit status says nothing; and when all stops, nothing has failed."""
    script = Script.serving(plan(timeout=0, boot_timeout=5))
    script.verb(Verb.UPGRADE)
    script.tell(UpgradeStarted(9000))
    script.time(5)
    script.news.clear()
    script.tell(UpgradeExited(9000, 0, None))
    why = "the new arbiter (pid 9000) had to be told to end, and the log says why"
    assert script.news == [UpgradeFailed(why), RUNNING]
    script.verb(Verb.UPGRADE)
    script.tell(UpgradeStarted(9001))
    script.verb(Verb.STOP)
    script.news.clear()
    script.tell(UpgradeExited(9001, 0, None))
    assert script.news == []


def test_an_abandoned_reload_has_no_end_of_its_own() -> None:
    """By a HUP another begins at once, and the arbiter goes on reloading; by a WINCH it just ends."""
    script = Script.serving()
    script.news.clear()
    script.reloading()
    script.verb(Verb.RELOAD)
    script.loaded()
    assert script.news == [RELOADING]
    script.verb(Verb.DRAIN_WORKERS)
    assert script.news == [RELOADING, RUNNING]


def test_the_stop_is_told_before_the_listeners_refuse() -> None:
    """Who keeps copies of the listeners has to let go of them before a path is unlinked."""
    script = Script.serving()
    actions = script.core.handle(VerbReceived(Verb.STOP), 0.0)
    assert actions.index(STOPPING) < actions.index(StopAccepting())
