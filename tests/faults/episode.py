"""One server's life under faults: started, put under load, hurt again and again, and stopped while it reloads.

What happens follows from the seed, as far as the machine's own timing lets it. The faults are dealt like cards: the
deck is shuffled by seed and episode, and each card goes to the worker type with the fewest that has what it hurts, so
that no type meets what another has met; what time is left goes to cards at random. Two of the four types preload.
"""

import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from tests.conftest import WORKER_TYPES
from tests.faults import deaths, molds, orders, scarcity, upgrades
from tests.faults.client import HABITS, Load
from tests.faults.clock import Clock
from tests.faults.judge import RESET_BY_STOP
from tests.faults.scene import Scene
from tests.faults.served import COUNT, USER, Site
from tests.harness import ROOT, wait_until
from tests.procfs import become

Fault = Callable[[Scene], None]
MOST_REQUESTS = max(habit.requests for habit in HABITS)
WARM = 50
"""Requests answered before the first fault, so that connections are kept and every habit has begun."""
DECK: tuple[Fault, ...] = (
    *deaths.FAULTS,
    *orders.FAULTS,
    *scarcity.FAULTS,
    *upgrades.FAULTS,
    *upgrades.WITH_MOLDS,
    *molds.FAULTS,
    *molds.REFORKS,
)
WITH_MOLDS = frozenset({*upgrades.WITH_MOLDS, *molds.FAULTS, *molds.REFORKS})
PAIRS = ({"sync", "gevent"}, {"threadpool", "async"})
"""Types that preload together; one of each pair can be reforked."""
REFORKABLE = {"sync", "async"}


@dataclass(slots=True)
class Report:
    """What an episode has seen.

    Attributes:
        faults: those that were met, in order.
        left_out: those that this machine does not allow.
        excused: requests that died with their worker.
    """

    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    excused: int = 0
    apart: Counter[str] = field(default_factory=Counter)


@functools.cache
def server_user() -> int | None:
    """Return whom the server is to run as: root may fork without limit, so somebody else, if they can read us.

    And execute the interpreter once more, as an upgrade does.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return None
    again = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import pyfork.cli.serve'])"
    command = [*become(USER), sys.executable, "-c", again]
    is_able = subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    return USER if is_able else None


def preloads(worker_type: str, seed: str) -> bool:
    """Return whether the application is preloaded in the episode of a seed: in that of every second type."""
    return worker_type in Random(f"{seed} preload").choice(PAIRS)


def fits(fault: Fault, worker_type: str, *, is_preloading: bool) -> bool:
    """Return whether there is what the fault hurts."""
    if fault in molds.REFORKS:
        return is_preloading and worker_type in REFORKABLE
    return is_preloading or fault not in WITH_MOLDS


def deal(worker_type: str, seed: str, random: Random, *, is_preloading: bool) -> Iterator[Fault]:
    """Yield the faults of an episode, without end."""
    deck = list(DECK)
    Random(seed).shuffle(deck)
    hands: dict[str, list[Fault]] = {name: [] for name in WORKER_TYPES}
    for card in deck:
        takers = [name for name in hands if fits(card, name, is_preloading=preloads(name, seed))]
        hands[min(takers, key=lambda name: len(hands[name]))].append(card)
    fitting = [card for card in DECK if fits(card, worker_type, is_preloading=is_preloading)]
    yield from (card for card in hands[worker_type] if card in fitting)
    while True:
        yield random.choice(fitting)


def is_possible(fault: Fault, scene: Scene) -> bool:
    """Return whether this machine lets us: root's forks have no limit, and a clock takes a compiler."""
    if fault is scarcity.an_arbiter_that_cannot_fork:
        return scene.server.user is not None or os.geteuid() != 0
    return fault is not scarcity.a_clock_that_jumps or scene.clock.can_jump


def play(
    directory: Path,
    worker_type: str,
    seed: str,
    seconds: float,
    faults: tuple[Fault, ...] = (),
    preload: bool | None = None,
) -> Report:
    """Live through one episode.

    Args:
        directory: empty, of its own; readable for everybody, as the server may be somebody else's.
        seed: from which everything follows.
        seconds: after which no further fault is begun.
        faults: these and no others, each once.
        preload: import the application in a mold; None leaves it to the seed.

    Raises:
        AssertionError: a request was lost, something has not come back, or the log does not tell the story.
    """
    random = Random(f"{seed} {worker_type}")
    clock = Clock(directory)
    report = Report()
    is_preloading = preloads(worker_type, seed) if preload is None else preload
    ends = monotonic() + seconds
    try:
        with Site(directory, worker_type, server_user(), clock.environ, preload=is_preloading) as server:
            server.wait_workers(COUNT)
            with Load(server.port, random) as load:
                wait_until(lambda: load.answered().total() >= WARM, "the first requests are answered")
                scene = Scene(server, load, clock, random)
                hand = deal(worker_type, seed, random, is_preloading=is_preloading)
                dealt = faults or itertools.takewhile(lambda _: monotonic() < ends, hand)
                for fault in dealt:
                    if not is_possible(fault, scene):
                        report.left_out.append(fault.__name__)
                        continue
                    report.faults.append(fault.__name__)
                    scene.begin_round()
                    fault(scene)
                    scene.settle()
                random.choice([_stop_during_a_reload, _stop_during_an_upgrade])(scene)
            report.answered, report.excused, report.apart = load.answered(), scene.excused, scene.apart
    except BaseException as error:
        error.add_note(
            f"worker type {worker_type}, preload {is_preloading}, seed {seed}; the faults were {report.faults}; see {directory}"
        )
        raise
    return report


def _stop_during_a_reload(scene: Scene) -> None:
    """TERM in the middle of a reload, under load: what was sent before is answered, and the exit status is 0.

    Later clients are refused; one may get in and be reset where the server may not filter (ADR 3), with what it has
    pipelined.
    """
    scene.begin_round()
    scene.server.feel("slow 0.2")
    scene.server.signal("HUP")
    scene.pause(0, 1.0)
    _stop(scene)


def _stop_during_an_upgrade(scene: Scene) -> None:
    """TERM while a new arbiter starts its workers: both end, and the old one is the last, with exit status 0."""
    scene.begin_round()
    scene.server.feel("slow 20")  # longer than we take
    scene.server.signal("USR2")
    scene.expect(upgrades.BEGUN)
    scene.pause(0, 1.0)
    _stop(scene)


def _stop(scene: Scene) -> None:
    scene.load.stopped_at = monotonic()
    assert scene.server.stop() == 0
    scene.load.wait_stopped()
    scene.judge()
    assert scene.apart[RESET_BY_STOP] <= MOST_REQUESTS, scene.apart
