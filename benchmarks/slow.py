"""``make bench-slow``: how long fresh requests take while slowhttptest holds thousands of slow connections.

    python benchmarks/slow.py [--seconds 20] [--connections 2000] [--types async,...] [--attacks head,...] [--name slow]

Two workers serve. A client asks on a new connection, twenty times a second, before and during each attack: a request
that is not answered by 200 within five seconds is a failure. Each attack is made twice: with room for all its
connections (``workers.connections``), and with room for a quarter of them. `sync` holds one in any case.

The attacks are slowhttptest's own four modes, all 2 000 connections opened in the first four seconds:

- head (-H, Slowloris): a line of the head every 5 s, and never the last;
- body (-B, R.U.D.Y.): a few octets of a body of 8 192 every 5 s;
- read (-X): a response of 8 MB is asked for, and 32 octets of it are read every 5 s, with a window of some octets;
- range (-R, Apache killer): a Range of thousands of overlapping parts. No range is served here: a request like others.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import machine
import results
from launched import LaunchError, launched
from tables import NOTHING, align

WORKERS = 2
THREADS = 8
ATTACKS = {
    "head": ["-H", "-i", "5"],
    "body": ["-B", "-i", "5", "-s", "8192", "-x", "10"],
    "read": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32"],
    "range": ["-R", "-t", "GET", "-a", "10", "-b", "3000"],
}
PATHS = {"read": "/big"}
TYPES = ("async", "threadpool", "gevent", "sync")
REQUEST = b"GET / HTTP/1.1\r\nHost: fresh\r\nConnection: close\r\n\r\n"
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 5.0
QUIET_SECONDS = 2.0
"""Before each attack: what requests take without it."""
LIMIT_SECONDS = 0.1
LIMITED = {"async", "threadpool"}
HOW_TO_GET = (
    "make bench-slow: needs slowhttptest, and it is not installed (Debian, Ubuntu: apt-get install slowhttptest)"
)


@dataclass
class Sample:
    """What became of the requests of one stretch of time.

    Attributes:
        seconds: of those that were answered.
        failures: how many were not.
    """

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def quantile(self, part: float) -> float:
        """Return the time within which this part of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


@dataclass(frozen=True)
class Outcome:
    """One attack on one type; `problem` says why there are no figures."""

    quiet: Sample = field(default_factory=Sample)
    attacked: Sample = field(default_factory=Sample)
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """Who is attacked, how, and how many connections each of its workers may hold."""

    kind: str
    attack: str
    room: int


def main() -> int:
    """Attack, print, keep; return 1 when a limit is not met, 2 when something was not measured."""
    parser = argparse.ArgumentParser(prog="make bench-slow", description="Time fresh requests among slow clients.")
    parser.add_argument("--seconds", type=int, default=20, help="of each attack (default 20)")
    parser.add_argument("--connections", type=int, default=2000, help="of each attack (default 2000)")
    parser.add_argument("--types", default=",".join(TYPES), help="of workers, with commas (default: all)")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="with commas (default: all)")
    parser.add_argument("--name", default="slow", help="of the file in results/ (default: slow)")
    options = parser.parse_args()
    if not shutil.which("slowhttptest"):
        sys.exit(HOW_TO_GET)
    machine.allow_open_files()
    outcomes = {}
    for row in rows(options.types.split(","), options.attacks.split(","), options.connections):
        try:
            outcomes[row] = measure(row, options.connections, options.seconds)
        except LaunchError as error:
            outcomes[row] = Outcome(problem=str(error))
        print(*cells(row, outcomes[row], options.connections), sep="  ", flush=True)
    text = write_text(outcomes, options.connections, options.seconds)
    print(text)
    results.keep_page(options.name, "Fresh requests among slow clients", text)
    words = [verdict(row, outcome, options.connections) for row, outcome in outcomes.items()]
    return 1 if "NOT MET" in words else 2 if "not measured" in words else 0


def rows(kinds: Sequence[str], attacks: Sequence[str], connections: int) -> Iterator[Row]:
    """Yield what to measure: with room for all connections and for a quarter, where there is such a thing."""
    for kind in kinds:
        for attack in attacks:
            for room in [connections] if kind == "sync" else [connections, connections // 4 // WORKERS]:
                yield Row(kind, attack, room)


def measure(row: Row, connections: int, seconds: int) -> Outcome:
    """Start a server, ask it in peace and under attack.

    Raises:
        LaunchError: it does not start, or the attacker does not.
    """
    with launched(command_of(row)) as server:
        server.wait_until(lambda: len(server.children()) >= WORKERS and probe(server.port) is not None, "the start")
        quiet, attacked = Sample(), Sample()
        sample_until(server.port, time.monotonic() + QUIET_SECONDS, quiet)
        with attacking(server.port, row.attack, connections, seconds) as attacker:
            ends = time.monotonic() + seconds
            sample_until(server.port, ends, attacked, attacker)
        return Outcome(quiet, attacked)


def command_of(row: Row) -> tuple[str, ...]:
    """Return the server's command line."""
    threads = ("--threads", str(THREADS)) if row.kind == "threadpool" else ()
    bound = ("-b", "127.0.0.1:{port}", "-w", str(WORKERS), "-k", row.kind)
    return (sys.executable, "-m", "pyfork", *bound, *threads, "--worker-connections", str(row.room), "patient:app")


@contextmanager
def attacking(port: int, attack: str, connections: int, seconds: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Attack for the length of the block, and not much longer than ``seconds``."""
    url = f"http://127.0.0.1:{port}{PATHS.get(attack, '/')}"
    numbers = ["-c", str(connections), "-r", str(connections // 4), "-l", str(seconds), "-p", "60"]
    with tempfile.TemporaryFile() as output:
        attacker = subprocess.Popen(
            ["slowhttptest", *ATTACKS[attack], *numbers, "-u", url],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield attacker
        finally:
            attacker.terminate()
            attacker.wait()


def sample_until(port: int, ends: float, sample: Sample, attacker: "subprocess.Popen[bytes] | None" = None) -> None:
    """Ask until it is time (monotonic seconds), or until the attacker has nothing left to do."""
    while time.monotonic() < ends and (attacker is None or attacker.poll() is None):
        seconds = probe(port)
        if seconds is None:
            sample.failures += 1
        else:
            sample.seconds.append(seconds)
        time.sleep(PAUSE_SECONDS)


def probe(port: int) -> float | None:
    """Ask on a new connection; return how long that took up to the answer's end, or None if there was none."""
    began = time.monotonic()
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(REQUEST)
            while octets := client.recv(65536):
                answer += octets
    except OSError:
        return None
    return time.monotonic() - began if answer.startswith(b"HTTP/1.1 200 ") else None


def verdict(row: Row, outcome: Outcome, connections: int) -> str:
    """Return what the limit says: all answers within it, by the types that hold as many connections as there are."""
    if not outcome.attacked.seconds:
        return "not measured"
    if row.kind not in LIMITED or row.room < connections:
        return NOTHING
    is_late = outcome.attacked.quantile(1.0) > LIMIT_SECONDS
    return "NOT MET" if is_late or outcome.attacked.failures else "met"


def cells(row: Row, outcome: Outcome, connections: int) -> list[str]:
    """Return a row of the table."""
    name = [f"{row.kind}, {row.attack}", "1" if row.kind == "sync" else str(row.room)]
    quiet, attacked = outcome.quiet, outcome.attacked
    if not quiet.seconds or not attacked.seconds:
        return [*name, *[NOTHING] * 7, verdict(row, outcome, connections)]
    figures = [quiet.quantile(0.5), quiet.quantile(0.99), attacked.quantile(0.5), attacked.quantile(0.99)]
    milliseconds = [f"{1000 * each:,.1f}" for each in [*figures, attacked.quantile(1.0)]]
    counts = [str(len(attacked.seconds)), str(attacked.failures)]
    return [*name, *milliseconds, *counts, verdict(row, outcome, connections)]


def write_text(outcomes: Mapping[Row, Outcome], connections: int, seconds: int) -> str:
    """Return the report as Markdown."""
    headings = ["type, attack", "room each", *("p50 alone", "p99 alone", "p50", "p99", "max ms"), "answered", "failed"]
    lines = [
        f"- {', '.join(machine.describe().values())}; load average {os.getloadavg()[0]:.2f}",
        f"- {connections} connections of slowhttptest for {seconds} s at most; {WORKERS} workers",
        f"- limit for {' and '.join(sorted(LIMITED))} with room for all: {1000 * LIMIT_SECONDS:g} ms; no failures",
        *(f"- {row.kind}, {row.attack}: {outcome.problem}" for row, outcome in outcomes.items() if outcome.problem),
        "",
        *align(
            [*headings, "verdict"],
            [cells(row, outcome, connections) for row, outcome in outcomes.items()],
            last_is_text=True,
        ),
        "",
        "Command lines, in benchmarks/apps:",
        "",
        *(
            f"    {machine.without_paths(' '.join(['python', *command_of(row)[1:]]))}"
            for row in outcomes
            if row.attack == "head"
        ),
        *(
            f"    slowhttptest {' '.join(flags)} -c {connections} -r {connections // 4} -l {seconds} -p 60"
            for flags in ATTACKS.values()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
