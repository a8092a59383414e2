"""The threadpool worker: many connections on one loop, the application on threads.

A connection costs a thread only while the application runs for it: requests are read whole before, and what a client
does not take at once is the loop's to send. `pyfork.workers.pool` has how a request gets to a thread and back.

The loop beats, whatever the threads do, so one that is stuck is found by its request's deadline: the slot shows the
oldest stretch inside the application, and the worker beats as soon as that has outlasted ``timeout``, for the arbiter
to look. While its replacement boots, the other threads go on.
"""

import math
import os
from time import monotonic
from typing import ClassVar

from pyfork.connection.context import READABLE, Progress
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.errors import BootError
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.progress import ActiveRequests, ThreadProgress, slot_writing
from pyfork.workers.event_loop import LoopWorker
from pyfork.workers.loader import Application
from pyfork.workers.pool import ThreadPool


class ThreadpoolWorker(LoopWorker):
    """See the head of the module."""

    is_multithread: ClassVar[bool] = True

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self.acceptor.limit_threads(self.settings.workers.threads)
        self._active = ActiveRequests(self.slot, ThreadProgress)
        self._pool: ThreadPool[NonblockingConnection, bool] = ThreadPool(self._run, self.settings.workers.threads)
        self._told = 0.0  # the beginning of the last stretch that the arbiter was told of because of its length

    def boot(self, application: Application) -> None:
        """Start the threads.

        Raises:
            BootError: the system does not give as many.
        """
        super().boot(application)
        try:
            self._pool.start()
        except RuntimeError as error:
            raise BootError(f"cannot start {self.settings.workers.threads} threads: {error}") from error
        self.poller.register(self._pool.fd, READABLE)

    def close(self) -> None:
        """End the threads that can be ended."""
        self._pool.close()
        super().close()

    def make_progress(self) -> Progress:
        """Return a new connection's place among those that many threads are at."""
        return self._active.new()

    def start(self, connection: NonblockingConnection) -> bool:
        """Have a thread run the application, after this turn."""
        self._pool.submit(connection)
        return False

    def has_room(self) -> bool:
        """Return whether another connection may be accepted: a thread is free for it, or nobody waits for one."""
        return super().has_room() and self._pool.under_way <= self.settings.workers.threads

    def is_busy(self) -> bool:
        """Return whether every thread is taken: a connection is then left to workers that have a free one."""
        return self._pool.under_way >= self.settings.workers.threads

    def finish_batch(self, now: float) -> None:  # noqa: ARG002 (the loop's)
        """Have the requests run that have come, and go on with those that have."""
        self._pool.dispatch()
        for connection, result in self._pool.finished():
            if isinstance(result, BaseException):
                self.abandon(connection, result)
                continue
            try:
                if result:
                    connection.send_held()
                elif connection.settle():
                    connection.resume()
            except Exception as error:  # noqa: BLE001 (our fault or a log handler's: it ends this connection)
                self.abandon(connection, error)
        self.adjust()

    def publish(self, now: float) -> None:
        """Write what has been gathered to the scoreboard; have the arbiter look when a request has become overdue."""
        with slot_writing:
            self._active.publish(now)
        if self._overdue_at() <= now:
            self._told = self._since()
            self.heartbeat.beat(now)

    def patience(self) -> float:
        """Return how long the loop may wait: not beyond the moment when a request becomes overdue."""
        if not self._pool.may_sleep():
            return 0.0
        return max(0.0, min(super().patience(), self._overdue_at() - monotonic()))

    def on_other(self, fd: int) -> None:
        """Deal with a descriptor that is no connection's."""
        if fd == self._pool.fd:
            self._pool.silence()
        else:
            super().on_other(fd)

    def _since(self) -> float:
        """Return when the oldest stretch inside the application began; 0.0 if there is none."""
        oldest = self._active.oldest()
        return 0.0 if oldest is None else oldest.entered

    def _overdue_at(self) -> float:
        """Return when the arbiter has to hear of the oldest stretch; infinity when it does not, or has."""
        since = self._since()
        timeout = self.settings.workers.timeout
        return since + timeout if since and timeout and since != self._told else math.inf

    def _run(self, connection: NonblockingConnection) -> bool:
        """Run the application, on a thread; return whether the response is the loop's to send, with others."""
        is_held = connection.run(may_hold=self._pool.is_lending)
        if self.is_copy:  # it came back from the application, where it was forked
            os._exit(0)
        return is_held
