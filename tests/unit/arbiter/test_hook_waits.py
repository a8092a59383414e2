"""The two hooks that are waited for, without processes: signals come from a script, through a real queue."""

import os
import signal
from time import monotonic

import pytest

from pyfork.arbiter.hook_runner import HookRunner
from pyfork.arbiter.hook_waits import HookWaits
from pyfork.arbiter.verbs import VERBS
from pyfork.config.schema import Settings
from pyfork.config.schema_hooks import HookSettings
from pyfork.ipc.exits import ExitStatus
from pyfork.process.signals import SignalQueue

SETTINGS = Settings(hooks=HookSettings(child_exit="a:b", on_starting="a:b", on_exit="a:b", timeout=50))


class World:
    """Hooks that end, or are hit by a signal, as the script says: one step for each hook."""

    def __init__(self):
        self.signals = SignalQueue()
        self.script = []
        self.called = []
        self.killed = []
        self.ended = []
        self.now = monotonic()
        self.runner = HookRunner(self.fork, self.kill, lambda: self.now, lambda _: None)
        self.waits = HookWaits(self.runner, self.signals, self.reap)

    def fork(self, handoff):
        self.called.append((handoff.name, handoff.pid, handoff.status))
        pid = len(self.called)
        step = self.script.pop(0)
        if isinstance(step, list):
            self.signals.put_back(step)
        else:
            self.end(pid, step)
        return pid, -1

    def end(self, pid, code):
        self.ended.append((pid, code))
        self.signals.put_back([signal.SIGCHLD])

    def kill(self, pid):
        self.killed.append(pid)
        self.end(pid, -signal.SIGKILL)

    def reap(self):
        for pid, code in self.ended:
            assert self.runner.reaped(pid, code)
        self.ended.clear()


@pytest.fixture
def world():
    """A world whose pipe is closed again."""
    before = {number: signal.getsignal(number) for number in VERBS}
    world = World()
    world.signals.install(VERBS)
    yield world
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)
    os.close(world.signals.fd)
    os.close(world.signals.write_fd)


def test_nothing_is_waited_for_when_nothing_is_set(world):
    """Not even a look at the signals."""
    world.signals.put_back([signal.SIGTERM])
    assert world.waits.start(Settings()) is None
    world.waits.finish(Settings(), ExitStatus.OK)
    assert world.called == []
    assert world.signals.drain() == [signal.SIGTERM]


def test_a_start_goes_on_when_the_hook_has_ended(world):
    """It is about the arbiter."""
    world.script = [0]
    assert world.waits.start(SETTINGS) is None
    assert world.called == [("on_starting", os.getpid(), None)]


@pytest.mark.parametrize(("code", "means"), [(1, 3), (4, 4), (9, 3)])
def test_a_hook_that_fails_ends_the_start(world, caplog, code, means):
    """With the status of a boot that failed, or of an application that does not import."""
    world.script = [code]
    assert world.waits.start(SETTINGS) == means
    assert "the hook on_starting has failed: no worker is started, pyfork ends" in caplog.text


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_order_to_stop_ends_the_hook_and_the_start(world, order):
    """Nothing has been started, so that is all; other signals wait for the loop."""
    world.script = [[signal.SIGHUP, order, signal.SIGTTIN]]
    assert world.waits.start(SETTINGS) is ExitStatus.OK
    assert world.killed == [1]
    assert world.signals.drain() == [signal.SIGHUP, signal.SIGTTIN]


@pytest.mark.parametrize("name", ["on_starting", "child_exit"])
def test_a_hook_is_not_judged_by_time_in_which_nobody_ran(world, monkeypatch, name):
    """The machine stood still: the hook has as long as it had before, to a deadline of its own or of the end."""

    class Poll:
        def register(self, fd, events):
            pass

        def poll(self, milliseconds):
            if world.called and not naps:
                naps.append(milliseconds)
                world.now += milliseconds / 1000 + 3600
            else:
                world.now += milliseconds / 1000 - 1
                world.end(1, 0)

    naps = []
    monkeypatch.setattr("pyfork.arbiter.hook_waits.monotonic", lambda: world.now)
    monkeypatch.setattr("pyfork.arbiter.hook_waits.select.poll", Poll)
    world.script = [[], 0]
    if name == "on_starting":
        assert world.waits.start(SETTINGS) is None
    else:
        world.runner.run(SETTINGS, "child_exit", 7, 0)
        world.waits.finish(SETTINGS, None)
    assert naps == [50_000]
    assert world.killed == []


def test_the_last_hook_waits_for_the_others(world):
    """And is told what pyfork exits with."""
    world.script = [0, 0]
    world.runner.run(SETTINGS, "child_exit", 7, 0)
    world.waits.finish(SETTINGS, ExitStatus.BOOT)
    assert world.called == [("child_exit", 7, 0), ("on_exit", os.getpid(), 3)]
    assert world.runner.is_idle


def test_an_order_to_stop_ends_the_last_hook(world):
    """It was hurried."""
    world.script = [[signal.SIGTERM]]
    world.waits.finish(SETTINGS, ExitStatus.OK)
    assert world.killed == [1]


def test_an_end_is_not_held_up_by_calls_that_wait(world, monkeypatch):
    """They have the time of one hook, all together."""
    world.script = [[], 0]
    world.runner.run(SETTINGS, "child_exit", 7, 0)
    moments = iter([monotonic(), monotonic() + 49.9, monotonic() + 51])
    monkeypatch.setattr("pyfork.arbiter.hook_waits.monotonic", lambda: next(moments, monotonic() + 51))
    monkeypatch.setattr(world.runner, "on_time", lambda now: None)
    world.waits.finish(SETTINGS, ExitStatus.OK)
    assert world.killed == [1]
    assert [name for name, *_ in world.called] == ["child_exit", "on_exit"]


def test_an_arbiter_that_is_replaced_waits_for_its_hooks_and_calls_no_more(world):
    """pyfork goes on: that is no exit."""
    world.script = [0]
    world.runner.run(SETTINGS, "child_exit", 7, 0)
    world.waits.finish(SETTINGS, None)
    assert [name for name, *_ in world.called] == ["child_exit"]
    assert world.runner.is_idle


def test_whoever_supervises_the_arbiter_is_asked_for_the_time(world):
    """Until the deadline of the hook that is waited for."""
    asked = []
    waits = HookWaits(world.runner, world.signals, world.reap, asked.append)
    world.script = [0]
    before = world.now
    assert waits.start(SETTINGS) is None
    assert asked
    assert asked[0] >= before + SETTINGS.hooks.timeout
