"""The processes that the application forks in a worker, and how they are told from those that pyfork forks.

``os.register_at_fork`` cannot be undone, and what was registered goes on in every copy: in a mold that a worker has
forked, and in the workers of that mold. So the functions are registered once in a line of processes, and call whatever
worker is watched at the time; around pyfork's own forks nobody is.
"""

import os
from collections.abc import Callable

from pyfork.process.signals import ForkWindow


class _Watch:
    """Which worker is told of copies of its process; one to a process, inherited by its copies.

    Attributes:
        on_copied: called in the copy, with all signals blocked; None when no worker is watched.
        is_registered: this process, or one that it is a copy of, has registered the functions below.
    """

    def __init__(self) -> None:
        self.on_copied: Callable[[], None] | None = None
        self.is_registered = False
        self._window = ForkWindow()

    def before(self) -> None:
        """Block all signals."""
        if self.on_copied is not None:
            self._window.open()

    def in_copy(self) -> None:
        """Tell the worker."""
        if self.on_copied is not None:
            self.on_copied()

    def after(self) -> None:
        """Unblock them, in both processes."""
        if self.on_copied is not None:
            self._window.close()


_watch = _Watch()


def watch_copies(on_copied: Callable[[], None]) -> None:
    """Have ``on_copied`` called in every process that the application forks from now on."""
    _watch.on_copied = on_copied
    if not _watch.is_registered:
        _watch.is_registered = True
        os.register_at_fork(before=_watch.before, after_in_parent=_watch.after, after_in_child=_watch.in_copy)
        os.register_at_fork(after_in_child=_watch.after)  # whatever befalls the one before


def unwatch_copies() -> Callable[[], None] | None:
    """Have nothing called until the next `watch_copies`; return what would have been."""
    on_copied, _watch.on_copied = _watch.on_copied, None
    return on_copied
