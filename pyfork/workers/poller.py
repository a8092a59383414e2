"""What a loop waits in: epoll, or where there is none (macOS) the same calls over ``selectors``."""

import select
import selectors
from typing import Protocol

from pyfork.connection.context import READABLE, WRITABLE


class Poller(Protocol):
    """The part of ``select.epoll`` that a loop needs."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Report these events of ``fd``; `READABLE` and `WRITABLE` are the same bits as epoll's."""

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Report these events of a registered ``fd`` from now on."""

    def unregister(self, fd: int, /) -> None:
        """Report nothing of ``fd`` any more."""

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """Wait at most ``timeout`` seconds; return what has come, as descriptors with their events."""

    def close(self) -> None:
        """Forget all."""


class SelectorPoller:
    """`Poller` over the best that ``selectors`` has here; it knows no EPOLLEXCLUSIVE, and leaves that bit out."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int, /) -> None:
        """See `Poller`."""
        self._selector.register(fd, _to_selectors(eventmask))

    def modify(self, fd: int, eventmask: int, /) -> None:
        """See `Poller`."""
        self._selector.modify(fd, _to_selectors(eventmask))

    def unregister(self, fd: int, /) -> None:
        """See `Poller`."""
        self._selector.unregister(fd)

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """See `Poller`."""
        return [
            (
                key.fd,
                (READABLE if events & selectors.EVENT_READ else 0)
                | (WRITABLE if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        """See `Poller`."""
        self._selector.close()


def make_poller() -> Poller:
    """Return what this platform waits in best."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


def _to_selectors(events: int) -> int:
    return (selectors.EVENT_READ if events & READABLE else 0) | (selectors.EVENT_WRITE if events & WRITABLE else 0)
