"""A hundred reloads in a row under load, of each worker type, with and without preload: is anything lost, what grows?

    make reloads                                        a few minutes
    make reloads ARGS='--reloads 20 --types async'      less of it

The load, the application and the judge are those of tests/faults: twelve clients, fresh and kept-alive, pipelined,
slow, with bodies of 100 KB. The arbiter's memory is read before and after while it has no workers (WINCH has sent them
away), since a page that several processes have counts for each in part. One reload comes before the first reading.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import procfs
from tests.faults.client import Load
from tests.faults.judge import Terms, judge
from tests.faults.served import COUNT, GRACEFUL_TIMEOUT, KEEP_ALIVE, Site
from tests.harness import wait_until

TYPES = ("sync", "threadpool", "async", "gevent")
MOST_GROWTH_KB = 500
"""What an allocator may keep; a leak of a reload shows a hundred times."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The arbiter without workers.

    Attributes:
        pss_kb: proportional set size in KiB.
        descriptors: how many.
    """

    pss_kb: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one server."""

    name: str
    reloads: int
    seconds: float
    answered: int
    lost: int
    before: Reading
    after: Reading

    @property
    def verdict(self) -> str:
        """Whether it is as it should be."""
        has_grown = self.after.pss_kb - self.before.pss_kb > MOST_GROWTH_KB
        has_leaked = self.after.descriptors != self.before.descriptors
        faults = [name for name, is_so in (("LOSES", self.lost), ("GROWS", has_grown), ("LEAKS", has_leaked)) if is_so]
        return ", ".join(faults) or "as it should be"

    def cells(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.name,
            str(self.reloads),
            f"{self.seconds / self.reloads:.2f}",
            str(self.answered),
            str(self.lost),
            f"{self.before.pss_kb / 1024:.1f} -> {self.after.pss_kb / 1024:.1f}",
            f"{self.before.descriptors} -> {self.after.descriptors}",
            self.verdict,
        ]


HEAD = ["workers", "reloads", "seconds each", "answered", "lost", "PSS of the arbiter, MB", "descriptors", ""]


def measure(worker_type: str, reloads: int, *, preload: bool) -> Row:
    """Start a server, reload it so many times under load, and stop it.

    Raises:
        AssertionError: a reload does not come to its end, or the log has an error.
    """
    directory = Path(tempfile.mkdtemp(prefix="pyfork-reloads-"))
    try:
        with Site(directory, worker_type, None, {}, **({"preload": True} if preload else {})) as server:
            server.wait_workers(COUNT)
            reload(server)
            before = read_alone(server)
            began = monotonic()
            with Load(server.port, random.Random(1)) as load:
                for _ in range(reloads):
                    reload(server)
                took = monotonic() - began
            idle_limit = min(KEEP_ALIVE, GRACEFUL_TIMEOUT / 2)
            verdict = judge(load.take(), [], Terms(idle_limit, closes_each=worker_type == "sync"))
            for loss in verdict.losses:
                print(f"  lost: {loss}", file=sys.stderr)
            after = read_alone(server)
            name = f"{worker_type}, preload" if preload else worker_type
            return Row(name, reloads, took, load.answered().total(), len(verdict.losses), before, after)
    finally:
        shutil.rmtree(directory)


def reload(server: Site) -> None:
    """HUP, and wait until the new generation has replaced the others."""
    mark = len(server.log)
    server.signal("HUP")
    wait_until(lambda: re.search(r"generation \d+ has replaced the others", server.log[mark:]), "the reload has ended")


def read_alone(server: Site) -> Reading:
    """Read the arbiter's memory while it has no workers, and bring them back."""
    server.signal("WINCH")
    wait_until(lambda: list(procfs.family(server.session)) == [server.pid], "workers and mold are reaped")
    mark = len(server.log)
    server.signal("USR1")  # answered in a later turn than that of the last reaping, whose descriptors are closed then
    wait_until(lambda: "signal SIGUSR1" in server.log[mark:], "the arbiter hears USR1")
    text = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    reading = Reading(int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]), len(procfs.descriptors(server.pid)))
    server.signal("TTIN")
    server.wait_workers(COUNT)
    return reading


def main() -> int:
    """Print the table; the exit status is 1 if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--types", default=",".join(TYPES), help="comma-separated")
    asked = parser.parse_args()
    rows = []
    for worker_type in asked.types.split(","):
        for preload in (False, True):
            print(f"{worker_type}{', preload' if preload else ''} ...", file=sys.stderr)
            rows.append(measure(worker_type, asked.reloads, preload=preload))
    for cells in (HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)):
        print(f"| {' | '.join(cells)} |")
    return int(any(row.verdict != "as it should be" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
