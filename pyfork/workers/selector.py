"""The async worker: many connections on one loop, the application in line.

While the application runs, nothing else does. So it is for handlers that are fast, however many and however slow the
clients are; whoever waits for a database holds up everybody.

The responses of one turn are sent together at its end, as Redis does: a response that is sent wakes its client, and to
wake a sleeping client on another core costs as much as half a request; one that is awake is given the next for nothing.
When that has taken `event_loop.LONGEST_BATCH`, what there is is sent. A slow request among quick ones holds back those
before it in the turn as well as those behind it: nobody knows its length before. Where few fill that time, holding
gains nothing and the next request may be slower still: then each response is sent at once, at first for
`SHORTEST_PAUSE` (the machine may just have been busy), each further time for twice as long; a turn that went well
halves that.
"""

import os
from collections import deque
from time import monotonic

from pyfork.connection.context import Progress
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.errors import QuitNow
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.progress import InlineProgress
from pyfork.workers.event_loop import LoopWorker

FEWEST_HELD = 4
"""Responses that must have been ready in that time, or none is held for a while."""
SHORTEST_PAUSE = 0.01
"""Seconds of that while, the first time."""
LONGEST_PAUSE = 1.0
"""Seconds of it at most."""


class AsyncWorker(LoopWorker):
    """See the head of the module."""

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self._held: deque[NonblockingConnection] = deque()
        self._hold_again_at = 0.0
        self._pause = SHORTEST_PAUSE
        self._may_hold = True

    def make_progress(self) -> Progress:
        """Return what shows whose application call it is: one runs at a time."""
        return InlineProgress(self.slot)

    def run(self) -> None:
        """Serve; when SIGQUIT ends that, what is finished is sent nevertheless."""
        try:
            super().run()
        except QuitNow:
            self.finish_batch(monotonic())
            raise

    def start(self, connection: NonblockingConnection) -> bool:
        """Run the application here and now."""
        is_held = connection.run(may_hold=self._may_hold, until=self.batch_until)
        if self.is_copy:  # it came back from the application, where it was forked
            os._exit(0)
        if is_held:
            self._held.append(connection)
            return False
        return connection.settle()

    def finish_batch(self, now: float) -> None:
        """Send what is held."""
        held = self._held
        if held:
            if now >= self.batch_until and len(held) < FEWEST_HELD:
                self._hold_again_at = now + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            elif self._pause > SHORTEST_PAUSE:
                self._pause /= 2
            while held:  # one by one: SIGQUIT may come in between
                connection = held.popleft()
                try:
                    connection.send_held()
                except Exception as error:  # noqa: BLE001 (our fault or a log handler's: it ends this connection)
                    self.abandon(connection, error)
        self._may_hold = now >= self._hold_again_at

    def publish(self, now: float) -> None:
        """Write what has been gathered to the scoreboard."""
        self.slot.flush(int(now * 1e9))
