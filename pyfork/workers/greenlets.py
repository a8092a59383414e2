"""How greenlets wait for their clients: a watcher for each connection, and one timer for all of them.

A switch to gevent's hub and back is cheap; what `gevent.socket.wait_read` does around it is not: a watcher and a
timeout made, started, stopped and closed for each wait. Here the watcher of a connection is made once and left started,
so an ordinary wait is two switches. It is stopped only when something comes that nobody waits for (a pipelined request,
the client's end, while the application runs): the kernel would report that over and over. A deadline is a float that a
sweep looks at.

Everything that is called `on_...` runs in the hub, which must not wait.
"""

import math
from collections import deque
from socket import socket
from time import monotonic
from typing import Any

from pyfork.config.schema import HttpSettings
from pyfork.connection.context import READABLE
from pyfork.connection.uptake import Uptake

SWEEP_INTERVAL = 0.1
"""Seconds between two sweeps, at least; a deadline may be missed by as much."""
TURN = 0.005
"""Seconds that one greenlet may have the loop for itself, if it says `Places.give_way`."""
_AT_ONCE = 0.00001
"""Seconds to sleep for others to run: a timer, and the loop polls before it looks at its timers.

For 0 s gevent makes a callback, and the loop runs up to fifty of those before it polls: everybody's turn, fifty times.
"""
_READ, _WRITE = 1, 2  # libev's
_LAST = -2
"""The lowest priority of a watcher: its callback comes after those of all that a turn has brought."""


class Listener(socket):
    """Accepts sockets of the kernel's, wherever gevent has patched the class that ``accept`` would return."""

    def accept(self) -> tuple[socket, Any]:
        """See ``socket.accept``; the connection blocks."""
        fd, peer = self._accept()  # type: ignore[attr-defined]
        return socket(self.family, self.type, self.proto, fd), peer


class Place:
    """Where a greenlet waits for one descriptor to become readable.

    Args:
        places: all of them; they end the waits whose deadlines pass.
        fd: to be watched; `close` the place before it, or right behind it.

    Attributes:
        deadline: when the wait that is under way ends at the latest (monotonic seconds); infinity otherwise.
        uptake: how the client takes what is there for it, while a greenlet waits to send; else None.
        greenlet: who waits; None when nobody does.
    """

    __slots__ = (
        "_get_current",
        "_is_watching",
        "_places",
        "_switch_to_hub",
        "_watcher",
        "deadline",
        "greenlet",
        "uptake",
    )

    def __init__(self, places: "Places", fd: int) -> None:
        self._places = places
        self._get_current = places.gevent.getcurrent
        self._switch_to_hub = places.hub.switch
        self._watcher = places.hub.loop.io(fd, _READ)
        self._is_watching = False
        self.deadline = math.inf
        self.greenlet: Any = None
        self.uptake: Uptake | None = None

    def wait(self, deadline: float) -> bool:
        """Let others run until the descriptor is readable (True), or until ``deadline`` or `on_time` (False)."""
        if not self._is_watching:
            self._is_watching = True
            self._watcher.start(self.on_readable)
        if deadline < self._places.sweep_at:
            self._places.sweep_by(deadline)
        self.deadline = deadline
        self.greenlet = self._get_current()
        try:
            return self._switch_to_hub() is True
        finally:
            self.greenlet = None
            self.deadline = math.inf

    def wait_until(self, deadline: float) -> None:
        """Wait as `wait` does, with a timer of its own: for the loop, whose deadlines are many and to the point."""
        loop = self._places.hub.loop
        timer = loop.timer(max(0.0, deadline - monotonic()))
        timer.start(self.on_time, update=True)
        try:
            self.wait(math.inf)
        finally:
            timer.close()

    def wake(self) -> None:
        """End the wait, if there is one, in the hub's next turn."""
        self._places.hub.loop.run_callback(self.on_time)

    def limit(self, deadline: float) -> None:
        """End the wait that is under way no later than ``deadline``."""
        if deadline < self.deadline:
            self.deadline = deadline
            if deadline < self._places.sweep_at:
                self._places.sweep_by(deadline)

    def on_readable(self) -> None:
        """Wake who waits."""
        if self.greenlet is None:
            self._watcher.stop()
            self._is_watching = False
        else:
            self.greenlet.switch(True)

    def on_time(self) -> None:
        """End the wait, if there is one."""
        if self.greenlet is not None:
            self.deadline = math.inf
            self.greenlet.switch(False)

    def close(self) -> None:
        """Watch no more; who waits, waits for ever."""
        self._watcher.stop()
        self._watcher.close()
        self.greenlet = None


class Places:
    """The places of one worker's connections, by their descriptors.

    Args:
        gevent: the module; this one can be imported without it.
        http: the settings.

    Attributes:
        gevent: the module.
        hub: its hub, in the worker's one thread.
        sweep_at: when deadlines are looked at next (monotonic seconds).
    """

    def __init__(self, gevent: Any, http: HttpSettings) -> None:
        self.gevent = gevent
        self._http = http
        self.hub = gevent.get_hub()
        self.sweep_at = math.inf
        self._places: dict[int, Place] = {}
        self._timer: Any = None
        self._turn_ends = 0.0
        self._turnstile = Turnstile(gevent)

    def open(self, fd: int) -> Place:
        """Make the place of a connection's descriptor."""
        place = self._places[fd] = Place(self, fd)
        return place

    def close(self, fd: int) -> None:
        """Take the place of a descriptor away; before another has its number."""
        self._places.pop(fd).close()

    def wait(self, connection: socket, events: int, deadline: float) -> bool:
        """Be the `pyfork.connection.context.Wait` of a worker whose connections have greenlets."""
        place = self._places.get(connection.fileno())
        if events == READABLE and place is not None and place.greenlet is None:
            return place.wait(deadline)
        if events == READABLE or place is None:
            return self._wait_apart(connection.fileno(), events, deadline)
        place.uptake = Uptake(connection, self._http, monotonic())
        try:
            return self._wait_apart(connection.fileno(), events, deadline)
        finally:
            place.uptake = None

    def give_way(self) -> None:
        """Let others run if this greenlet has run for long; the heartbeat is one of them."""
        now = monotonic()
        if now >= self._turn_ends:
            self.gevent.sleep(_AT_ONCE)
            self._turn_ends = monotonic() + TURN

    def step_aside(self) -> None:
        """Let all others run that have something to do, and of those who step aside one in each turn of the loop."""
        self._turnstile.wait()

    def abandon(self) -> None:
        """Wake nobody any more: this process is a copy."""
        self._turnstile.close()
        for place in self._places.values():
            place.close()
        if self._timer is not None:
            self._timer.close()

    def sweep_by(self, moment: float) -> None:
        """Look at the deadlines at ``moment`` (monotonic), in place of the time that was set before."""
        if self._timer is not None:
            self._timer.close()
        self.sweep_at = moment
        self._timer = self.hub.loop.timer(max(0.0, moment - monotonic()))
        self._timer.start(self.on_sweep, update=True)

    def on_sweep(self) -> None:
        """End the waits whose time is up, and set the next sweep."""
        now = monotonic()
        earliest = math.inf
        for place in list(self._places.values()):
            if place.deadline <= now:
                place.on_time()
            earliest = min(earliest, place.deadline)
        self.sweep_at = math.inf
        if earliest < math.inf:
            self.sweep_by(max(earliest, now + SWEEP_INTERVAL))

    def _wait_apart(self, fd: int, events: int, deadline: float) -> bool:
        """Wait to write, or beside another greenlet of the application that waits at the connection's place."""
        watcher = self.hub.loop.io(fd, _READ if events == READABLE else _WRITE)
        patience = self.gevent.Timeout.start_new(max(0.0, deadline - monotonic()))
        try:
            self.hub.wait(watcher)
        except self.gevent.Timeout as timeout:
            if timeout is not patience:
                raise
            return False
        finally:
            patience.close()
            watcher.close()
        return True


class Turnstile:
    """Greenlets that have much to do each, and go on one by one: behind all else of a turn of the loop.

    Sleeping would not do. Timers that have run out in one turn are served in one turn, and libev's epoll waits for a
    millisecond where a timer has some microseconds left.

    Args:
        gevent: the module.
    """

    def __init__(self, gevent: Any) -> None:
        hub = gevent.get_hub()
        self._get_current = gevent.getcurrent
        self._switch_to_hub = hub.switch
        self._waiting: deque[Any] = deque()
        self._end_of_turn = hub.loop.check(priority=_LAST)
        self._sleepless = hub.loop.idle(priority=_LAST)  # as long as it is started, the loop polls without waiting

    def wait(self) -> None:
        """Return when it is this greenlet's turn: first come, first served."""
        greenlet = self._get_current()
        if not self._waiting:
            self._end_of_turn.start(self.on_end_of_turn)
            self._sleepless.start(_do_nothing)
        self._waiting.append(greenlet)
        try:
            self._switch_to_hub()
        except BaseException:  # it is killed
            if greenlet in self._waiting:
                self._waiting.remove(greenlet)
            raise

    def on_end_of_turn(self) -> None:
        """Let the first one go on."""
        greenlet = self._waiting.popleft() if self._waiting else None
        if not self._waiting:
            self._end_of_turn.stop()
            self._sleepless.stop()
        if greenlet is not None:
            greenlet.switch()

    def close(self) -> None:
        """Let nobody go on any more."""
        self._waiting.clear()
        self._end_of_turn.close()
        self._sleepless.close()


def _do_nothing() -> None:
    """Be the callback of a watcher that is there for its being started."""
