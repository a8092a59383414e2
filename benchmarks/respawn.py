"""``make bench-respawn``: how long a killed worker is missed, when the application's import takes three seconds.

    python benchmarks/respawn.py [--kills 20] [--name respawn]

Four workers of type sync serve eight clients, so that all of them are busy and a new one is given work as soon as it
accepts. One is ended by SIGKILL; the time counts until a worker answers that was not there before. The request that the
killed worker had is lost with it, one for each kill; any other that gets no answer is a failure.
"""

import argparse
import bisect
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import machine
import results
from launched import LaunchError, launched
from tables import NOTHING, align
from traffic import Request, TrafficError, ask

WORKERS = 4
CLIENTS = 8
PATIENCE_SECONDS = 30.0
SETTLE_SECONDS = 1.2
"""Between two kills: a worker that dies in its first second is taken for one that cannot serve, and its place waits."""
LIMIT_SECONDS = 0.1
"""With a mold. Without one it takes the import's time, whatever that is."""
COMMAND = (sys.executable, "-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", str(WORKERS), "-k", "sync")
APPLICATION = "slow_import:app"
ROWS = {"with a mold (preload)": (*COMMAND, "--preload", APPLICATION), "without": (*COMMAND, APPLICATION)}


@dataclass
class Crowd:
    """Clients that ask without a pause, and who has answered them.

    Attributes:
        port: where the server listens.
        first_answers: each worker's pid, and when it was first heard of.
        answers: how many there were.
        failures: when a request failed, and how.
    """

    port: int
    first_answers: dict[int, float] = field(default_factory=dict)
    answers: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_over: bool = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask for the length of the block."""
        clients = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self.is_over = True
            for client in clients:
                client.join()

    def _ask_on(self) -> None:
        while not self.is_over:
            try:
                pid = ask(self.port, Request("/"))
            except TrafficError as error:
                with self.changed:
                    self.failures.append((time.monotonic(), str(error)))
                time.sleep(0.01)
                continue
            with self.changed:
                self.answers += 1
                if pid not in self.first_answers:
                    self.first_answers[pid] = time.monotonic()
                    self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Return when ``condition()`` is true; it is looked at when a new worker has answered.

        Raises:
            LaunchError: it does not become true in time.
        """
        with self.changed:
            if not self.changed.wait_for(condition, PATIENCE_SECONDS):
                raise LaunchError(f"{what}: not within {PATIENCE_SECONDS:g} s")


@dataclass(frozen=True)
class Outcome:
    """The seconds of each kill, how many requests were answered meanwhile, and those that failed beyond one a kill."""

    seconds: tuple[float, ...] = ()
    answers: int = 0
    failures: int = 0
    problem: str = ""


def main() -> int:
    """Measure, print, keep; return 1 when the limit is not met, 2 when it was not measured."""
    parser = argparse.ArgumentParser(prog="make bench-respawn", description="Time the replacement of killed workers.")
    parser.add_argument("--kills", type=int, default=20, help="of a worker (default 20)")
    parser.add_argument("--name", default="respawn", help="of the file in results/ (default: respawn)")
    options = parser.parse_args()
    outcomes = {}
    for name, command in ROWS.items():
        try:
            outcomes[name] = measure(command, options.kills, has_mold="--preload" in command)
        except LaunchError as error:
            outcomes[name] = Outcome(problem=str(error))
    text = write_text(outcomes)
    print(text)
    results.keep_page(options.name, "Replacing a killed worker", text)
    words = [verdict(name, outcome) for name, outcome in outcomes.items()]
    return 1 if "NOT MET" in words else 2 if "not measured" in words else 0


def measure(command: tuple[str, ...], kills: int, *, has_mold: bool) -> Outcome:
    """Start the server, kill a worker so many times, and return what that showed.

    Raises:
        LaunchError: it does not start, has no mold where it should, or a worker is not replaced.
    """
    chance = random.Random(3)
    with launched(command) as server:
        crowd = Crowd(server.port)
        server.wait_until(lambda: len(server.children()) >= WORKERS and is_answering(server.port), "the start")
        with crowd.asking():
            crowd.wait_for(lambda: len(crowd.first_answers) >= WORKERS, "the first answers of all workers")
            if has_mold and len(server.children()) == WORKERS:
                raise LaunchError("not available: there is no mold")
            alive = [*crowd.first_answers]
            seconds, kills_at = [], []
            for _ in range(kills):
                time.sleep(SETTLE_SECONDS)
                victim = alive.pop(chance.randrange(len(alive)))
                known = len(crowd.first_answers)
                began = time.monotonic()
                kills_at.append(began)
                os.kill(victim, signal.SIGKILL)
                crowd.wait_for(lambda known=known: len(crowd.first_answers) > known, "the replacement")
                pid, answered = [*crowd.first_answers.items()][-1]
                alive.append(pid)
                seconds.append(answered - began)
        return Outcome(tuple(seconds), crowd.answers, failures_of_others(kills_at, [at for at, _ in crowd.failures]))


def failures_of_others(kills: Sequence[float], failures: Sequence[float]) -> int:
    """Return how many requests failed that no killed worker had: all but one between a kill and the next."""
    after_each = Counter(bisect.bisect(kills, at) for at in failures)
    return sum(count - (number > 0) for number, count in after_each.items())


def is_answering(port: int) -> bool:
    """Return whether a request is answered."""
    try:
        ask(port, Request("/"))
    except TrafficError:
        return False
    return True


def verdict(name: str, outcome: Outcome) -> str:
    """Return what the limits say of a row: the time is limited with a mold only, failures never allowed."""
    if not outcome.seconds:
        return "not measured"
    is_late = "with a mold" in name and max(outcome.seconds) > LIMIT_SECONDS
    return "NOT MET" if is_late or outcome.failures else "met"


def write_text(outcomes: dict[str, Outcome]) -> str:
    """Return the report as Markdown."""
    headings = ["4 workers, import of 3 s", "kills", "median ms", "most ms", "answered", "others failed", "verdict"]
    rows = [[name, *cells(outcome), verdict(name, outcome)] for name, outcome in outcomes.items()]
    lines = [
        f"- {', '.join(machine.describe().values())}; load average {os.getloadavg()[0]:.2f}",
        f"- limit with a mold: {LIMIT_SECONDS * 1000:g} ms at most, each time; failures of others: none",
        *(f"- {name}: {outcome.problem}" for name, outcome in outcomes.items() if outcome.problem),
        "",
        *align(headings, rows, last_is_text=True),
    ]
    return "\n".join(lines) + "\n"


def cells(outcome: Outcome) -> list[str]:
    """Return the figures of a row."""
    if not outcome.seconds:
        return [NOTHING] * 5
    milliseconds = [1000 * each for each in outcome.seconds]
    return [
        str(len(milliseconds)),
        f"{statistics.median(milliseconds):,.0f}",
        f"{max(milliseconds):,.0f}",
        str(outcome.answers),
        str(outcome.failures),
    ]


if __name__ == "__main__":
    sys.exit(main())
