"""The threadpool worker: many connections on one loop, the application on threads.

A connection costs a thread only while the application runs for it: requests are read whole before, and what a client
does not take at once is the loop's to send. `pyfork.workers.pool` has how a request gets to a thread and back.

The loop beats, whatever the threads do, so one that is stuck is found by its request's deadline: the worker beats as
soon as the oldest stretch inside the application has outlasted ``timeout``, for the arbiter to look at the slot.
"""

import math
import os
from collections.abc import Iterator
from time import monotonic
from typing import ClassVar

from pyfork.connection.context import READABLE, Progress
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.errors import BootError, ProtocolError
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.progress import ActiveRequests, ThreadProgress, slot_writing
from pyfork.workers.accepting import Accepted
from pyfork.workers.event_loop import LoopWorker
from pyfork.workers.loader import Application
from pyfork.workers.pool import LONGEST_REFUSAL, TURNING_AWAY_TAKES, ThreadPool


class ThreadpoolWorker(LoopWorker):
    """See the head of the module."""

    is_multithread: ClassVar[bool] = True

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self._threads = self.settings.workers.threads
        self.acceptor.limit_threads(self._threads)
        self._active = ActiveRequests(self.slot, ThreadProgress)
        self._pool: ThreadPool[NonblockingConnection, bool] = ThreadPool(self._run, self._threads)
        self._refuses_until = math.inf  # until then nobody is accepted to wait for a thread behind another
        self._turn_away_at = math.inf
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
            raise BootError(f"cannot start {self._threads} threads: {error}") from error
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
        """Return whether another connection may be accepted: a thread is free for it, or nobody waits for one.

        Or it has been refused for a while: clients that keep their connections busy must not keep others out.
        """
        now = monotonic()
        if self._pool.under_way > self._threads:
            self._refuses_until = min(self._refuses_until, now + LONGEST_REFUSAL)
        return super().has_room() and (self._pool.under_way <= self._threads or now >= self._refuses_until)

    def take_over(self, accepted: Iterator[Accepted]) -> None:
        """Take connections over; nobody has been refused for long any more."""
        super().take_over(accepted)
        self._refuses_until = math.inf

    def is_busy(self) -> bool:
        """Return whether every thread is taken: a connection is then left to workers that have a free one."""
        return self._pool.under_way >= self._threads

    def finish_batch(self, now: float) -> None:
        """Have the requests run that have come, and go on with those that have."""
        self._pool.dispatch()
        if now >= self._turn_away_at:
            for connection in self._pool.take_back():
                connection.turn_away(ProtocolError(503, "The worker ends, and all of its threads are taken"))
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
        overdue_at, since = self._overdue()
        if overdue_at <= now:
            self._told = since
            self.beat(now)

    def patience(self) -> float:
        """Return how long the loop may wait: not beyond the moment when a request becomes overdue, say."""
        if not self._pool.may_sleep():
            return 0.0
        now = monotonic()
        dues = [due - now for due in (self._turn_away_at, self._refuses_until) if due > now]  # past, it has been done
        return max(0.0, min(super().patience(), self._overdue()[0] - now, *dues))

    def retire(self) -> None:
        """Begin to end: whoever still waits for a thread when the time is nearly over is told so."""
        super().retire()
        grace = self.settings.workers.graceful_timeout
        self._turn_away_at = monotonic() + grace - min(grace / 4, TURNING_AWAY_TAKES)

    def on_other(self, fd: int) -> None:
        """Deal with a descriptor that is no connection's."""
        if fd == self._pool.fd:
            self._pool.silence()
        else:
            super().on_other(fd)

    def _overdue(self) -> tuple[float, float]:
        """Return when the arbiter has to hear of the oldest stretch (infinity: never, or it has), and its beginning."""
        oldest, timeout = self._active.oldest(), self.settings.workers.timeout
        since = 0.0 if oldest is None else oldest.entered
        return since + timeout if since and timeout and since != self._told else math.inf, since

    def _run(self, connection: NonblockingConnection) -> bool:
        """Run the application, on a thread; return whether the response is the loop's to send, with others."""
        is_held = connection.run(may_hold=self._pool.is_lending)
        connection.progress.leave_application()  # here, or it would seem to be inside while the next one is
        if self.is_copy:  # it came back from the application, where it was forked
            os._exit(0)
        return is_held
