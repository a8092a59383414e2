"""What the arbiter knows of one process, worker or mold, from the order to spawn it until it is reaped.

A handle knows its own state and deadline and words the orders to its process; *which* process is to be started,
retired, killed or replaced is decided elsewhere (`placement`, `molds`, `core`).
"""

from msgspec import Struct

from pyfork.arbiter.actions import Action, DumpStacks, Order, SignalWorker
from pyfork.arbiter.events import Plan
from pyfork.arbiter.lifecycle import WORKER_TRANSITIONS, IllegalMoveError, WorkerMove, WorkerState, advance
from pyfork.arbiter.policy import DUMP_GRACE, QUIT_GRACE, SETTLED, Silence

ACTIVE = frozenset({WorkerState.SPAWNING, WorkerState.BOOTING, WorkerState.READY})
"""A process in these states serves or is going to; in all others it is on its way out and its place is empty."""


class ProcessHandle(Struct, eq=False, kw_only=True):
    """The arbiter's view of one process.

    Attributes:
        generation: whose settings it has.
        plan: those settings, as far as the core needs them.
        state: moved by the methods only, along the table.
        pid: None until the shell has said it.
        deadline: when to do something about it: its birth or boot is overdue, its time for draining or dumping is over.
        order: the last one it was given to end.
        ready_since: the moment when it became ready.
        has_served: it has become ready.
        has_old_logs: the logs were reopened while it booted, when it could not be told yet.
    """

    generation: int
    plan: Plan
    state: WorkerState = WorkerState.SPAWNING
    pid: int | None = None
    deadline: float | None = None
    order: Order | None = None
    ready_since: float = 0.0
    has_served: bool = False
    has_old_logs: bool = False

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
        """Note that it serves; tell it what could not be told to a booting process."""
        self._move(WorkerMove.GOT_READY)
        self.deadline = None
        self.has_served = True
        self.ready_since = now
        return self.reopen_logs() if self.has_old_logs else []

    def gave_up(self, now: float) -> None:
        """Note that it will exit by itself, having said why it cannot boot."""
        self._move(WorkerMove.GAVE_UP)
        self.deadline = now + QUIT_GRACE

    def quit(self, now: float) -> list[Action]:
        """Tell it to end without its requests; it is killed soon after."""
        deadline = now + QUIT_GRACE
        return self._end(Order.QUIT, deadline if self.deadline is None else min(self.deadline, deadline))

    def reopen_logs(self) -> list[Action]:
        """Have its logs reopened: USR1, or as soon as it is ready (until then that signal would be lost)."""
        if self.state in {WorkerState.SPAWNING, WorkerState.BOOTING}:
            self.has_old_logs = True
            return []
        is_draining = self.state is WorkerState.DRAINING and self.order is Order.TERM
        is_serving = self.is_ready or (is_draining and self.has_served)
        return [self.signal(Order.USR1)] if is_serving else []

    def dump(self, now: float) -> list[Action]:
        """Have its stacks written: it missed its deadline and is killed next."""
        self._move(WorkerMove.MISSED)
        self.deadline = now + DUMP_GRACE
        return [DumpStacks(self._process())]

    def kill(self, move: WorkerMove = WorkerMove.KILLED) -> list[Action]:
        """Let the kernel end it: it has run out of time, or ``move`` says why else."""
        self._move(move)
        self.deadline = None
        return [self.signal(Order.KILL)]

    def gone(self, move: WorkerMove) -> None:
        """Note its end: it was reaped, or never was."""
        self._move(move)

    def signal(self, order: Order) -> SignalWorker:
        """Word an order to its process."""
        return SignalWorker(self._process(), order)

    def next_deadline(self) -> float | None:
        """Return when to look at it again."""
        return self.deadline

    def shift(self, seconds: float, now: float) -> None:
        """Move its deadlines by a stall of the arbiter that ended ``now``."""
        del now
        self.ready_since += seconds
        if self.deadline is not None:
            self.deadline += seconds

    def _end(self, order: Order, deadline: float) -> list[Action]:
        self._move(WorkerMove.RETIRED)
        self.deadline = deadline
        self.order = order
        return [self.signal(order)]

    def _process(self) -> int:
        if self.pid is None:
            raise IllegalMoveError(f"{self} has no process yet")
        return self.pid

    def _move(self, move: WorkerMove) -> None:
        self.state = advance(WORKER_TRANSITIONS, self.state, move)


class WorkerHandle(ProcessHandle, eq=False, kw_only=True):
    """The arbiter's view of one worker.

    Attributes:
        number: its place, from 0.
        mold: the serial of the mold that it is forked from, or None.
        silence: while it is READY.
        outworn_since: the moment from which it waits to be replaced, because it has asked for it or there is a warmer
            mold than its own, or None.
        is_ripe: it may become a mold.
    """

    number: int
    mold: int | None = None
    silence: Silence | None = None
    outworn_since: float | None = None
    is_ripe: bool = False

    def __str__(self) -> str:
        return f"worker {self.number} gen {self.generation} (pid {self.pid})"

    @property
    def is_outworn(self) -> bool:
        """Whether it is to be replaced although it serves."""
        return self.outworn_since is not None

    def wear_out(self, now: float) -> None:
        """Note that it is to be replaced, in its turn."""
        if self.outworn_since is None:
            self.outworn_since = now

    def got_ready(self, now: float) -> list[Action]:
        """See `ProcessHandle.got_ready`; from now on it is heard."""
        actions = ProcessHandle.got_ready(self, now)
        self.silence = Silence(self.plan, heard=now)
        return actions

    def retire(self, now: float) -> list[Action]:
        """Tell it to end by TERM: after its requests, and at once while it boots.

        Who seems to boot may have begun to serve an instant ago: by QUIT it would give up what it has accepted.
        """
        if self.state is WorkerState.BOOTING:
            return self._end(Order.TERM, now + QUIT_GRACE)
        return self._drain(now)

    def serves_after_all(self, now: float) -> None:
        """Note that it had become ready when it was told to end: it has the time of a ready one for its requests."""
        if self.state is WorkerState.DRAINING and self.order is Order.TERM and not self.has_served:
            self.has_served = True
            self.deadline = now + max(self.plan.graceful_timeout, QUIT_GRACE)

    def dump_and_drain(self, now: float) -> list[Action]:
        """Have its stacks written and tell it to end: a request is stuck, but its loop can finish the others."""
        return [*self.dump(now), *self._drain(now)]

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
        ProcessHandle.shift(self, seconds, now)
        if self.silence is not None:
            self.silence.shift(seconds, now)

    def _drain(self, now: float) -> list[Action]:
        # An idle worker has to run its atexit handlers, whatever graceful_timeout says about requests.
        return self._end(Order.TERM, now + max(self.plan.graceful_timeout, QUIT_GRACE))

    def _move(self, move: WorkerMove) -> None:
        ProcessHandle._move(self, move)  # noqa: SLF001 (a dataclass with slots is another class than super() knows)
        if not self.is_ready:
            self.silence = None


class MoldHandle(ProcessHandle, eq=False, kw_only=True):
    """The arbiter's view of one mold.

    Attributes:
        serial: counts the molds.
        layer: how many times its line has been reforked: 0 for one that imports the application itself.
    """

    serial: int
    layer: int = 0

    def __str__(self) -> str:
        return f"mold {self.serial} gen {self.generation} (pid {self.pid})"

    @property
    def is_promoted(self) -> bool:
        """Whether it is a copy of a worker."""
        return self.layer > 0

    def is_overdue(self, now: float) -> bool:
        """Whether something has to be done about it now."""
        return self.deadline is not None and now >= self.deadline
