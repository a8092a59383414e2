"""How the core words what it tells the operator: whole sentences that name worker, generation and process."""

from pyfork.arbiter.actions import Level, Log, Order
from pyfork.arbiter.events import UpgradeExited
from pyfork.arbiter.handles import MoldHandle, WorkerHandle
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.policy import QUIT_GRACE
from pyfork.ipc.exits import ExitStatus


def describe_exit(code: int | None, signal: str | None, oom_kills: int | None = None) -> str:
    """Return how a process ended, as the rest of a sentence about it.

    Args:
        code: its exit status, or None.
        signal: the name of the signal that ended it, or None; SIGKILL is one that the arbiter did not send.
        oom_kills: see `events.WorkerExited`.
    """
    if signal == "SIGKILL":
        return f"was killed by SIGKILL{_suspect(oom_kills)}"
    if signal is not None:
        return f"was ended by {signal}"
    if code == ExitStatus.APPLICATION:
        return "exited with status 4 (the application could not be loaded)"
    return f"exited with status {code}"


def describe_failed_upgrade(event: UpgradeExited, *, was_told: bool) -> str:
    """Return why an upgrade has come to nothing, for those who do not read the log.

    Args:
        event: the new arbiter's end.
        was_told: whether this arbiter had told it to end.
    """
    if event.said:
        return event.said
    who = f"the new arbiter (pid {event.pid})"
    if was_told:
        return f"{who} had to be told to end, and the log says why"
    return f"{who} {describe_exit(event.code, event.signal)}"


def report_exit(
    worker: WorkerHandle, code: int | None, signal: str | None, oom_kills: int | None = None, *, is_settled: bool = True
) -> Log:
    """Return the line about a worker that was reaped, judged by the state in which that found it.

    One that served, but had not settled, may have to wait for its replacement: that is another line's to say.
    """
    how = describe_exit(code, signal, oom_kills)
    if worker.state is WorkerState.READY:
        level = Level.WARNING if code == 0 else Level.ERROR
        return Log(level, f"{worker} {how} although nobody asked it to" + (": it is replaced" if is_settled else ""))
    is_odd = code != 0 and (worker.has_served or not _ends_a_boot(code, signal))
    if worker.order is Order.TERM and worker.state is WorkerState.DRAINING and is_odd:
        return Log(Level.WARNING, f"{worker} {how} while it was ending")
    if worker.state is WorkerState.DRAINING:
        return Log(Level.INFO, f"{worker} has ended")
    why = "was killed" if worker.state is WorkerState.KILLED else "missed its deadline"
    return Log(Level.INFO, f"{worker} is gone after it {why}")


def report_mold_exit(mold: MoldHandle, code: int | None, signal: str | None, oom_kills: int | None = None) -> Log:
    """Return the line about a mold that was reaped once it was ready, judged by the state in which that found it."""
    how = describe_exit(code, signal, oom_kills)
    if mold.is_ready:
        return Log(Level.ERROR, f"{mold} {how} although nobody asked it to: another is made, the workers serve on")
    return Log(Level.INFO, f"{mold} has ended" if mold.state is WorkerState.DRAINING else f"{mold} is gone")


def report_kill(worker: WorkerHandle) -> Log:
    """Return the line about a draining worker that is killed."""
    waited = "did not end at once"
    if worker.order is Order.TERM and worker.has_served:
        waited = f"did not end within {max(worker.plan.graceful_timeout, QUIT_GRACE):g} s (workers.graceful_timeout)"
    return Log(Level.WARNING, f"{worker} {waited}: it is killed")


def report_stuck(worker: WorkerHandle) -> Log:
    """Return the line about a ready worker that is stuck."""
    return Log(
        Level.ERROR,
        f"{worker} has made no progress for {worker.plan.timeout:g} s (workers.timeout): its stacks follow, "
        "then it is killed; a new worker takes its place",
    )


def report_stuck_alive(worker: WorkerHandle) -> Log:
    """Return the line about a ready worker whose loop lives while one of its requests is stuck."""
    plan = worker.plan
    return Log(
        Level.ERROR,
        f"{worker} has a request that has made no progress for {plan.timeout:g} s (workers.timeout): its stacks "
        f"follow; it may finish its other requests for {plan.graceful_timeout:g} s (workers.graceful_timeout); a new "
        "worker takes its place",
    )


def describe_boot_failure(message: str, traceback: str) -> str:
    """Return why a worker could not boot, or a reload not begin, with the traceback below it when there is one."""
    return f"{message}\n{traceback.rstrip()}" if traceback else message


def _ends_a_boot(code: int | None, signal: str | None) -> bool:
    """Whether a boot that is told to end may end like that: it has no handler yet, or fails in that moment."""
    return signal == "SIGTERM" or code in {ExitStatus.BOOT, ExitStatus.APPLICATION}


def _suspect(oom_kills: int | None) -> str:
    """Return who may have sent a SIGKILL that is not the arbiter's."""
    if oom_kills:
        return ": the kernel's out-of-memory killer (oom_kill in memory.events has grown)"
    if oom_kills == 0:
        return " that pyfork did not send: somebody's kill -9 (the kernel counts no out-of-memory kill in this cgroup)"
    return " that pyfork did not send: out of memory (see `dmesg`), or somebody's kill -9"
