"""``make profile``: where the microseconds of a request go, in a worker of pyfork's.

Three looks at the same worker, none of which disturbs another:

1. What a request costs, and how much of it is the kernel's: from the kernel's own accounts, nothing attached.
2. Which lines it goes to: the worker samples itself, a thousand times in a second (apps/sampled.py), and the parts
   are put in relation to the cost without sampling. cProfile would be of no use here: it takes a
   microsecond for each call, and a request takes ten.
3. What lies below Python: interpreter, httptools, kernel, by Linux's perf where that is installed and allowed.
"""

import argparse
import json
import linecache
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import machine
import processes
import stages
import wrk
from contestants import CONTESTANTS, Contestant, reason_to_leave_out
from loads import APPS, LOADS, Load
from servers import RunningServer, ServerError
from tables import align

PERF_FREQUENCY = 1999


@dataclass(frozen=True)
class Cost:
    """What a request takes, in microseconds of CPU; ``threads`` has each thread's part, the dearest first."""

    total: float
    kernel: float
    rate: float
    threads: list[float]


def main() -> int:
    """Print the three looks."""
    options = parse_options(sys.argv[1:])
    machine.check_tools()
    cores = machine.choose_cores()
    machine.settle(cores)
    contestant = next(each for each in CONTESTANTS if each.name == options.server)
    load = next(load for load in LOADS if load.name == options.load)
    reason = reason_to_leave_out(contestant)
    if reason:
        sys.exit(f"make profile: {reason}")
    try:
        with serving(contestant, load, cores) as server:
            cost = measure(server, options.seconds)
            below = look_below(server, options.seconds)
        sampled_cost, samples = sample(contestant, load, cores, options.seconds)
    except (ServerError, ValueError) as error:
        sys.exit(f"make profile: {options.server} {error}")
    print(f"{options.server}, {load.title}: {cost.total:.1f} µs of CPU a request, {cost.rate:,.0f} requests/s")
    print(f"the kernel's part {cost.kernel:.1f} µs, Python's and C's {cost.total - cost.kernel:.1f} µs")
    if len(cost.threads) > 2:
        print(f"its threads: {', '.join(f'{share:.1f}' for share in cost.threads if share >= 0.05)} µs")
    sampled_seconds = sum(each.spent for each in samples) / 1e9
    print(f"(while it samples itself {sampled_cost.total:.1f} µs; {sampled_seconds:.1f} s of CPU time were sampled)\n")
    is_pool = contestant.name.startswith("threadpool")
    if is_pool:
        print("Only the loop's thread can be sampled: what follows is that thread's, the first above.\n")
    print_samples(samples, cost.threads[0] if is_pool else cost.total, options.top)
    print(below)
    return 0


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line (``make profile ARGS='...'``)."""
    ours = [each.name for each in CONTESTANTS if each.distribution == "pyfork"]
    loads = [load.name for load in LOADS if load.name not in {"idle", "slow"}]
    parser = argparse.ArgumentParser(prog="make profile", description="Show where a request's microseconds go.")
    parser.add_argument("server", nargs="?", default="async", choices=ours, metavar="SERVER", help=", ".join(ours))
    parser.add_argument("--load", default="hello", choices=loads, metavar="LOAD", help=f"of {', '.join(loads)}")
    parser.add_argument("--seconds", type=float, default=8, help="length of each look (default 8)")
    parser.add_argument("--top", type=int, default=25, help="functions and lines to show (default 25)")
    return parser.parse_args(arguments)


@contextmanager
def serving(contestant: Contestant, load: Load, cores: machine.Cores) -> Iterator[RunningServer]:
    """Run a server for the length of a ``with`` block; it answers right, and is warm."""
    server = RunningServer(contestant, load, cores.server_prefix)
    try:
        server.wait_ready()
        server.validate()
        wrk.run(load, server.url, 0.5, is_closing=False)
        yield server
    finally:
        server.stop()


def measure(server: RunningServer, seconds: float) -> Cost:
    """Return what a request costs."""
    pids = server.pids()
    cpu, (user, system) = processes.cpu_seconds(pids), processes.split_seconds(pids)
    before = processes.thread_seconds(pids)
    report = wrk.run(server.load, server.url, seconds, is_closing=False)
    used = processes.cpu_seconds(pids) - cpu
    user_after, system_after = processes.split_seconds(pids)
    ticks = user_after - user + system_after - system
    threads = [spent - before.get(thread, 0.0) for thread, spent in processes.thread_seconds(pids).items()]
    scale = 1e6 / max(1, report.requests)
    kernel = used * scale * (system_after - system) / (ticks or 1)
    shares = sorted((spent * scale for spent in threads), reverse=True)
    return Cost(used * scale, kernel, report.requests / report.seconds, shares)


def sample(
    contestant: Contestant, load: Load, cores: machine.Cores, seconds: float
) -> tuple[Cost, list[stages.Sample]]:
    """Let the worker sample itself while it serves; return what a request cost then, and the samples."""
    with tempfile.TemporaryDirectory(prefix="bench-samples-") as folder:
        file = Path(folder) / "samples.json"
        os.environ |= {"SAMPLED_APP": load.app, "SAMPLED_FILE": str(file), "PYTHONPATH": str(APPS)}
        with serving(contestant, replace(load, app="sampled:app"), cores) as server:
            cost = measure(server, seconds)
        if not file.exists():
            raise ServerError("left no samples: its worker did not end by itself")
        return cost, [stages.Sample(*row) for row in json.loads(file.read_text())]


def print_samples(samples: list[stages.Sample], cost: float, top: int) -> None:
    """Print the stages, the dearest functions and the dearest lines; ``cost`` is that of all of them together."""
    rows = [
        [stage, f"{part * cost:.2f}", f"{part:.1%}", stages.STAGES[stage]] for stage, part in stages.by_stage(samples)
    ]
    print("\n".join(align(["stage", "µs", "part", "what"], rows, last_is_text=True)), "\n")
    rows = [
        [f"{function} ({short(file)})", f"{part * cost:.2f}", f"{part:.1%}"]
        for file, function, part in stages.by_function(samples)[:top]
    ]
    print("\n".join(align(["function, without those it calls", "µs", "part"], rows)), "\n")
    total = sum(each.spent for each in samples) or 1
    rows = [
        [
            f"{short(each.file)}:{each.line}",
            f"{each.spent / total * cost:.2f}",
            each.stage,
            linecache.getline(each.file, each.line).strip()[:90].replace("|", "¦"),
        ]
        for each in sorted(samples, key=lambda one: -one.spent)[:top]
    ]
    print("\n".join(align(["line (or its neighbour)", "µs", "stage", "source"], rows, last_is_text=True)), "\n")


def short(file: str) -> str:
    """Return a path as one speaks of it."""
    return re.sub(r".*/(site-packages|lib/python3\.\d+)/", "", machine.without_paths(file))


def look_below(server: RunningServer, seconds: float) -> str:
    """Return perf's report on the server's processes by library and symbol, or why there is none."""
    if not shutil.which("perf"):
        return "perf is not installed: no look below Python (Debian: apt-get install linux-perf)"
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as folder:
        file = f"{folder}/perf.data"
        pids = ",".join(map(str, server.pids()))
        options = ["-e", "cpu-clock", "-F", str(PERF_FREQUENCY), "-o", file, "-p", pids]
        with subprocess.Popen(
            ["perf", "record", "--quiet", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as recorder:
            time.sleep(0.2)  # until it has attached itself
            wrk.run(server.load, server.url, seconds, is_closing=False)
            recorder.terminate()
            said, _ = recorder.communicate()
        reports = [_perf_report(file, "dso"), _perf_report(file, "dso,symbol")]
    if not all(reports):
        return f"perf gives no figures (kernel.perf_event_paranoid?): {said.strip().splitlines()[-1:]}"
    return "by library (perf)\n{}\n\nby symbol (perf; a name in [brackets] is the kernel's)\n{}".format(*reports)


def _perf_report(file: str, sort: str, lines: int = 22) -> str:
    command = ["perf", "report", "--stdio", "--no-children", "--quiet", "-i", file, "--sort", sort]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line.rstrip(" -") for line in result.stdout.splitlines() if re.match(r"\s+\d+\.\d+%", line)]
    return "\n".join(found[:lines])


if __name__ == "__main__":
    sys.exit(main())
