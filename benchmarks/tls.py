"""``make bench-tls``: what a request costs over TLS, and what a stream of handshakes does to those who are connected.

    python benchmarks/tls.py [--rounds 10] [--seconds 1.5] [--part cost|storm] [--name tls]

*Cost*: CPU per request of hello, 32 kept-alive connections, as in ``make bench``: the servers take turns.

*Storm*: sixteen kept-alive connections ask in turn, `PROBES` times a second in all; every second stretch, others do
full handshakes (ECDSA P-256, TLS 1.3, no resumption) beside that, as many as take half of the server's core: their cost
was measured before. Both come from the other core; the strangers are nice, so that they hold up the server and not the
clients that are timed. The ratio is that of the 99th percentiles of neighbouring stretches. On a machine that is not
idle both are the machine's, and the strangers do not reach their number: then there is no verdict.
"""

import argparse
import contextlib
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import figures
import machine
import processes
import results
import wrk
from launched import Launched, LaunchError, launched
from loads import LOADS, SAMPLES
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
LEAST_DONE = 0.8
"""Of the handshakes that were wanted: with fewer there was no storm."""
STARTING = 0.5
"""Seconds that the process of strangers takes to start, at most."""
_HELLO = next(load for load in LOADS if load.name == "hello")
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)  # no TIME_WAIT: the ports would run out

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
    """What the connected clients saw, in milliseconds and in order of size; and the handshakes a second meanwhile."""

    latencies: list[float] = field(default_factory=list)
    handshakes: float = 0.0

    def percentile(self, share: float) -> float:
        """Return the latency that ``share`` of the requests did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def main() -> int:
    """Measure, print, keep; return 1 when a limit is not met."""
    if sys.argv[1:2] == ["--stream"]:
        return stream(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    parser = argparse.ArgumentParser(prog="make bench-tls", description="What TLS costs, and whom handshakes disturb.")
    parser.add_argument("--rounds", type=int, default=10, help="times that each is measured (default 10)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one measurement (default 1.5)")
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
            costs = measure_costs(cores, certificate, options)
            lines += ["", *cost_table(costs, verdicts)]
        if options.part != "cost":
            lines += ["", *storm_table(measure_storms(cores, certificate, options), verdicts)]
    text = "\n".join(lines) + "\n"
    print(text)
    results.keep_page(options.name, "TLS", text)
    return int("NOT MET" in verdicts)


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
        with connect(port) as connection:
            return ask(connection)
    except OSError:
        return False


def connect(port: int, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Return a connection; nobody is verified."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return (context or make_context()).wrap_socket(plain)


def make_context() -> ssl.SSLContext:
    """Return that of a client which trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(connection: ssl.SSLSocket) -> bool:
    """Ask for hello; return whether the answer is right."""
    connection.sendall(_REQUEST)
    octets = b""
    while not octets.endswith(b"Hello, world!\n"):
        piece = connection.recv(4096)
        if not piece:
            return False
        octets += piece
    return True


# The cost of a request.


def measure_costs(
    cores: machine.Cores, certificate: Mapping[str, str], options: argparse.Namespace
) -> dict[str, dict[int, float]]:
    """Return the microseconds of each server's rounds."""
    costs: dict[str, dict[int, float]] = {name: {} for name in SERVERS}
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(serving(name, cores, certificate)) for name in SERVERS}
        for server in running.values():
            wrk.run(_HELLO, f"https://127.0.0.1:{server.port}/", 0.5, is_closing=False)
        for number in range(options.rounds):
            for name, server in [*running.items()][:: 1 if number % 2 else -1]:
                pids = server.pids()
                before = processes.cpu_seconds(pids)
                report = wrk.run(_HELLO, f"https://127.0.0.1:{server.port}/", options.seconds, is_closing=False)
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
    cores: machine.Cores, certificate: Mapping[str, str], options: argparse.Namespace
) -> dict[str, tuple[float, list[tuple[Stretch, Stretch]]]]:
    """Return the rate of handshakes that was wanted, and each round's stretches without and with them."""
    storms = {}
    for name in ("async", "threadpool", "gevent"):
        with serving(name, cores, certificate) as server:
            rate = SHARE / handshake_cost(server)
            rounds = []
            for number in range(options.rounds):
                rates = (rate, 0.0) if number % 2 else (0.0, rate)  # who comes first takes turns too
                by_rate = {each: probe(server.port, options.seconds, each) for each in rates}
                rounds.append((by_rate[0.0], by_rate[rate]))
            storms[name] = (rate, rounds)
    return storms


def handshake_cost(server: Launched) -> float:
    """Return the seconds of CPU that a full handshake takes the server, with what comes with the connection."""
    pids = server.pids()
    before = processes.cpu_seconds(pids)
    done = finish(begin_stream(server.port, MEASURED_AT, 3.0))
    return (processes.cpu_seconds(pids) - before) / max(1, done)


def begin_stream(port: int, rate: float, seconds: float) -> "subprocess.Popen[str]":
    """Start a process of nice strangers that do so many handshakes a second."""
    command = [sys.executable, __file__, "--stream", str(port), str(rate), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> int:
    """Wait for its end, and return how many handshakes it did."""
    output, _ = process.communicate()
    return int(output or 0)


def stream(port: int, rate: float, seconds: float) -> int:
    """Be that process."""
    os.nice(5)
    context = make_context()
    began = time.monotonic()
    done = 0
    while (now := time.monotonic()) < began + seconds:
        due = began + done / rate
        if due > now:
            time.sleep(due - now)
        with contextlib.suppress(OSError), connect(port, context) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        done += 1
    print(done)
    return 0


def probe(port: int, seconds: float, rate: float) -> Stretch:
    """Ask on kept connections in turn, at a steady pace, with a stream of handshakes beside that or without."""
    stretch = Stretch()
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(connect(port)) for _ in range(CONNECTIONS)]
        strangers = begin_stream(port, rate, seconds + STARTING) if rate else None
        time.sleep(STARTING)
        began = time.monotonic()
        for number in range(int(seconds * PROBES)):
            pause = began + number / PROBES - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            sent = time.monotonic()
            if not ask(kept[number % CONNECTIONS]):
                raise LaunchError("a kept connection was closed")
            stretch.latencies.append((time.monotonic() - sent) * 1000)
        if strangers is not None:
            stretch.handshakes = finish(strangers) / (seconds + STARTING)
    stretch.latencies.sort()
    return stretch


def storm_table(
    storms: Mapping[str, tuple[float, Sequence[tuple[Stretch, Stretch]]]], verdicts: list[str]
) -> list[str]:
    """Return the table, and add its verdicts."""
    rows = []
    for name, (rate, rounds) in storms.items():
        quiet = [calm.percentile(0.99) for calm, _ in rounds]
        loud = [storm.percentile(0.99) for _, storm in rounds]
        ratio = figures.median_interval([with_it / without for with_it, without in zip(loud, quiet, strict=True)])
        done = statistics.median(storm.handshakes for _, storm in rounds)
        verdict = "met" if ratio.median <= STORM_LIMIT else "NOT MET"
        if done < LEAST_DONE * rate:
            verdict = "not measured: too few handshakes"
        verdicts.append(verdict)
        cells = [f"{rate:.0f}", f"{done:.0f}", *(f"{statistics.median(each):.2f}" for each in (quiet, loud))]
        rows.append([name, *cells, f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", verdict])
    headings = ["kept-alive requests", "handshakes/s wanted", "done", "p99 ms", "p99 ms in the storm", "ratio"]
    return align([*headings, f"limit {STORM_LIMIT:g}"], rows, last_is_text=True)


if __name__ == "__main__":
    sys.exit(main())
