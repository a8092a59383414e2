"""Faults where the application is preloaded: the mold dies or stands still, and so does what a worker is promoted to.

The workers serve on, whatever happens to their mold: nothing is lost but what a worker held that is killed as well.
"""

import contextlib
import os
import signal

from tests import procfs
from tests.faults.orders import REPLACED
from tests.faults.scene import Scene
from tests.harness import wait_until

ASKED = r"refork: worker \d+ gen \d+ \(pid (\d+)\) is asked to become the mold of the others"
PROMOTED = r"mold \d+ gen \d+ \(pid (\d+)\) is made of a worker"
REFORKED = r"refork: the workers of generation \d+ are replaced in turn"
KEPT = r"refork: the mold and the workers stay as they are"
STRANGE = ("HUP", "INT", "WINCH", "TTIN", "TTOU", "USR2", "URG")
"""Signals that mean something to the arbiter, and to the mold nothing but perhaps a look at its stacks."""


def kill_the_mold(scene: Scene) -> None:
    """SIGKILL: another one is made."""
    _end_the_mold(scene, signal.SIGKILL, "was killed by SIGKILL")


def crash_the_mold(scene: Scene) -> None:
    """SIGSEGV: another one is made."""
    _end_the_mold(scene, signal.SIGSEGV, "was ended by SIGSEGV")


def end_the_mold(scene: Scene) -> None:
    """TERM or QUIT from outside: it ends in order, and another one is made."""
    _end_the_mold(scene, scene.random.choice([signal.SIGTERM, signal.SIGQUIT]), "exited with status 0")


def kill_the_mold_while_it_forks(scene: Scene) -> None:
    """A worker dies, and the mold in the middle of forking another: a half-born one is nobody's, and does not stay."""
    scene.forgive("was killed by SIGKILL", "could not be forked", "died within 1 s of getting ready")
    mold = scene.mold()
    assert scene.kill(scene.victim())
    scene.pause(0, 0.02)
    os.kill(mold, signal.SIGKILL)
    scene.expect(rf"\(pid {mold}\) was killed by SIGKILL .*another is made")


def kill_everybody_but_the_arbiter(scene: Scene) -> None:
    """The mold and all workers: clients wait in the queue until the application is imported again."""
    scene.forgive("was killed by SIGKILL", "could not be forked", "could not boot", "died within 1 s of getting ready")
    scene.server.feel("slow 0.3")
    os.kill(scene.mold(), signal.SIGKILL)
    for pid in scene.workers():
        scene.kill(pid)
    scene.expect(r"mold \d+ gen \d+ \(pid \d+\) was killed by SIGKILL")
    wait_until(scene.server.workers, "a worker is forked from a new mold")
    scene.server.feel("fine")


def pause_the_mold(scene: Scene) -> None:
    """It stands still for less than it may, while a worker is to be replaced: that comes later, and the mold stays."""
    scene.forgive("was killed by SIGKILL")
    mold = scene.mold()
    assert scene.stop(mold)
    assert scene.kill(scene.victim())
    scene.pause(0.1, 1.5)
    os.kill(mold, signal.SIGCONT)
    scene.expect("was killed by SIGKILL")
    wait_until(lambda: scene.molds() == [mold], "the mold is the one that it was")


def signal_the_mold(scene: Scene) -> None:
    """Orders that were meant for the arbiter come to the mold: it does nothing about them."""
    scene.forgive("URG")
    mold = scene.mold()
    for name in scene.random.choices(STRANGE, k=20):
        os.kill(mold, signal.Signals[f"SIG{name}"])
        scene.pause(0, 0.01)
    assert scene.kill_expected(scene.victim())
    wait_until(lambda: scene.molds() == [mold], "the mold is the one that it was")


def kill_a_mold_during_a_reload(scene: Scene) -> None:
    """The old mold or the new one, booting or forking: the reload goes well or fails as a whole."""
    scene.forgive(
        "was killed by SIGKILL", "could not boot", "could not be forked", "died within 1 s of getting ready",
        r"reload failed: generation \d+ is ended",
    )  # fmt: skip
    scene.server.feel("slow 0.2")
    scene.server.signal("HUP")
    scene.expect(r"reload: generation \d+ is tried")
    scene.pause(0, 0.8)
    with contextlib.suppress(ProcessLookupError):
        os.kill(scene.random.choice(wait_until(scene.molds, "a mold")), signal.SIGKILL)
    scene.server.feel("fine")
    scene.expect(rf"{REPLACED}|reload failed")


def refork(scene: Scene) -> None:
    """URG: a copy of a worker becomes the mold, and all workers are replaced by such as come from it."""
    before = scene.molds()
    scene.server.signal("URG")
    scene.expect(ASKED)
    scene.expect(REFORKED)
    wait_until(lambda: len(scene.molds()) == 1 and scene.molds() != before, "the old mold has ended")


def reload_during_a_refork(scene: Scene) -> None:
    """The code changes while a worker of the old one is made the mold: the new code wins."""
    scene.server.signal("URG")
    scene.expect(ASKED)
    scene.pause(0, 0.3)
    scene.server.signal("HUP")
    scene.expect(REPLACED)


def kill_the_promoted_mold(scene: Scene) -> None:
    """It dies before it is ready, and the old mold stays; or after that, and another is made."""
    scene.forgive("was killed by SIGKILL", "could not boot", "could not be forked", "died within 1 s of getting ready")
    scene.server.signal("URG")
    pid = int(scene.expect(PROMOTED)[1])
    scene.pause(0, 0.1)
    os.kill(pid, signal.SIGKILL)
    scene.expect(rf"\(pid {pid}\) (could not boot: it )?was killed by SIGKILL")


def kill_the_worker_that_is_asked(scene: Scene) -> None:
    """It dies before it has forked the mold, and everything stays; or after that, and nobody minds.

    Where we are slow, it has been replaced already and is gone.
    """
    scene.forgive("was killed by SIGKILL", "could not be forked")
    scene.server.signal("URG")
    pid = int(scene.expect(ASKED)[1])
    if scene.kill(pid):
        scene.expect(rf"\(pid {pid}\) was killed by SIGKILL|SIGKILL while it was ending")
    scene.expect(rf"{REFORKED}|{KEPT}")


def workers_that_are_ripe(scene: Scene) -> None:
    """`refork_after`: without an order, a worker that has served enough becomes the mold; once, as there is one step."""
    scene.reload_with(refork_after=[30])
    scene.expect(ASKED)
    scene.expect(REFORKED)
    scene.reload_with(refork_after=[])


def _end_the_mold(scene: Scene, number: signal.Signals, how: str) -> None:
    mold = scene.mold()
    scene.forgive(rf"\(pid {mold}\) {how}", rf"\(pid {mold}\) died within 1 s of getting ready")
    os.kill(mold, number)
    scene.expect(rf"\(pid {mold}\) {how}.* although nobody asked it to: another is made, the workers serve on")
    assert not procfs.is_alive(mold)


FAULTS = (
    kill_the_mold,
    crash_the_mold,
    end_the_mold,
    kill_the_mold_while_it_forks,
    kill_everybody_but_the_arbiter,
    pause_the_mold,
    signal_the_mold,
    kill_a_mold_during_a_reload,
)
REFORKS = (
    refork,
    reload_during_a_refork,
    kill_the_promoted_mold,
    kill_the_worker_that_is_asked,
    workers_that_are_ripe,
)
"""For types of workers that can be forked while they serve."""
