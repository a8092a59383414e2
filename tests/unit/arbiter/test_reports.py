"""What the operator reads."""

import pytest

from pyfork.arbiter.actions import Level, Log, Order
from pyfork.arbiter.events import UpgradeExited
from pyfork.arbiter.handles import WorkerHandle
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.reports import (
    describe_boot_failure,
    describe_exit,
    describe_failed_upgrade,
    report_exit,
    report_kill,
    report_stuck,
    report_stuck_alive,
)
from tests.unit.arbiter.script import plan


def worker(state: WorkerState, order: Order | None = None) -> WorkerHandle:
    return WorkerHandle(number=2, generation=5, plan=plan(), state=state, pid=77, order=order)


@pytest.mark.parametrize(
    ("code", "signal", "text"),
    [
        (
            None,
            "SIGKILL",
            "was killed by SIGKILL that pyfork did not send: out of memory (see `dmesg`), or somebody's kill -9",
        ),
        (None, "SIGBUS", "was ended by SIGBUS"),
        (4, None, "exited with status 4 (the application could not be loaded)"),
        (0, None, "exited with status 0"),
    ],
)
def test_exit_is_described(code: int | None, signal: str | None, text: str) -> None:
    """A signal by its name, a status by its number, and a hint where there is one."""
    assert describe_exit(code, signal) == text


def test_a_failed_upgrade_is_described_by_who_knows_best() -> None:
    """The new arbiter itself; then its end, unless that was this one's wish."""
    said = UpgradeExited(9, 2, None, "workers.cuont: unknown")
    assert describe_failed_upgrade(said, was_told=True) == "workers.cuont: unknown"
    mute = UpgradeExited(9, 3, None)
    assert describe_failed_upgrade(mute, was_told=False) == "the new arbiter (pid 9) exited with status 3"
    assert describe_failed_upgrade(mute, was_told=True) == (
        "the new arbiter (pid 9) had to be told to end, and the log says why"
    )


@pytest.mark.parametrize(
    ("oom_kills", "text"),
    [
        (2, "was killed by SIGKILL: the kernel's out-of-memory killer (oom_kill in memory.events has grown)"),
        (
            0,
            (
                "was killed by SIGKILL that pyfork did not send: somebody's kill -9 (the kernel counts no out-of-memory "
                "kill in this cgroup)"
            ),
        ),
    ],
)
def test_out_of_memory_is_told_from_what_the_kernel_counts(oom_kills: int, text: str) -> None:
    """Where it counts; the exit alone does not tell."""
    assert describe_exit(None, "SIGKILL", oom_kills) == text
    assert text in report_exit(worker(WorkerState.READY), None, "SIGKILL", oom_kills).message


@pytest.mark.parametrize(
    ("state", "order", "code", "line"),
    [
        (
            WorkerState.READY,
            None,
            1,
            Log(
                Level.ERROR, "worker 2 gen 5 (pid 77) exited with status 1 although nobody asked it to: it is replaced"
            ),
        ),
        (WorkerState.DRAINING, Order.TERM, 0, Log(Level.INFO, "worker 2 gen 5 (pid 77) has ended")),
        (
            WorkerState.DRAINING,
            Order.TERM,
            1,
            Log(Level.WARNING, "worker 2 gen 5 (pid 77) exited with status 1 while it was ending"),
        ),
        (WorkerState.DRAINING, Order.TERM, 3, Log(Level.INFO, "worker 2 gen 5 (pid 77) has ended")),
        (WorkerState.DRAINING, Order.TERM, 4, Log(Level.INFO, "worker 2 gen 5 (pid 77) has ended")),
        (WorkerState.DRAINING, Order.QUIT, 1, Log(Level.INFO, "worker 2 gen 5 (pid 77) has ended")),
        (
            WorkerState.KILLED,
            Order.TERM,
            1,
            Log(Level.INFO, "worker 2 gen 5 (pid 77) is gone after it was killed"),
        ),
        (
            WorkerState.STUCK,
            None,
            1,
            Log(Level.INFO, "worker 2 gen 5 (pid 77) is gone after it missed its deadline"),
        ),
    ],
)
def test_exit_is_judged_by_what_was_asked(state: WorkerState, order: Order | None, code: int, line: Log) -> None:
    """An end that was ordered is no news; one that was not is."""
    assert report_exit(worker(state, order), code, None) == line


def test_a_worker_that_has_to_wait_is_not_said_to_be_replaced() -> None:
    """The next line says when it is tried again."""
    told = report_exit(worker(WorkerState.READY, None), 7, None, is_settled=False).message
    assert told == "worker 2 gen 5 (pid 77) exited with status 7 although nobody asked it to"


def test_kill_names_the_setting() -> None:
    """The operator learns what to change."""
    served = worker(WorkerState.DRAINING, Order.TERM)
    served.has_served = True
    drained = report_kill(served).message
    assert "did not end within 30 s (workers.graceful_timeout): it is killed" in drained
    assert "did not end at once: it is killed" in report_kill(worker(WorkerState.DRAINING, Order.QUIT)).message
    booting = report_kill(worker(WorkerState.DRAINING, Order.TERM)).message
    assert "did not end at once: it is killed" in booting, "a boot has no requests to finish"


def test_stuck_worker_is_an_error_that_names_the_setting() -> None:
    """The stacks follow it in the log."""
    line = report_stuck(worker(WorkerState.READY))
    assert line.level is Level.ERROR
    assert "no progress for 30 s (workers.timeout)" in line.message


def test_request_that_is_stuck_beside_a_living_loop() -> None:
    """Both settings that matter are named."""
    line = report_stuck_alive(worker(WorkerState.READY))
    assert line.level is Level.ERROR
    assert "no progress for 30 s (workers.timeout)" in line.message
    assert "for 30 s (workers.graceful_timeout)" in line.message


def test_boot_failure_has_its_traceback_below() -> None:
    """Where there is one."""
    assert describe_boot_failure("no", "") == "no"
    assert describe_boot_failure("no", "Traceback\n  x\n") == "no\nTraceback\n  x"
