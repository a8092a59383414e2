"""``make bench``: pyfork's worker types and the other servers side by side, in one run.

Absolute figures move with the machine and its other work, ratios much less: the servers run on one core, the client on
another, and they take turns for ten rounds and more. A round's cost is the user and system time of the server's whole
process tree divided by the requests it answered; a comparison is the median of the rounds' ratios with its 95 %
interval. README.md tells how to run it and how to read it.
"""

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import machine
import results
import tables
import wrk
from contestants import CONTESTANTS, Contestant, reason_to_leave_out
from limits import LIMITS, Verdict, judge
from loads import LOADS, Load
from rounds import Bench, Outcome
from servers import fill_in

QUICK_SERVERS = {
    "hello": ("async", "granian-1", "granian-8", "threadpool", "gunicorn-gthread", "gunicorn-gevent", "gevent"),
    "falcon": ("async", "granian-8", "threadpool", "gevent"),
}
QUICK_SECONDS = 0.6
TURN_SECONDS = 0.1
"""What a turn takes beside its measurement."""
START_SECONDS = 2.5
"""What a server takes to start, be checked, be warmed and be stopped."""


def main() -> int:
    """Measure, print, keep; return 1 when a server of ours gave a wrong answer or none."""
    options = parse_options(sys.argv[1:])
    machine.check_tools()
    cores = machine.choose_cores()
    machine.settle(cores)
    plan, left_out = make_plan(options)
    facts = describe(options, left_out)
    print_opening(facts, cores, plan, options)
    progress = Progress()
    bench = Bench(cores, options, progress)
    outcomes: dict[str, Outcome] = {}
    try:
        for load, contestants in plan:
            outcomes[load.name] = Outcome(load)
            bench.run(outcomes[load.name], contestants)
            progress.clear()
            print(tables.load_table(outcomes[load.name]) + "\n", flush=True)
    except KeyboardInterrupt:
        print("\nInterrupted: what was measured so far follows.\n")
        print(tables.load_table(list(outcomes.values())[-1]) + "\n")
    verdicts = judge(LIMITS, outcomes)
    print(tables.limits_table(verdicts))
    text = full_text(facts, outcomes, verdicts)
    files = results.keep(options.name, facts, outcomes, verdicts, text)
    print(f"\nkept in {', '.join(machine.without_paths(str(path)) for path in files)} (with every command line)")
    return int(any(is_faulty(outcome) for outcome in outcomes.values()))


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line (``make bench ARGS='...'``)."""
    parser = argparse.ArgumentParser(prog="make bench", description="Compare pyfork's worker types with other servers.")
    loads = ", ".join(load.name for load in LOADS)
    parser.add_argument("--loads", type=_names, default=(), help=f"of {loads} (default: all)")
    parser.add_argument("--servers", type=_names, default=(), help="by the names of the tables (default: all)")
    parser.add_argument("--rounds", type=int, default=10, help="times that each server is measured (default 10)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (default: the load's, 1 to 2)")
    parser.add_argument("--name", default="", help="of the files in results/ (default: the time)")
    parser.add_argument("--no-memory", dest="has_memory", action="store_false", help="skip the PSS: starts sooner")
    parser.add_argument("--quick", action="store_true", help="hello and Falcon, the servers with a limit, < 2 minutes")
    options = parser.parse_args(arguments)
    unknown = {*options.loads} - {load.name for load in LOADS}
    unknown |= {*options.servers} - {each.name for each in CONTESTANTS}
    if unknown:
        servers = ", ".join(each.name for each in CONTESTANTS)
        parser.error(f"unknown: {', '.join(sorted(unknown))} (loads: {loads}; servers: {servers})")
    if options.quick:
        options.has_memory = False
        options.seconds = options.seconds or QUICK_SECONDS
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


Plan = list[tuple[Load, list[Contestant]]]


def make_plan(options: argparse.Namespace) -> tuple[Plan, dict[str, str]]:
    """Return who is measured under which load, and who cannot take part, with the reason."""
    reasons = {each.name: reason_to_leave_out(each) for each in CONTESTANTS}
    wanted_loads = options.loads or (tuple(QUICK_SERVERS) if options.quick else ())
    plan: Plan = []
    for load in LOADS:
        if wanted_loads and load.name not in wanted_loads:
            continue
        wanted = options.servers or (QUICK_SERVERS.get(load.name, ()) if options.quick else ())
        taking_part = [each for each in CONTESTANTS if load.takes_part(each) and (not wanted or each.name in wanted)]
        plan.append((load, [each for each in taking_part if reasons[each.name] is None]))
    return plan, {name: reason for name, reason in reasons.items() if reason is not None}


def expected_seconds(plan: Plan, options: argparse.Namespace) -> float:
    """Return about how long a plan takes."""
    total = 0.0
    for load, contestants in plan:
        seconds = load.seconds if load.name == "idle" else (options.seconds or load.seconds)
        starts = 0 if load.name == "idle" else 1 + options.has_memory
        turn = seconds + TURN_SECONDS + load.rest
        total += len(contestants) * (options.rounds * turn + starts * START_SECONDS)
    return total


def describe(options: argparse.Namespace, left_out: dict[str, str]) -> dict[str, Any]:
    """Return what is written beside the figures."""
    distributions = list(dict.fromkeys(each.distribution for each in CONTESTANTS))
    return {
        "machine": machine.describe(),
        "versions": machine.versions([*distributions, "gevent", "httptools", "falcon"]),
        "settings": {
            "rounds": options.rounds,
            "seconds": options.seconds or "as the load has it",
            "quick": options.quick,
        },
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "left_out": left_out,
    }


def heading(facts: dict[str, Any]) -> str:
    """Return the lines about machine and versions."""
    lines = ["- " + ", ".join(f"{key} {value}" for key, value in facts["machine"].items())]
    lines.append("- " + ", ".join(f"{key} {value}" for key, value in facts["versions"].items()))
    lines.append("- " + ", ".join(f"{key}: {value}" for key, value in facts["settings"].items()))
    lines += [f"- {name} left out: {reason}" for name, reason in facts["left_out"].items()]
    if facts["load_average_at_start"] > 0.5:
        load = facts["load_average_at_start"]
        lines.append(f"- THE MACHINE WAS NOT IDLE at the start (load average {load}): costs are higher, ratios less so")
    return "\n".join(lines)


def print_opening(facts: dict[str, Any], cores: machine.Cores, plan: Plan, options: argparse.Namespace) -> None:
    """Print what is about to be measured, and how long it will take."""
    print(heading(facts))
    if cores.is_shared:
        print("- ONE CORE ONLY: servers and client share it, so the figures say little")
    else:
        print(f"- servers on core {cores.server}, client on core {cores.client}")
    minutes = expected_seconds(plan, options) / 60
    print(f"- loads: {', '.join(load.name for load, _ in plan)}; about {minutes:.1f} minutes")
    print("\nCommand lines (the results have them as they ran; T is 8, and 100 for the sleeping application):\n")
    for each in {each.name: each for _, contestants in plan for each in contestants}.values():
        line = fill_in(each.arguments, cores.server_prefix, port="PORT", app="APP", threads="T", log="FILE")
        print(f"    {each.name:17} {machine.without_paths(shlex.join(line))}")
    for load, _ in plan:
        if client_command(load):
            print(f"    {f'({load.name})':17} {machine.without_paths(shlex.join(client_command(load)))}")
    print(flush=True)


def full_text(facts: dict[str, Any], outcomes: dict[str, Outcome], verdicts: Sequence[Verdict]) -> str:
    """Return all that is written into the Markdown file."""
    parts = [heading(facts), tables.limits_table(verdicts)]
    parts += [tables.load_table(outcome) for outcome in outcomes.values()]
    foreign = [
        each.figures["foreign"] for one in outcomes.values() for each in one.measurements if "foreign" in each.figures
    ]
    if foreign:
        parts.append(f"Others used {statistics.median(foreign):.0%} of the servers' core (median of all turns).")
    parts.append(tables.command_lines(list(outcomes.values()), client_command))
    return "\n\n".join(parts)


def client_command(load: Load) -> list[str]:
    """Return the client's command line; none where it is a part of this program."""
    return [] if load.name == "idle" else wrk.command(load, f"http://127.0.0.1:PORT{load.path}")


def is_faulty(outcome: Outcome) -> bool:
    """Whether a server of ours failed under a load."""
    ours = {each.name for each in CONTESTANTS if each.distribution == "pyfork"}
    return any(name in outcome.failures or outcome.errors(name) for name in ours)


class Progress:
    """Shows how far a load is; on a terminal in one line, elsewhere a line for each tenth."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._is_terminal = sys.stdout.isatty()

    def __call__(self, load: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` turns were taken."""
        elapsed = time.monotonic() - self._began
        line = f"{load}: {done} of {total} turns, {elapsed:.0f} s since the start"
        if self._is_terminal:
            print(f"\r{line:78}", end="", flush=True)
        elif done * 10 // total != (done - 1) * 10 // total:
            print(line, flush=True)

    def clear(self) -> None:
        """Make room for a table."""
        print(f"\r{'':78}\r" if self._is_terminal else "", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
