"""How evenly four workers share what comes: who holds the connections, who answers the requests.

    python benchmarks/balance.py [--servers threadpool,async] [--runs 10] [--noise 2] [--reload]

Two scenarios, each on a server of its own, several times:

- *kept*: 400 connections are opened over a second, send one request each and stay open. How many has each worker?
- *slow*: 80 requests of one second come at once, for 4 x 20 threads. How many does each worker take, and when is the
  last one answered?

``--noise`` keeps that many processes busy beside the servers; ``--reload`` sends HUP right before, so that all
workers are new.
"""

import argparse
import contextlib
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import read_stat, session_pids

APPLICATIONS = Path(__file__).parent / "apps"
PEERS = Path(__file__).parent / ".venv" / f"{sys.version_info.major}.{sys.version_info.minor}" / "bin" / "python"
"""The interpreter of the environment that has the peers."""
WORKERS = 4
KEPT = 400
KEPT_SECONDS = 1.0
SLOW = 80
PATIENCE = 30.0
LIMITS = {"kept": (90, 110), "slow": (18, 22)}
SLOW_LIMIT = 1.3
"""Seconds until the last of the slow requests is answered, at most."""

PYFORK = ("-m", "pyfork", "-b", "127.0.0.1:{port}", "-w", str(WORKERS), "--keep-alive", "75")
GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", str(WORKERS), "--keep-alive", "75")
SERVERS = {
    "async": (*PYFORK, "-k", "async", "whoami:app"),
    "threadpool": (*PYFORK, "-k", "threadpool", "--threads", "20", "whoami:app"),
    "gevent": (*PYFORK, "-k", "gevent", "whoami:app"),
    "gunicorn-gthread": (*GUNICORN, "-k", "gthread", "--threads", "20", "--no-control-socket", "whoami:app"),
}


@dataclass(frozen=True)
class Outcome:
    """What one run showed: connections or requests by worker, and the seconds until the last answer."""

    shares: tuple[int, ...]
    seconds: float


def main() -> int:
    """Measure and print; return 1 when one of pyfork's types is out of its limits."""
    parser = argparse.ArgumentParser(prog="balance.py", description="Compare how evenly workers share.")
    parser.add_argument("--servers", default=",".join(SERVERS), help="by commas (default: all)")
    parser.add_argument("--runs", type=int, default=10, help="of each scenario (default 10)")
    parser.add_argument("--noise", type=int, default=0, help="busy processes beside (default 0)")
    parser.add_argument("--reload", action="store_true", help="reload right before each run")
    options = parser.parse_args()
    failures = 0
    with busy(options.noise):
        for name in options.servers.split(","):
            for scenario in ("kept", "slow"):
                if name == "async" and scenario == "slow":
                    continue  # the application runs in line
                try:
                    outcomes = [run(name, scenario, is_reloaded=options.reload) for _ in range(options.runs)]
                except RuntimeError as error:
                    print(f"{name:17} {scenario:5} left out: {error}")
                    break
                failures += report(name, scenario, outcomes) and not name.startswith("gunicorn")
    return int(failures > 0)


def run(name: str, scenario: str, *, is_reloaded: bool) -> Outcome:
    """Start a server, do the scenario, end the server."""
    with serving(name) as (process, port):
        if is_reloaded:
            before = workers_of(process.pid)
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: not before & (now := workers_of(process.pid)) and len(now) == WORKERS, "the reload")
        return keep_open(port) if scenario == "kept" else send_slow(port)


def keep_open(port: int) -> Outcome:
    """Open the connections one after the other over a second; each sends a request and stays."""
    started = time.monotonic()
    counts: Counter[bytes] = Counter()
    with contextlib.ExitStack() as stack:
        for number in range(KEPT):
            time.sleep(max(0.0, started + number * KEPT_SECONDS / KEPT - time.monotonic()))
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client.sendall(request("/"))
            counts[read_pid(client.recv(65536))] += 1
    return Outcome(shares_of(counts), time.monotonic() - started)


def send_slow(port: int) -> Outcome:
    """Send all requests at once; return when the last is answered."""
    counts: Counter[bytes] = Counter()
    started = time.monotonic()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(SLOW):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client.sendall(request("/sleep"))
            selector.register(client, selectors.EVENT_READ)
        while counts.total() < SLOW:
            ready = selector.select(PATIENCE)
            if not ready:
                raise RuntimeError(f"only {counts.total()} of {SLOW} were answered")
            for key, _ in ready:
                client = key.fileobj
                assert isinstance(client, socket.socket)
                counts[read_pid(client.recv(65536))] += 1
                selector.unregister(client)
        seconds = time.monotonic() - started
    return Outcome(shares_of(counts), seconds)


def request(path: str) -> bytes:
    """Return the octets of a request."""
    return f"GET {path} HTTP/1.1\r\nHost: balance\r\n\r\n".encode()


def read_pid(answer: bytes) -> bytes:
    """Return who has answered."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not answered: {answer[:100]!r}")
    return body


def shares_of(counts: Counter[bytes]) -> tuple[int, ...]:
    """Return what each worker had, those with nothing too, the least first."""
    return tuple(sorted([*counts.values(), *[0] * (WORKERS - len(counts))]))


def report(name: str, scenario: str, outcomes: Sequence[Outcome]) -> bool:
    """Print the runs; return whether one is out of its limits."""
    low, high = LIMITS[scenario]
    least = min(outcome.shares[0] for outcome in outcomes)
    most = max(outcome.shares[-1] for outcome in outcomes)
    longest = max(outcome.seconds for outcome in outcomes)
    is_out = least < low or most > high or (scenario == "slow" and longest > SLOW_LIMIT)
    seconds = statistics.median(outcome.seconds for outcome in outcomes)
    runs = " | ".join(" ".join(map(str, outcome.shares)) for outcome in outcomes)
    print(
        f"{name:17} {scenario:5} {least:3} to {most:3} (limits {low} to {high}), "
        f"{seconds:.3f} s, at most {longest:.3f} s: {'NOT MET' if is_out else 'met'}\n    {runs}",
        flush=True,
    )
    return is_out


@contextlib.contextmanager
def serving(name: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server until the end of the block, once all its workers serve."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    python = str(PEERS) if PEERS.exists() else sys.executable
    command = [python, *(argument.format(port=port) for argument in SERVERS[name])]
    with tempfile.TemporaryFile("w+b") as output:
        process = subprocess.Popen(command, cwd=APPLICATIONS, stdout=output, stderr=output, start_new_session=True)
        try:
            try:
                wait_for(lambda: process.poll() is not None or is_serving(process.pid, port), "the server")
            finally:
                output.seek(0)
                if process.poll() is not None:
                    raise RuntimeError(output.read().decode(errors="replace").strip().splitlines()[-1])
            yield process, port
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def is_serving(session: int, port: int) -> bool:
    """Return whether all workers are idle, that is: asleep, after one of them has answered."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(request("/").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return b"200" in client.recv(65536) and len(workers_of(session)) == WORKERS
    return False


def workers_of(session: int) -> set[int]:
    """Return the processes of a session but its first, if all of them sleep; nobody if one still boots."""
    pids = {pid for pid in session_pids(session) if pid != session}
    return pids if all(read_stat(pid)[:1] == ["S"] for pid in pids) else set()


def wait_for(condition: object, what: str) -> None:
    """Return when ``condition()`` is true."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    settled = 0
    while settled < 5:  # several times in a row: a booting worker sleeps now and then
        settled = settled + 1 if condition() else 0
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} took more than {PATIENCE:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy for the length of the block."""
    spinning = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
