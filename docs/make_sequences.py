"""Writes docs/sequences.md from the logs of real runs: `make docs` (some seconds).

Each scenario starts a pyfork (`sequence_runs`), asks something of it, and draws what its log says from then on
(`sequence_diagrams`). Where either of two processes could be the faster one, the scenario decides: the application
waits at a gate until it is opened. What no gate can hold, such as the end of an idle worker, is drawn right after what
brings it about (`Scenario.follows`). So each run of a scenario gives the same diagram, which a test compares
(tests/process/test_sequences.py).
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from docs.sequence_diagrams import draw
from docs.sequence_runs import APPLICATION, IMPORT_GATE, Run

PAGE = Path(__file__).parent / "sequences.md"
AT_ONCE = 3
"""Scenarios. All of them would keep two cores so busy that a process may take longer than its 2 s to end."""


def reload_good(run: Run) -> None:
    """Each new worker is let in when the old one before it has gone."""
    run.save(APPLICATION, is_gated=True)
    run.order("HUP")
    run.wait("worker 0 gen 2 .* is booting")
    run.open_gate(IMPORT_GATE)
    run.wait("worker 0 gen 1 .* has ended")
    run.open_gate(IMPORT_GATE)
    run.wait("worker 1 gen 1 .* has ended")
    run.wait("has replaced the others")


def reload_broken(run: Run) -> None:
    """The old worker answers afterwards."""
    run.save("import a_module_that_is_missing\n")
    run.order("HUP")
    run.wait("worker 0 gen 2 .* has ended")
    run.get("/")


def reload_preloaded(run: Run) -> None:
    """The old worker is held until the old mold has gone."""
    with run.in_flight("/report"):
        run.save(APPLICATION, is_gated=True)
        run.order("HUP")
        run.wait("mold 2 gen 2 .* is booting")
        run.open_gate(IMPORT_GATE)
        run.wait("mold 1 gen 1 .* has ended")
    run.wait("worker 0 gen 1 .* has ended")


def stop_in_flight(run: Run) -> None:
    """The request is let go on when the worker knows that it is to end."""
    with run.in_flight("/report"):
        run.order("TERM")
        run.wait("is sent SIGTERM")
    run.wait("stopped")


def recycle(run: Run) -> None:
    """The next worker is held while the old one serves on."""
    run.save(APPLICATION, is_gated=True)
    run.get("/")
    run.wait("worker 0 gen 1 .* is booting", 2)
    run.get("/")
    run.open_gate(IMPORT_GATE)
    run.wait("worker 0 gen 1 .* has ended")


def scale(run: Run) -> None:
    """Each worker is kept busy by one request: there are no two that could take the next one."""
    with run.in_flight("/report"):
        run.wait("worker 1 gen 1 .* is ready")
        with run.in_flight("/invoice"):
            run.order("TTIN")
            run.wait("worker 2 gen 1 .* is ready")
            run.order("TTOU")
            run.wait("worker 2 gen 1 .* has ended")


def refork(run: Run) -> None:
    """The second worker comes later, so that the first is known to have served for longest."""
    run.get("/")
    run.order("TTIN")
    run.wait("worker 1 gen 1 .* is ready")
    run.begin()
    run.order("URG")
    run.wait("mold 1 gen 1 .* has ended")
    for number in (0, 1):
        run.wait(f"worker {number} gen 1 .* has ended")


def upgrade_good(run: Run) -> None:
    """The old worker is held until the new arbiter has taken over."""
    run.save(APPLICATION, is_gated=True)
    with run.in_flight("/report"):
        run.order("USR2")
        run.wait("worker 0 gen 1 .* is booting", 2)
        run.open_gate(IMPORT_GATE)
        run.wait("has taken over")
        run.wait("is sent SIGTERM")
    run.wait("stopped")
    run.get("/")


def upgrade_broken(run: Run) -> None:
    """The old worker answers afterwards."""
    run.save("import a_module_that_is_missing\n")
    run.order("USR2")
    run.wait("upgrade failed")
    run.get("/")


@dataclass(frozen=True)
class Scenario:
    """What is run, under which title and with which words above its diagram; the rest is as in `Run` and `draw`."""

    title: str
    text: str
    count: int
    perform: Callable[[Run], None]
    more: str = ""
    follows: tuple[tuple[str, str], ...] = ()


SCENARIOS = (
    Scenario(
        "HUP: new code",
        """
Two workers, and a new version that imports. An old worker is told to end only when a new one serves in its place, so
there are never fewer than two. What it has in flight it finishes.
""",
        2,
        reload_good,
    ),
    Scenario(
        "HUP: new code that does not import",
        """
The first worker of the new generation says why it cannot boot, and the reload ends with that. The old worker was told
nothing but to reopen its logs, and answers on.
""",
        1,
        reload_broken,
    ),
    Scenario(
        "HUP with preload and a request in flight",
        """
A new mold imports the new version, and the worker is forked from it. The old mold is not needed any more when the new
version has replaced the old one; the old worker first answers what it has in flight.
""",
        1,
        reload_preloaded,
        "preload = true",
    ),
    Scenario(
        "USR2: a new arbiter, and a request in flight",
        """
The new arbiter is the same command line, executed anew; it has the sockets from the old one. It takes over when all its
workers are ready, and only then is the old worker told to end. [upgrade.md](upgrade.md) has the rest.
""",
        1,
        upgrade_good,
        follows=(
            ("operator ->> oldarbiter: USR2", "oldarbiter ->> newarbiter: fork, exec"),
            ("newarbiter ->> oldarbiter: ready", "oldarbiter ->> newarbiter: take over"),
        ),
    ),
    Scenario(
        "USR2: new code that does not import",
        """
A new arbiter that never had a ready worker ends, as it would at any start. It has touched nothing; the old one was in
charge all the time, and its worker was told nothing.
""",
        1,
        upgrade_broken,
        follows=(("operator ->> oldarbiter: USR2", "oldarbiter ->> newarbiter: fork, exec"),),
    ),
    Scenario(
        "More workers as the load grows, and the bounds by hand",
        """
With `workers.min = 1` and `workers.max = 2`, and workers of type `sync` that a slow request keeps busy. TTIN moves both
bounds up, which makes room for what the load calls for; TTOU moves them down again, and the worker beyond them goes.
Without TTOU it goes when the load has been low for half a minute; the picture in [scaling.md](scaling.md) shows that.
""",
        1,
        scale,
        "type = 'sync'\nmin = 1\nmax = 2",
    ),
    Scenario(
        "A worker that has served for long enough",
        """
With `workers.max_requests = 1`. The worker asks to be replaced and serves on; it ends when the next one is ready
([recycling.md](recycling.md)).
""",
        1,
        recycle,
        "max_requests = 1",
    ),
    Scenario(
        "URG: a warm worker becomes the mold",
        """
Of two workers with `preload`, the one that has served longest forks a mold, which has all that the worker has loaded
until then. The old mold ends, and the workers are replaced in turn by those that the new one forks; also the worker
that was asked. Nothing is imported again ([preload.md](preload.md)).
""",
        1,
        refork,
        "preload = true\ntype = 'sync'",
        follows=(
            ("arbiter ->> mold1gen1: QUIT", "mold1gen1 -->> arbiter: exits"),
            ("arbiter ->> worker0gen1: TERM", "worker0gen1 -->> arbiter: exits"),
            ("arbiter ->> worker1gen1: TERM", "worker1gen1 -->> arbiter: exits"),
        ),
    ),
    Scenario(
        "TERM with a request in flight",
        """
The worker accepts nothing more, answers what it is at, and ends; then the arbiter does, with status 0. A request that
takes longer than `workers.graceful_timeout` is broken off.
""",
        1,
        stop_in_flight,
    ),
)

HEAD = """# What happens when

These diagrams are drawn from the error and access logs of real runs (level `debug`) by `make docs`; a test draws them
anew and compares. Left out are pids, times, how busy the workers were, what they say of themselves, tracebacks, and the
lines that add nothing (`docs/sequence_diagrams.py` has the rules). What an order brings about elsewhere, such as an
idle worker's end, is drawn right after it, though the log may have it later. A worker that has the number of one that
was there before is the "next". [lifecycle.md](lifecycle.md) has the states behind them, [signals.md](signals.md) all
signals.
"""


def perform(scenario: Scenario) -> str:
    """Run a scenario and return its diagram."""
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory).resolve(), scenario.count, scenario.more)
        try:
            scenario.perform(run)
            before, log = run.finish()
        except BaseException:
            run.kill()
            raise
    return draw(before, log, scenario.follows)


def render() -> str:
    """Run all scenarios, some side by side, and return the page."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        diagrams = threads.map(perform, SCENARIOS)
        sections = zip(SCENARIOS, diagrams, strict=True)
        return HEAD + "".join(f"\n## {scenario.title}\n{scenario.text}\n{diagram}" for scenario, diagram in sections)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
