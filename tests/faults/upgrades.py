"""Faults: the arbiter itself is replaced, at rest and in bad moments, and workers are replaced all the time.

Nothing is lost by any of them, except what a worker held that is killed in the middle.
"""

import contextlib
import os
import signal
from collections.abc import Callable

from tests import procfs
from tests.faults.orders import REPLACED
from tests.faults.scene import Scene
from tests.faults.served import COUNT
from tests.harness import wait_until

BEGUN = r"upgrade: the new arbiter \(pid (\d+)\) starts its workers"
TAKEN_OVER = r"upgrade: this arbiter has taken over from pid \d+"
FAILED = r"upgrade failed: the new arbiter \(pid \d+\) .* before it was ready: this one goes on"
WORN = r"\(pid \d+\) is to be replaced: it has served \d+ requests"


def upgrade(scene: Scene) -> None:
    """USR2 at rest."""
    scene.server.signal("USR2")
    scene.expect(BEGUN)
    scene.follow()


def storm_of_upgrades(scene: Scene) -> None:
    """USR2 again and again to the same arbiter: there is one upgrade."""
    for _ in range(20):
        with contextlib.suppress(ProcessLookupError):  # it has been replaced already
            scene.server.signal("USR2")
        scene.pause(0, 0.05)
    scene.follow()


def upgrade_during_a_reload(scene: Scene) -> None:
    """The upgrade begins when the reload has ended."""
    scene.server.feel("slow 0.3")
    scene.server.signal("HUP")
    scene.expect(r"reload: generation \d+ is tried")
    scene.pause(0, 0.5)
    scene.server.signal("USR2")
    scene.expect(BEGUN)
    scene.server.feel("fine")
    scene.follow()


def reload_during_an_upgrade(scene: Scene) -> None:
    """The reload waits for the end of the upgrade, which does what it was to do."""
    scene.server.feel("slow 0.3")
    scene.server.signal("USR2")
    scene.expect(BEGUN)
    scene.pause(0, 0.3)
    with contextlib.suppress(ProcessLookupError):
        scene.server.signal("HUP")
    scene.follow()
    scene.server.feel("fine")


def reload_during_an_upgrade_that_fails(scene: Scene) -> None:
    """The new code does not boot; it is mended when that is known, and the reload that was asked for follows at once.

    It fails where it is quicker than we are.
    """
    scene.forgive("upgrade failed", "could not boot", "broken on purpose", "SIGSEGV", r"reload failed: generation \d+")
    scene.server.feel(scene.random.choice(["broken", "crash"]))
    scene.server.signal("USR2")
    scene.expect(BEGUN)
    scene.server.signal("HUP")
    scene.expect(FAILED)
    scene.server.feel("fine")
    scene.expect(rf"(?s){FAILED}.*({REPLACED}|reload failed)")


def upgrade_to_what_does_not_import(scene: Scene) -> None:
    """The new arbiter ends by itself, and the old one goes on as if nothing had been."""
    scene.forgive("upgrade failed", "could not boot", "broken on purpose", "SIGSEGV")
    before = scene.workers(), scene.molds()
    scene.server.feel(scene.random.choice(["broken", "crash"]))
    scene.server.signal("USR2")
    scene.expect(FAILED)
    scene.server.feel("fine")
    assert (scene.workers(), scene.molds()) == before


def kill_the_new_arbiter(scene: Scene) -> None:
    """It dies before it has taken over: the old one goes on. What its orphaned workers held is lost at most."""
    scene.forgive("upgrade failed")
    before = set(scene.workers())
    scene.server.feel("slow 0.5")
    scene.server.signal("USR2")
    pid = int(scene.expect(BEGUN)[1])
    scene.pause(0, 0.7)
    ready = rf"\[{pid}\] \[INFO\] \[arbiter\] worker \d+ gen \d+ \(pid \d+\) is ready"
    if scene.stop(pid) and not scene.has(f"(?s)({ready}.*){{{COUNT}}}"):  # with the last one, it says that it is
        orphans = procfs.children(scene.server.session, pid)
        for orphan in orphans:
            if scene.stop(orphan):
                scene.condemn(orphan)
        os.kill(pid, signal.SIGKILL)
        for orphan in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGCONT)
        scene.expect(rf"upgrade failed: the new arbiter \(pid {pid}\) was killed by SIGKILL")
        scene.server.feel("fine")
        assert before <= set(scene.workers())
    else:  # it was quicker
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        scene.server.feel("fine")
        scene.follow()


def kill_during_an_upgrade(scene: Scene) -> None:
    """A worker of one of the two arbiters dies while both have some: what it held is lost."""
    _hurt_an_upgrade(scene, lambda: scene.kill(scene.victim()))


def kill_a_mold_during_an_upgrade(scene: Scene) -> None:
    """A mold of one of the two arbiters dies; the new one may give up, as at any first start."""
    _hurt_an_upgrade(scene, lambda: os.kill(scene.random.choice(wait_until(scene.molds, "a mold")), signal.SIGKILL))


def recycle_workers(scene: Scene) -> None:
    """`max_requests` so small that there is always a worker being replaced."""
    _recycle(scene, lambda: None)


def hurt_while_workers_are_recycled(scene: Scene) -> None:
    """The same, and meanwhile workers and their mold die, code is reloaded, or the arbiter is replaced."""
    scene.forgive("was killed by SIGKILL", "could not be forked", "could not boot", "died within 1 s of getting ready")

    def kill() -> None:
        scene.kill(scene.victim())
        with contextlib.suppress(ProcessLookupError):
            for mold in scene.molds():
                os.kill(mold, signal.SIGKILL)

    def replace() -> None:
        scene.server.signal("USR2")
        scene.follow()

    _recycle(scene, scene.random.choice([kill, scene.reload_with, replace]))


def _recycle(scene: Scene, meanwhile: Callable[[], object]) -> None:
    scene.reload_with(max_requests=10, max_requests_jitter=10)
    scene.expect(f"(?s)({WORN}.*){{3}}")
    meanwhile()
    mark = len(scene.server.log)
    wait_until(lambda: scene.server.log[mark:].count("is to be replaced: it has served") >= 3, "workers are recycled")
    scene.reload_with(max_requests=0, max_requests_jitter=0)


def _hurt_an_upgrade(scene: Scene, hurt: Callable[[], object]) -> None:
    scene.forgive(
        "was killed by SIGKILL", "could not boot", "could not be forked", "died within 1 s of getting ready",
        "upgrade failed",
    )  # fmt: skip
    scene.server.feel("slow 0.3")
    scene.server.signal("USR2")
    scene.expect(BEGUN)
    scene.pause(0, 0.8)
    with contextlib.suppress(ProcessLookupError):
        hurt()
    scene.expect(rf"{TAKEN_OVER}|{FAILED}")
    scene.server.feel("fine")
    if scene.has(TAKEN_OVER):
        scene.follow()


FAULTS = (
    upgrade,
    storm_of_upgrades,
    upgrade_during_a_reload,
    reload_during_an_upgrade,
    reload_during_an_upgrade_that_fails,
    upgrade_to_what_does_not_import,
    kill_the_new_arbiter,
    kill_during_an_upgrade,
    recycle_workers,
    hurt_while_workers_are_recycled,
)
WITH_MOLDS = (kill_a_mold_during_an_upgrade,)
"""Where the application is preloaded."""
