"""What a generation of workers is made of: its settings and its listeners. Lives in the arbiter.

An address that a reload has removed is *parked*: as long as a worker drains that still holds its socket, nobody could
bind it anew, so it is kept for a reload that wants it back. It takes no new connections meanwhile.
"""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec import Struct

from pyfork.arbiter.events import Plan
from pyfork.arbiter.listeners import BoundListener
from pyfork.config.binds import choose_tls
from pyfork.config.load import Loaded
from pyfork.ipc.messages import Listener, beat_interval

if TYPE_CHECKING:
    from pyfork.connection.certificates import Certificates  # the arbiter only hands them on


class Generation(Struct, frozen=True):
    """The settings that a generation's workers get, and the sockets they accept from.

    Attributes:
        loaded: the configuration.
        listeners: the sockets.
        worker_class: "module:Class".
        can_refork: whether a worker of that class can be forked while it serves.
        certificates: what its workers speak TLS with; None when they do not.
    """

    loaded: Loaded
    listeners: tuple[BoundListener, ...]
    worker_class: str
    can_refork: bool = False
    certificates: "Certificates | None" = None

    def describe_listeners(self) -> tuple[Listener, ...]:
        """Return what its workers have to know of the sockets."""
        settings = self.loaded.settings
        is_tls = choose_tls(settings.server.bind, has_certificate=self.certificates is not None)
        return tuple(listener.describe(is_tls=is_tls(listener.bind)) for listener in self.listeners)

    def plan(self) -> Plan:
        """Return what the core needs of the settings."""
        workers = self.loaded.settings.workers
        lowest = workers.min or min(workers.count, workers.max or workers.count)
        return Plan(
            count=workers.count,
            timeout=workers.timeout,
            boot_timeout=workers.boot_timeout,
            graceful_timeout=workers.graceful_timeout,
            beat_interval=beat_interval(workers.timeout),
            bounds=None if workers.max is None else (lowest, workers.max),
            preload=workers.preload,
            can_refork=workers.preload and self.can_refork,
            refork_after=tuple(step for step in workers.refork_after if isinstance(step, int)),
            refork_repeats=any(isinstance(step, str) for step in workers.refork_after),  # "..." at the end
        )


_log = logging.getLogger("pyfork.error")


class Generations:
    """The generations that have workers, or may have: the current one, and a candidate during a reload."""

    def __init__(self, first: Generation) -> None:
        self._by_number = {1: first}
        self._forgotten: dict[int, tuple[BoundListener, ...]] = {}  # they may have workers that drain

    def __getitem__(self, number: int) -> Generation:
        return self._by_number[number]

    def find(self, number: int) -> Generation | None:
        """Return generation ``number``, None when it is forgotten: its last workers may still drain."""
        return self._by_number.get(number)

    @property
    def current(self) -> Generation:
        """The one adopted last."""
        return self._by_number[min(self._by_number)]

    @property
    def newest(self) -> Generation:
        """The candidate where there is one."""
        return self._by_number[max(self._by_number)]

    def add(self, number: int, generation: Generation) -> None:
        """Remember a candidate; what it wants of the parked sockets takes connections again."""
        in_use = self._in_use()
        for listener in generation.listeners:
            if id(listener) not in in_use and listener.is_ours_alone:
                listener.accept_again()
        self._by_number[number] = generation

    def adopt(self, number: int, living: Collection[int]) -> None:
        """Forget all but ``number``; see `drop`."""
        for other in [other for other in self._by_number if other != number]:
            self.drop(other, living)

    def drop(self, number: int, living: Collection[int]) -> None:
        """Forget ``number``; park or close the sockets that only it used.

        Args:
            number: of a generation.
            living: the generations that still have processes.
        """
        dropped = self._by_number.pop(number, None)
        if dropped is None:
            return
        in_use = self._in_use()
        for listener in dropped.listeners:
            if id(listener) in in_use:
                continue
            if listener.is_ours_alone:
                _refuse(listener)
            else:
                listener.close()  # a path can be bound again, and what was passed in is not bound by us
        self._forgotten[number] = tuple(listener for listener in dropped.listeners if listener.is_ours_alone)
        self.release(living)

    def release(self, living: Collection[int]) -> None:
        """Close the parked sockets that no process holds any more; called when one has ended."""
        gone = [number for number in self._forgotten if number not in living]
        released = [listener for number in gone for listener in self._forgotten.pop(number)]
        held = self._in_use() | {id(listener) for parked in self._forgotten.values() for listener in parked}
        for listener in {id(listener): listener for listener in released if id(listener) not in held}.values():
            listener.close()

    def foreign_fds(self, number: int) -> list[int]:
        """Return the sockets that generation ``number`` does not use.

        A worker that kept one would keep its address open after everybody else has closed it, and nobody would answer.
        """
        own = {id(listener) for listener in self._by_number[number].listeners}
        return [listener.socket.fileno() for listener in self.listeners() if id(listener) not in own]

    def listeners(self) -> list[BoundListener]:
        """Return every open socket, each once, those of the newest generation last."""
        used = [generation.listeners for _, generation in sorted(self._by_number.items())]
        return list({id(one): one for listeners in [*self._forgotten.values(), *used] for one in listeners}.values())

    def _in_use(self) -> set[int]:
        return {id(listener) for generation in self._by_number.values() for listener in generation.listeners}


def _refuse(listener: BoundListener) -> None:
    try:
        listener.refuse()
    except OSError as error:
        _log.debug("%s: cannot refuse new connections: %s", listener.bind, error)
