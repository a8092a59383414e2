"""What a generation of workers is made of: its settings and its listeners. Lives in the arbiter."""

from dataclasses import dataclass

from pyfork.arbiter.events import Plan
from pyfork.arbiter.listeners import BoundListener
from pyfork.config.load import Loaded
from pyfork.ipc.messages import beat_interval


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings that a generation's workers get, and the sockets they accept from."""

    loaded: Loaded
    listeners: tuple[BoundListener, ...]
    worker_class: str

    def plan(self) -> Plan:
        """Return what the core needs of the settings."""
        workers = self.loaded.settings.workers
        return Plan(
            count=workers.count,
            timeout=workers.timeout,
            boot_timeout=workers.boot_timeout,
            graceful_timeout=workers.graceful_timeout,
            beat_interval=beat_interval(workers.timeout),
        )


class Generations:
    """The generations that have workers, or may have: the current one, and a candidate during a reload."""

    def __init__(self, first: Generation) -> None:
        self._by_number = {1: first}

    def __getitem__(self, number: int) -> Generation:
        return self._by_number[number]

    @property
    def current(self) -> Generation:
        """The one adopted last."""
        return self._by_number[min(self._by_number)]

    @property
    def newest(self) -> Generation:
        """The candidate where there is one."""
        return self._by_number[max(self._by_number)]

    def add(self, number: int, generation: Generation) -> None:
        """Remember a candidate."""
        self._by_number[number] = generation

    def adopt(self, number: int) -> None:
        """Forget all but ``number`` and close the sockets that it does not use."""
        for other in [other for other in self._by_number if other != number]:
            self.drop(other)

    def drop(self, number: int) -> None:
        """Forget ``number`` and close the sockets that only it used."""
        dropped = self._by_number.pop(number, None)
        if dropped is None:
            return
        in_use = {id(listener) for generation in self._by_number.values() for listener in generation.listeners}
        for listener in dropped.listeners:
            if id(listener) not in in_use:
                listener.close()

    def foreign_fds(self, number: int) -> list[int]:
        """Return the sockets that generation ``number`` does not use.

        A worker that kept one would keep its address open after everybody else has closed it, and nobody would answer.
        """
        own = {id(listener) for listener in self._by_number[number].listeners}
        return [listener.socket.fileno() for listener in self.listeners() if id(listener) not in own]

    def listeners(self) -> list[BoundListener]:
        """Return every open socket, each once."""
        unique = {id(one): one for generation in self._by_number.values() for one in generation.listeners}
        return list(unique.values())
