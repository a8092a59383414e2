"""``make bench-tls``: what a request costs over TLS, and what a stream of handshakes does to those who are connected.

    python benchmarks/tls.py [--rounds N] [--seconds 1.5] [--part cost|storm] [--name tls]

*Cost*: CPU per request of hello, 32 kept-alive connections, as in ``make bench``: the servers take turns.

*Storm*: sixteen clients ask on kept connections, `PROBES` times a second in all, each when it is its turn (probes.py);
in every second stretch, others do full handshakes (ECDSA P-256, TLS 1.3, no resumption) beside that, as many as take
half of the server's core: their cost was measured before. Both come from the other core, where the strangers run when
nobody else does, so that they hold up the server and not the clients that are timed (strangers.py).

A stretch has too few requests for a 99th percentile (four of 400 are beyond it), so the ratio is that of the
percentiles of all requests, in the storm and without it, and its interval comes of drawing the rounds anew. The limit
is met by the ratio; where only the interval goes beyond it, that is said. On a machine that is not idle both
percentiles are the machine's, and the strangers do not reach their number: then there is no verdict.
"""

import argparse
import contextlib
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import figures
import machine
import processes
import results
import wrk
from launched import Launched, LaunchError, launched
from loads import LOADS, SAMPLES
from probes import Client, ProbeError, ask_steadily
from strangers import Strangers
from tables import align

COST_LIMIT = 0.5
"""Of gunicorn's gthread."""
STORM_LIMIT = 2.0
"""Times the p99 without handshakes."""
CONNECTIONS = 16
PROBES = 400
"""Requests a second, over all connections: a fraction of what the server can do."""
SHARE = 0.5
"""Of the server's core that the handshakes are to take."""
MEASURED_AT = 150
"""Handshakes a second while their cost is measured."""
MEASURED_FOR = 3.0
"""Seconds of that."""
WARM_SECONDS = 0.5
ROUNDS = {"cost": 10, "storm": 30}
SECONDS = {"cost": 1.5, "storm": 1.0}
"""Of one measurement."""
LEAST_DONE = 0.8
"""Of the handshakes that were wanted: with fewer there was no storm."""
_HELLO = next(load for load in LOADS if load.name == "hello")

_SHARED = ("-b", "127.0.0.1:{{port}}", "-w", "1", "--certfile", "{certfile}", "--keyfile", "{keyfile}")
_WHERE = ("--chdir", str(SAMPLES), "hello:app")
SERVERS: Mapping[str, Sequence[str]] = {
    "async": ("pyfork", "-k", "async", *_SHARED, *_WHERE),
    "threadpool": ("pyfork", "-k", "threadpool", "--threads", "8", *_SHARED, *_WHERE),
    "gevent": ("pyfork", "-k", "gevent", *_SHARED, *_WHERE),
    "gunicorn-gthread": ("gunicorn", "-k", "gthread", "--threads", "8", "--no-control-socket", *_SHARED, *_WHERE),
}
REFERENCE = "gunicorn-gthread"


@dataclass
class Stretch:
    """What the connected clients saw, in milliseconds; and the handshakes a second meanwhile."""

    latencies: list[float] = field(default_factory=list)
    handshakes: float = 0.0


def main() -> int:
    """Measure, print, keep; return 1 when a limit is not met."""
    parser = argparse.ArgumentParser(prog="make bench-tls", description="What TLS costs, and whom handshakes disturb.")
    parser.add_argument("--rounds", type=int, help="times that each is measured (default 10, in the storm 30)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (default 1.5, in the storm 1)")
    parser.add_argument("--part", choices=("cost", "storm"), help="only one of the two")
    parser.add_argument("--name", default="tls", help="of the file in results/ (default: tls)")
    options = parser.parse_args()
    machine.check_tools()
    cores = machine.choose_cores()
    machine.settle(cores)
    lines = [f"- {', '.join(machine.describe().values())}; {ssl.OPENSSL_VERSION}"]
    lines.append(f"- load average at the start {os.getloadavg()[0]:.2f}")
    verdicts: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        certificate = make_certificate(Path(directory))
        if options.part != "storm":
            costs = measure_costs(cores, certificate, *extent(options, "cost"))
            lines += ["", *cost_table(costs, verdicts)]
        if options.part != "cost":
            storms = measure_storms(cores, certificate, *extent(options, "storm"))
            lines += ["", *storm_table(storms, verdicts)]
    text = "\n".join(lines) + "\n"
    print(text)
    results.keep_page(options.name, "TLS", text)
    return int("NOT MET" in verdicts)


def extent(options: argparse.Namespace, part: str) -> tuple[int, float]:
    """Return the number of rounds of a part, and the seconds of a measurement."""
    return options.rounds or ROUNDS[part], options.seconds or SECONDS[part]


def make_certificate(directory: Path) -> dict[str, str]:
    """Write an ECDSA P-256 certificate for localhost and its key; return their paths."""
    import trustme  # noqa: PLC0415 (only the benchmarks' environment has it)

    issued = trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    paths = {"certfile": str(directory / "server.crt"), "keyfile": str(directory / "server.key")}
    issued.cert_chain_pems[0].write_to_path(paths["certfile"])
    issued.private_key_pem.write_to_path(paths["keyfile"])
    return paths


@contextlib.contextmanager
def serving(name: str, cores: machine.Cores, certificate: Mapping[str, str]) -> Iterator[Launched]:
    """Run a server until the end of the block, from when it answers."""
    module, *arguments = SERVERS[name]
    filled = [argument.format_map(certificate) for argument in arguments]
    with launched((*cores.server_prefix, sys.executable, "-m", module, *filled)) as server:
        server.wait_until(lambda: is_answering(server.port), f"the start of {name}")
        yield server


def is_answering(port: int) -> bool:
    """Return whether a request is answered."""
    try:
        with contextlib.closing(Client(port)) as client:
            client.check()
    except (OSError, ProbeError):
        return False
    return True


# The cost of a request.


def measure_costs(
    cores: machine.Cores, certificate: Mapping[str, str], rounds: int, seconds: float
) -> dict[str, dict[int, float]]:
    """Return the microseconds of each server's rounds."""
    costs: dict[str, dict[int, float]] = {name: {} for name in SERVERS}
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(serving(name, cores, certificate)) for name in SERVERS}
        for server in running.values():
            wrk.run(_HELLO, f"https://127.0.0.1:{server.port}/", 0.5, is_closing=False)
        for number in range(rounds):
            for name, server in [*running.items()][:: 1 if number % 2 else -1]:
                pids = server.pids()
                before = processes.cpu_seconds(pids)
                report = wrk.run(_HELLO, f"https://127.0.0.1:{server.port}/", seconds, is_closing=False)
                if report.errors or not report.requests:
                    raise LaunchError(f"{name}: {report.errors} errors, {report.requests} answers")
                costs[name][number] = (processes.cpu_seconds(pids) - before) / report.requests * 1e6
    return costs


def cost_table(costs: Mapping[str, Mapping[int, float]], verdicts: list[str]) -> list[str]:
    """Return the table, and add its verdicts."""
    rows = []
    for name, by_round in costs.items():
        ratio = figures.median_interval(figures.paired_ratios(by_round, costs[REFERENCE]))
        verdict = "" if name == REFERENCE else "met" if ratio.high <= COST_LIMIT else "NOT MET"
        verdicts.append(verdict)
        shown = f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        rows.append([name, f"{statistics.median(by_round.values()):.1f}", shown, verdict])
    return align(["hello over TLS", "CPU us", f"of {REFERENCE}", f"limit {COST_LIMIT}"], rows, last_is_text=True)


# The storm.


def measure_storms(
    cores: machine.Cores, certificate: Mapping[str, str], rounds: int, seconds: float
) -> dict[str, tuple[float, list[tuple[Stretch, Stretch]]]]:
    """Return the rate of handshakes that was wanted, and each round's stretches without and with them."""
    storms = {}
    for name in ("async", "threadpool", "gevent"):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(serving(name, cores, certificate))
            strangers = stack.enter_context(Strangers(server.port))
            rate = SHARE / handshake_cost(server, strangers)
            clients = [stack.enter_context(contextlib.closing(Client(server.port))) for _ in range(CONNECTIONS)]
            for client in clients:
                client.check()
            probe(clients, WARM_SECONDS, strangers, 0.0)
            pairs = []
            for number in range(rounds):
                rates = (rate, 0.0) if number % 2 else (0.0, rate)  # who comes first takes turns too
                by_rate = {each: probe(clients, seconds, strangers, each) for each in rates}
                pairs.append((by_rate[0.0], by_rate[rate]))
            storms[name] = (rate, pairs)
    return storms


def handshake_cost(server: Launched, strangers: Strangers) -> float:
    """Return the seconds of CPU that a full handshake takes the server, with what comes with the connection."""
    pids = server.pids()
    before = processes.cpu_seconds(pids)
    strangers.begin(MEASURED_AT)
    time.sleep(MEASURED_FOR)
    done = strangers.end()
    return (processes.cpu_seconds(pids) - before) / max(1, done)


def probe(clients: Sequence[Client], seconds: float, strangers: Strangers, rate: float) -> Stretch:
    """Have the clients ask, with so many handshakes a second beside that."""
    began = time.monotonic()
    if rate:
        strangers.begin(rate)
    latencies = [waited * 1000 for waited in ask_steadily(clients, PROBES, seconds)]
    return Stretch(latencies, strangers.end() / (time.monotonic() - began) if rate else 0.0)


def p99_ratio(rounds: Sequence[tuple[Stretch, Stretch]]) -> float:
    """Return the 99th percentile of all requests in the storm, divided by that of all without it."""
    quiet, loud = (p99([pair[which] for pair in rounds]) for which in (0, 1))
    return loud / quiet


def p99(stretches: Sequence[Stretch]) -> float:
    """Return the 99th percentile of all their requests together."""
    return figures.percentile(sorted(chain.from_iterable(each.latencies for each in stretches)), 0.99)


def storm_verdict(ratio: figures.Estimate, wanted: float, done: float) -> str:
    """Return what the ratio says of the limit, if there was a storm."""
    if done < LEAST_DONE * wanted:
        return "not measured: too few handshakes"
    if ratio.value > STORM_LIMIT:
        return "NOT MET"
    return "met" if ratio.high <= STORM_LIMIT else "met, but its interval goes beyond"


def storm_table(
    storms: Mapping[str, tuple[float, Sequence[tuple[Stretch, Stretch]]]], verdicts: list[str]
) -> list[str]:
    """Return the table, and add its verdicts."""
    rows = []
    for name, (rate, rounds) in storms.items():
        quiet, loud = [calm for calm, _ in rounds], [storm for _, storm in rounds]
        ratio = figures.resampled_interval(rounds, p99_ratio)
        done = statistics.median(storm.handshakes for storm in loud)
        verdicts.append(storm_verdict(ratio, rate, done))
        cells = [f"{rate:.0f}", f"{done:.0f}", *(f"{p99(each):.2f}" for each in (quiet, loud))]
        rows.append([name, *cells, f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", verdicts[-1]])
    headings = ["kept-alive requests", "handshakes/s wanted", "done", "p99 ms", "p99 ms in the storm", "ratio"]
    return align([*headings, f"limit {STORM_LIMIT:g}"], rows, last_is_text=True)


if __name__ == "__main__":
    sys.exit(main())
