"""The forks of children and of another program, and the only place of the arbiter that forks.

The child does not run its life below the arbiter's frames: `fork_child` raises `BecameChild` there, which unwinds the
arbiter's loop (it has no ``finally`` that acts) up to the composition root, and the child begins on a clean stack.
"""

import gc
import os
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from pyfork.errors import LaunchError
from pyfork.ipc.exits import ExitStatus
from pyfork.ipc.messages import AnyHandoff, HookHandoff
from pyfork.ipc.passing import close_all, control_pair
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
"""A signal to the whole group must not end a child that boots; it takes over those that mean something to it later."""


class BecameChild(BaseException):
    """Raised in the child, and in the child only.

    Attributes:
        handoff: what the child was born with; its type says what it is to become.
    """

    def __init__(self, handoff: AnyHandoff) -> None:
        super().__init__()
        self.handoff = handoff


class Ends(Struct, frozen=True):
    """One process's ends of what connects the arbiter with a child.

    Attributes:
        heartbeat: the child writes, the arbiter reads; neither end blocks.
        lifeline: the arbiter holds the write end, and the child sees it end.
        control: of a control socket; None when the child has none.
    """

    heartbeat: int
    lifeline: int
    control: int | None = None

    def descriptors(self) -> list[int]:
        """Return them all, in the order in which they are passed on."""
        return [self.heartbeat, self.lifeline, *([] if self.control is None else [self.control])]


def open_ends(*, has_control: bool) -> tuple[Ends, Ends]:
    """Make what connects the arbiter with a new child.

    Returns:
        The arbiter's ends, and the child's.

    Raises:
        OSError: there are no descriptors left (EMFILE, ENFILE); nothing is left open.
    """
    opened: list[int] = []
    try:
        opened += (heartbeat := os.pipe())
        opened += (lifeline := os.pipe())
        control = control_pair() if has_control else (None, None)
    except OSError:
        close_all(opened)
        raise
    for fd in (*heartbeat, lifeline[0]):
        os.set_blocking(fd, False)
    return Ends(heartbeat[0], lifeline[1], control[0]), Ends(heartbeat[1], lifeline[0], control[1])


def spawn(make_handoff: Callable[[Ends], AnyHandoff], private: Iterable[int], *, has_control: bool) -> tuple[int, Ends]:
    """Fork a worker or a mold; returns in the arbiter, and raises `BecameChild` in the child.

    Args:
        make_handoff: called with the child's ends, before the fork.
        private: the arbiter's own descriptors, which the child closes at birth: signal queue, the other children's
            ends, listeners of other generations.
        has_control: whether the child gets orders.

    Returns:
        The pid and the arbiter's ends.

    Raises:
        OSError: the kernel refused (EAGAIN, ENOMEM, EMFILE, ENFILE); nothing is left open.
        BecameChild: this is the child.
    """
    own, childs = open_ends(has_control=has_control)
    try:
        pid = fork_child(make_handoff(childs), [*own.descriptors(), *private])
    except OSError:
        close_all([*own.descriptors(), *childs.descriptors()])
        raise
    close_all(childs.descriptors())
    return pid, own


def fork_child(handoff: AnyHandoff, private: Iterable[int]) -> int:
    """Fork a child that lives by ``handoff``, and return its pid.

    Args:
        handoff: what it is born with.
        private: descriptors that it closes at birth.

    Raises:
        OSError: the kernel refused (EAGAIN, ENOMEM).
        BecameChild: this is the child.
    """
    closed_in_child = list(private)
    with all_blocked():
        pid = os.fork()
        if pid == 0:
            _begin_child(closed_in_child)
    if pid == 0:
        raise BecameChild(handoff)
    return pid


def spawn_hook(handoff: HookHandoff, private: Iterable[int]) -> tuple[int, int]:
    """Fork the process of one hook, the leader of a group of its own; see `fork_child`.

    Returns:
        The pid, and the arbiter's end of the lifeline.
    """
    lifeline, own = os.pipe()
    try:
        pid = fork_child(replace(handoff, lifeline_fd=lifeline), [own, *private])
    except OSError:
        close_all((lifeline, own))
        raise
    close_all([lifeline])
    with suppress(OSError):  # it does so itself, and may have ended
        os.setpgid(pid, pid)
    return pid, own


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
            report(str(error) if isinstance(error, LaunchError) else f"{type(error).__name__}: {error}")
    os._exit(ExitStatus.FAILURE)


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
