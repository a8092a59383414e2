"""Faults: descriptors, processes, disks and pipes that run out, and a clock that jumps. Nothing is lost by any of them.

Limits are lowered on living processes (prlimit(2)) and raised again. A disk that is full is /dev/full, whose writes
fail with ENOSPC (full(4)); a reader that stands still is a FIFO that is full and that nobody reads. Both take the place
of a log by the way that every rotation takes: the name is made to mean another file, and USR1 follows.
"""

import contextlib
import fcntl
import itertools
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from tests import procfs
from tests.faults.orders import REPLACED
from tests.faults.scene import Scene
from tests.harness import wait_until

MOST_CPU = 0.5
"""Part of a core that a process may use while something is wanting; beside a tenth of a second."""


@contextlib.contextmanager
def limited(pids: list[int], kind: int, soft: int) -> Iterator[None]:
    """Lower a limit of processes for the length of a ``with`` block, and see that nobody spins meanwhile."""
    before = {pid: procfs.limit_of(pid, kind)[0] for pid in pids}
    used = {pid: procfs.cpu_seconds(pid) for pid in pids}
    began = monotonic()
    for pid in pids:
        procfs.set_limit(pid, kind, soft)
    try:
        yield
    finally:
        took = monotonic() - began
        spent = {pid: procfs.cpu_seconds(pid) - used[pid] for pid in pids}
        for pid in filter(procfs.is_alive, pids):
            procfs.set_limit(pid, kind, before[pid])
    spinning = {pid: seconds for pid, seconds in spent.items() if seconds > 0.1 + MOST_CPU * took}
    assert not spinning, f"within {took:.2f} s these processes used so many of processor time: {spinning}"


def a_worker_without_descriptors(scene: Scene) -> None:
    """EMFILE on accept: it waits without spinning, the others serve, and it comes back."""
    _starve(scene, [scene.victim()])


def no_worker_has_descriptors(scene: Scene) -> None:
    """EMFILE everywhere: clients wait in the queue, and are served when there are descriptors again."""
    _starve(scene, scene.workers())


def _starve(scene: Scene, pids: list[int]) -> None:
    """Leave workers none, or one of them those that it has for good: with its spare one it serves another client.

    A USR1 of before may reach them only now: the arbiter has told of it, which says nothing of the workers.
    """
    scene.forgive("cannot accept: Too many open files", r"cannot reopen the log '.*': Too many open files")
    soft = 3
    if len(pids) == 1 and scene.random.random() < 0.5:
        soft = _lasting(pids[0])
    with limited(pids, resource.RLIMIT_NOFILE, soft):
        for pid in pids:  # the line comes once in ten seconds
            told = rf"\[{pid}\] \[ERROR\] .*cannot accept: Too many open files; trying again in 0\.5 s"
            wait_until(lambda told=told: re.search(told, scene.server.log), f"the log says {told!r}")
        scene.pause(0.6, 1.5)
    assert set(pids) <= set(scene.workers())


def _lasting(pid: int) -> int:
    """Return the limit that leaves a process nothing to open: below it are only descriptors that are no connection's."""
    open_now = procfs.descriptors(pid)
    lasting = {fd for fd, target in open_now.items() if not target.startswith("socket:")}
    listeners = {fd for fd, target in open_now.items() if target in procfs.listening(pid)}
    return next(fd for fd in itertools.count() if fd not in lasting | listeners)


def an_arbiter_without_descriptors(scene: Scene) -> None:
    """EMFILE at pipe(2): a replacement and a reload fail with the reason, and come when there are descriptors."""
    scene.forgive("could not be forked", "was killed by SIGKILL", "reload refused", "reload failed", "cannot reopen")
    scene.begin_generation()
    with limited([scene.server.pid], resource.RLIMIT_NOFILE, 3):
        pid = scene.victim()
        assert scene.kill(pid)
        scene.expect(r"could not be forked: \[Errno 24\] Too many open files\s+the next try is in \d")
        scene.server.signal("HUP")
        scene.expect(r"reload (refused|failed): .*")


def an_arbiter_that_cannot_fork(scene: Scene) -> None:
    """EAGAIN at fork(2), by RLIMIT_NPROC: who was lost, worker or mold, comes back when there is room again."""
    scene.forgive("could not be forked", "was killed by SIGKILL")
    scene.begin_generation()
    with limited([scene.server.pid], resource.RLIMIT_NPROC, 1):
        assert scene.kill(scene.mold() if scene.is_preloading else scene.victim())
        scene.expect(r"could not be forked: \[Errno 11\] Resource temporarily unavailable\s+the next try is in \d")


def a_full_disk_for_accesses(scene: Scene) -> None:
    """ENOSPC for the access log: lines are lost, and the error log says so."""
    scene.forgive(r"access\.log'.*lines lost")
    with replaced(scene, scene.server.access_path, Path("/dev/full")):
        scene.pause(0.3, 1.0)
    told = r"cannot write the log '.*access\.log': No space left on device; lines lost: \d"
    wait_until(lambda: re.search(told, scene.server.log), "the error log tells of lost lines")  # once a minute


def a_full_disk_for_errors(scene: Scene) -> None:
    """ENOSPC for the error log: there is nowhere to complain; orders are carried out all the same."""
    _reload_without_a_log(scene, Path("/dev/full"))


def a_stuffed_error_log(scene: Scene) -> None:
    """A FIFO that nobody reads for the error log: nobody waits for it, least of all the arbiter."""
    fifo = scene.server.directory / "stuffed"
    with stuffed(fifo, scene.server.user) as reader:
        _reload_without_a_log(scene, fifo)
        assert reader.is_full()


def a_stuffed_access_log(scene: Scene) -> None:
    """A FIFO that nobody reads for the access log: the workers serve on, and say how much is missing afterwards."""
    fifo = scene.server.directory / "stuffed"
    with stuffed(fifo, scene.server.user) as reader, replaced(scene, scene.server.access_path, fifo):
        scene.pause(0.5, 1.0)
        assert reader.is_full()
        wait_until(lambda: b"lines of this log are lost, as nobody read them" in reader.read(), "the loss is told")


def a_flood_of_beats(scene: Scene) -> None:
    """A heartbeat pipe that is full of beats all the time: the arbiter attends to the others nevertheless."""
    pid = scene.victim()
    with open(procfs.heartbeat_of(pid, scene.server.pid), "wb", buffering=0) as pipe:
        os.set_blocking(pipe.fileno(), False)
        if scene.random.random() < 0.5:
            scene.server.signal("STOP")  # the worker's own beat then finds no room
            _fill(pipe.fileno(), b".")
            scene.pause(0.7)
            scene.server.signal("CONT")
        scene.server.signal("HUP")
        deadline = monotonic() + 1
        with contextlib.suppress(BrokenPipeError):  # it was replaced, and the arbiter has closed its pipe
            while monotonic() < deadline and procfs.is_alive(pid):
                _fill(pipe.fileno(), b".", 65536)
                scene.pause(0.01)
    scene.expect(REPLACED)


def a_garbled_heartbeat(scene: Scene) -> None:
    """What is no word comes out of a worker's pipe: nobody knows what the worker does, and it is killed.

    It is stopped first; on a busy machine that may last until the arbiter notices its silence as well.
    """
    pid = scene.victim()
    scene.forgive("it is killed", rf"\(pid {pid}\) has made no progress", "silent outside")
    scene.forgive(rf"\(pid {pid}\): its oldest")
    with scene.held(scene.server.pid):  # or it might be killed for its silence before we have found its pipe
        assert scene.stop(pid)
        scene.condemn(pid)
        with open(procfs.heartbeat_of(pid, scene.server.pid), "wb", buffering=0) as pipe:
            pipe.write(b"\xff\xfe garbage")
    scene.expect(rf"\(pid {pid}\): .*; it is killed")
    scene.expect(rf"\(pid {pid}\) is gone after it was killed")


def a_clock_that_jumps(scene: Scene) -> None:
    """Days forward and back: dates in the logs follow, no deadline does, and nobody is killed or replaced."""
    workers = scene.workers()
    day = 86_400
    for offset in (scene.random.randint(2, 900) * day, -scene.random.randint(2, 900) * day, 0):
        mark = len(scene.server.log)
        scene.clock.jump_to(offset)
        scene.pause(0.3, 0.6)
        scene.server.signal("USR1")
        date = time.strftime("%Y-%m-%d", time.localtime(time.time() + offset))
        wait_until(lambda at=mark, day=date: day in scene.server.log[at:], f"the log has the date {date}")
    assert scene.workers() == workers


def _reload_without_a_log(scene: Scene, target: Path) -> None:
    workers = scene.workers()
    with replaced(scene, scene.server.log_path, target):
        scene.server.signal("HUP")
        wait_until(lambda: not set(workers) & set(scene.workers()), "all workers are new, unseen by the log")
    scene.server.signal("HUP")  # so that the log tells how the story ends
    scene.expect(REPLACED)


@contextlib.contextmanager
def replaced(scene: Scene, path: Path, target: Path) -> Iterator[None]:
    """Let a log's name mean ``target`` for the length of a ``with`` block, and everybody open it anew at both ends.

    At no moment is the name free: who opens the log because of an earlier USR1 would make a file of it.
    """
    link = path.with_suffix(".link")
    link.symlink_to(target)
    if path == scene.server.log_path:
        scene.server.rotate(link)
    else:
        link.replace(path)
    _reopen(scene, path, str(target))
    try:
        yield
    finally:
        path.unlink()
        _reopen(scene, path, str(path))


def _reopen(scene: Scene, path: Path, target: str) -> None:
    scene.server.signal("USR1")
    writers = set(scene.everybody())
    if path == scene.server.access_path:
        writers -= set(scene.molds())  # they answer nobody
    for pid in writers:
        wait_until(
            lambda at=pid: not procfs.is_alive(at) or target in procfs.descriptors(at).values(),
            f"process {pid} has opened {target}",
        )


class Stuffed:
    """The reader of a FIFO, who stands still."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def is_full(self) -> bool:
        """Return whether a line would find no room."""
        try:
            os.write(self._fd, b"x" * resource.getpagesize())
        except BlockingIOError:
            return True
        return False

    def read(self) -> bytes:
        """Read what is there."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            while octets := os.read(self._fd, 65536):
                found += octets
        return found


@contextlib.contextmanager
def stuffed(path: Path, owner: int | None) -> Iterator[Stuffed]:
    """Be a FIFO that is full."""
    os.mkfifo(path)
    if owner is not None:
        os.chown(path, owner, owner)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, resource.getpagesize())
        _fill(fd, b"x")
        yield Stuffed(fd)
    finally:
        os.close(fd)
        path.unlink()


def _fill(fd: int, octet: bytes, most: int = 2**30) -> None:
    """Write until the pipe is full."""
    with contextlib.suppress(BlockingIOError):
        while most > 0:
            most -= os.write(fd, octet * 4096)


FAULTS = (
    a_worker_without_descriptors,
    no_worker_has_descriptors,
    an_arbiter_without_descriptors,
    an_arbiter_that_cannot_fork,
    a_full_disk_for_accesses,
    a_full_disk_for_errors,
    a_stuffed_error_log,
    a_stuffed_access_log,
    a_flood_of_beats,
    a_garbled_heartbeat,
    a_clock_that_jumps,
)
