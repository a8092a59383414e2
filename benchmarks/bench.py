"""``make bench``: the CPU that a request costs in pyfork and in gunicorn, side by side in one run.

Absolute figures move with the machine and its other work, ratios much less: both servers run on core 0, the client
on core 1, and they take turns for ten rounds and more. A round's figure is the user and system time of the server's
whole process tree divided by the requests it answered; the result is the median of the rounds' ratios with a 95 %
interval. Each request has a connection of its own, as behind a proxy that keeps none.
"""

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from figures import median_interval
from load import Client, find_client
from servers import RunningServer, contestants, running

RESULTS = Path(__file__).parent / "results"
GOAL = 0.45
"""What the ratio may be at most."""


@dataclass(frozen=True)
class Round:
    """One run of the client against one server."""

    server: str
    requests: int
    errors: int
    cpu_microseconds: float
    requests_per_second: float


def main() -> int:
    """Measure, print, keep the figures; return 1 when a server failed to answer."""
    options = parse_options()
    if not Path("/proc/self/stat").exists():
        sys.exit("make bench: reads CPU times from /proc, which this system does not have: run it on Linux")
    server_prefix, client_prefix = pin_prefixes()
    client = find_client(client_prefix, options.connections)
    with running(contestants(options.app), server_prefix) as servers:
        commands = {server.name: server.command for server in servers}
        commands["client"] = client.command("URL", options.seconds)
        print_setting(commands, is_pinned=bool(server_prefix))
        rounds = measure(servers, client, options)
    print_table(rounds, [server.name for server in servers])
    ratio = compare(rounds, [server.name for server in servers])
    print(f"\npyfork / gunicorn, CPU per request: {ratio[0]:.3f}   95 % interval {ratio[1]:.3f} to {ratio[2]:.3f}")
    print(f"goal: at most {GOAL}: {'met' if ratio[0] <= GOAL else 'NOT MET'}")
    print(f"figures kept in {keep(rounds, ratio, commands)}")
    return int(any(each.errors for each in rounds))


def parse_options() -> argparse.Namespace:
    """Read the command line (``make bench ARGS='--rounds 20'``)."""
    parser = argparse.ArgumentParser(prog="make bench", description="Compare pyfork with gunicorn.")
    parser.add_argument("--rounds", type=int, default=10, help="times that each server is measured (default 10)")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--connections", type=int, default=32, help="requests under way at a time (default 32)")
    parser.add_argument("--app", default="hello:app", help="of sample_apps (default hello:app)")
    return parser.parse_args()


def pin_prefixes() -> tuple[list[str], list[str]]:
    """Return what pins the servers to one core and the client to another; nothing on a single core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return [], []
    return ["taskset", "-c", str(cores[0])], ["taskset", "-c", str(cores[1])]


def measure(servers: Sequence[RunningServer], client: Client, options: argparse.Namespace) -> list[Round]:
    """Let the servers take turns; whoever was second in one round is first in the next."""
    for server in servers:
        client.run(server.url, 1)  # warm
    rounds: list[Round] = []
    for number in range(options.rounds):
        for server in servers if number % 2 == 0 else reversed(servers):
            rounds.append(measure_once(server, client, options.seconds))
            print(".", end="", flush=True)
    print("\n")
    return rounds


def measure_once(server: RunningServer, client: Client, seconds: float) -> Round:
    """Run the client once against one server."""
    cpu, moment = server.cpu_seconds(), time.monotonic()
    load = client.run(server.url, seconds)
    elapsed, used = time.monotonic() - moment, server.cpu_seconds() - cpu
    answered = max(1, load.requests)
    return Round(server.name, load.requests, load.errors, used / answered * 1e6, load.requests / elapsed)


def compare(rounds: Sequence[Round], names: Sequence[str]) -> tuple[float, float, float]:
    """Return the median of the first server's cost over the second's, round by round, with its interval."""
    first, second = ([each.cpu_microseconds for each in rounds if each.server == name] for name in names)
    return median_interval([one / other for one, other in zip(first, second, strict=True)])


def print_setting(commands: dict[str, list[str]], *, is_pinned: bool) -> None:
    """Print what is measured, and how to repeat it by hand."""
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}, {os.cpu_count()} cores")
    print(f"pyfork {version('pyfork')}, gunicorn {version('gunicorn')}; a new connection for each request")
    if not is_pinned:
        print("ONE CORE ONLY: server and client share it, so the figures say little")
    print("\nCommand lines (in sample_apps):")
    for name, command in commands.items():
        print(f"  {name:14} {shlex.join(command)}")
    print()


def print_table(rounds: Sequence[Round], names: Sequence[str]) -> None:
    """Print the medians of each server."""
    print(f"{'server':14} {'CPU µs/request':>15} {'requests/s':>12} {'requests':>10} {'errors':>7}")
    for name in names:
        own = [each for each in rounds if each.server == name]
        cost = statistics.median(each.cpu_microseconds for each in own)
        rate = statistics.median(each.requests_per_second for each in own)
        totals = sum(each.requests for each in own), sum(each.errors for each in own)
        print(f"{name:14} {cost:15.1f} {rate:12.0f} {totals[0]:10} {totals[1]:7}")


def keep(rounds: Sequence[Round], ratio: tuple[float, float, float], commands: dict[str, list[str]]) -> Path:
    """Write everything as JSON and return where."""
    RESULTS.mkdir(exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    path = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    document = {
        "time": now.isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {name: version(name) for name in ("pyfork", "gunicorn")},
        "commands": {name: shlex.join(command) for name, command in commands.items()},
        "ratio": dict(zip(("median", "low", "high"), ratio, strict=True)),
        "rounds": [asdict(each) for each in rounds],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
