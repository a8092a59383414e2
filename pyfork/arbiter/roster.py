"""The workers that the arbiter knows: one handle for each, from the order to spawn it until it is reaped.

A handle knows its own state and deadline and words the orders to its process; *which* worker is to be retired, killed
or replaced is decided elsewhere (`placement`, `core`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyfork.arbiter.actions import Action, DumpStacks, Order, SignalWorker
from pyfork.arbiter.events import Plan
from pyfork.arbiter.lifecycle import WORKER_TRANSITIONS, IllegalMoveError, WorkerMove, WorkerState, advance
from pyfork.arbiter.policy import DUMP_GRACE, QUIT_GRACE, SETTLED, Silence

ACTIVE = frozenset({WorkerState.SPAWNING, WorkerState.BOOTING, WorkerState.READY})
"""A worker in these states serves or is going to; in all others it is on its way out and its place is empty."""


@dataclass(slots=True, eq=False)
class WorkerHandle:
    """The arbiter's view of one worker.

    Attributes:
        number: its place, from 0.
        generation: whose settings it has.
        plan: those settings, as far as the core needs them.
        state: moved by the methods only, along the table.
        pid: None until the shell has said it.
        deadline: when to do something about it: its boot is overdue, its time for draining or dumping is over.
        silence: while it is READY.
        order: the last one it was given to end.
        ready_since: the moment when it became ready.
        has_old_logs: the logs were reopened while it booted, when it could not be told yet.
    """

    number: int
    generation: int
    plan: Plan
    state: WorkerState = WorkerState.SPAWNING
    pid: int | None = None
    deadline: float | None = None
    silence: Silence | None = None
    order: Order | None = None
    ready_since: float = 0.0
    has_old_logs: bool = False

    def __str__(self) -> str:
        return f"worker {self.number} gen {self.generation} (pid {self.pid})"

    @property
    def is_active(self) -> bool:
        """Whether it serves or is going to."""
        return self.state in ACTIVE

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self.state is WorkerState.READY

    def has_settled(self, now: float) -> bool:
        """Whether it has served for long enough not to die for the reasons for which boots fail."""
        return now - self.ready_since >= SETTLED

    def spawned(self, pid: int, now: float) -> None:
        """Note that the process exists: its boot is overdue after ``boot_timeout``."""
        self._move(WorkerMove.SPAWNED)
        self.pid = pid
        self.deadline = now + self.plan.boot_timeout if self.plan.boot_timeout else None

    def got_ready(self, now: float) -> list[Action]:
        """Note that it serves; tell it what could not be told to a booting worker."""
        self._move(WorkerMove.GOT_READY)
        self.deadline = None
        self.silence = Silence(self.plan, heard=now)
        self.ready_since = now
        return self.reopen_logs() if self.has_old_logs else []

    def gave_up(self, now: float) -> None:
        """Note that it will exit by itself, having said why it cannot boot."""
        self._move(WorkerMove.GAVE_UP)
        self.deadline = now + QUIT_GRACE

    def retire(self, now: float) -> list[Action]:
        """Tell it to end: a ready worker after its requests (TERM), a booting one at once (QUIT)."""
        if self.state is not WorkerState.READY:
            return self.quit(now)
        return self._drain(now)

    def quit(self, now: float) -> list[Action]:
        """Tell it to end without its requests; it is killed soon after."""
        deadline = now + QUIT_GRACE
        return self._end(Order.QUIT, deadline if self.deadline is None else min(self.deadline, deadline))

    def reopen_logs(self) -> list[Action]:
        """Have its logs reopened: USR1, or as soon as it is ready (until then that signal would end it)."""
        if self.state in {WorkerState.SPAWNING, WorkerState.BOOTING}:
            self.has_old_logs = True
            return []
        is_serving = self.is_ready or (self.state is WorkerState.DRAINING and self.order is Order.TERM)
        return [self.signal(Order.USR1)] if is_serving else []

    def dump(self, now: float) -> list[Action]:
        """Have its stacks written: it missed its deadline and is killed next."""
        self._move(WorkerMove.MISSED)
        self.silence = None
        self.deadline = now + DUMP_GRACE
        return [DumpStacks(self._process())]

    def dump_and_drain(self, now: float) -> list[Action]:
        """Have its stacks written and tell it to end: a request is stuck, but its loop can finish the others."""
        return [*self.dump(now), *self._drain(now)]

    def kill(self) -> list[Action]:
        """Let the kernel end it."""
        self._move(WorkerMove.KILLED)
        self.deadline = None
        return [self.signal(Order.KILL)]

    def gone(self, move: WorkerMove) -> None:
        """Note its end: it was reaped, or never was."""
        self._move(move)

    def signal(self, order: Order) -> SignalWorker:
        """Word an order to its process."""
        return SignalWorker(self._process(), order)

    def is_overdue(self, now: float, entered: float | None) -> bool:
        """Whether something has to be done about it now.

        Args:
            now: the moment.
            entered: the start of its stretch in the application (`events.TimePassed`), or None.
        """
        if self.silence is not None:
            return self.silence.look(now, entered)
        return self.deadline is not None and now >= self.deadline

    def next_deadline(self) -> float | None:
        """Return when to look at it again."""
        return self.deadline if self.silence is None else self.silence.deadline()

    def shift(self, seconds: float, now: float) -> None:
        """Move its deadlines by a stall of the arbiter that ended ``now``."""
        self.ready_since += seconds
        if self.deadline is not None:
            self.deadline += seconds
        if self.silence is not None:
            self.silence.shift(seconds, now)

    def _drain(self, now: float) -> list[Action]:
        # An idle worker has to run its atexit handlers, whatever graceful_timeout says about requests.
        return self._end(Order.TERM, now + max(self.plan.graceful_timeout, QUIT_GRACE))

    def _end(self, order: Order, deadline: float) -> list[Action]:
        self._move(WorkerMove.RETIRED)
        self.silence = None
        self.deadline = deadline
        self.order = order
        return [self.signal(order)]

    def _process(self) -> int:
        if self.pid is None:
            raise IllegalMoveError(f"worker {self.number} gen {self.generation} has no process yet")
        return self.pid

    def _move(self, move: WorkerMove) -> None:
        self.state = advance(WORKER_TRANSITIONS, self.state, move)


class Roster:
    """All workers that are not GONE, in the order in which they were spawned."""

    def __init__(self) -> None:
        self._workers: list[WorkerHandle] = []

    def __iter__(self) -> Iterator[WorkerHandle]:
        return iter(tuple(self._workers))

    def __bool__(self) -> bool:
        return bool(self._workers)

    def add(self, number: int, generation: int, plan: Plan) -> None:
        """Add a worker that the shell is about to spawn."""
        self._workers.append(WorkerHandle(number, generation, plan))

    def find_spawning(self, number: int, generation: int) -> WorkerHandle:
        """Return the worker whose spawn the shell answers.

        Raises:
            IllegalMoveError: none such was ordered.
        """
        for worker in self._workers:
            if worker.state is WorkerState.SPAWNING and (worker.number, worker.generation) == (number, generation):
                return worker
        raise IllegalMoveError(f"nobody ordered worker {number} gen {generation}")

    def find(self, pid: int) -> WorkerHandle | None:
        """Return the worker with ``pid``, or None when there is none (any more)."""
        return next((worker for worker in self._workers if worker.pid == pid), None)

    def remove(self, worker: WorkerHandle, move: WorkerMove) -> None:
        """Forget a worker that is GONE by ``move``."""
        worker.gone(move)
        self._workers.remove(worker)

    def has_active(self, generation: int) -> bool:
        """Whether a worker of ``generation`` serves or is going to."""
        return any(worker.generation == generation for worker in self._workers if worker.is_active)

    def shift(self, seconds: float, now: float) -> None:
        """Move all deadlines by a stall that ended ``now``."""
        for worker in self._workers:
            worker.shift(seconds, now)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of all workers."""
        deadlines = (worker.next_deadline() for worker in self._workers)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
