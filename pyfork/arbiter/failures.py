"""What follows when a process cannot be started, does not become ready, or dies at once.

At the first start it ends pyfork. A candidate of a reload is given up for it. Otherwise it is tried again later, with
growing delays, and the rest serve. A mold that was to be made of a worker only leaves things as they were.
"""

from collections.abc import Callable

from pyfork.arbiter.actions import Level, ReloadEnded
from pyfork.arbiter.context import EventContext
from pyfork.arbiter.crashes import CrashLog, Kind
from pyfork.arbiter.handles import MoldHandle, ProcessHandle, WorkerHandle
from pyfork.arbiter.headcount import Headcount
from pyfork.arbiter.lifecycle import ReloadMove
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.pacing import Pacing
from pyfork.arbiter.policy import SETTLED, SPAWN_TRIES
from pyfork.arbiter.reports import describe_exit
from pyfork.arbiter.rollout import Rollout
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import FailureKind


class Failures:
    """Judges failures; one for each core.

    Args:
        context: for orders.
        rollout: whose generations they are.
        headcount: takes back what a failed reload changed.
        pacing: how soon again.
        give_up: ends pyfork with the given status, as no worker has ever been ready.

    Attributes:
        crashes: what the log says of failures that repeat themselves.
    """

    def __init__(
        self,
        context: EventContext,
        rollout: Rollout,
        headcount: Headcount,
        pacing: Pacing,
        give_up: Callable[[ExitStatus], None],
    ) -> None:
        self._context = context
        self._rollout = rollout
        self._headcount = headcount
        self._pacing = pacing
        self._give_up = give_up
        self.crashes = CrashLog()

    def spawn_refused(self, worker: WorkerHandle, reason: str) -> None:
        """Judge the fork of a worker that has failed."""
        if self._context.is_stopping:
            return
        generation = worker.generation
        why = f"worker {worker.number} gen {generation} could not be forked: {reason}"
        # A mold may just have been killed, which is no reason to give its generation up.
        may_retry = worker.mold is not None and self._pacing.failures(generation) < SPAWN_TRIES - 1
        if self._context.is_starting and not may_retry:
            self.give_up_start(why, ExitStatus.BOOT)
        elif worker.mold is not None and generation == self._rollout.candidate and not may_retry:
            self.fail_reload(ReloadMove.FAILED, why)
        else:
            self.back_off(generation, why, Kind.FORK)

    def mold_refused(self, mold: MoldHandle, reason: str) -> None:
        """Judge the fork of a mold, from the arbiter, that has failed."""
        why = f"mold {mold.serial} gen {mold.generation} could not be forked: {reason}"
        if self._context.is_starting:
            self.give_up_start(why, ExitStatus.BOOT)
        else:
            self.back_off(mold.generation, why, Kind.FORK)

    def boot_failed(self, process: ProcessHandle, why: str, kind: FailureKind, crash: Kind = Kind.BOOT) -> None:
        """Judge a process that will not become ready, or died too soon after that (``crash`` says which)."""
        if self._context.is_stopping:
            return
        if self._context.is_starting:
            is_application = kind is FailureKind.APPLICATION
            self.give_up_start(why, ExitStatus.APPLICATION if is_application else ExitStatus.BOOT)
        elif process.generation == self._rollout.candidate:
            self.fail_reload(ReloadMove.FAILED, why)
        else:
            self.back_off(process.generation, why, crash)

    def worker_lost(self, worker: WorkerHandle) -> None:
        """Have a ready worker that died replaced: at once, unless it died so soon that its successor may die too.

        A candidate whose workers die like that is given up: each of them would have cost a worker that serves.
        """
        why = f"{worker} died within {SETTLED:g} s of getting ready"
        if worker.has_settled(self._context.now) or worker.generation not in {
            self._rollout.target,
            self._rollout.trial,
        }:
            self._pacing.lose(worker.number)
        elif worker.generation == self._rollout.candidate:
            self.fail_reload(ReloadMove.FAILED, why)
        else:
            self.back_off(worker.generation, why, Kind.EARLY_DEATH)

    def back_off(self, generation: int, why: str, kind: Kind = Kind.BOOT) -> None:
        """Have ``generation`` tried again later."""
        if generation not in {self._rollout.target, self._rollout.trial}:
            self._context.log(Level.WARNING, f"{why}\nit is not needed any more")
            return
        delay = self._pacing.fail(generation, self._context.now, was_ready=kind is Kind.EARLY_DEATH)
        for line in self.crashes.note(generation, why, delay, self._context.now, kind):
            self._context.log(*line)

    def put_refork_off(self, molds: Molds, generation: int, why: str) -> None:
        """Leave the mold and its workers as they are, as no worker of ``generation`` could be made the next mold."""
        pause = molds.put_off(generation, self._context.now)
        rest = f"refork: the mold and the workers stay as they are; the next try is in {pause:g} s at the earliest"
        self._context.log(Level.WARNING, f"{why}\n{rest}")

    def fail_reload(self, move: ReloadMove, why: str = "") -> None:
        """Give the candidate up: it FAILED, and ``why`` says how, or is ABANDONED for a newer one."""
        if why:
            self._context.log(Level.ERROR, why)
        failed = self._rollout.fail(move)
        self._headcount.take_back()
        current = self._rollout.current
        level = Level.ERROR if move is ReloadMove.FAILED else Level.INFO
        self._context.log(level, f"reload {move.name.lower()}: generation {failed} is ended, {current} goes on")
        if move is ReloadMove.FAILED:
            self._context.order(ReloadEnded(why))

    def give_up_start(self, why: str, status: ExitStatus) -> None:
        """End pyfork, whose first start has failed."""
        self._context.log(Level.CRITICAL, f"{why}\nno worker has ever been ready: pyfork ends")
        self._give_up(status)


def overdue_boot(process: ProcessHandle) -> str:
    """Return why a process failed whose boot took too long."""
    timeout = process.plan.boot_timeout
    why = f"it was not ready within {timeout:g} s (workers.boot_timeout); its stacks are in the log"
    return f"{process} could not boot: {why}"


def early_death(
    process: ProcessHandle, code: int | None, signal: str | None, oom_kills: int | None = None
) -> tuple[str, FailureKind]:
    """Return why a process failed that ended before it was ready, and of which kind that is."""
    kind = FailureKind.APPLICATION if code == ExitStatus.APPLICATION else FailureKind.BOOT
    return f"{process} could not boot: it {describe_exit(code, signal, oom_kills)} before it was ready", kind
