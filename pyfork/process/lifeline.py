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

The process of a hook has nothing to finish, and may have started others: its lifeline ends its whole process group at
once (`tie_group`). In O_ASYNC mode a pipe may be told to send any signal, SIGKILL too, and to a group: no code of the
process has to run for it, and nothing of it can be stuck.
"""

import ctypes
import fcntl
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from pyfork.process.signals import C_IGNORE, call_in_main_thread, load_libc, restore_default

_close = os.close  # imported in the arbiter: gevent, in a hook, replaces it
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


def tie_group(fd: int) -> None:
    """Have this process end with the arbiter, and its group, which it leads; for the process of a hook.

    It comes before `drop_privileges`: the kernel asks whether who set this might signal the others. Forks of the
    process let go of the lifeline: what outlives the process is left alone.

    Args:
        fd: the read end.
    """
    if sys.platform == "linux":
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        owner = -os.getpgrp()
    else:  # no more than SIGIO can be had
        call_in_main_thread(signal.SIGIO, lambda: is_cut(fd) and _kill_group())
        owner = os.getpid()
    lifeline = os.fstat(fd)
    os.register_at_fork(after_in_child=lambda: _let_go(fd, lifeline))
    fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK | os.O_ASYNC)
    if is_cut(fd):  # the arbiter died before the pipe could tell
        _kill_group()


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _let_go(fd: int, lifeline: os.stat_result) -> None:
    """Close ``fd`` if it still is the lifeline: the hook may have closed it, and have the number for something else."""
    with suppress(OSError):  # it is closed
        if os.path.samestat(os.fstat(fd), lifeline):
            _close(fd)


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
