"""Faults: operators' orders in bad moments, too many of them, and orders that cannot be carried out.

Nothing is lost by any of them, except what a worker held that is killed in the middle.
"""

import os
import re
import signal

from tests import procfs
from tests.faults.scene import Scene
from tests.faults.served import COUNT
from tests.harness import wait_until

STORM = 100
REPLACED = r"reload: generation \d+ has replaced the others"


def reload(scene: Scene) -> None:
    """HUP, once."""
    scene.server.signal("HUP")
    scene.expect(REPLACED)


def storm_of_reloads(scene: Scene) -> None:
    """A hundred HUPs within a second: each is heard or covered by a later one, and the last one is carried out."""
    for _ in range(STORM):
        scene.server.signal("HUP")
        scene.pause(0, 0.01)
    scene.expect(REPLACED)


def reload_during_a_reload(scene: Scene) -> None:
    """The second comes while the first one's worker imports slowly, or while the others are being replaced."""
    scene.server.feel("slow 0.4")
    scene.server.signal("HUP")
    scene.expect(r"reload: generation \d+ is tried with one worker")
    scene.pause(0, 1.0)
    scene.server.signal("HUP")
    scene.expect(r"(?s)is tried with one worker.*is tried with one worker")
    scene.server.feel("fine")
    scene.expect(REPLACED)


def kill_during_a_reload(scene: Scene) -> None:
    """A worker that is in use dies while its successors come: what it held is lost."""
    scene.forgive("was killed by SIGKILL", "could not boot", r"reload failed: generation \d+ is ended")
    scene.server.feel("slow 0.2")
    scene.server.signal("HUP")
    scene.expect(r"reload: generation \d+ is tried")
    scene.pause(0, 0.8)
    while not scene.kill(scene.victim()):
        pass  # it had been replaced, and was ending
    scene.server.feel("fine")
    scene.expect(r"killed by SIGKILL|SIGKILL while it was ending")
    scene.expect(rf"{REPLACED}|reload failed")


def kill_the_candidate(scene: Scene) -> None:
    """The first worker of the new generation dies before it is ready: the old generation serves on."""
    scene.forgive("could not boot: it was killed by SIGKILL", "reload failed")
    workers = scene.workers()
    scene.server.feel("slow 20")  # longer than we take
    known = scene.children()
    scene.server.signal("HUP")
    candidate = scene.newborn(known)
    scene.pause(0, 0.3)
    os.kill(candidate, signal.SIGKILL)
    scene.server.feel("fine")
    scene.expect(rf"\(pid {candidate}\) could not boot: it was killed by SIGKILL")
    scene.expect(r"reload failed: generation \d+ is ended, \d+ goes on")
    assert scene.workers() == workers


def reload_what_does_not_import(scene: Scene) -> None:
    """The new code raises, or takes the interpreter down with it: the old one serves on."""
    scene.forgive("could not boot", "reload failed", "broken on purpose", "SIGSEGV")
    workers = scene.workers()
    scene.server.feel(scene.random.choice(["broken", "crash"]))
    scene.server.signal("HUP")
    scene.expect(r"reload failed: generation \d+ is ended, \d+ goes on")
    scene.server.feel("fine")
    assert scene.workers() == workers


def reload_what_is_not_valid(scene: Scene) -> None:
    """A settings file with a mistake is refused as a whole."""
    scene.forgive("reload refused")
    workers = scene.workers()
    good = scene.server.config_path.read_text()
    scene.server.config_path.write_text(good.replace("[workers]", "[workers]\ncuont = 3"))
    scene.server.signal("HUP")
    scene.expect(r"reload refused: .*workers\.cuont")
    scene.server.config_path.write_text(good)
    assert scene.workers() == workers


def storm_of_rotations(scene: Scene) -> None:
    """The log is moved away and a hundred USR1s follow: nobody goes on with the old file, nobody minds."""
    scene.server.rotate()
    for _ in range(STORM):
        scene.server.signal("USR1")
        scene.pause(0, 0.005)
    wait_until(scene.server.log_path.exists, "the log is opened anew")
    for pid in scene.everybody():
        wait_until(lambda at=pid: _writes_to(at, str(scene.server.log_path)), f"process {pid} has the new log")


def storm_of_scaling(scene: Scene) -> None:
    """TTIN and TTOU in any order, faster than workers come and go; then the wanted number again."""
    for _ in range(STORM // 2):
        scene.server.signal(scene.random.choice(["TTIN", "TTOU"]))
        scene.pause(0, 0.01)
    scene.hear()
    wanted = int(re.findall(r"(\d+) workers? (?:is|are) wanted", scene.server.log[scene.since :])[-1])
    for _ in range(abs(wanted - COUNT)):
        scene.server.signal("TTIN" if wanted < COUNT else "TTOU")
        scene.hear()


def drain_and_return(scene: Scene) -> None:
    """WINCH sends all workers away; clients wait in the queue until HUP or TTIN brings them back."""
    scene.server.signal("WINCH")
    scene.expect("all workers are retired")
    scene.pause(0, 1.0)
    scene.server.signal(scene.random.choice(["HUP", "TTIN"]))
    scene.expect(rf"{REPLACED}|{COUNT} workers are wanted again")


def _writes_to(pid: int, path: str) -> bool:
    return path in procfs.descriptors(pid).values()


FAULTS = (
    reload,
    storm_of_reloads,
    reload_during_a_reload,
    kill_during_a_reload,
    kill_the_candidate,
    reload_what_does_not_import,
    reload_what_is_not_valid,
    storm_of_rotations,
    storm_of_scaling,
    drain_and_return,
)
