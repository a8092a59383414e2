"""What the suite must find, it finds: faults are planted in a real server, of which the scene is not told."""

import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests import procfs
from tests.conftest import WORKER_TYPES
from tests.faults.deaths import kill_a_worker
from tests.faults.episode import DECK, Fault, deal, fits, play, preloads
from tests.faults.orders import storm_of_rotations
from tests.faults.scene import Scene
from tests.faults.served import TIMEOUT
from tests.harness import wait_until


def kill_busy(scene: Scene, pids: list[int]) -> None:
    """Kill workers that clients wait for, and tell the judge nothing: they are stopped until somebody does."""
    wait_until(lambda: all(procfs.held_ports(pid, scene.server.port) for pid in pids), "each has a client")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    scene.pause(0.5)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def kill_in_secret(scene: Scene) -> None:
    """Kill all workers while requests are in flight, and tell the judge nothing."""
    scene.forgive("SIGKILL")
    kill_busy(scene, scene.workers())


def kill_a_bystander(scene: Scene) -> None:
    """Kill one worker as the suite does, and another in secret at the same moment: nothing of its is excused."""
    scene.forgive("SIGKILL")
    told, *others = scene.workers()
    kill_busy(scene, others)
    assert scene.kill(told)


def leave_an_error(scene: Scene) -> None:
    """Let a worker be killed without expecting the line about it."""
    scene.kill(scene.victim())


def rotate_an_error_away(scene: Scene) -> None:
    """Leave an error in a log that is the log no more when the server ends."""
    leave_an_error(scene)
    scene.expect("was killed by SIGKILL")
    storm_of_rotations(scene)


def leak_a_descriptor(scene: Scene) -> None:
    """Have one kind of descriptor more than before: as good as one that the arbiter forgot."""
    scene.kinds["pipe"] -= 1


def kill_the_mold_in_secret(scene: Scene) -> None:
    """Nobody is lost with it, and the log says what has happened all the same."""
    os.kill(scene.mold(), signal.SIGKILL)


def have_two_molds(scene: Scene) -> None:
    """Hold a process that is as good as a mold too many: calm never comes."""
    scene.is_preloading = False
    scene.patience = 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (kill_in_secret, "requests lost"),
        (kill_a_bystander, "requests lost"),
        (leave_an_error, "unexpected error in the log"),
        (rotate_an_error_away, "unexpected error in the log"),
        (leak_a_descriptor, "the descriptors that it had"),
    ],
)
def test_what_is_planted_is_found(planted: Fault, said: str, new_directory: Callable[[], Path]) -> None:
    """Each in the words in which a true one would be told."""
    with pytest.raises(AssertionError, match=said):
        play(new_directory(), "async", "planted", 1, (planted,), preload=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "said"),
    [(kill_the_mold_in_secret, "unexpected error in the log"), (have_two_molds, "their mold, and no others")],
)
def test_what_is_planted_about_molds_is_found(planted: Fault, said: str, new_directory: Callable[[], Path]) -> None:
    """The same where the application is preloaded."""
    with pytest.raises(AssertionError, match=said):
        play(new_directory(), "async", "planted", 1, (planted,), preload=True)


@pytest.mark.slow
def test_a_victim_that_waits_for_its_end_is_not_found_silent(
    new_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all cores are busy, more than the workers' timeout may pass between its stop and its end."""

    def list_slowly(pid: int, port: int) -> frozenset[int]:
        threading.Event().wait(TIMEOUT + 0.5)
        return held_ports(pid, port)

    held_ports = procfs.held_ports
    monkeypatch.setattr(procfs, "held_ports", list_slowly)
    report = play(new_directory(), "async", "slow", 1, (kill_a_worker,), preload=False)
    assert report.faults == ["kill_a_worker"]


@pytest.mark.parametrize("seed", ["1.0", "1.1", "2.0"])
def test_each_seed_deals_every_fault_once(seed: str) -> None:
    """Each card goes to one worker type, which has what it hurts; two types preload, one of which can be reforked."""
    hands = {
        name: list(
            itertools.islice(
                deal(name, seed, Random(0), is_preloading=preloads(name, seed)), len(DECK) // len(WORKER_TYPES) - 1
            )
        )
        for name in WORKER_TYPES
    }
    dealt = [fault for hand in hands.values() for fault in hand]
    assert len(dealt) == len(set(dealt))
    assert len([name for name in WORKER_TYPES if preloads(name, seed)]) == 2
    assert all(fits(fault, name, is_preloading=preloads(name, seed)) for name, hand in hands.items() for fault in hand)
