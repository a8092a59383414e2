"""``make bench-memory``: what four workers of a Django application with data take, by how they came to their memory.

    python benchmarks/memory.py [--rounds 3] [--kinds sync,async] [--name memory]

Every server has the same application (`apps/bookshop`) and database, and is warmed by the same requests: they go on
until each worker has answered each of them. Then the PSS of its whole tree is read, parent and mold included. One
server runs at a time; each has its turn in every round, and every second round goes backwards. The reforked one is
warmed, made to refork (URG to the arbiter), and when all its workers are new, warmed by the same requests again: what
they write to by then is no longer shared.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import results
from figures import median_interval, paired_ratios
from launched import APPS, Launched, LaunchError, launched
from processes import pss_octets
from tables import NOTHING, align, write_interval
from traffic import Request, TrafficError, ask, warm

WORKERS = 4
SETTLE_SECONDS = 1.0
"""Between the last answer and the reading: a response's memory is let go of after it was sent."""
MOLD_SECONDS = 20.0
"""Until all workers are there, when one has answered."""
MEGA = 1e6
PYFORK = (sys.executable, "-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", str(WORKERS))
GUNICORN = (sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", str(WORKERS), "--no-control-socket")
APPLICATION = "bookshop.wsgi:application"
KINDS = {"sync": ("sync", ("sync",)), "async": ("async", ("gthread", "--threads", "1"))}
"""What is compared: pyfork's worker type, and gunicorn's words for the nearest one of its own."""


class UnavailableError(Exception):
    """A server cannot do what the row is about; the message says what is missing."""


@dataclass(frozen=True)
class Setup:
    """A row of the table.

    Attributes:
        kind: of `KINDS`.
        name: what the table calls it.
        command: its command line.
        has_mold: it forks its workers from a process that has the application (pyfork).
        is_reforked: and is made to do so from a warm one.
    """

    kind: str
    name: str
    command: Sequence[str]
    has_mold: bool = False
    is_reforked: bool = False


@dataclass(frozen=True)
class Limit:
    """What the ratio of two rows of a kind may be, at most."""

    name: str
    against: str
    at_most: float


EACH, PRELOADED, REFORKED = "pyfork, each loads by itself", "pyfork, preload", "pyfork, reforked"
PEER, PEER_PRELOADED = "gunicorn, each loads by itself", "gunicorn, preload_app"
LIMITS = (Limit(REFORKED, EACH, 0.45), Limit(REFORKED, PEER_PRELOADED, 0.65))


@dataclass(frozen=True)
class Reading:
    """PSS in octets.

    Attributes:
        parent: of the arbiter, or gunicorn's.
        mold: of whatever else does not serve.
        workers: of all workers together.
        unshaken: of the whole tree right after the reforking, before the traffic that followed; None elsewhere.
    """

    parent: int
    mold: int
    workers: int
    unshaken: int | None = None

    @property
    def total(self) -> int:
        """Of the whole tree."""
        return self.parent + self.mold + self.workers


@dataclass
class Outcome:
    """The readings of a row by round, or why there are none."""

    setup: Setup
    readings: dict[int, Reading] = field(default_factory=dict)
    failure: str = ""

    def totals(self) -> dict[int, float]:
        """Return the sums by round."""
        return {number: float(reading.total) for number, reading in self.readings.items()}


def setups(kinds: Sequence[str]) -> list[Setup]:
    """Return the rows of these kinds; those that a limit compares are neighbours."""
    rows = []
    for kind in kinds:
        own, peer = KINDS[kind]
        pyfork, gunicorn = (*PYFORK, "-k", own), (*GUNICORN, "-k", *peer)
        rows += [
            Setup(kind, PEER, (*gunicorn, APPLICATION)),
            Setup(kind, PEER_PRELOADED, (*gunicorn, "--preload", APPLICATION)),
            Setup(kind, REFORKED, (*pyfork, "--preload", APPLICATION), has_mold=True, is_reforked=True),
            Setup(kind, EACH, (*pyfork, APPLICATION)),
            Setup(kind, PRELOADED, (*pyfork, "--preload", APPLICATION), has_mold=True),
        ]
    return rows


def main() -> int:
    """Measure, print, keep; return 1 when a limit is not met, 2 when one was not measured."""
    parser = argparse.ArgumentParser(prog="make bench-memory", description="Compare the memory of four warm workers.")
    parser.add_argument("--rounds", type=int, default=3, help="times that each server is measured (default 3)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--name", default="memory", help="of the files in results/ (default: memory)")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    if {*kinds} - KINDS.keys():
        parser.error(f"unknown kinds; there are {', '.join(KINDS)}")
    outcomes = [Outcome(setup) for setup in setups(kinds)]
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        print("making the database", flush=True)
        subprocess.run([sys.executable, "-m", "bookshop.build", folder], cwd=APPS, check=True)
        for number in range(options.rounds):
            for outcome in outcomes if number % 2 == 0 else reversed(outcomes):
                if not outcome.failure:
                    take_turn(outcome, number, Path(folder))
    text = write_text(outcomes, describe(options))
    print("\n" + text)
    files = keep(options.name, outcomes, describe(options), text)
    print(f"kept in {', '.join(machine.without_paths(str(path)) for path in files)}")
    words = [word for kind in kinds for _, _, word in judge(outcomes, kind)]
    return 1 if "NOT MET" in words else 2 if "not measured" in words else 0


def take_turn(outcome: Outcome, number: int, folder: Path) -> None:
    """Measure one server, and keep what was read or why nothing could be."""
    requests = [Request(*each) for each in json.loads((folder / "requests.json").read_text())]
    label = f"round {number + 1}: {outcome.setup.kind}, {outcome.setup.name}"
    try:
        reading = measure(outcome.setup, folder / "shop.sqlite3", requests)
    except UnavailableError as error:
        outcome.failure = f"not available: {error}"
    except (LaunchError, TrafficError) as error:
        outcome.failure = f"failed: {error}"
    else:
        outcome.readings[number] = reading
        print(f"{label}: {reading.total / MEGA:.0f} MB", flush=True)
        return
    print(f"{label}: {outcome.failure}", flush=True)


def measure(setup: Setup, database: Path, requests: Sequence[Request]) -> Reading:
    """Start a server, warm it, refork it if the row says so, and read its memory.

    Raises:
        UnavailableError: it has no mold where it should.
        LaunchError: it does not start, or its workers are not replaced.
        TrafficError: it does not answer rightly.
    """
    with launched(setup.command, {"BOOKSHOP_DATABASE": str(database)}) as server:
        server.wait_until(lambda: is_answering(server), "the start")
        if setup.has_mold:
            check_mold(server)
        workers = warm(server.port, requests, WORKERS)
        unshaken = None
        if setup.is_reforked:
            refork(server, workers)
            unshaken = pss_octets(server.pids())
            workers = warm(server.port, requests, WORKERS)
        time.sleep(SETTLE_SECONDS)
        others = [pid for pid in server.children() if pid not in workers]
        return Reading(pss_octets([server.pid]), pss_octets(others), pss_octets([*workers]), unshaken)


def is_answering(server: Launched) -> bool:
    """Return whether a request is answered."""
    try:
        ask(server.port, Request("/delivery/00000/"))
    except TrafficError:
        return False
    return True


def check_mold(server: Launched) -> None:
    """Return when all workers and one more process are there.

    Raises:
        UnavailableError: they do not come to be.
    """
    try:
        server.wait_until(lambda: len(server.children()) == WORKERS + 1, "four workers and a mold", MOLD_SECONDS)
    except LaunchError as error:
        raise UnavailableError("there is no mold") from error


def refork(server: Launched, workers: frozenset[int]) -> None:
    """Make the arbiter refork, and return when the mold and all workers are others than before."""
    before = {*server.children()}
    server.process.send_signal(signal.SIGURG)

    def is_done() -> bool:
        now = {*server.children()}
        return not now & before and len(now) == len(workers) + 1

    server.wait_until(is_done, "the reforking")
    time.sleep(SETTLE_SECONDS)


def judge(outcomes: Sequence[Outcome], kind: str) -> list[tuple[Limit, str, str]]:
    """Return each limit, its ratio as text, and whether the ratio is within it in every round (three of them)."""
    totals = {outcome.setup.name: outcome.totals() for outcome in outcomes if outcome.setup.kind == kind}
    verdicts = []
    for limit in LIMITS:
        ratios = paired_ratios(totals[limit.name], totals[limit.against])
        interval = median_interval(ratios) if ratios else None
        word = "not measured" if interval is None else "met" if interval.high <= limit.at_most else "NOT MET"
        verdicts.append((limit, write_interval(interval), word))
    return verdicts


def write_text(outcomes: Sequence[Outcome], facts: dict[str, Any]) -> str:
    """Return the whole report as Markdown."""
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    for kind in dict.fromkeys(outcome.setup.kind for outcome in outcomes):
        own, peer = KINDS[kind]
        lines += ["", f"### pyfork {own}, gunicorn {peer[0]}: PSS in MB, medians of the rounds [least, most]", ""]
        chosen = [outcome for outcome in outcomes if outcome.setup.kind == kind]
        headings = ["server", "whole tree", "", "parent", "mold", "each worker", "before the second traffic"]
        lines += align(headings, [row(outcome) for outcome in chosen])
        lines += ["", *(f"- {each.setup.name}: {each.failure}" for each in chosen if each.failure), ""]
        verdicts = [
            [f"{limit.name} at most {limit.at_most:g} x {limit.against}", ratio, word]
            for limit, ratio, word in judge(outcomes, kind)
        ]
        lines += align(["limit", "ratio, median [95 %]", "verdict"], verdicts, last_is_text=True)
    return "\n".join(lines) + "\n"


def row(outcome: Outcome) -> list[str]:
    """Return the cells of a row."""
    readings = list(outcome.readings.values())
    if not readings:
        return [outcome.setup.name, *[NOTHING] * 6]
    totals = [reading.total for reading in readings]
    unshaken = [reading.unshaken for reading in readings if reading.unshaken is not None]
    return [
        outcome.setup.name,
        in_mb(totals),
        f"[{min(totals) / MEGA:.0f}, {max(totals) / MEGA:.0f}]",
        in_mb([reading.parent for reading in readings]),
        in_mb([reading.mold for reading in readings]) if outcome.setup.has_mold else NOTHING,
        in_mb([reading.workers // WORKERS for reading in readings]),
        in_mb(unshaken) if unshaken else NOTHING,
    ]


def in_mb(octets: Sequence[int]) -> str:
    """Return the median in MB."""
    return f"{statistics.median(octets) / MEGA:.0f}"


def describe(options: argparse.Namespace) -> dict[str, str]:
    """Return what is written beside the figures."""
    versions = machine.versions(["pyfork", "gunicorn", "django"])
    return {
        "machine": ", ".join(machine.describe().values()),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "rounds": str(options.rounds),
        "load average": f"{os.getloadavg()[0]:.2f}",
    }


def keep(name: str, outcomes: Sequence[Outcome], facts: dict[str, Any], text: str) -> list[Path]:
    """Write the report, and every reading as JSON."""
    commands = [f"    {machine.without_paths(' '.join(each.setup.command))}" for each in outcomes]
    document = {
        **facts,
        "servers": [
            {
                "kind": each.setup.kind,
                "name": each.setup.name,
                "failure": each.failure,
                "rounds": {number: vars(reading) for number, reading in each.readings.items()},
            }
            for each in outcomes
        ],
    }
    results.FOLDER.mkdir(exist_ok=True)
    page, data = (results.FOLDER / f"{name}{suffix}" for suffix in (".md", ".json"))
    page.write_text(
        "\n".join([f"# Memory\n\n{text}", "### command lines, in benchmarks/apps", "", *commands, ""]), "utf-8"
    )
    data.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return [page, data]


if __name__ == "__main__":
    sys.exit(main())
