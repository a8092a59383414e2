"""``make bench-arbiter``: what the arbiter takes alone, and whether that depends on what it serves.

    python benchmarks/arbiter_memory.py [--name arbiter]

WINCH drains its workers, so that it shares its pages with no child any more. Three figures are read then: **PSS**,
where what other processes map as well (the C library, another Python's own code: this script's) counts in part; the
**resident** set, where all of it counts in full, as if no other Python ran on the machine; and what is **no file's**,
which is the arbiter's own. The PSS before that, with its children, is beside them.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import machine
import results
from launched import APPS, Launched, LaunchError, launched
from processes import anonymous_octets, pss_octets, resident_octets
from tables import NOTHING, align
from traffic import Request, TrafficError, ask

WORKERS = 4
LIMIT_MB = 20.0
DRAIN_SECONDS = 40.0
SETTLE_SECONDS = 0.5
PYFORK = (sys.executable, "-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", str(WORKERS))
SMALL, LARGE = ("whoami:app", "/"), ("bookshop.wsgi:application", "/delivery/00000/")
ROWS = {
    "sync, a small application": (("-k", "sync"), SMALL),
    "sync, Django with data": (("-k", "sync"), LARGE),
    "sync, the same, preload": (("-k", "sync", "--preload"), LARGE),
    "async, Django with data": (("-k", "async"), LARGE),
    "threadpool, Django with data": (("-k", "threadpool", "--threads", "4"), LARGE),
    "gevent, Django with data": (("-k", "gevent"), LARGE),
}


@dataclass(frozen=True)
class Reading:
    """Octets of the arbiter: PSS with its children, then alone: PSS, resident, no file's; or what prevented it."""

    among_children: int = 0
    alone: int = 0
    resident: int = 0
    own: int = 0
    problem: str = ""


def main() -> int:
    """Measure, print, keep; return 1 when the limit is not met, 2 when a row was not measured."""
    parser = argparse.ArgumentParser(prog="make bench-arbiter", description="Read the memory of the arbiter alone.")
    parser.add_argument("--name", default="arbiter", help="of the file in results/ (default: arbiter)")
    options = parser.parse_args()
    readings = {}
    with tempfile.TemporaryDirectory(prefix="bench-arbiter-") as folder:
        subprocess.run([sys.executable, "-m", "bookshop.build", folder], cwd=APPS, check=True)
        for name, (arguments, (application, path)) in ROWS.items():
            try:
                readings[name] = measure((*PYFORK, *arguments, application), path, f"{folder}/shop.sqlite3")
            except LaunchError as error:
                readings[name] = Reading(problem=str(error))
    text = write_text(readings)
    print(text)
    results.keep_page(options.name, "The arbiter alone", text)
    words = [verdict(reading) for reading in readings.values()]
    return 1 if "NOT MET" in words else 2 if "not measured" in words else 0


def measure(command: Sequence[str], path: str, database: str) -> Reading:
    """Start a server, let it answer, drain it, and read.

    Raises:
        LaunchError: it does not start, has no mold where it should, or its children do not go.
    """
    with launched(command, {"BOOKSHOP_DATABASE": database}) as server:
        server.wait_until(lambda: is_answering(server, path), "the start")
        children = WORKERS + ("--preload" in command)
        try:
            server.wait_until(lambda: len(server.children()) == children, f"{children} children", DRAIN_SECONDS)
        except LaunchError as error:
            raise LaunchError(f"not available: there is no mold ({error})") from error
        among_children = pss_octets([server.pid])
        server.process.send_signal(signal.SIGWINCH)
        server.wait_until(lambda: not server.children(), "the end of all children", DRAIN_SECONDS)
        time.sleep(SETTLE_SECONDS)
        alone = [server.pid]
        return Reading(among_children, pss_octets(alone), resident_octets(alone), anonymous_octets(alone))


def is_answering(server: Launched, path: str) -> bool:
    """Return whether a request is answered."""
    try:
        ask(server.port, Request(path))
    except TrafficError:
        return False
    return True


def verdict(reading: Reading) -> str:
    """Return what the limit says of a row."""
    if reading.problem:
        return "not measured"
    return "met" if reading.alone / 1e6 < LIMIT_MB else "NOT MET"


def write_text(readings: dict[str, Reading]) -> str:
    """Return the report as Markdown."""
    headings = ["4 workers", "with children", "PSS, alone", "resident, alone", "no file's", f"under {LIMIT_MB:g} MB"]
    rows = [[name, *cells(reading), verdict(reading)] for name, reading in readings.items()]
    lines = [
        f"- {', '.join(machine.describe().values())}; load average {os.getloadavg()[0]:.2f}",
        *(f"- {name}: {reading.problem}" for name, reading in readings.items() if reading.problem),
        "",
        *align(headings, rows, last_is_text=True),
    ]
    return "\n".join(lines) + "\n"


def cells(reading: Reading) -> list[str]:
    """Return the figures of a row in MB."""
    if reading.problem:
        return [NOTHING] * 4
    figures = (reading.among_children, reading.alone, reading.resident, reading.own)
    return [f"{figure / 1e6:.1f}" for figure in figures]


if __name__ == "__main__":
    sys.exit(main())
