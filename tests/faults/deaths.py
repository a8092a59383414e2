"""Faults: workers that die or stand still, an arbiter that stands still. Each takes a `Scene` and leaves it mended.

The docstring of each says what may be lost: nothing, where it does not say so.
"""

import contextlib
import os
import signal

from tests import procfs
from tests.faults.client import Wire
from tests.faults.scene import Scene
from tests.faults.served import TIMEOUT
from tests.harness import wait_until

LOOP_IS_SILENT = {"sync", "async"}
"""Types whose loop is the application's: a request that hangs makes the worker silent."""


def kill_a_worker(scene: Scene) -> None:
    """SIGKILL, as the kernel does when memory runs out: what the victim held is lost."""
    pid = scene.victim()
    scene.forgive(rf"\(pid {pid}\) was killed by SIGKILL")
    assert scene.kill(pid)
    scene.expect(rf"\(pid {pid}\) was killed by SIGKILL")


def crash_a_worker(scene: Scene) -> None:
    """SIGSEGV, as an extension module does it: what the victim held is lost."""
    pid = scene.victim()
    scene.forgive(rf"\(pid {pid}\) was ended by SIGSEGV")
    assert scene.kill(pid, signal.SIGSEGV)
    scene.expect(rf"\(pid {pid}\) was ended by SIGSEGV")


def kill_all_workers(scene: Scene) -> None:
    """One after the other, faster than they come back: clients wait in the queue, and nobody is refused."""
    scene.forgive("was killed by SIGKILL", "could not boot")
    for pid in scene.workers():
        scene.kill(pid)
    scene.expect("was killed by SIGKILL")


def kill_one_that_boots(scene: Scene) -> None:
    """The replacement of a worker, or of the mold, dies before it is ready: the next try comes later."""
    scene.forgive("was killed by SIGKILL", "could not boot")
    scene.begin_generation()
    scene.server.feel("slow 20")  # longer than we take
    known = scene.children()
    assert scene.kill(scene.mold() if scene.is_preloading else scene.victim())
    newborn = scene.newborn(known)
    scene.pause(0, 0.3)
    os.kill(newborn, signal.SIGKILL)
    scene.server.feel("fine")
    scene.expect(rf"\(pid {newborn}\) could not boot: it was killed by SIGKILL")
    scene.expect(r"the next try is in \d")


def end_a_worker(scene: Scene) -> None:
    """TERM from outside drains it, and another takes its place."""
    pid = scene.victim()
    scene.forgive("although nobody asked it to")
    os.kill(pid, signal.SIGTERM)
    scene.expect(rf"\(pid {pid}\) exited with status 0 although nobody asked it to")


def end_a_worker_at_once(scene: Scene) -> None:
    """QUIT from outside gives up what the worker holds."""
    pid = scene.victim()
    assert scene.kill(pid, signal.SIGQUIT)
    scene.expect(rf"\(pid {pid}\) exited with status 0 although nobody asked it to")


def pause_a_worker(scene: Scene) -> None:
    """It stands still for less than the timeout, and goes on as if nothing had been."""
    pid = scene.victim()
    assert scene.stop(pid)
    scene.pause(0.1, TIMEOUT / 2)
    os.kill(pid, signal.SIGCONT)
    scene.pause(0.1)
    assert procfs.is_alive(pid)


def freeze_a_worker(scene: Scene) -> None:
    """It stands still for longer than the timeout and is killed for it: what it held is lost."""
    pid = scene.victim()
    scene.forgive(rf"\(pid {pid}\) has made no progress", rf"\(pid {pid}\): its oldest", "is silent outside", "SIGKILL")
    assert scene.stop(pid)
    scene.condemn(pid)
    try:
        scene.expect(rf"\(pid {pid}\) has made no progress for 2 s \(workers\.timeout\)")
        scene.expect(rf"\(pid {pid}\) is gone after it was killed")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def pause_the_arbiter(scene: Scene) -> None:
    """The workers serve on, and none is judged by what the arbiter did not hear."""
    workers = scene.workers()
    wait_until(lambda: procfs.state(scene.server.pid) == "S", "the arbiter waits: in a turn it would not tell")
    scene.server.signal("STOP")
    scene.pause(TIMEOUT + 1.2)
    scene.server.signal("CONT")
    scene.expect(r"the arbiter did not run for \d")
    scene.pause(0.5)
    assert scene.workers() == workers


def pause_everybody(scene: Scene) -> None:
    """As a frozen cgroup or a paused machine does: all wake after the timeout, in any order, and all live."""
    workers = scene.workers()
    everybody = scene.everybody()
    scene.random.shuffle(everybody)
    wait_until(lambda: procfs.state(scene.server.pid) == "S", "the arbiter waits: in a turn it would not tell")
    for pid in sorted(everybody, key=lambda pid: pid != scene.server.pid):  # it first, while it waits
        os.kill(pid, signal.SIGSTOP)
    scene.pause(TIMEOUT + 1.2)
    scene.random.shuffle(everybody)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
        scene.pause(0, 0.1)
    scene.expect(r"the arbiter did not run for \d")
    scene.pause(0.5)
    assert scene.workers() == workers


def hang_a_request(scene: Scene) -> None:
    """A request that never returns: a silent worker is killed with what it holds, one whose loop lives loses only it."""
    scene.forgive("no progress for 2 s", "oldest request is GET /hang", "is killed", "SIGKILL", r"GET /hang")
    hanging = scene.server.directory / "application" / "hanging"
    hanging.unlink(missing_ok=True)
    wire = Wire(scene.server.port)
    try:
        wire.socket.sendall(b"GET /hang?number=0&sleep=0&size=0 HTTP/1.1\r\nHost: faults\r\n\r\n")
        pid = int(wait_until(lambda: hanging.exists() and hanging.read_text(), "the request hangs"))
        if scene.worker_type in LOOP_IS_SILENT:
            scene.condemn(pid)
        scene.expect(rf"\(pid {pid}\) has .*no progress for 2 s \(workers\.timeout\)")
        scene.expect(rf"\(pid {pid}\): its oldest request is GET /hang")
        wait_until(lambda: not procfs.is_alive(pid), "the worker that hangs is gone, long before the request ends")
    finally:
        wire.close()


FAULTS = (
    kill_a_worker,
    crash_a_worker,
    kill_all_workers,
    kill_one_that_boots,
    end_a_worker,
    end_a_worker_at_once,
    pause_a_worker,
    freeze_a_worker,
    pause_the_arbiter,
    pause_everybody,
    hang_a_request,
)
