"""What the parts of the core share while they handle an event: the moment, the arbiter's state, the orders so far."""

from pyfork.arbiter.actions import Action, Level, Log, StateChanged
from pyfork.arbiter.lifecycle import ARBITER_TRANSITIONS, ArbiterMove, ArbiterState, advance


class EventContext:
    """One for each core.

    Attributes:
        now: the moment of the event that is being handled.
        state: the arbiter's; moved by `move` only, along the table.
        actions: what has been ordered because of this event, in order.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.state = ArbiterState.STARTING
        self.actions: list[Action] = []

    def begin(self, now: float) -> None:
        """Clear the context for the next event."""
        self.now = now
        self.actions = []

    @property
    def is_starting(self) -> bool:
        """Whether no worker has ever been ready."""
        return self.state is ArbiterState.STARTING

    @property
    def is_stopping(self) -> bool:
        """Whether nothing is started any more."""
        return self.state is ArbiterState.STOPPING

    def order(self, *actions: Action) -> None:
        """Order ``actions`` of the shell."""
        self.actions += actions

    def order_first(self, *actions: Action) -> None:
        """Order ``actions`` of the shell before all that this event has led to."""
        self.actions[:0] = actions

    def log(self, level: Level, message: str) -> None:
        """Order a line of the error log."""
        self.actions.append(Log(level, message))

    def move(self, move: ArbiterMove) -> None:
        """Make a move of the arbiter's, and let those who look on know.

        Raises:
            IllegalMoveError: its table has no such move.
        """
        self.state = advance(ARBITER_TRANSITIONS, self.state, move)
        self.actions.append(StateChanged(self.state))
