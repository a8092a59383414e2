"""What `development.reload` adds to the loop: a process that watches, and why the newest version does not serve.

Without the setting every method does nothing. Lives in the arbiter; decides nothing but when to watch again.
"""

import logging
import select
from collections.abc import Callable

from pyfork.arbiter.watching import Watching
from pyfork.config.load import Loaded
from pyfork.ipc.fault import ReloadFault

_log = logging.getLogger("pyfork.error")


class Development:
    """One to a loop; its ``development.reload`` is that of the start.

    Args:
        loaded: the first configuration.
        epoll: the loop's.
        now: monotonic.

    Attributes:
        fault: for the workers; None without the setting.
    """

    def __init__(self, loaded: Loaded, epoll: select.epoll, now: float) -> None:
        is_on = loaded.settings.development.reload
        self.fault = ReloadFault() if is_on else None
        self._watching = Watching(loaded, epoll, now) if is_on else None
        self._tried = 1

    def next_deadline(self) -> float | None:
        """Return when `on_time` has something to do, or None."""
        return None if self._watching is None else self._watching.next_deadline()

    def on_time(self, now: float, private: Callable[[], list[int]]) -> None:
        """Start a watcher if one is due; see `Watching.on_time`.

        Raises:
            BecameChild: this is the watcher.
        """
        problem = None if self._watching is None else self._watching.on_time(now, private)
        if problem is not None:
            _log.warning("%s", problem)

    def descriptors(self) -> list[int]:
        """Return the descriptors that no child may keep."""
        return [] if self._watching is None else self._watching.descriptors()

    def take_changes(self) -> bool:
        """Log what has changed; return whether anything has, which asks for a reload."""
        changes = [] if self._watching is None else self._watching.read()
        if changes:
            _log.info("%s: reload", "; ".join(changes))
        return bool(changes)

    def take_exit(self, pid: int, code: int, now: float) -> bool:
        """Take note of a reaped child; return whether it was the watcher. See `Watching.take_exit`."""
        report = None if self._watching is None else self._watching.take_exit(pid, code, now)
        if report:
            _log.warning("%s", report)
        return report is not None

    def begin_reload(self, generation: int) -> None:
        """Take note of which generation the next `end_reload` is about."""
        self._tried = generation

    def end_reload(self, error: str | None) -> None:
        """Tell the workers how the reload ended: well (None), or with ``error``."""
        if self.fault is None:
            return
        if error is None:
            self.fault.clear()
        else:
            self.fault.set(self._tried, error)

    def follow(self, loaded: Loaded, now: float) -> None:
        """Watch what ``loaded`` says from now on; ``now`` is monotonic."""
        if self._watching is not None:
            self._watching.follow(loaded, now)

    def close(self) -> None:
        """Watch no more; called when the arbiter begins to stop, and at its end."""
        if self._watching is not None:
            self._watching.close()
