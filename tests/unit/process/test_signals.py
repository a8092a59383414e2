"""Signals as a queue. (What happens across a fork is tested with real arbiters in tests/process.)"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from pyfork.errors import QuitNow
from pyfork.process import signals


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Whatever a test installs is gone after it."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_queue_gives_each_signal_once_in_order() -> None:
    """Signals that came several times are one; the order of arrival stays."""
    queue = signals.SignalQueue()
    queue.install([signal.SIGUSR1, signal.SIGUSR2])
    assert not queue.is_pending
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    assert queue.is_pending
    assert queue.drain() == [signal.SIGUSR2, signal.SIGUSR1]
    assert not queue.is_pending
    assert queue.drain() == []
    os.close(queue.fd)
    os.close(queue.write_fd)


@pytest.fixture
def queue() -> Iterator[signals.SignalQueue]:
    """A queue of two signals."""
    made = signals.SignalQueue()
    made.install([signal.SIGUSR1, signal.SIGUSR2])
    yield made
    signal.set_wakeup_fd(-1)
    os.close(made.fd)
    os.close(made.write_fd)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGRTMIN + 1])
def test_signals_that_others_handle_are_not_the_queues(queue: signals.SignalQueue, number: int) -> None:
    """The interpreter writes the number of each that has a handler; the application's may have no name either."""
    handled: list[int] = []
    before = signal.signal(number, lambda number, _frame: handled.append(number))
    try:
        for each in (number, signal.SIGUSR1):
            signal.raise_signal(each)
        assert queue.drain() == [signal.SIGUSR1]
        for each in (number, signal.SIGUSR2):
            signal.raise_signal(each)
        assert queue.drain_all() == [signal.SIGUSR2]
    finally:
        signal.signal(number, before)
    assert handled == [number, number]


def test_what_has_been_drained_is_not_remembered(queue: signals.SignalQueue) -> None:
    """The arbiter, which lives for months and is told of each child's end, calls `drain` alone."""
    for _ in range(3):
        signal.raise_signal(signal.SIGUSR1)
        assert queue.drain() == [signal.SIGUSR1]
    assert queue.drain_all() == []


def test_what_is_put_back_is_drained_again(queue: signals.SignalQueue) -> None:
    """Whoever puts it back says that it is the queue's."""
    queue.put_back([])
    queue.put_back([signal.SIGUSR2, signal.SIGHUP])
    assert queue.drain() == [signal.SIGUSR2, signal.SIGHUP]


def test_a_signal_is_told_of_without_the_wakeup_descriptor(queue: signals.SignalQueue) -> None:
    """asyncio, in the application, takes it; and the handler's own octet may find the pipe full."""
    signal.set_wakeup_fd(-1)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(queue.write_fd, bytes([signal.SIGUSR2]) * 4096)
    signal.raise_signal(signal.SIGUSR1)
    assert queue.is_pending
    assert queue.drain_all() == [signal.SIGUSR2, signal.SIGUSR1]
    assert queue.drain_all() == []


def test_ignored_signals_do_nothing_but_not_for_children() -> None:
    """The handler is not SIG_IGN, which programs started by the application would inherit."""
    signals.ignore([signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_IGN


def test_orders_that_raise_and_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal can unwind the main thread, or call a function in it."""
    monkeypatch.setattr(signals, "_raised", [])
    signals.raise_in_main_thread(signal.SIGUSR1, QuitNow)
    signals.raise_again()
    with pytest.raises(QuitNow):
        os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(QuitNow):
        signals.raise_again()
    called: list[int] = []
    signals.call_in_main_thread(signal.SIGUSR2, lambda: called.append(1))
    os.kill(os.getpid(), signal.SIGUSR2)
    assert called == [1]


def test_an_order_that_python_drops_is_not_told_but_remembered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a finaliser; each import has a callback that is such a place. What else is dropped is told as ever."""

    class Finalised:
        def __init__(self, finalise: Callable[[], object]) -> None:
            self._finalise = finalise

        def __del__(self) -> None:
            self._finalise()

    monkeypatch.setattr(signals, "_raised", [])
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    signals.raise_in_main_thread(signal.SIGUSR1, QuitNow)
    Finalised(lambda: signal.raise_signal(signal.SIGUSR1))
    assert capsys.readouterr().err == ""
    with pytest.raises(QuitNow):
        signals.raise_again()
    Finalised(lambda: {}["no such key"])
    assert "KeyError: 'no such key'" in capsys.readouterr().err


def test_what_tells_of_dropped_exceptions_stays_the_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a hook of their own for that keeps it."""
    own = print
    monkeypatch.setattr(sys, "unraisablehook", own)
    signals.raise_in_main_thread(signal.SIGUSR1, QuitNow)
    assert sys.unraisablehook is own


def test_nothing_is_raised_in_a_process_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers stay, and do nothing."""
    monkeypatch.setattr(signals, "_raised", [])
    monkeypatch.setattr(signals.unwinding, "is_over", True)
    signals.raise_in_main_thread(signal.SIGUSR1, QuitNow)
    signal.raise_signal(signal.SIGUSR1)


def test_everything_is_blocked_in_the_window_and_nothing_after_it() -> None:
    """A signal that comes inside of it is delivered when it closes, and the mask is what it was."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    called: list[str] = []
    signals.call_in_main_thread(signal.SIGUSR1, lambda: called.append("delivered"))
    with signals.all_blocked():
        signal.raise_signal(signal.SIGUSR1)  # to this thread: a runner's others do not block it
        assert called == []
    assert called == ["delivered"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_reset_gives_every_handler_back() -> None:
    """A child begins with the kernel's defaults; only SIGPIPE stays ignored."""
    everything = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        signals.ignore([signal.SIGUSR1, signal.SIGINT])  # who runs the tests may ignore SIGINT itself (a shell's "&")
        signals.reset_in_child()
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    finally:
        for number, handler in everything.items():
            if callable(handler):
                signal.signal(number, handler)


def test_an_ending_process_disregards_orders() -> None:
    """The kernel itself drops them, so that finalisation cannot bring a deadly default back."""
    signals.disregard([signal.SIGUSR1])
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_signal_that_comes_while_it_is_disregarded_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would find no handler for it, and say so on standard error."""
    handled: list[int] = []
    signals.call_in_main_thread(signal.SIGUSR1, lambda: handled.append(1))
    set_handler = signal.signal

    def set_late(number: int, handler: int) -> None:
        signal.raise_signal(number)
        set_handler(number, handler)

    monkeypatch.setattr(signal, "signal", set_late)
    signals.disregard([signal.SIGUSR1])
    assert handled == []


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (41, "signal 41")])
def test_names(number: int, name: str) -> None:
    """Real-time signals have no name of their own."""
    assert signals.name_of(number) == name


def test_unblock_all() -> None:
    """A mask inherited from a parent does not make pyfork deaf."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        signals.unblock_all()
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_what_was_blocked_is_let_through_for_a_while() -> None:
    """And waits again afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signals.block_all()
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with signals.none_blocked():
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
