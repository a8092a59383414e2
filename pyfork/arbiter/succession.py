"""The upgrade as a state machine: a new arbiter is tried beside this one, and takes over or is ended.

It is what a reload is for the workers, one storey higher: the new arbiter starts its workers on the same sockets, and
only when all of them are ready does the old one hand over and drain its own. Until then nothing of the old is touched,
so a failure needs no undoing; nor does one of the hand-over itself, which the shell does whole or not at all. Rules:

- One upgrade at a time, none beside a start or a reload: USR2 waits until that has ended, HUP until this has.
- ``workers.boot_timeout`` limits it, counted from the start of the process. Who is late is told to end; as some of its
  workers may serve already, they get ``graceful_timeout`` for what is in flight, as in any stop.
- An arbiter that stops ends the new one too, and exits after it: nobody is left behind.
- An arbiter that was started by an upgrade reports once, when every place has a ready worker. Before that it cannot be
  replaced itself.
"""

from msgspec import Struct

from pyfork.arbiter.actions import Action, HandOver, Level, Log, Order, ReportReady, SignalWorker, StartUpgrade
from pyfork.arbiter.events import Plan
from pyfork.arbiter.lifecycle import UPGRADE_TRANSITIONS, ArbiterState, UpgradeMove, UpgradeState, advance
from pyfork.arbiter.policy import QUIT_GRACE
from pyfork.arbiter.reports import describe_exit


class PreviousCount(Struct, frozen=True):
    """The head count of the arbiter that this one replaces.

    Attributes:
        count: ``workers.count`` in the old one's configuration.
        wanted: what operators and the load have made of it.
        bounds: ``workers.min`` and ``workers.max`` in the old one's configuration, None without.
        steps: how far TTIN and TTOU have moved the count, or the bounds.
    """

    count: int
    wanted: int
    bounds: tuple[int, int] | None = None
    steps: int = 0


class Succession:
    """This arbiter's part in upgrades: its own beginning as a successor, and the successor that it starts.

    Args:
        previous: None in an arbiter that no other has started.

    Attributes:
        state: moved by the methods only, along the table.
        deadline: when something has to be done about the new arbiter, or None.
    """

    def __init__(self, previous: PreviousCount | None = None) -> None:
        self.state = UpgradeState.NONE
        self.deadline: float | None = None
        self._previous = previous
        self._owes_report = previous is not None
        self._is_asked = False
        self._pid = 0
        self._plan: Plan | None = None
        self._order: Order | None = None
        self._has_served = False

    def inherited_count(self, plan: Plan) -> tuple[int, int] | None:
        """Return the workers wanted of the old arbiter and operators' steps; None when the file, now ``plan``, wins."""
        before = self._previous
        if before is None or (before.count, before.bounds) != (plan.count, plan.bounds):
            return None
        return before.wanted, before.steps

    @property
    def can_begin(self) -> bool:
        """Whether a USR2 waits for an answer that can be given as far as upgrades go."""
        return self._is_asked and self.state is UpgradeState.NONE and not self._owes_report

    @property
    def is_under_way(self) -> bool:
        """Whether there is a new arbiter that has not taken over: it has to be gone before this one goes."""
        return self.state not in {UpgradeState.NONE, UpgradeState.HANDED_OVER}

    def report(self) -> list[Action]:
        """Note that every place has a ready worker; tell the old arbiter, once."""
        if not self._owes_report:
            return []
        self._owes_report = False
        return [ReportReady()]

    def describe_end(self) -> str:
        """Return, for an arbiter that stops, why it does nothing any more, and who does in its place."""
        if self.state is UpgradeState.HANDED_OVER:
            return f"this arbiter is replaced already; send it to pid {self._pid}"
        return "pyfork stops"

    def ask(self, arbiter: ArbiterState) -> str:
        """Note a USR2; return what to tell the operator."""
        if self.is_under_way:
            return f"upgrade: ignored, pid {self._pid} is being tried already"
        self._is_asked = True
        if arbiter is ArbiterState.RUNNING and not self._owes_report:
            return "upgrade: it begins"
        return "upgrade: it begins when what is under way has ended"

    def begin(self) -> list[Action]:
        """Answer the USR2."""
        self._move(UpgradeMove.ASKED)
        self._is_asked = False
        return [StartUpgrade()]

    def started(self, pid: int, plan: Plan, now: float) -> list[Action]:
        """Note that the process exists; ``plan`` has the timeouts."""
        self._move(UpgradeMove.STARTED)
        self._pid, self._plan, self._order = pid, plan, None
        self._has_served = False
        self.deadline = now + plan.boot_timeout if plan.boot_timeout else None
        limit = (
            f"it has {plan.boot_timeout:g} s (workers.boot_timeout)" if plan.boot_timeout else "it has no time limit"
        )
        return [Log(Level.INFO, f"upgrade: the new arbiter (pid {pid}) starts its workers; {limit}")]

    def refused(self, reason: str) -> list[Action]:
        """Note that there will be no new arbiter."""
        self._move(UpgradeMove.REFUSED)
        return [Log(Level.ERROR, f"upgrade refused: {reason}")]

    def got_ready(self, pid: int) -> list[Action]:
        """Note that the new arbiter serves; order the hand-over, or nothing when it was told to end meanwhile."""
        if self.state is not UpgradeState.TRYING:
            return []
        self._move(UpgradeMove.GOT_READY)
        self.deadline = None
        self._has_served = True
        message = f"upgrade: the new arbiter (pid {pid}) is ready: this one answers what is in flight and ends"
        return [Log(Level.INFO, message), HandOver(pid)]

    def handed_over(self) -> None:
        """Note that the new arbiter is in charge."""
        self._move(UpgradeMove.HANDED_OVER)

    def not_handed_over(self, reason: str, now: float) -> list[Action]:
        """Note that nothing has changed hands: the new arbiter is ended like one that was late."""
        message = f"upgrade: the new arbiter (pid {self._pid}) takes over nothing: {reason}: it is told to end"
        return [Log(Level.ERROR, message), *self._tell(Order.TERM, now)]

    def exited(self, code: int | None, signal: str | None, *, is_stopping: bool) -> list[Action]:
        """Note that the new arbiter is gone; ``is_stopping``: so does this one, and had told it to."""
        is_ours = self.state is UpgradeState.KILLED and signal == "SIGKILL"
        how = f"the new arbiter (pid {self._pid}) {'is gone' if is_ours else describe_exit(code, signal)}"
        if self.state is UpgradeState.HANDED_OVER:
            return [Log(Level.ERROR, f"upgrade: {how} after it had taken over: nobody serves any more")]
        self._move(UpgradeMove.EXITED)
        self.deadline = None
        if is_stopping:
            return [Log(Level.INFO, f"upgrade abandoned: {how}")]
        too_early = "" if self._has_served else " before it was ready"
        return [Log(Level.ERROR, f"upgrade failed: {how}{too_early}: this one goes on")]

    def look(self, now: float) -> list[Action]:
        """Deal with a new arbiter whose time is over."""
        if self.deadline is None or now < self.deadline or self._plan is None:
            return []
        if self.state is UpgradeState.TRYING:
            late = f"was not ready within {self._plan.boot_timeout:g} s (workers.boot_timeout)"
            message = f"upgrade: the new arbiter (pid {self._pid}) {late}: it is told to end"
            return [Log(Level.ERROR, message), *self._tell(Order.TERM, now)]
        self._move(UpgradeMove.KILLED)
        self.deadline = None
        message = f"upgrade: the new arbiter (pid {self._pid}) did not end in time: it is killed"
        return [Log(Level.WARNING, message), SignalWorker(self._pid, Order.KILL)]

    def end(self, now: float, *, is_hurried: bool) -> list[Action]:
        """Have the new arbiter end too, as this one stops; good for being called again and again."""
        order = Order.QUIT if is_hurried else Order.TERM
        is_told = self.state is UpgradeState.ENDING and self._order in {order, Order.QUIT}
        if is_told or self.state not in {UpgradeState.TRYING, UpgradeState.ENDING}:
            return []
        return self._tell(order, now)

    def shift(self, seconds: float) -> None:
        """Move the deadline by a stall of this arbiter."""
        if self.deadline is not None:
            self.deadline += seconds

    def _tell(self, order: Order, now: float) -> list[Action]:
        self._move(UpgradeMove.TOLD)
        self._order = order
        graceful = self._plan.graceful_timeout if self._plan is not None and order is Order.TERM else 0.0
        # Its own workers get the first part, before it kills them itself.
        self.deadline = now + max(graceful, QUIT_GRACE) + QUIT_GRACE
        return [SignalWorker(self._pid, order)]

    def _move(self, move: UpgradeMove) -> None:
        self.state = advance(UPGRADE_TRANSITIONS, self.state, move)
