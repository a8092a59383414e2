"""``make bench-checkouts``: what a request costs in this checkout of pyfork, and what it cost at another revision.

    python benchmarks/checkouts.py [OTHER] [--rounds 20] [--seconds 0.7] [--types async] [--loads hello,falcon]

OTHER is a revision, as git names them; without one it is the last tag. Its ``pyfork/`` is unpacked into a temporary
directory; this checkout is measured as its files are now, committed or not. Interpreter, dependencies, applications and
command lines are the same for both: PYTHONPATH alone chooses, and each worker says where its modules come from before
it is measured (apps/origin.py). The command lines have no setting that an old revision might not know.

Differences of a few percent are smaller than what a machine does by itself. What is done about that:

- Both servers are up at the same time, on one core, and the client is on another. A round is a turn of each; who was
  first in one is second in the next, so that a machine that gets slower (or warmer) hurts both alike.
- Turns are short and many: what a neighbour does for a second spoils one round of them, and a median does not mind.
- A process may be faster than another of the same code for as long as it lives, by where its memory lies and how its
  hashes fall. So both are started anew a few times (``--launches``): each start is another draw. Without that, no
  number of rounds would tell chance from change.
- Nothing is discarded, unless ``--foreign`` says so: then a round is left out in which others used more than that part
  of the servers' core. That looks at who was there and not at the figures; the page tells how many were left out.

Instructions would move less than microseconds, but the counters for them are missing in most virtual machines.

The limit is met if the whole interval is within it, and NOT MET if the whole interval is above. Between the two the run
is undecided: more rounds, or a quieter machine, would tell. The exit status is 1 for NOT MET only, as an undecided run
has found nothing wrong: who calls it a failure will repeat it until it passes, and so measure his patience. It is 2 if
nothing could be measured.
"""

import argparse
import contextlib
import io
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import figures
import machine
import results
import wrk
from contestants import PYFORK, Contestant
from loads import APPS, LOADS, Load
from rounds import WARM_SECONDS, Measurement, measure
from servers import RunningServer, ServerError, fill_in
from tables import align

TYPES = ("async", "threadpool", "gevent", "sync")
SETTINGS_NEEDED = {"log", "idle"}
"""Loads that take more settings than a revision can be trusted to have."""
POSSIBLE = [load for load in LOADS if load.name not in SETTINGS_NEEDED]
DEFAULT_LIMIT = 1.03
LEAST_ROUNDS = 6
"""For an interval of 95 %."""
IDLE_LOAD = 0.5
THIS = "this"
OTHER = "other"
THREADS = "8"
"""As the loads have it that may be chosen here, but for the sleeping application."""


class CheckoutError(Exception):
    """There is nothing to compare, or not what was asked for; the message is one line."""


@dataclass(frozen=True)
class Checkout:
    """A pyfork that can be served.

    Attributes:
        name: THIS or OTHER.
        title: what the tables call it: the revision.
        root: where its ``pyfork/`` lies.
    """

    name: str
    title: str
    root: Path


@dataclass
class Comparison:
    """One worker type under one load; each measurement's number is that of its round.

    Attributes:
        kind: the worker type.
        load: what was asked.
        turns: what was measured.
    """

    kind: str
    load: Load
    turns: list[Measurement] = field(default_factory=list)

    def costs(self, name: str, foreign: float) -> dict[int, float]:
        """Return the microseconds a request of a checkout's rounds, without those that others disturbed."""
        left_out = self.disturbed(foreign)
        own = [turn for turn in self.turns if turn.server == name and turn.number not in left_out]
        return {turn.number: turn.figures["cpu"] for turn in own}

    def disturbed(self, foreign: float) -> set[int]:
        """Return the rounds in which others used more than this part of the core, in either turn."""
        return {turn.number for turn in self.turns if turn.figures["foreign"] > foreign}


def main() -> int:
    """Measure, print, keep; see the head of the module for the status."""
    options = parse_options(sys.argv[1:])
    machine.check_tools()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what is temporary is removed then, too
        signal.signal(number, _end)  # noqa: TID251 (a program of its own: nothing of pyfork runs in it)
    cores = machine.choose_cores()
    machine.settle(cores)
    load_average = os.getloadavg()[0]
    try:
        with unpacked(options.other or last_tag()) as other:
            this = Checkout(THIS, describe_this(), machine.ROOT)
            print(f"this: {this.title}; other: {other.title}", flush=True)
            comparisons = [
                compare(Comparison(kind, load), (this, other), cores, options)
                for kind in options.types
                for load in POSSIBLE
                if load.name in options.loads
            ]
    except CheckoutError as error:
        print(f"make bench-checkouts: {error}", file=sys.stderr)
        return 2
    facts = [
        f"- {', '.join(machine.describe().values())}; load average at the start {load_average:.2f}"
        + (", THE MACHINE WAS NOT IDLE" if load_average > IDLE_LOAD else ""),
        f"- this: {this.title}; other: {other.title}",
        f"- {options.rounds} rounds of {options.seconds:g} s for each, {options.launches} starts of both",
    ]
    lines, verdicts = table(comparisons, options)
    text = "\n".join([*facts, "", *lines, "", *details(comparisons, options)]) + "\n"
    print(text)
    results.keep_page(options.name, "Two checkouts of pyfork", text)
    return int("NOT MET" in verdicts)


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line (``make bench-checkouts ARGS='...'``)."""
    parser = argparse.ArgumentParser(prog="make bench-checkouts", description="Compare two revisions of pyfork.")
    loads = [load.name for load in POSSIBLE]
    parser.add_argument("other", nargs="?", default="", metavar="OTHER", help="a revision (default: the last tag)")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each (default 20)")
    parser.add_argument("--seconds", type=float, default=0.7, help="length of a turn (default 0.7)")
    parser.add_argument("--launches", type=int, default=4, help="starts of both, the rounds shared out (default 4)")
    parser.add_argument("--types", type=_names, default=("async",), help=f"of {', '.join(TYPES)} (default async)")
    parser.add_argument(
        "--loads", type=_names, default=("hello", "falcon"), help=f"of {', '.join(loads)} (default hello,falcon)"
    )
    parser.add_argument("--limit", type=float, default=DEFAULT_LIMIT, help="of this / other (default 1.03)")
    parser.add_argument(
        "--foreign",
        type=float,
        default=math.inf,
        metavar="PART",
        help="leave out rounds with more of others' work than this, as 0.1",
    )
    parser.add_argument("--name", default="checkouts", help="of the file in results/ (default: checkouts)")
    options = parser.parse_args(arguments)
    for what, given, known in (("load", options.loads, loads), ("worker type", options.types, TYPES)):
        for name in given:
            if name not in known:
                parser.exit(2, f"make bench-checkouts: there is no {what} {name} here (there are {', '.join(known)})\n")
    for name in ("rounds", "seconds", "launches", "limit"):
        if getattr(options, name) <= 0:
            parser.exit(2, f"make bench-checkouts: --{name} must be above 0\n")
    options.launches = min(options.launches, options.rounds)
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


# The checkouts.


def git(*arguments: str, root: Path = machine.ROOT) -> bytes:
    """Return what git prints.

    Raises:
        CheckoutError: it fails; the message has its own.
    """
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise CheckoutError("needs git, and it is not installed") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise CheckoutError(f"git {arguments[0]}: {said[0] if said else 'failed'}") from None


def last_tag(root: Path = machine.ROOT) -> str:
    """Return the name of the last tag before this checkout.

    Raises:
        CheckoutError: there is none, or no repository.
    """
    git("rev-parse", "--git-dir", root=root)
    try:
        return git("describe", "--tags", "--abbrev=0", root=root).decode().strip()
    except CheckoutError:
        raise CheckoutError("there is no tag to compare with: name a revision, as ARGS='HEAD~10'") from None


def find_revision(name: str, root: Path = machine.ROOT) -> str:
    """Return the full name of the commit that the user calls ``name``.

    Raises:
        CheckoutError: there is none of that name, or no repository.
    """
    git("rev-parse", "--git-dir", root=root)
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}", root=root).decode().strip()
    except CheckoutError:
        raise CheckoutError(f"git knows no revision {name}") from None


@contextlib.contextmanager
def unpacked(name: str, root: Path = machine.ROOT) -> Iterator[Checkout]:
    """Have the ``pyfork/`` of a revision in a temporary directory until the end of the block.

    Raises:
        CheckoutError: there is no such revision, or no ``pyfork/`` in it.
    """
    revision = find_revision(name, root)
    archive = git("archive", "--format=zip", revision, "pyfork", root=root)
    with tempfile.TemporaryDirectory(prefix="bench-checkout-") as folder:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(folder)
        short = revision[:7]
        yield Checkout(OTHER, short if revision.startswith(name) else f"{name} ({short})", Path(folder))


def describe_this(root: Path = machine.ROOT) -> str:
    """Return the revision of this checkout, and whether its files are that."""
    revision = git("rev-parse", "--short=7", "HEAD", root=root).decode().strip()
    return revision + (" with changes" if git("status", "--porcelain", "--", "pyfork", root=root) else "")


def strangers(files: Sequence[str], root: Path) -> list[str]:
    """Return those files that do not lie in a checkout."""
    return [file for file in files if not Path(file).resolve().is_relative_to((root / "pyfork").resolve())]


# Measuring.


def compare(
    comparison: Comparison, checkouts: Sequence[Checkout], cores: machine.Cores, options: argparse.Namespace
) -> Comparison:
    """Measure all rounds of one worker type under one load.

    Raises:
        CheckoutError: a server does not start, is another checkout's, or answers wrongly.
    """
    for launch in range(options.launches):
        numbers = range(options.rounds)[launch :: options.launches]
        order = checkouts if launch % 2 == 0 else checkouts[::-1]
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(serving(each, comparison, cores)) for each in order]
            for turn, number in enumerate(numbers):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    measured = measure(server, number, seconds=options.seconds, core=cores.server)
                    if measured.errors or not measured.requests:
                        said = f"{measured.requests} answers, {measured.errors} errors"
                        raise CheckoutError(f"{comparison.kind}, {comparison.load.name}, {server.name}: {said}")
                    comparison.turns.append(measured)
        print(f"{comparison.kind}, {comparison.load.name}: {launch + 1} of {options.launches} starts", flush=True)
    return comparison


def command(kind: str) -> Sequence[str]:
    """Return the command line of a worker type, for `servers.fill_in`: nothing that an old revision might not know."""
    threads = ("--threads", "{threads}") if kind == "threadpool" else ()
    return (*PYFORK, "-k", kind, *threads, "{app}")


@contextlib.contextmanager
def serving(checkout: Checkout, comparison: Comparison, cores: machine.Cores) -> Iterator[RunningServer]:
    """Run a checkout's server until the end of the block; it is that checkout's, answers right, and is warm.

    Raises:
        CheckoutError: it is not, or does not.
    """
    kind, load = comparison.kind, comparison.load
    contestant = Contestant(checkout.name, "pyfork", command(kind))
    with tempfile.TemporaryDirectory(prefix="bench-origin-") as folder:
        file = Path(folder) / "files"
        variables = (
            f"PYTHONPATH={checkout.root}{os.pathsep}{APPS}",
            f"ORIGIN_APP={load.app}",
            f"ORIGIN_FILE={file}",
        )
        server = RunningServer(contestant, replace(load, app="origin:app"), (*cores.server_prefix, "env", *variables))
        try:
            server.wait_ready()
            server.validate()
            foreign = strangers(file.read_text("utf-8").splitlines(), checkout.root)
            if foreign:
                raise CheckoutError(f"the server of {checkout.title} imports pyfork from elsewhere: {foreign[0]}")
            wrk.run(server.load, server.url, WARM_SECONDS, is_closing=False)
            yield server
            server.validate()
        except (ServerError, ValueError, OSError) as error:
            raise CheckoutError(f"{kind}, {load.name}, {checkout.title}: {' '.join(str(error).split())}") from error
        finally:
            server.stop()


# Judging.


def judge(ratios: Sequence[float], limit: float) -> str:
    """Return what the rounds' ratios say of a limit; see the head of the module."""
    if len(ratios) < LEAST_ROUNDS:
        return f"undecided: fewer than {LEAST_ROUNDS} rounds"
    interval = figures.median_interval(ratios)
    if interval.high <= limit:
        return "met"
    return "NOT MET" if interval.low > limit else "undecided"


def table(comparisons: Sequence[Comparison], options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the table's lines, and its verdicts."""
    rows, verdicts = [], []
    for each in comparisons:
        this, other = (each.costs(name, options.foreign) for name in (THIS, OTHER))
        ratios = figures.paired_ratios(this, other)
        cells = [f"{each.kind}, {each.load.name}"]
        if ratios:
            interval = figures.median_interval(ratios)
            verdicts.append(judge(ratios, options.limit))
            cells += [f"{statistics.median(costs.values()):.2f}" for costs in (this, other)]
            cells += [f"{interval.median:.3f} [{interval.low:.3f}, {interval.high:.3f}]", str(len(ratios))]
        else:
            verdicts.append("not measured")
            cells += ["-", "-", "-", "0"]
        foreign = statistics.median(turn.figures["foreign"] for turn in each.turns)
        rows.append([*cells, f"{foreign:.0%}", verdicts[-1]])
    headings = ["type, load", "this, CPU µs", "other, CPU µs", "this / other", "rounds", "others' part of the core"]
    return align([*headings, f"limit {options.limit:g}"], rows, last_is_text=True), verdicts


def details(comparisons: Sequence[Comparison], options: argparse.Namespace) -> list[str]:
    """Return what is below the table: every round's ratio, and the command lines."""
    lines = ["The ratios are medians of the rounds' own, with their 95 % intervals. In the order of the rounds:", ""]
    for each in comparisons:
        ratios = figures.paired_ratios(each.costs(THIS, options.foreign), each.costs(OTHER, options.foreign))
        line = f"- {each.kind}, {each.load.name}: {' '.join(f'{ratio:.3f}' for ratio in ratios)}"
        left_out = len(each.disturbed(options.foreign))
        lines.append(line + (f" ({left_out} rounds left out: others' work)" if left_out else ""))
    places = {"port": "PORT", "app": "APP", "threads": THREADS, "log": ""}
    lines += ["", "The command lines, with PYTHONPATH for one checkout or the other:", ""]
    for kind in dict.fromkeys(each.kind for each in comparisons):
        lines.append(
            f"    {machine.without_paths(shlex.join(fill_in(command(kind), ['taskset', '-c', 'CORE'], **places)))}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
