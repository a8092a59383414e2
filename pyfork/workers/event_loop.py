"""The loop of the types that hold many connections (async, threadpool): one poller, one thread.

It waits for the connections, the listeners, the lingering sockets, the signals and the lifeline, and beats. A type adds
where the application runs (`LoopWorker.start`).

Deadlines are floats in the connections. Nobody keeps them sorted: a sweep looks at them all, no oftener than every
`SWEEP_INTERVAL`, and not before the earliest that the last sweep saw, or the shortest that can have been set since.

Draining: the listeners are left, what is owed is accepted, and from then on each response says ``Connection: close``.
An idle connection keeps its time for a last request, so that it is not closed in the face of one.
"""

import contextlib
import logging
import math
import socket
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import ClassVar

from pyfork.connection.context import READABLE, Progress
from pyfork.connection.host import Phase, Watched
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.connection.opening import Openings, begin
from pyfork.connection.patience import may_yield_at
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.process import lifeline, title
from pyfork.workers.accepting import Accepted, Acceptor
from pyfork.workers.base import Worker
from pyfork.workers.contexts import make_contexts
from pyfork.workers.lingering import MOST_OF_MANY, LingeringSockets
from pyfork.workers.loader import Application
from pyfork.workers.poller import make_poller
from pyfork.workers.room import Room

SWEEP_INTERVAL = 0.1
"""Seconds between two sweeps, at least; a deadline may be missed by as much."""
LOOK_INTERVAL = 0.1
"""Seconds after which the loop looks for signals and beats, however many connections the poller has reported."""
LONGEST_BATCH = 0.0005
"""Seconds after which what has been done for some of them is finished before the next."""

_UNANSWERED = {Phase.READING, Phase.BODY, Phase.ENDED}
"""What a connection is at that has no response under way."""

_log = logging.getLogger("pyfork.error")


class LoopWorker(Worker):
    """See the head of the module.

    Attributes:
        connections: those that are open, by their descriptors.
        openings: those that have something to do before their first request.
        batch_until: when to call `finish_batch`, even between two connections (monotonic seconds).
    """

    can_keep_alive: ClassVar[bool] = True

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self.connections: dict[int, Watched] = {}
        self.openings = Openings()
        self.poller = make_poller()
        self.acceptor = Acceptor(self, self.poller, is_balanced=True)
        self._lingering = LingeringSockets(self.poller, MOST_OF_MANY)
        self._soon: list[NonblockingConnection] = []
        http = self.settings.http
        timeouts = http.keep_alive, http.header_timeout, http.body_timeout, http.write_timeout
        self._shortest = min(timeout for timeout in timeouts if timeout)
        self._room = Room(self.sockets, self.settings.workers.connections)
        self._in_flight = 0  # as the title says
        self._sweep_at = math.inf
        self._latest = math.inf  # until when those wait that have yet to begin
        self.batch_until = 0.0
        self._look_at = 0.0
        self._has_changed = False  # connections came or went

    def boot(self, application: Application) -> None:
        """Make the contexts in which connections run; one for each listener, as the environ differs."""
        self._contexts = make_contexts(self, application, self.make_progress)
        self._clock = next(context.clock for context in self._contexts.values())  # they share it
        self._access_log = next(context.access_log for context in self._contexts.values())  # they share it

    def make_progress(self) -> Progress:
        """Return where a new connection tells what it does."""
        raise NotImplementedError

    def start(self, connection: NonblockingConnection) -> bool:
        """Have ``connection.run()`` called; see `pyfork.connection.nonblocking.Host`."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Return whether another connection may be accepted."""
        return len(self.connections) < self.settings.workers.connections

    def is_busy(self) -> bool:
        """Return whether another connection could only wait here, for a thread."""
        return False

    def adjust(self) -> None:
        """Tell the acceptor how it stands."""
        self.acceptor.adjust(len(self.connections), has_room=self.has_room(), is_busy=self.is_busy())

    def finish_batch(self, now: float) -> None:
        """Do what is left of the connections that have been dealt with; ``now`` is monotonic."""

    def publish(self, now: float) -> None:
        """Write what has been gathered to the scoreboard: once in each turn, and before each beat.

        Args:
            now: monotonic seconds.
        """
        raise NotImplementedError

    # The loop.

    def run(self) -> None:
        """Serve until told to drain or orphaned, and until what is in flight has ended."""
        self.poller.register(self.signals.fd, READABLE)
        self.poller.register(self.handoff.lifeline_fd, READABLE)
        if self.promotion.fd is not None:
            self.poller.register(self.promotion.fd, READABLE)
        self.acceptor.watch()
        self.begin_serving()
        while not self.is_draining and not self.is_orphaned:
            self._turn()
        self.retire()
        while self.connections or self._lingering:
            if self.is_orphaned:
                self._end_early(each for each in self.connections.values() if each.is_idle)
                self._lingering.close()
            self._turn()
        self._lingering.close()

    def _turn(self) -> None:
        """Wait for what comes next, and deal with all of it."""
        ready = self.poller.poll(self.patience())
        self.batch_until = monotonic() + LONGEST_BATCH
        self._clock.date()
        for fd, events in ready:
            connection = self.connections.get(fd)
            if connection is None:
                self.on_other(fd)
            else:
                try:
                    connection.on_event(events)
                except Exception as error:  # noqa: BLE001 (our fault or a log handler's: it ends this connection)
                    self.abandon(connection, error)
                if monotonic() >= self.batch_until:
                    self._end_batch()
        if self._soon:
            self._resume()
        if self.openings:
            self._finish(monotonic())  # whoever has been answered does not wait for those who are not yet connected
            self.openings.run(self.abandon)
        self._tend()

    def _end_batch(self) -> None:
        """Do what may not wait for all that the poller has reported."""
        now = monotonic()
        self._finish(now)
        self.batch_until = now + LONGEST_BATCH
        self._clock.date()
        if now >= self._look_at:
            self._look_around()

    def _finish(self, now: float) -> None:
        """Finish the batch; the access log's lines for all of it are written together, and at once."""
        access_log = self._access_log
        if access_log is None:
            self.finish_batch(now)
            return
        access_log.gather()
        try:
            self.finish_batch(now)
        finally:
            access_log.flush()

    def patience(self) -> float:
        """Return how long the poller may wait, in seconds."""
        if self._soon or self.openings or (self.is_orphaned and not self.connections):
            return 0.0
        room_at = self._room.next_deadline(len(self.connections))
        wake_at = min(self.heartbeat.next_beat, self._sweep_at, self.acceptor.next_deadline(), room_at)
        if self._lingering:
            wake_at = min(wake_at, self._lingering.next_deadline())
        return max(0.0, wake_at - monotonic())

    def on_other(self, fd: int) -> None:
        """Deal with a descriptor that is no connection's."""
        if fd in self.acceptor:
            if not self.is_draining:
                self.take_over(self.acceptor.accept_from(fd))
        elif fd == self.signals.fd:
            self.take_signals()
        elif fd == self.handoff.lifeline_fd:
            self.is_orphaned = lifeline.is_cut(fd)
            if self.is_orphaned:
                self.poller.unregister(fd)
        elif fd == self.promotion.fd:
            if not self.promotion.take_order():
                self.poller.unregister(fd)
            self._look_at = 0.0
        else:
            self._lingering.read(fd)

    def take_over(self, accepted: Iterator[Accepted]) -> None:
        """Take connections over."""
        for sock, peer, listener_fd in accepted:
            connection = begin(sock, peer, self._contexts[listener_fd], self)
            self.connections[sock.fileno()] = connection
            self.poller.register(sock.fileno(), READABLE)
            self._sweep_at = min(self._sweep_at, monotonic() + self._shortest)
            self.adjust()

    def _resume(self) -> None:
        """Go on with those who have had their turn and want more."""
        resumed, self._soon = self._soon, []
        for connection in resumed:
            try:
                connection.resume()
            except Exception as error:  # noqa: BLE001 (as for an event)
                self.abandon(connection, error)
            if monotonic() >= self.batch_until:
                self._end_batch()

    def _tend(self) -> None:
        """Do what the clock asks for."""
        now = monotonic()
        if now >= self._sweep_at:
            self._sweep(now)
        self._finish(now)
        if now >= self._look_at:
            self._look_around()
        if self._lingering:
            self._lingering.sweep(now)
        if wanted := self._room.wanted(len(self.connections), now):
            self._make_room(now, wanted)
        if self._has_changed:
            self._has_changed = False
            self.adjust()
        self.acceptor.tend(now)
        self.publish(now)

    def _look_around(self) -> None:
        """Beat, and look for signals; between two connections as well, when the application takes long."""
        now = monotonic()
        self._look_at = min(self.heartbeat.next_beat, now + LOOK_INTERVAL)
        if self.slot.in_flight != self._in_flight:
            self._in_flight = in_flight = self.slot.in_flight
            title.set_title(f"{self.title} {in_flight} in flight" if in_flight else f"{self.title} idle")
        if now >= self.heartbeat.next_beat:
            self.publish(now)
            self.beat_if_due()
        if self.promotion.is_ordered:
            self._promote()
        self.signals.take_wakeup_back()
        if self.signals.is_pending:
            self.take_signals()
            self._forbid_persistence()

    def _promote(self) -> None:
        """Fork the mold that was ordered, if no response is under way; else look again when the loop comes round."""
        if self.is_draining or self.is_orphaned:
            self.promotion.refuse()
        elif all(connection.phase in _UNANSWERED for connection in self.connections.values()):
            self.promotion.carry_out()

    def _sweep(self, now: float) -> None:
        """Deal with the connections whose deadlines have passed, and set the next sweep."""
        earliest = now + self._shortest
        for connection in list(self.connections.values()):
            if connection.deadline <= now:
                try:
                    connection.on_deadline(now)
                except Exception as error:  # noqa: BLE001 (as for an event)
                    self.abandon(connection, error)
            elif connection.deadline < earliest:
                earliest = connection.deadline
        self._sweep_at = max(earliest, now + SWEEP_INTERVAL) if self.connections else math.inf

    def _make_room(self, now: float, most: int) -> None:
        """Have as many end, if that many may: those that wait for requests first, then readers by what they took."""
        old = [each for each in self.connections.values() if may_yield_at(each) <= now]
        ended = self._end_early((each for each in old if each.phase is not Phase.SENDING), most)
        if ended >= most:
            return
        lags = []
        for reader in old:
            if isinstance(reader, NonblockingConnection) and reader.phase is Phase.SENDING:
                if (lag := reader.uptake.lag(now)) is not None:
                    lags.append((lag, reader))
                reader.deadline = reader.uptake.deadline
        lags.sort(key=lambda pair: pair[0].rank)
        for lag, reader in lags[: most - ended]:
            try:
                reader.break_off(lag.error)
            except Exception as error:  # noqa: BLE001 (as for an event)
                self.abandon(reader, error)

    def _end_early(self, candidates: Iterable[Watched], most: float = math.inf) -> int:
        """Have some end, as many as will: idle ones first, and of them those that have been so for the longest.

        Returns:
            How many that were.
        """
        ended = 0
        for connection in sorted(candidates, key=_expendability):
            if ended >= most:
                break
            try:
                ended += connection.make_way()
            except Exception as error:  # noqa: BLE001 (as for an event)
                self.abandon(connection, error)
        return ended

    def abandon(self, connection: Watched, error: BaseException) -> None:
        """Close a connection over which the server itself has failed, by ``error``."""
        with contextlib.suppress(Exception):  # the handler may raise again; our own has written the line by then
            _log.error("a connection ended by a fault of the server", exc_info=error)
        if self.connections.get(connection.sock.fileno()) is connection:
            self.forget(connection)
        connection.abandon()

    def let_go(self) -> None:
        """See `Worker.let_go`."""
        self.poller.close()
        super().let_go()
        for connection in self.connections.values():
            connection.sock.close()
        self._lingering.abandon()
        self.acceptor.abandon()

    def _on_copied(self) -> None:
        """Hold no client's connection in a process that the application forks, so that the client sees it end.

        And none is answered there: one that comes back from the application would answer a second time.
        """
        super()._on_copied()
        for connection in self.connections.values():
            connection.sock.close()

    # Draining.

    def retire(self) -> None:
        """Accept what is owed, and nobody else; see that the connections end."""
        self._forbid_persistence()
        self.take_over(self.acceptor.owed())
        now = monotonic()
        self._latest = latest = now + self.settings.workers.graceful_timeout / 2  # or idle clients would have it killed
        for connection in self.connections.values():
            if connection.is_idle:
                connection.deadline = min(connection.deadline, latest)
        self._sweep_at = now
        self._lingering.hurry()

    def _forbid_persistence(self) -> None:
        if self.is_draining or self.is_orphaned:
            for context in self._contexts.values():
                context.persistence.end()

    # What connections ask for: `pyfork.connection.nonblocking.Host`.

    def watch(self, connection: Watched, events: int) -> None:
        """Report these events of the connection from now on."""
        fd = connection.sock.fileno()
        if not events:
            self.poller.unregister(fd)
        elif not connection.watched:
            self.poller.register(fd, events)
        else:
            self.poller.modify(fd, events)
        connection.watched = events

    def soon(self, connection: NonblockingConnection) -> None:
        """Resume the connection in the next turn."""
        self._soon.append(connection)

    def forget(self, connection: Watched) -> None:
        """Let go of a connection that ends."""
        fd = connection.sock.fileno()
        del self.connections[fd]
        self._has_changed = True
        if connection.watched:
            self.poller.unregister(fd)
            connection.watched = 0

    def replace(self, old: Watched, new: Watched) -> None:
        """Have a connection take the place of what came before it, and look for what has come with the end of that."""
        new.deadline = min(new.deadline, self._latest)
        self.connections[old.sock.fileno()] = new
        self._sweep_at = min(self._sweep_at, monotonic() + self._shortest)
        try:
            new.on_event(READABLE)
        except Exception as error:  # noqa: BLE001 (our fault or a log handler's: it ends this connection)
            self.abandon(new, error)

    def linger(self, sock: socket.socket) -> None:
        """See a client off."""
        self._lingering.add(sock)


def _expendability(connection: Watched) -> tuple[bool, float]:
    return not connection.is_idle, may_yield_at(connection)
