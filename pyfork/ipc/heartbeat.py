"""The worker's end of the heartbeat pipe: the loop that serves is the loop that beats, never a side thread."""

import os
from time import monotonic

from pyfork.ipc.messages import BEAT, READY, RIPE, BootReport, beat_interval, encode_report, encode_worn


class Heartbeat:
    """Says the words of `ipc.messages` to the arbiter; lives in the worker.

    Args:
        fd: the write end, non-blocking.
        timeout: ``workers.timeout`` in seconds, which decides how often to beat.
    """

    __slots__ = ("_fd", "interval", "next_beat")

    def __init__(self, fd: int, timeout: float) -> None:
        self._fd = fd
        self.interval = beat_interval(timeout)
        self.next_beat = monotonic() + self.interval

    def say_ready(self) -> None:
        """The application is loaded and the listeners are watched."""
        self._say(READY)

    def beat(self, now: float) -> None:
        """Send one beat; ``now`` is monotonic."""
        self.next_beat = now + self.interval
        self._say(BEAT)

    def say_worn(self, reason: str) -> bool:
        """Ask to be replaced, because of ``reason``; return False if the pipe is full: say it again later."""
        return self._say(encode_worn(reason))

    def say_ripe(self) -> bool:
        """Offer to become the next mold; return False if the pipe is full: say it again later."""
        return self._say(RIPE)

    def report_failure(self, report: BootReport) -> None:
        """Tell why this worker will not become ready; may block until the arbiter reads."""
        os.set_blocking(self._fd, True)
        message = encode_report(report)
        try:
            while message:
                message = message[os.write(self._fd, message) :]
        except BrokenPipeError:
            pass  # the arbiter is gone: the exit status is all that is left to say

    def _say(self, word: bytes) -> bool:
        """Write a word, whole or not at all (it is shorter than PIPE_BUF); return whether it needs no second try."""
        try:
            os.write(self._fd, word)
        except BlockingIOError:
            return False  # 64 Ki unread octets: the arbiter is stopped, and it will find enough beats when it wakes
        except BrokenPipeError:
            pass  # the arbiter is gone: the lifeline says so too, and it is what decides
        return True
