"""The gevent worker: a greenlet for each connection, and the blocking shell in it.

Importing this module patches the standard library, so it is imported in the worker alone, before anything of the
user's. What is ours is imported before the patch, and keeps the kernel's own sockets, which do not block, and epoll.

The main greenlet is the loop: it accepts, beats, takes signals, and retires. All descriptors that are no connection's
are in one epoll, which gevent's hub watches as a single descriptor (it cannot be asked for EPOLLEXCLUSIVE). A greenlet
that never yields silences the beat, and the arbiter ends the worker. A request that outlasts ``timeout`` while the hub
lives is told here, with the stack of its greenlet: the arbiter's signal could show no more than the hub.
"""

import math
import select
from collections.abc import Iterator
from time import monotonic
from typing import ClassVar

import gevent.monkey

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import READABLE
from pyfork.connection.handshake import begin_blocking
from pyfork.errors import QuitNow
from pyfork.ipc.heartbeat import Heartbeat
from pyfork.ipc.messages import Handoff
from pyfork.ipc.progress import ActiveRequests, GreenletProgress
from pyfork.process import lifeline, title
from pyfork.workers.accepting import Accepted, Acceptor
from pyfork.workers.base import Worker
from pyfork.workers.contexts import make_contexts
from pyfork.workers.greenlets import Listener, Place, Places
from pyfork.workers.lingering import MOST_OF_MANY, LingeringSockets
from pyfork.workers.loader import Application
from pyfork.workers.room import Room
from pyfork.workers.visits import OverdueRequests, Visits

_epoll = select.epoll  # gevent takes it out of the module
gevent.monkey.patch_all()
# What each hub takes of the library, before the change to a user who may not be able to read it.
_loop, _format_context = gevent.config.loop, gevent.config.format_context


class GeventWorker(Worker):
    """See the head of the module."""

    is_multithread: ClassVar[bool] = True
    can_keep_alive: ClassVar[bool] = True

    def __init__(self, handoff: Handoff, heartbeat: Heartbeat) -> None:
        super().__init__(handoff, heartbeat)
        self.sockets = [(Listener(fileno=listener.detach()), told) for listener, told in self.sockets]
        self._poller = _epoll()
        self._acceptor = Acceptor(self, self._poller, is_balanced=True, is_nested=True)
        self._lingering = LingeringSockets(self._poller, MOST_OF_MANY)
        self._active = ActiveRequests(self.slot, GreenletProgress)
        self._places = Places(gevent, self.settings.http)
        self._own = Place(self._places, self._poller.fileno())
        self._visits = Visits(gevent, self._places, self._on_end)
        self._room = Room(self.sockets, self.settings.workers.connections)
        self._publisher = gevent.get_hub().loop.prepare()
        gevent.get_hub().loop.install_sigchld()  # gevent does so after its first fork, when the child may have ended
        self._wake_at = math.inf
        self._overdue = OverdueRequests(self._active, self._visits, self.settings.workers.timeout)

    def boot(self, application: Application) -> None:
        """Make the contexts in which connections run; one for each listener, as the environ differs."""
        places = self._places
        self._contexts = make_contexts(
            self, application, self._active.new, places.wait, places.give_way, step_aside=places.step_aside
        )

    def run(self) -> None:
        """Serve until told to drain or orphaned, and until what is in flight has ended."""
        self._poller.register(self.signals.fd, READABLE)
        self._poller.register(self.handoff.lifeline_fd, READABLE)
        self._acceptor.watch()
        self._publisher.start(lambda: self._active.publish(monotonic()))  # in each turn of the hub
        self.begin_serving()
        try:
            while not self.is_draining and not self.is_orphaned:
                self._turn()
            self._retire()
            while self._visits or self._lingering:
                if self.is_orphaned:
                    self._visits.close_idle()
                self._turn()
        except QuitNow:
            self._visits.quit()
            raise
        finally:
            self._lingering.close()

    def _turn(self) -> None:
        self.signals.take_wakeup_back()
        if self.signals.is_pending:
            self.take_signals()
            return
        self._wake_at = self._due_at()
        self._own.wait_until(self._wake_at)  # the connections' greenlets run
        for fd, _ in self._poller.poll(0):
            if fd == self.signals.fd:
                self.take_signals()
            elif fd == self.handoff.lifeline_fd:
                self.is_orphaned = lifeline.is_cut(fd)
                if self.is_orphaned:
                    self._poller.unregister(fd)
            elif fd not in self._acceptor:
                self._lingering.read(fd)
            elif not self.is_draining:
                self._accept(self._acceptor.accept_from(fd))
        self._lingering.sweep(now := monotonic())
        self._acceptor.tend(now)
        if wanted := self._room.wanted(len(self._visits), now):
            self._visits.make_room(now, wanted)
        self._beat(now)

    def _due_at(self) -> float:
        """Return when something is due here that no descriptor tells of (monotonic seconds)."""
        parts = (self._acceptor, self._lingering, self._overdue)
        room_at = self._room.next_deadline(len(self._visits))
        return min(self.heartbeat.next_beat, room_at, *(part.next_deadline() for part in parts))

    def _beat(self, now: float) -> None:
        """Beat if it is time, and at once when a request has become overdue, for the arbiter to look."""
        if self._overdue.tell(now) or now >= self.heartbeat.next_beat:
            self._active.publish(now)
            in_flight = self.slot.in_flight
            title.set_title(f"{self.title} {in_flight} in flight" if in_flight else f"{self.title} idle")
            self.beat(now)

    def _accept(self, accepted: Iterator[Accepted]) -> None:
        for sock, peer, listener_fd in accepted:
            self._visits.begin(begin_blocking(sock, peer, self._contexts[listener_fd]))
            self._adjust()

    def _adjust(self) -> None:
        self._acceptor.adjust(len(self._visits), has_room=len(self._visits) < self.settings.workers.connections)

    def _on_end(self, shell: BlockingConnection, outcome: Outcome) -> None:
        """See a connection off; called in its greenlet."""
        if outcome is Outcome.LINGER:
            self._lingering.add(shell.sock)
        self._adjust()
        if self.is_draining or self.is_orphaned or self._due_at() < self._wake_at:
            self._own.wake()

    def _retire(self) -> None:
        """Accept what is owed, and nobody else; see that the connections end."""
        for context in self._contexts.values():
            context.persistence.end()
        self._accept(self._acceptor.owed())
        gevent.sleep(0)  # the last ones begin
        self._visits.retire(monotonic() + self.settings.workers.graceful_timeout)
        self._lingering.hurry()

    def _on_copied(self) -> None:
        super()._on_copied()
        self._own.close()
        self._publisher.stop()
        self._visits.become_copy()
