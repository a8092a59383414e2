"""How a mold forks a worker, and a worker a mold: twice, so that the new process is the arbiter's own child.

The process in the middle forks and ends at once; its child is an orphan then, and the arbiter, which is the child
subreaper, its new parent: it can wait for it, and PR_SET_PDEATHSIG (`process.lifeline`) counts from it.

Rules:

- All signals are blocked from before the first fork until the new process has handlers of its own: see
  `process.signals`.
- The new process does nothing for itself before the one in the middle is gone. It hears of that by the end of a pipe,
  which its forker closes after ``waitpid``. (A process's descriptors are closed *before* its children are given away,
  so an end that the middle process held would come too early.)
- It then says on its heartbeat pipe that it is born. When nobody listens any more, the arbiter has given up on it, or
  is gone: it ends without a trace.
- It unwinds to a clean stack, as the arbiter's children do (ADR 2), by `BecameWorker` or `BecameMold`.

What does not work: to have the forker report the pid (a mold that is killed in between leaves a worker that nobody
knows), and gevent's ``os.fork``, which starts a hub to watch the child with: so the functions are kept as they are.
"""

import logging
import os
import select
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import Handoff, MoldHandoff, encode_born
from pyfork.ipc.passing import close_all
from pyfork.process.lifeline import is_cut
from pyfork.process.signals import all_blocked

_log = logging.getLogger("pyfork.error")
_fork, _waitpid, _poll = os.fork, os.waitpid, select.poll  # imported in the arbiter: gevent replaces them in a mold


class BecameWorker(BaseException):
    """Raised in a worker that a mold has just forked, and there only."""

    def __init__(self, handoff: Handoff) -> None:
        super().__init__()
        self.handoff = handoff


class BecameMold(BaseException):
    """Raised in a mold that a worker has just forked, and there only."""

    def __init__(self, handoff: MoldHandoff) -> None:
        super().__init__()
        self.handoff = handoff


class Birth(Struct, frozen=True):
    """What a new process does first.

    Attributes:
        begin: makes it one of its own; called with all signals blocked.
        heartbeat_fd: where it says that it is born.
        lifeline_fd: whose end says that nobody wants it any more; does not block.
    """

    begin: Callable[[], None]
    heartbeat_fd: int
    lifeline_fd: int


def fork_apart(birth: Birth) -> bool:
    """Fork a process that will be the arbiter's child.

    Returns:
        True in the new process, False in the one that called.

    Raises:
        OSError: the kernel refused (EAGAIN, ENOMEM, EMFILE, ENFILE); there is no new process.
    """
    flush_output()
    gone_read, gone_write = os.pipe()
    try:
        with warnings.catch_warnings(), all_blocked():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, since 3.12; see `report_threads`
            middle = _fork()
            if middle == 0:
                _be_middle(birth, gone_read, gone_write)
    except OSError:
        close_all((gone_read, gone_write))
        raise
    if middle == 0:
        return True
    close_all([gone_read])
    try:
        status = _waitpid(middle, 0)[1]
    except ChildProcessError:  # the application has SIGCHLD ignored, or waits for every child itself; it is gone
        status = 0
    close_all([gone_write])
    refusal = os.waitstatus_to_exitcode(status)
    if refusal > 0:
        raise OSError(refusal, os.strerror(refusal))
    return False


def report_threads(when: str) -> None:
    """Warn of threads that run: a fork copies the one that forks, and no other.

    Not of gevent's, which are greenlets and go on in the copy.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return
    names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
    if names:
        _log.warning(
            "%d thread(s) run %s: %s; the workers that are forked will not have them, and may find their locks locked "
            "(docs/preload.md says where to start threads)",
            len(names),
            when,
            ", ".join(names),
        )


def flush_output() -> None:
    """Write what the application has printed: each copy of a buffer would be written by its own process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, it is full or gone, it was closed
            stream.flush()


def _be_middle(birth: Birth, gone_read: int, gone_write: int) -> None:
    """Fork once more and end, with the error's number if that failed; return in the new process, and there only."""
    middle = os.getpid()
    try:
        if _fork() != 0:
            os._exit(0)
    except OSError as error:
        os._exit(error.errno or ExitStatus.FAILURE)
    try:
        close_all([gone_write])
        birth.begin()
        _wait_for_either_end(gone_read, birth.lifeline_fd)
        close_all([gone_read])
        while os.getppid() == middle:  # its forker was killed before it could wait
            os.sched_yield()
        if is_cut(birth.lifeline_fd):
            os._exit(ExitStatus.OK)
        os.write(birth.heartbeat_fd, encode_born(os.getpid()))
    except BrokenPipeError:
        os._exit(ExitStatus.OK)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second one of its forker
        traceback.print_exc()
        os._exit(ExitStatus.FAILURE)


def _wait_for_either_end(*pipes: int) -> None:
    """Wait until one of ``pipes``, which nobody writes to, is at its end."""
    poll = _poll()
    for fd in pipes:
        poll.register(fd, select.POLLIN)
    poll.poll()
