"""Signals as a queue: a handler enqueues and wakes; the loop that owns the queue decides.

Two kinds of handlers do more, each for what cannot wait for a loop: `raise_in_main_thread` unwinds what runs, and
`call_in_main_thread` calls a function that only sets something.

Rules:

- Python runs a handler only between two bytecodes of the main thread, and ``epoll_wait`` is resumed after it (PEP 475).
  What wakes the loop is the wakeup descriptor, to which C code writes the signal's number as it arrives.
- All signals are blocked across every fork. A child otherwise runs with the parent's handlers and wakeup descriptor
  until it has reset them, and a signal that reaches it in between is written into the *parent's* queue.
- A signal that is to be ignored gets a handler that does nothing, not SIG_IGN: programs that the application starts
  would inherit SIG_IGN across ``exec``.

What does not work: ``signal.sigtimedwait`` in place of the queue (it cannot wait for descriptors too), and counting the
arrivals (signals of one kind coalesce in the kernel; every verb has to be good for being said once or many times).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

C_IGNORE = 1
"""SIG_IGN as <signal.h> has it."""
_raised: list[type[BaseException]] = []
"""What the handlers of `raise_in_main_thread` have raised in this process."""


class Unwinding:
    """Whether an order can unwind the main thread.

    Attributes:
        is_over: the handlers of `raise_in_main_thread` raise nothing any more: the process ends by itself. It is an
            attribute to be set in place, and no function, as Python runs handlers at each call: an order that comes
            while another one is caught would be raised by the very call that is to stop that.
    """

    is_over = False


unwinding = Unwinding()


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Be a handler, which unlike SIG_IGN ends at ``exec``."""


class SignalQueue:
    """The signals that have arrived and nobody has looked at; one to a process.

    Attributes:
        fd: readable when signals wait.
        write_fd: what the interpreter writes to.
        is_pending: signals wait; for a loop that is too busy to look at `fd`, or whose wakeup descriptor the
            application took away.
    """

    def __init__(self) -> None:
        self.is_pending = False
        self._queued: frozenset[int] = frozenset()
        self._noted: list[int] = []
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self.write_fd, False)

    def install(self, signals: Iterable[signal.Signals]) -> None:
        """Enqueue ``signals`` from now on (and let them do nothing else)."""
        self._queued |= (numbers := frozenset(signals))
        signal.set_wakeup_fd(self.write_fd, warn_on_full_buffer=False)  # full: the loop will look at it anyway
        for number in numbers:
            signal.signal(number, self._note)

    def drain(self) -> list[signal.Signals]:
        """Return what has arrived since the last call, each signal once, in the order of arrival.

        Of those that were installed: the interpreter writes the number of every signal that has a handler in Python,
        the application's own too.
        """
        self.is_pending = False
        self._noted = []
        arrived = b""
        with suppress(BlockingIOError):  # drained
            while octets := os.read(self.fd, 4096):
                arrived += octets
        return [signal.Signals(number) for number in dict.fromkeys(arrived) if number in self._queued]

    def put_back(self, signals: Iterable[signal.Signals]) -> None:
        """Let the next `drain` return ``signals`` (again)."""
        octets = bytes(signals)
        self._queued |= frozenset(octets)
        if octets:
            with suppress(BlockingIOError):  # full: of the same signals, as no more than a few kinds are queued
                os.write(self.write_fd, octets)

    def drain_all(self) -> list[signal.Signals]:
        """Return what `drain` does, and what reached a handler while the application had the wakeup descriptor.

        A signal may be told of twice. Only for workers: to the arbiter a second TERM is another order.
        """
        noted = self._noted
        return list(dict.fromkeys([*self.drain(), *map(signal.Signals, noted)]))

    def take_wakeup_back(self) -> None:
        """Be woken by signals in C again: asyncio, in the application, takes the wakeup descriptor and leaves none.

        It costs two system calls, so a loop does it now and then. Meanwhile the handler wakes the loop; only a signal
        that arrives between the loop's last bytecode and its system call waits for the next beat then.
        """
        signal.set_wakeup_fd(self.write_fd, warn_on_full_buffer=False)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted.append(number)
        self.is_pending = True
        with suppress(BlockingIOError):  # full: the loop is woken already
            os.write(self.write_fd, bytes((number,)))


def ignore(signals: Iterable[signal.Signals]) -> None:
    """Let ``signals`` do nothing in this process, and their default in the programs that it starts."""
    for number in signals:
        signal.signal(number, _do_nothing)


def raise_in_main_thread(number: signal.Signals, exception: type[BaseException]) -> None:
    """Let ``number`` raise ``exception`` wherever the main thread is.

    For orders that cannot wait for a loop: QUIT; TERM while the application is still being imported; TERM, INT and QUIT
    while the arbiter starts. The exception may be lost: see `raise_again`. It is raised until `unwinding` is over.
    """

    def handler(_number: int, _frame: FrameType | None) -> None:
        _raised.append(exception)
        if not unwinding.is_over:
            raise exception

    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _tell_unraisable
    signal.signal(number, handler)


def _tell_unraisable(lost: "UnraisableHookArgs") -> None:
    """Tell of an exception that Python drops, but not of an order: nothing is wrong, and `raise_again` has it."""
    if lost.exc_type not in _raised:
        sys.__unraisablehook__(lost)


def raise_again() -> None:
    """Raise what a handler of `raise_in_main_thread` has raised before, if there is such a thing.

    Python drops what is raised in a finaliser or in the callback of a weak reference (and each import has one of
    those), and applications catch everything. So this is called wherever a process goes on that should have ended.
    """
    if _raised:
        raise _raised[-1]


def call_in_main_thread(number: signal.Signals, function: Callable[[], object]) -> None:
    """Let ``number`` call ``function`` in the main thread, between two bytecodes.

    For what a loop has to find when it next looks, whatever it waits for. It must neither log, lock nor block.
    """
    signal.signal(number, lambda _number, _frame: function())


def disregard(signals: Iterable[signal.Signals]) -> None:
    """Let ``signals`` do nothing for the rest of this process, which is ending.

    Its finalisation gives every handler of Python's back to the kernel: an order that is repeated in that moment would
    end the process by the signal, with a status that says something went wrong.

    The kernel is told first, past Python, which complains of a signal that comes while its handler is taken away.
    """
    libc = load_libc()
    for number in signals:
        libc.signal(number, C_IGNORE)
        signal.signal(number, signal.SIG_IGN)


@cache
def load_libc() -> ctypes.CDLL:
    """Load it once: each time ctypes makes classes for it, which a forked worker would have for itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal.restype = ctypes.c_void_p
    return libc


def restore_default(number: signal.Signals) -> None:
    """Give ``number`` the kernel's default action back."""
    signal.signal(number, signal.SIG_DFL)


@contextmanager
def all_blocked() -> Iterator[None]:
    """Block every signal for the length of the ``with`` block: the fork window, in the parent and in the child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ForkWindow:
    """`all_blocked` for forks that others make: hooks for ``os.register_at_fork``."""

    def __init__(self) -> None:
        self._before: set[signal.Signals] = set()

    def open(self) -> None:
        """Block every signal; before the fork."""
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # type: ignore[assignment]

    def close(self) -> None:
        """Go back to what was; after the fork, in the parent, and in the child once it has reset its handlers."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def reset_in_child() -> None:
    """Undo the parent's handlers and wakeup descriptor; called in the child inside `all_blocked`.

    SIGPIPE stays ignored, as Python has it: a client that is gone is an EPIPE, not a death.
    """
    signal.set_wakeup_fd(-1)
    _raised.clear()
    unwinding.is_over = False
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            restore_default(signal.Signals(number))


def forget_wakeup() -> None:
    """Write arriving signals nowhere; called in a copy of a process, whose descriptor is the original's."""
    signal.set_wakeup_fd(-1)


def block_all() -> None:
    """Have every signal wait until `unblock_all`, or until the end of a `none_blocked`; called in the arbiter."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@contextmanager
def none_blocked() -> Iterator[None]:
    """Accept every signal for the length of the ``with`` block, as of a wait while all are blocked."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock_all() -> None:
    """Accept every signal; called at start, as a parent may have left some blocked (signal masks are inherited)."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def name_of(number: int) -> str:
    """Return the name of a signal for a log line; real-time signals have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
