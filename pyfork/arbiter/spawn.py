"""The forks of a worker and of another program, and the only place of the arbiter that forks.

The child does not run its life below the arbiter's frames: `spawn_worker` raises `BecameWorker` there, which unwinds
the arbiter's loop (it has no ``finally`` that acts) up to the composition root, and the worker begins on a clean stack.
"""

import gc
import os
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import Handoff
from pyfork.process.signals import all_blocked, ignore, reset_in_child

_NOT_FOR_CHILDREN = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""A signal to the whole group must not end a worker that boots; it takes over those that mean something to it later."""


class BecameWorker(BaseException):
    """Raised in the child, and in the child only."""

    def __init__(self, handoff: Handoff) -> None:
        super().__init__()
        self.handoff = handoff


@dataclass(frozen=True, slots=True)
class SpawnedWorker:
    """What the arbiter keeps of a worker: its pid, the read end of its heartbeat, the write end of its lifeline."""

    pid: int
    heartbeat_fd: int
    lifeline_fd: int


def spawn_worker(make_handoff: Callable[[int, int], Handoff], private: Iterable[int]) -> SpawnedWorker:
    """Fork a worker; returns in the arbiter, and raises `BecameWorker` in the child.

    Args:
        make_handoff: called with the child's heartbeat and lifeline descriptors, before the fork.
        private: the arbiter's own descriptors, which the child closes at birth: signal queue, the other workers'
            pipes, listeners of other generations.

    Raises:
        OSError: the kernel refused (EAGAIN, ENOMEM, EMFILE, ENFILE); nothing is left open.
        BecameWorker: this is the child.
    """
    opened: list[int] = []
    try:
        heartbeat_read, heartbeat_write = _open_pipe(opened)
        lifeline_read, lifeline_write = _open_pipe(opened)
        os.set_blocking(heartbeat_read, False)
        os.set_blocking(heartbeat_write, False)
        handoff = make_handoff(heartbeat_write, lifeline_read)
        closed_in_child = [heartbeat_read, lifeline_write, *private]
        with all_blocked():
            pid = os.fork()
            if pid == 0:
                _begin_child(closed_in_child)
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    if pid == 0:
        raise BecameWorker(handoff)
    os.close(heartbeat_write)
    os.close(lifeline_read)
    return SpawnedWorker(pid, heartbeat_read, lifeline_write)


def spawn_program(become: Callable[[], NoReturn], report: Callable[[str], object]) -> int:
    """Fork a process that becomes another program, and return its pid.

    Every signal is blocked in it, also after the ``exec``: one that came before the program has its handlers would end
    it. The program accepts them when it is ready to (`process.signals.unblock_all`).

    Args:
        become: called in the child; ends in ``exec``.
        report: called in the child with a sentence when it did not; the child then ends.

    Raises:
        OSError: the kernel refused the fork.
    """
    with all_blocked():
        pid = os.fork()
        if pid == 0:
            _begin_program(become, report)
    return pid


def _begin_program(become: Callable[[], NoReturn], report: Callable[[str], object]) -> NoReturn:
    try:
        reset_in_child()
        become()
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as a second arbiter
        with suppress(Exception):  # nobody listens: the exit status has to do
            report(f"{type(error).__name__}: {error}")
    os._exit(ExitStatus.FAILURE)


def _open_pipe(opened: list[int]) -> tuple[int, int]:
    ends = os.pipe()
    opened += ends
    return ends


def _begin_child(private: Iterable[int]) -> None:
    """Become a process of its own, with all signals blocked; the order matters.

    1. The wakeup descriptor and the handlers are the arbiter's until they are reset: first of all. Some defaults would
       be deadly meanwhile.
    2. The arbiter's descriptors: a lifeline whose write end a sibling still holds would never tell of its death.
       Those that an object owns (epoll, pidfile) are closed by `cli/serve.py`, through the object.
    3. What the arbiter collected is garbage here and stays uncollected: walking it would copy its pages.
    """
    try:
        reset_in_child()
        ignore(_NOT_FOR_CHILDREN)
        for fd in private:
            os.close(fd)
        gc.freeze()
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second arbiter
        traceback.print_exc()
        os._exit(ExitStatus.FAILURE)
