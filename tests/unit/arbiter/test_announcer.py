"""When systemd is told what."""

from collections.abc import Sequence

import pytest

from pyfork.arbiter.announcer import ENDING, EXTENSION, EXTENSION_PERIOD, STATUS_PERIOD, Announcer
from pyfork.arbiter.figures import Look, Statistics, Work, WorkerStatistics
from pyfork.arbiter.lifecycle import ArbiterState, ReloadState, WorkerState
from pyfork.arbiter.notices import Notice

READY_FIGURES = "2 of 2 workers ready, 0 busy, 0.0 requests/s"


class Onlooker:
    """An announcer, the time, and what there is to see; every method returns the datagrams."""

    def __init__(self, watchdog: float | None = None) -> None:
        self.announcer = Announcer(watchdog)
        self.now = 1.0
        self.state = ArbiterState.STARTING
        self.deadlines: list[float | None] = [None, None]
        self.worker_state = WorkerState.READY
        self.requests = 0
        self.looks = 0
        self.is_reload_asked = False
        self.upgrade_deadline: float | None = None

    @classmethod
    def serving(cls, watchdog: float | None = None) -> "Onlooker":
        onlooker = cls(watchdog)
        onlooker.move(ArbiterState.RUNNING)
        return onlooker

    def look(self) -> Look:
        self.looks += 1
        workers = tuple(
            WorkerStatistics(number, 1, 100 + number, self.worker_state, deadline=deadline)
            for number, deadline in enumerate(self.deadlines)
        )
        statistics = Statistics(
            self.state,
            ReloadState.IDLE,
            1,
            2,
            is_drained=False,
            workers=workers,
            is_reload_asked=self.is_reload_asked,
            upgrade_deadline=self.upgrade_deadline,
        )
        return Look(statistics, {100: Work(self.requests, 0)})

    def move(self, state: ArbiterState) -> list[str]:
        self.state = state
        return texts(self.announcer.state_changed(state, self.now, self.look()))

    def hup(self) -> list[str]:
        return texts(self.announcer.reload_asked(self.now))

    def at(self, now: float) -> list[str]:
        self.now = now
        return texts(self.announcer.on_time(now, self.look))


def texts(notices: Sequence[Notice]) -> list[str]:
    return [notice.payload.decode() for notice in notices]


def test_ready_comes_with_the_first_worker_and_only_then() -> None:
    """Units that wait for ours must find somebody who answers."""
    onlooker = Onlooker()
    assert not any("READY" in text for text in onlooker.at(1.0))
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={READY_FIGURES}"]


def test_a_reload_is_announced_with_its_time_and_ends_with_ready() -> None:
    """All in one datagram each; ERRNO=0 takes back what an earlier reload may have left."""
    onlooker = Onlooker.serving()
    onlooker.now = 2.5
    assert onlooker.hup() == ["RELOADING=1\nMONOTONIC_USEC=2500000\nSTATUS=reloading"]
    assert onlooker.move(ArbiterState.RELOADING) == [f"STATUS=reloading: {READY_FIGURES}"]
    onlooker.announcer.reload_ended(None, 2)
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={READY_FIGURES}\nERRNO=0"]


def test_a_failed_reload_ends_with_ready_too_and_says_why_until_the_next() -> None:
    """systemd knows no failed reload: the status and an error number tell, and the figures do not wipe them out."""
    onlooker = Onlooker.serving()
    onlooker.hup()
    onlooker.move(ArbiterState.RELOADING)
    onlooker.announcer.reload_ended("no module named shop\nTraceback", 1)
    why = "reload failed: no module named shop; generation 1 goes on"
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={why}: {READY_FIGURES}\nERRNO=125"]
    onlooker.requests = 110
    [status] = onlooker.at(12.0)
    assert status == f"STATUS={why}: 2 of 2 workers ready, 0 busy, 10.0 requests/s"
    assert "failed" not in onlooker.hup()[0]


def test_a_hup_during_a_reload_is_announced_at_once_and_ready_comes_once() -> None:
    """Each HUP may be systemd's, which waits for a time that is not older than its own."""
    onlooker = Onlooker.serving()
    onlooker.hup()
    onlooker.move(ArbiterState.RELOADING)
    onlooker.now = 3.0
    assert onlooker.hup() == ["RELOADING=1\nMONOTONIC_USEC=3000000\nSTATUS=reloading"]
    onlooker.announcer.reload_ended("it was abandoned for a HUP", 1)
    onlooker.announcer.reload_ended(None, 3)
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={READY_FIGURES}\nERRNO=0"]


def test_a_hup_during_the_start_is_announced_when_its_reload_begins() -> None:
    """Before READY=1 there is nothing to reload for systemd."""
    onlooker = Onlooker()
    assert onlooker.hup() == []
    onlooker.move(ArbiterState.RUNNING)
    [reloading] = onlooker.move(ArbiterState.RELOADING)
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_a_hup_during_an_upgrade_is_not_answered_by_the_end_of_that() -> None:
    """`systemctl reload` would be over before the file is read."""
    onlooker = Onlooker.serving()
    onlooker.move(ArbiterState.UPGRADING)
    onlooker.hup()
    onlooker.is_reload_asked = True
    assert onlooker.move(ArbiterState.RUNNING) == [f"STATUS={READY_FIGURES}"]
    onlooker.is_reload_asked = False
    onlooker.move(ArbiterState.RELOADING)
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={READY_FIGURES}\nERRNO=0"]


def test_a_stop_is_told_once_and_a_hup_after_it_is_none() -> None:
    """A reload that was under way is not ended by READY=1: STOPPING=1 is stronger."""
    onlooker = Onlooker.serving()
    onlooker.hup()
    onlooker.move(ArbiterState.RELOADING)
    assert onlooker.move(ArbiterState.STOPPING) == ["STOPPING=1\nSTATUS=stopping: 2 workers left, 0 busy"]
    assert onlooker.hup() == []


def test_a_failed_start_says_why() -> None:
    """The log has the traceback, the status its first line."""
    onlooker = Onlooker()
    onlooker.announcer.failed("worker 0 gen 1 (pid 7) could not boot: no module named shop\nTraceback")
    [stopping] = onlooker.move(ArbiterState.STOPPING)
    assert stopping.startswith(
        "STOPPING=1\nSTATUS=failed: worker 0 gen 1 (pid 7) could not boot: no module named shop: stopping: "
    )


def test_other_moves_are_only_a_status() -> None:
    """Nobody waits for them."""
    onlooker = Onlooker.serving()
    assert onlooker.move(ArbiterState.UPGRADING) == [f"STATUS=upgrading: {READY_FIGURES}"]


def test_a_failed_upgrade_says_why_until_the_next_reload() -> None:
    """It has taken nothing from anybody; but who sent USR2 wants to know, as after a reload."""
    onlooker = Onlooker.serving()
    onlooker.move(ArbiterState.UPGRADING)
    onlooker.announcer.upgrade_failed("the new arbiter (pid 7) exited with status 2\nmore")
    why = "upgrade failed: the new arbiter (pid 7) exited with status 2; this arbiter goes on"
    assert onlooker.move(ArbiterState.RUNNING) == [f"STATUS={why}: {READY_FIGURES}\nERRNO=125"]
    onlooker.requests = 110
    [status] = onlooker.at(12.0)
    assert status == f"STATUS={why}: 2 of 2 workers ready, 0 busy, 10.0 requests/s"
    onlooker.hup()
    [status] = onlooker.move(ArbiterState.RELOADING)
    assert "failed" not in status
    onlooker.announcer.reload_ended(None, 2)
    assert onlooker.move(ArbiterState.RUNNING)[0].endswith("\nERRNO=0")


def test_another_upgrade_puts_an_end_to_the_failure_of_the_last() -> None:
    """It is told again only if this one fails as well."""
    onlooker = Onlooker.serving()
    onlooker.move(ArbiterState.UPGRADING)
    onlooker.announcer.upgrade_failed("it was too late")
    onlooker.move(ArbiterState.RUNNING)
    assert onlooker.move(ArbiterState.UPGRADING) == [f"STATUS=upgrading: {READY_FIGURES}"]
    onlooker.announcer.upgrade_failed("no")
    assert onlooker.move(ArbiterState.RUNNING)[0].endswith("\nERRNO=125")


def test_an_upgrade_that_fails_before_a_reload_that_waits_is_told_at_once() -> None:
    """The reload's READY=1 has a word on the error of its own, which is the last."""
    onlooker = Onlooker.serving()
    onlooker.move(ArbiterState.UPGRADING)
    onlooker.hup()
    onlooker.is_reload_asked = True
    onlooker.announcer.upgrade_failed("no")
    [failed] = onlooker.move(ArbiterState.RUNNING)
    assert failed == f"STATUS=upgrade failed: no; this arbiter goes on: {READY_FIGURES}\nERRNO=125"
    onlooker.is_reload_asked = False
    onlooker.move(ArbiterState.RELOADING)
    onlooker.announcer.reload_ended(None, 2)
    assert onlooker.move(ArbiterState.RUNNING) == [f"READY=1\nSTATUS={READY_FIGURES}\nERRNO=0"]


def test_a_new_main_process_says_that_it_serves() -> None:
    """Its predecessor may have announced a reload before it handed over, or its failure: ERRNO=0 takes that back."""
    onlooker = Onlooker(watchdog=2.0)
    onlooker.state = ArbiterState.RUNNING
    onlooker.announcer.state_changed(ArbiterState.RUNNING, 1.0, onlooker.look())
    taken_over = texts(onlooker.announcer.taken_over(5.0, onlooker.look()))
    assert taken_over == [f"READY=1\nSTATUS={READY_FIGURES}\nERRNO=0"]
    assert onlooker.announcer.next_deadline() == 5.0


def test_the_watchdog_is_fed_twice_in_its_time() -> None:
    """From the first turn of the loop on, whatever the state."""
    onlooker = Onlooker(watchdog=2.0)
    assert "WATCHDOG=1" in onlooker.at(1.0)
    assert "WATCHDOG=1" not in onlooker.at(1.5)
    onlooker.move(ArbiterState.RUNNING)
    assert onlooker.announcer.next_deadline() == 2.0
    assert onlooker.at(2.0) == ["WATCHDOG=1"]
    assert onlooker.announcer.next_deadline() == 3.0


def test_without_a_watchdog_a_running_arbiter_is_not_woken() -> None:
    """The status rides on the wake-ups that there are anyway."""
    assert Onlooker.serving().announcer.next_deadline() is None


def test_the_status_is_told_when_it_has_changed_and_not_too_often() -> None:
    """Nobody reads it more often, and looking at all workers costs something."""
    onlooker = Onlooker.serving()
    looks = onlooker.looks
    assert onlooker.at(5.0) == []
    assert onlooker.looks == looks
    assert onlooker.at(1.0 + STATUS_PERIOD) == []
    onlooker.requests = 100
    assert onlooker.at(1.0 + 2 * STATUS_PERIOD) == ["STATUS=2 of 2 workers ready, 0 busy, 10.0 requests/s"]


def test_a_drain_is_extended_until_its_workers_deadline_and_no_further() -> None:
    """The unit's own timeout may be shorter than graceful_timeout; it must not be longer for ever."""
    onlooker = Onlooker.serving()
    onlooker.worker_state = WorkerState.DRAINING
    onlooker.deadlines = [3.0, 31.0]
    [stopping] = onlooker.move(ArbiterState.STOPPING)
    assert stopping.endswith(f"\nEXTEND_TIMEOUT_USEC={EXTENSION * 1e6:.0f}")
    assert EXTENSION_PERIOD < EXTENSION
    promised = 1.0 + EXTENSION
    while (deadline := onlooker.announcer.next_deadline()) is not None and deadline < 60:
        for text in onlooker.at(deadline):
            if text.startswith("EXTEND_TIMEOUT_USEC="):
                assert onlooker.now < promised, "systemd would not have waited for this one"
                promised = onlooker.now + int(text.partition("=")[2]) / 1e6
                assert promised <= 31.0 + ENDING + 0.001
    assert promised == pytest.approx(31.0 + ENDING)


def test_a_stop_is_extended_for_a_new_arbiter_that_ends_too() -> None:
    """It cannot speak for itself yet."""
    onlooker = Onlooker.serving()
    onlooker.upgrade_deadline = 601.0
    [stopping] = onlooker.move(ArbiterState.STOPPING)
    assert stopping.endswith(f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}")
    assert onlooker.at(1.0 + EXTENSION_PERIOD) == [f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}"]


def test_a_boot_that_may_take_for_ever_is_not_extended() -> None:
    """With boot_timeout = 0 the unit's TimeoutStartSec is the only bound that there is."""
    onlooker = Onlooker()
    onlooker.worker_state = WorkerState.BOOTING
    assert not any("EXTEND" in text for text in onlooker.at(1.0))
    onlooker.deadlines = [61.0, 61.0]
    assert f"EXTEND_TIMEOUT_USEC={EXTENSION * 1e6:.0f}" in onlooker.at(1.0 + EXTENSION_PERIOD)


def test_a_reload_is_not_extended() -> None:
    """It may have no end."""
    onlooker = Onlooker.serving()
    onlooker.deadlines = [60.0, 60.0]
    onlooker.hup()
    onlooker.move(ArbiterState.RELOADING)
    assert onlooker.announcer.next_deadline() is None
