"""Takes the measurements: the servers of a load take turns, round by round.

Before that, each server runs by itself for a moment: its answer is checked, it is warmed, and its memory is read
while no other server shares pages with it. It then runs with the others, which are idle in its turn. Every even
round goes backwards, so that whoever was first is last.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import processes
import wrk
from contestants import Contestant
from idle import IdleConnections, fresh_latency
from loads import IDLE_CONNECTIONS, Load
from machine import Cores
from servers import RunningServer, ServerError

WARM_SECONDS = 0.5
HELD_AT_LEAST = 0.98
"""The part of the idle connections that must stay open for their memory to say anything."""


@dataclass(frozen=True)
class Measurement:
    """One turn of a server.

    Attributes:
        server: its name.
        number: the round.
        requests: how many were answered.
        errors: how many were not, or wrongly.
        figures: by name. Of every load but "idle": cpu (microseconds a request), rate (requests a second), p50, p99
            (milliseconds), foreign (the part of the core that others used). Of "idle": octets (for each connection),
            alone and crowded (median milliseconds of a fresh request without and with them), growth, held.
    """

    server: str
    number: int
    requests: int
    errors: int
    figures: dict[str, float]


@dataclass
class Outcome:
    """All that is known of a load.

    Attributes:
        load: which.
        measurements: in the order in which they were taken.
        memory: each server's PSS in octets, alone and warm.
        commands: each server's command line.
        failures: servers that were left out, or dropped on the way, and why.
    """

    load: Load
    measurements: list[Measurement] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def of(self, server: str, figure: str) -> dict[int, float]:
        """Return one figure of one server by the rounds' numbers; rounds with no answer are left out."""
        own = [each for each in self.measurements if each.server == server and figure in each.figures]
        return {each.number: each.figures[figure] for each in own}

    def servers(self) -> list[str]:
        """Return the servers that were measured, in order."""
        return list(dict.fromkeys(each.server for each in self.measurements))

    def errors(self, server: str) -> int:
        """Return all errors of a server."""
        return sum(each.errors for each in self.measurements if each.server == server)


class Options(Protocol):
    """What of the command line matters here."""

    rounds: int
    seconds: float | None
    has_memory: bool


@dataclass(frozen=True)
class Bench:
    """Takes measurements on a machine.

    Attributes:
        cores: who runs where.
        options: of the command line.
        progress: called with a load's name, the turns that were taken and how many there are.
    """

    cores: Cores
    options: Options
    progress: Callable[[str, int, int], None]

    def run(self, outcome: Outcome, contestants: Sequence[Contestant]) -> None:
        """Measure all of them under one load; ``outcome`` grows, so that an interrupted run has what was measured."""
        if outcome.load.name == "idle":
            self._take_turns(outcome, contestants, lambda one, number: self._measure_idle(outcome, one, number))
            return
        if self.options.has_memory:
            contestants = [
                each for each in contestants if self._try(outcome, each, partial(self._probe, outcome, each))
            ]
        servers: dict[Contestant, RunningServer] = {}
        try:
            for each in contestants:
                self._try(outcome, each, partial(self._keep_started, outcome, each, servers))
            seconds = self.options.seconds or outcome.load.seconds
            self._take_turns(
                outcome,
                list(servers),
                lambda one, number: measure(servers[one], number, seconds=seconds, core=self.cores.server),
            )
            for each, server in servers.items():
                self._try(outcome, each, server.validate)
        finally:
            for server in servers.values():
                server.stop()

    def _start(self, outcome: Outcome, contestant: Contestant) -> RunningServer:
        """Start a server; it answers right, and is warm."""
        server = RunningServer(contestant, outcome.load, self.cores.server_prefix)
        outcome.commands[server.name] = server.command
        try:
            server.wait_ready()
            server.validate()
            if outcome.load.name != "idle":
                wrk.run(outcome.load, server.url, WARM_SECONDS, is_closing=contestant.is_closing)
                time.sleep(outcome.load.rest)
        except BaseException:
            server.stop()
            raise
        return server

    def _keep_started(self, outcome: Outcome, contestant: Contestant, servers: dict[Contestant, RunningServer]) -> None:
        """Start a server and put it among the others."""
        servers[contestant] = self._start(outcome, contestant)

    def _probe(self, outcome: Outcome, contestant: Contestant) -> None:
        """Run a server alone for its memory."""
        server = self._start(outcome, contestant)
        outcome.memory[server.name] = processes.pss_octets(server.pids())
        server.stop()

    def _take_turns(
        self, outcome: Outcome, contestants: Sequence[Contestant], measure: Callable[[Contestant, int], Measurement]
    ) -> None:
        """Measure each in every round, but those that failed."""
        done, total = 0, self.options.rounds * len(contestants)
        for number in range(self.options.rounds):
            for each in contestants if number % 2 == 0 else reversed(contestants):
                if each.name not in outcome.failures:
                    self._try(outcome, each, partial(self._take_turn, outcome, measure, each, number))
                done += 1
                self.progress(outcome.load.name, done, total)

    @staticmethod
    def _take_turn(
        outcome: Outcome, measure: Callable[[Contestant, int], Measurement], contestant: Contestant, number: int
    ) -> None:
        """Measure one server once, and keep the figures."""
        outcome.measurements.append(measure(contestant, number))

    @staticmethod
    def _try(outcome: Outcome, contestant: Contestant, step: Callable[[], None]) -> bool:
        """Do something with a server; when that fails, note why, and it is left out from then on."""
        try:
            step()
        except (ServerError, ValueError, OSError, subprocess.SubprocessError) as error:
            outcome.failures[contestant.name] = str(error)
            return False
        return True

    def _measure_idle(self, outcome: Outcome, contestant: Contestant, number: int) -> Measurement:
        """Start a server, and see what idle connections do to it."""
        server = self._start(outcome, contestant)
        connections = IdleConnections(server.port)
        try:
            alone = fresh_latency(server.port)
            before = processes.anonymous_octets(server.pids())
            connections.open(IDLE_CONNECTIONS)
            after = processes.anonymous_octets(server.pids())
            outcome.memory[server.name] = processes.pss_octets(server.pids())
            held = connections.count_open()
            if held < IDLE_CONNECTIONS * HELD_AT_LEAST:
                raise ServerError(f"holds {held} of {IDLE_CONNECTIONS} idle connections")
            crowded = fresh_latency(server.port)
            held = connections.count_open()
        finally:
            connections.close()
            server.stop()
        figures = {"octets": (after - before) / held, "alone": alone, "crowded": crowded}
        figures |= {"growth": crowded / alone, "held": float(held)}
        return Measurement(server.name, number, held, IDLE_CONNECTIONS - held, figures)


def measure(server: RunningServer, number: int, *, seconds: float, core: int) -> Measurement:
    """Run wrk once against one server, which has ``core``: its turn in the round ``number``."""
    load, pids = server.load, server.pids()
    cpu, busy, started = processes.cpu_seconds(pids), processes.busy_seconds(core), time.monotonic()
    report = wrk.run(load, server.url, seconds, is_closing=server.contestant.is_closing)
    elapsed = time.monotonic() - started
    used = processes.cpu_seconds(server.pids()) - cpu
    foreign = max(0.0, processes.busy_seconds(core) - busy - used) / elapsed
    figures = {"foreign": foreign}
    if report.requests:
        figures |= {
            "cpu": used / report.requests * 1e6,
            "rate": report.requests / report.seconds,
            "p50": report.p50,
            "p99": report.p99,
        }
    time.sleep(load.rest)
    return Measurement(server.name, number, report.requests, report.errors, figures)
