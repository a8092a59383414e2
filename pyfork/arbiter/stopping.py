"""The stop: every worker is told to end, and when the last one is gone the arbiter exits."""

from pyfork.arbiter.actions import Action, Exit, Order
from pyfork.arbiter.lifecycle import WorkerState
from pyfork.arbiter.molds import Molds
from pyfork.arbiter.roster import Roster
from pyfork.ipc.exits import ExitStatus


class Stopping:
    """How the arbiter ends; one object for its whole life, of use once it stops.

    Attributes:
        status: what it will exit with: OK unless the first start failed.
        is_hurried: requests in flight are given up.
        is_asked: somebody asked for it; to ask again is to hurry.
    """

    def __init__(self) -> None:
        self.status = ExitStatus.OK
        self.is_hurried = False
        self.is_asked = False
        self._has_exited = False

    def settle(self, roster: Roster, molds: Molds, now: float) -> list[Action]:
        """Tell everyone to end who was not told yet, or not urgently enough; exit when nobody is left."""
        actions: list[Action] = []
        for mold in molds.find_surplus(kept=()):
            actions += mold.quit(now)
        for worker in roster:
            if worker.state in {WorkerState.READY, WorkerState.BOOTING}:
                actions += worker.quit(now) if self.is_hurried else worker.retire(now)
            elif self.is_hurried and worker.state is WorkerState.DRAINING and worker.order is Order.TERM:
                actions += worker.quit(now)
        if self.is_complete(roster, molds) and not self._has_exited:
            self._has_exited = True
            actions.append(Exit(self.status))
        return actions

    def is_complete(self, roster: Roster, molds: Molds) -> bool:
        """Whether nobody is left to wait for."""
        return not roster and not molds
