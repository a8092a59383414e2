"""The async worker: many connections on one loop, the application in line.

While the application runs, nothing else does. So it is for handlers that are fast, however many and however slow the
clients are; whoever waits for a database holds up everybody.
"""

import os

from pyfork.connection.context import Progress
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.ipc.progress import InlineProgress
from pyfork.workers.event_loop import LoopWorker


class AsyncWorker(LoopWorker):
    """See the head of the module."""

    def make_progress(self) -> Progress:
        """Return what shows whose application call it is: one runs at a time."""
        return InlineProgress(self.slot)

    def start(self, connection: NonblockingConnection) -> bool:
        """Run the application here and now."""
        connection.run()
        if self.is_copy:  # it came back from the application, where it was forked
            os._exit(0)
        return connection.settle()

    def publish(self, now: float) -> None:
        """Write what has been gathered to the scoreboard."""
        self.slot.flush(int(now * 1e9))
