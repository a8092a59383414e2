"""The mold's loop, with a poll that reports what it is told to."""

import select
import signal
from types import SimpleNamespace

from pyfork.workers import mold


class Poll:
    """Reports one descriptor for ever."""

    def __init__(self, fd):
        self.fd = fd

    def register(self, fd, events):
        pass

    def poll(self):
        return [(self.fd, select.POLLIN)]


class Signals:
    """A queue whose descriptor is not reported, as the signal reached the process on its way out of poll(2)."""

    fd = 10

    def __init__(self):
        self.arrived = [signal.SIGUSR1]

    def install(self, signals):
        pass

    def drain_all(self):
        arrived, self.arrived = self.arrived, []
        return arrived


def test_a_signal_that_came_before_an_order_is_obeyed_before_it(monkeypatch):
    """A worker that is forked after a rotation has the new log, also when both have waited for the mold to run."""
    done = []

    class OneOrder(mold.Mold):
        def _take_order(self):
            done.append("order")
            self._is_over = True

    monkeypatch.setattr(mold, "_poll", lambda: Poll(11))
    monkeypatch.setattr(mold, "SignalQueue", Signals)
    monkeypatch.setattr(mold.error_log, "reopen", lambda: done.append("reopen"))
    OneOrder(SimpleNamespace(control_fd=11, lifeline_fd=12)).run()
    assert done == ["reopen", "order"]
