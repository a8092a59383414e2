"""The reload as a state machine: which generation serves, which is tried, which has failed.

It knows nothing of workers. The core tells it what happened to the generations and asks what to aim at:

- until the candidate has proved itself by a first ready worker, the current generation is the target;
- from then on the candidate is;
- when it fails, the current generation is again, and `placement` goes back the way it came.

A HUP is always good for one more reload. While a candidate is being tried it abandons that candidate; while one
replaces the others it waits until that has ended; while one is rolled back it begins at once, because the old
generation itself may not boot any more (its release may be gone from the disk), and only something new helps then.
"""

from pyfork.arbiter.events import Plan
from pyfork.arbiter.lifecycle import RELOAD_TRANSITIONS, ReloadMove, ReloadState, advance


class Rollout:
    """The generations and how far the reload has come.

    Args:
        plan: of generation 1, which is the current one from the start.

    Attributes:
        state: moved by the methods only, along the table.
        current: the generation that was adopted last.
        newest: the number given last, also when its configuration was refused.
        failed: generations that were given up and still have workers, or whose listeners are still open.
        is_asked: a HUP has come that no reload has answered yet.
    """

    def __init__(self, plan: Plan) -> None:
        self.state = ReloadState.IDLE
        self.current = 1
        self.newest = 1
        self.failed: set[int] = set()
        self.is_asked = False
        self._plans = {1: plan}

    @property
    def target(self) -> int:
        """The generation that each place is to have."""
        return self.newest if self.state is ReloadState.REPLACING else self.current

    @property
    def trial(self) -> int | None:
        """The generation that has yet to prove itself, or None."""
        return self.newest if self.state is ReloadState.TRYING else None

    @property
    def candidate(self) -> int | None:
        """The generation that is tried or replaces the others, or None."""
        return self.newest if self.state in {ReloadState.TRYING, ReloadState.REPLACING} else None

    @property
    def can_begin(self) -> bool:
        """Whether a HUP can be answered now."""
        return self.state in {ReloadState.IDLE, ReloadState.ROLLING_BACK}

    def plan(self, generation: int) -> Plan:
        """Return the settings of a generation that may spawn workers."""
        return self._plans[generation]

    def begin(self) -> int:
        """Answer the HUP; return the number of the generation to load."""
        self._move(ReloadMove.ASKED)
        self.is_asked = False
        self.newest += 1
        return self.newest

    def load(self, plan: Plan) -> None:
        """Note that the newest generation's configuration is valid."""
        self._move(ReloadMove.LOADED)
        self._plans[self.newest] = plan

    def refuse(self) -> None:
        """Note that it is not."""
        self._move(ReloadMove.REFUSED)

    def prove(self) -> bool:
        """Note that a first worker of the candidate is ready; return whether it has another number configured."""
        self._move(ReloadMove.PROVED)
        new, old = self._plans[self.newest], self._plans[self.current]
        return (new.count, new.bounds) != (old.count, old.bounds)

    def fail(self, move: ReloadMove) -> int:
        """Give the candidate up, because it ``FAILED`` or is ``ABANDONED``; return its number."""
        self._move(move)
        self.failed.add(self.newest)
        return self.newest

    def drop(self, generation: int) -> None:
        """Forget a failed generation of which nothing is left."""
        self.failed.remove(generation)
        del self._plans[generation]

    def undo(self) -> None:
        """Note that nothing is left of what failed."""
        self._move(ReloadMove.UNDONE)

    def adopt(self) -> int:
        """Make the candidate the current generation; return its number."""
        self._move(ReloadMove.DONE)
        self._plans = {self.newest: self._plans[self.newest]}
        self.current = self.newest
        return self.current

    def _move(self, move: ReloadMove) -> None:
        self.state = advance(RELOAD_TRANSITIONS, self.state, move)
