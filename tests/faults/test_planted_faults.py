"""What the suite must find, it finds: faults are planted in a real server, of which the scene is not told."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.episode import Fault, play
from tests.faults.scene import Scene


def kill_in_secret(scene: Scene) -> None:
    """Kill all workers while requests are in flight, and tell the judge nothing."""
    scene.forgive("SIGKILL")
    for pid in scene.workers():
        os.kill(pid, signal.SIGKILL)


def kill_a_bystander(scene: Scene) -> None:
    """Kill one worker as the suite does, and another in secret at the same moment: nothing of its is excused."""
    scene.forgive("SIGKILL")
    told, *others = scene.workers()
    assert scene.kill(told)
    for pid in others:
        os.kill(pid, signal.SIGKILL)


def leave_an_error(scene: Scene) -> None:
    """Let a worker be killed without expecting the line about it."""
    scene.kill(scene.victim())


def leak_a_descriptor(scene: Scene) -> None:
    """Have one kind of descriptor more than before: as good as one that the arbiter forgot."""
    scene.kinds["pipe"] -= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (kill_in_secret, "requests lost"),
        (kill_a_bystander, "requests lost"),
        (leave_an_error, "unexpected error in the log"),
        (leak_a_descriptor, "the descriptors that it had"),
    ],
)
def test_what_is_planted_is_found(planted: Fault, said: str, new_directory: Callable[[], Path]) -> None:
    """Each in the words in which a true one would be told."""
    with pytest.raises(AssertionError, match=said):
        play(new_directory(), "async", "planted", 1, (planted,))
