"""The lifeline: how a worker learns that the arbiter is gone, and how the kernel sees to a worker that cannot learn it.

Each worker has a pipe of its own whose write end only the arbiter holds. Three layers, each for what the one before
cannot reach:

1. The loop watches the pipe: an idle worker sees EOF and exits at once; a busy one sees it after its request.
2. The pipe is in O_ASYNC mode: at EOF the kernel sends SIGIO, whose handler (run between two bytecodes, so in an
   endless loop of Python too) sets ITIMER_REAL to ``graceful_timeout`` with SIGALRM's default action: the kernel ends
   the process then, whatever it does.
3. A process stuck in C runs no handler of Python. PR_SET_PDEATHSIG sends it a real-time signal whose *C-level* handler
   is libc's own ``alarm(2)``. A handler is called with its signal's number, and ``alarm`` takes seconds: signal 36
   ends the process 36 seconds later. The number nearest to ``graceful_timeout`` is taken, at least 35 and at most 64.
   Both use the same timer, and this signal comes later than SIGIO: so layer 2 has the kernel ignore it.

What does not work: ``timer_create`` (armed beforehand it must be pushed on with every beat, and fires in a process that
was frozen for longer), a ctypes callback as the handler (it needs the interpreter, which is stuck), and
``faulthandler.dump_traceback_later(exit=True)`` (a thread, and the application may use it itself).

A change of user clears the parent-death signal, so `arm` comes after `drop_privileges`.
"""

import ctypes
import fcntl
import math
import os
import signal
import sys
from collections.abc import Callable

from pyfork.process.signals import C_IGNORE, call_in_main_thread, load_libc, restore_default

_PR_SET_PDEATHSIG = 1
_FIRST_REALTIME, _LAST_REALTIME = 35, 64  # SIGRTMIN is 34; musl uses that one


def arm(fd: int, graceful_timeout: float, on_orphaned: Callable[[], object]) -> None:
    """Watch the lifeline ``fd`` in this worker.

    Args:
        fd: the read end.
        graceful_timeout: seconds that a busy worker may go on.
        on_orphaned: called in the main thread when the arbiter has gone; must only set a flag.
    """

    def orphaned() -> None:
        if not is_cut(fd):
            return  # somebody else's SIGIO: the arbiter lives
        on_orphaned()
        if sys.platform == "linux":  # the parent-death signal comes after SIGIO, and its alarm would replace ours
            libc.signal(_death_signal(graceful_timeout), C_IGNORE)  # Python takes no real-time signals everywhere
        restore_default(signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, max(graceful_timeout, 0.001))

    libc = load_libc()
    call_in_main_thread(signal.SIGIO, orphaned)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK | os.O_ASYNC)
    if sys.platform == "linux":
        _arm_kernel(libc, _death_signal(graceful_timeout))
    if is_cut(fd):  # the arbiter died before the pipe could tell
        orphaned()


def is_cut(fd: int) -> bool:
    """Whether the arbiter is gone."""
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False


def _death_signal(graceful_timeout: float) -> int:
    return min(max(math.ceil(graceful_timeout), _FIRST_REALTIME), _LAST_REALTIME)


def _arm_kernel(libc: ctypes.CDLL, number: int) -> None:
    libc.signal(number, ctypes.cast(libc.alarm, ctypes.c_void_p))
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG): {os.strerror(error)}")
