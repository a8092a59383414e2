"""The shell's part in upgrades: the new arbiter is forked and executed, listened to, and given what is ours (USR2).

Two arbiters share the sockets and the pidfile's lock for a while; exactly one of them is *in charge*. Only that one may
stop a socket, remove a path or write the pidfile. They are joined by a pair of sockets:

1. The old one starts the new one, with one environment variable (`handover`) and the descriptors that it names.
2. The new one says ``R`` when all its workers are ready, or ``F`` and why there will be nothing (`ipc.messages`).
3. The old one tells the supervisor, writes the new pid into the pidfile, and says ``Y``: now the new one is in charge.
   If the supervisor cannot be told, it would end the new one with the old one: then nothing is handed over.

The end of the stream instead of ``Y`` means that the old one is dead: then the new one is in charge too, ready or not.
The end of the stream instead of ``R`` means nothing by itself: the old one waits for the exit.

What does not work: the new one taking over by itself when it is ready (the old one may be telling it to end in that
very moment, and a stop would then take the sockets from under the old one's workers), and to recognise the old one's
death by getppid(2) (a subreaper, a container's process 1 and a pid that is used again all look alike).
"""

import logging
import os
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NoReturn

from msgspec import Struct

from pyfork.arbiter.events import (
    Event,
    HandedOver,
    HandOverRefused,
    UpgradeExited,
    UpgradeReady,
    UpgradeRefused,
    UpgradeStarted,
)
from pyfork.arbiter.generations import Generation
from pyfork.arbiter.handover import VARIABLE, VERSION, Handover, PassedListener, encode
from pyfork.arbiter.launch import Launch
from pyfork.arbiter.listeners import BoundListener
from pyfork.arbiter.pidfile import Pidfile
from pyfork.arbiter.predecessor import Predecessor
from pyfork.arbiter.reaper import is_alive
from pyfork.arbiter.spawn import spawn_program
from pyfork.ipc.messages import BootReport, FailureKind, GarbledPipeError, Ready, WordDecoder, encode_report
from pyfork.process import title
from pyfork.process.signals import name_of

YOURS = b"Y"
"""The old arbiter's only word: the new one is in charge."""
_UNTOLD = (
    "the service manager could not be told of it (MAINPID=) and would end it with this one; send USR2 again when that "
    "one listens, or restart the service"
)

_log = logging.getLogger("pyfork.error")


class UpgradeCallbacks(Struct, frozen=True):
    """What others do when an arbiter changes; each is called in the arbiter.

    Attributes:
        variables: returns what the new arbiter has in its environment besides ours.
        handing_over: is told the new arbiter's pid before anything else changes hands, the last moment at which a
            supervisor still listens to this process; returns whether the supervisor knows.
        taken_over: this arbiter is in charge from now on.
    """

    variables: Callable[[], Mapping[str, str]]
    handing_over: Callable[[int], bool]
    taken_over: Callable[[], object]


class Upgrades:
    """The arbiter that this one replaces, and the one that replaces it; lives in the arbiter.

    Args:
        launch: how this process was started.
        pidfile: the one that it holds.
        predecessor: the old arbiter that has started this one.
        callbacks: what others do on the way.
    """

    def __init__(
        self, launch: Launch, pidfile: Pidfile | None, predecessor: Predecessor | None, callbacks: UpgradeCallbacks
    ) -> None:
        self._launch = launch
        self._pidfile = pidfile
        self._predecessor = predecessor
        self._callbacks = callbacks
        self._label = ""
        self._pid = 0  # of the new arbiter
        self._fd = -1
        self._decoder = WordDecoder()
        self._said = ""  # by the new arbiter, of why there will be nothing
        self.is_in_charge = predecessor is None

    def attach(
        self,
        epoll: select.epoll,
        listeners: Callable[[], list[BoundListener]],
        on_taken_over: Callable[[], object] = lambda: None,
    ) -> None:
        """Have ``epoll`` wake the loop for what the other arbiters say.

        Args:
            epoll: the loop's.
            listeners: returns all that are open.
            on_taken_over: is called when this arbiter has replaced the old one.
        """
        self._epoll = epoll
        self._listeners = listeners
        self._on_taken_over = on_taken_over
        if self._predecessor is not None:
            epoll.register(self._predecessor.fd, select.EPOLLIN)

    def descriptors(self) -> list[int]:
        """Return what no child may keep."""
        line = [] if self._fd == -1 else [self._fd]
        return line if self._predecessor is None else [*line, *self._predecessor.descriptors()]

    def abandon(self) -> None:
        """Let go of what was the arbiter's; called in a child."""
        if self._predecessor is not None:
            self._predecessor.abandon()

    # This arbiter is the new one.

    def report_ready(self) -> None:
        """Tell the old arbiter that all workers are ready."""
        if self._predecessor is not None:
            self._predecessor.say_ready()

    def _take_over(self, predecessor: Predecessor) -> None:
        self._epoll.unregister(predecessor.fd)
        for listener in self._listeners():
            listener.take_over()
        if self._pidfile is not None:
            self._pidfile.take_over()
        self._on_taken_over()  # systemd lets go of its copy of a socket before that is closed
        predecessor.succeed()
        self._predecessor = None
        self.is_in_charge = True
        _log.info("upgrade: this arbiter has taken over from pid %d", predecessor.pid)
        self._callbacks.taken_over()

    # This arbiter is the old one.

    def start(self, generation: Generation, wanted: int, steps: int) -> UpgradeStarted | UpgradeRefused:
        """Start a new arbiter.

        Args:
            generation: the current one, whose listeners it gets.
            wanted: the number of workers.
            steps: how far operators have moved that, or its bounds.
        """
        if os.getpid() == 1:
            return UpgradeRefused(
                "pyfork is process 1 here, and a container ends with its process 1; replace the container instead, or "
                "start pyfork under an init (`docker run --init`)"
            )
        self._label = generation.loaded.settings.label
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            return UpgradeRefused(f"there are no descriptors left for it: {error}")
        with ours, theirs:
            try:
                handover = self._handover(generation, wanted, steps, theirs.fileno())
                report = partial(_report, theirs.fileno())
                become = partial(_become, self._launch, handover, self._callbacks.variables())
                self._pid = spawn_program(become, report)
            except OSError as error:
                return UpgradeRefused(f"the new arbiter could not be forked: {error}")
            ours.setblocking(False)
            self._fd = ours.detach()
        self._decoder = WordDecoder()
        self._said = ""
        self._epoll.register(self._fd, select.EPOLLIN)
        return UpgradeStarted(self._pid)

    def _handover(self, generation: Generation, wanted: int, steps: int, ready_fd: int) -> Handover:
        pidfile = self._pidfile
        return Handover(
            version=VERSION,
            ready_fd=ready_fd,
            pidfile_fd=None if pidfile is None else pidfile.fd,
            pidfile=None if pidfile is None else pidfile.path,
            listeners=tuple(
                PassedListener(one.socket.fileno(), one.bind, one.inode, one.is_inherited)
                for one in generation.listeners
            ),
            wanted=wanted,
            count=generation.loaded.settings.workers.count,
            bounds=generation.plan().bounds,
            steps=steps,
            predecessor=os.getpid(),
        )

    def hand_over(self, pid: int) -> HandedOver | HandOverRefused:
        """Make the new arbiter the one in charge, or leave all as it is when the supervisor cannot be told."""
        if not self._callbacks.handing_over(pid):
            return HandOverRefused(pid, _UNTOLD)
        self._leave_to(pid)
        title.set_title(f"pyfork: arbiter (old, draining) [{self._label}]")
        with suppress(OSError):  # it is dead already; its exit comes next
            os.write(self._fd, YOURS)
        self._hang_up()
        return HandedOver(pid)

    def leave_behind(self) -> None:
        """Leave everything to a new arbiter that is there, as this one has failed and ends.

        Ready or not, it will be in charge by that end: path and pidfile of what it has open have to stay.
        """
        if self._pid and self.is_in_charge and is_alive(self._pid):
            self._callbacks.handing_over(self._pid)
            self._leave_to(self._pid)

    def _leave_to(self, pid: int) -> None:
        if self._pidfile is not None:
            self._pidfile.hand_over(pid)
        for listener in self._listeners():
            listener.hand_over(pid)
        self.is_in_charge = False

    def reaped(self, pid: int, code: int) -> list[Event]:
        """Return the event of a child that was reaped and is no worker.

        Args:
            pid: whose.
            code: its exit status, or the number of the signal that ended it, negative.
        """
        if pid != self._pid:
            return []
        self._read()  # for its last words; that it was ready before it died is of no use any more
        self._hang_up()
        self._pid = 0
        return [UpgradeExited(pid, None if code < 0 else code, name_of(-code) if code < 0 else None, self._said)]

    # What the others say.

    def listen(self) -> list[Event]:
        """Return what the new arbiter says; note what the old one says. Costs nothing outside of upgrades."""
        if self._predecessor is not None and self._predecessor.read_release():
            self._take_over(self._predecessor)
        if self._read():
            return [UpgradeReady(self._pid)]
        return []

    def _read(self) -> bool:
        """Read the new arbiter's words, log its reports, and return whether it is ready."""
        if self._fd == -1:
            return False
        try:
            octets = os.read(self._fd, 65536)
            words = self._decoder.feed(octets)
        except BlockingIOError:
            return False
        except (GarbledPipeError, ConnectionResetError) as error:
            _log.error("upgrade: the new arbiter (pid %d): %s", self._pid, error)
            words, octets = [], b""
        if not octets:
            self._hang_up()
        for word in words:
            if isinstance(word, BootReport):
                self._said = self._said or word.message
                _log.error("upgrade: the new arbiter (pid %d) says: %s", self._pid, word.message)
        return any(isinstance(word, Ready) for word in words)

    def _hang_up(self) -> None:
        if self._fd != -1:
            self._epoll.unregister(self._fd)
            os.close(self._fd)
            self._fd = -1


def _become(launch: Launch, handover: Handover, variables: Mapping[str, str]) -> NoReturn:
    """Become the new arbiter; called in the child."""
    fds = [handover.ready_fd, *(listener.fd for listener in handover.listeners)]
    for fd in fds if handover.pidfile_fd is None else [*fds, handover.pidfile_fd]:
        os.set_inheritable(fd, True)
    launch.become({**variables, VARIABLE: encode(handover)})


def _report(fd: int, message: str) -> None:
    """Tell the old arbiter, from the child that has not become the new one, why."""
    os.write(fd, encode_report(BootReport(FailureKind.BOOT, message, "")))
