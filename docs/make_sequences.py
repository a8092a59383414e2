"""Writes docs/sequences.md from the logs of real runs: `python docs/make_sequences.py` (or `make docs`; some seconds).

Each scenario starts a pyfork, asks something of it, and draws what its log says from then on. Where either of two
processes could be the faster one, the scenario decides: the application waits at a gate until it is opened. So each run
of a scenario gives the same diagram, which a test compares (tests/process/test_sequences.py). A line of the log (above
the level debug) that no rule knows is an error: what happens is drawn, or is left out on purpose.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent / "sequences.md"
PATIENCE = 60.0

IMPORT_GATE, REQUEST_GATE = "import_gate", "request_gate"
"""Fifos: who opens one for reading waits for whoever opens it for writing."""
APPLICATION = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/report":
        print("begins:", environ["REQUEST_METHOD"], environ["PATH_INFO"], file=environ["wsgi.errors"], flush=True)
        open("request_gate").close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""
CONFIGURATION = """
[server]
app = "site1:app"
bind = ["unix:socket"]
[workers]
count = {count}
{more}
[log]
level = "debug"
error = "log"
access = "log"
format = 'answered: %(p)s "%(r)s" %(s)s'
"""

_NAME = r"(?P<name>(?:worker|mold) \d+ gen \d+) \(pid (?P<pid>\d+)\)"
_LINE = re.compile(r"\[[^\]]+\] \[(?P<pid>\d+)\] \[(?P<level>\w+)\] \[(?P<who>[^\]]+)\] (?P<message>.*)")
_ANSWERED = re.compile(r'answered: <?(?P<pid>\d+)>? "(?P<request>\S+ \S+) \S+" (?P<status>\d+)')
RULES = (
    (re.compile(r"signal SIG(?P<signal>\w+): (?P<verb>.*)"), "operator ->> arbiter: {signal} ({verb})"),
    (re.compile(_NAME + " is booting"), "arbiter ->> {name}: fork"),
    (re.compile(_NAME + " is ready"), "{name} ->> arbiter: ready"),
    (re.compile(_NAME + r" is sent SIG(?P<signal>\w+)"), "arbiter ->> {name}: {signal}"),
    (re.compile(_NAME + " could not boot: (?P<why>.*)"), "{name} --x arbiter: {why}"),
    (re.compile(_NAME + " has ended"), "{name} -->> arbiter: exits"),
    (re.compile("(?P<news>reload.*: .*)"), "Note over arbiter: {news}"),
    (re.compile("(?P<news>stopped .*)"), "Note over arbiter: {news}"),
    (re.compile(r"begins: (?P<request>.*)"), "client ->> {who}: {request}"),
)
"""What a log line becomes; the first that matches."""
LEFT_OUT = re.compile("reloading with workers of ")
"""What adds nothing to a diagram."""
MEANINGS = {
    "TERM": "TERM (finish and end)",
    "QUIT": "QUIT (end at once)",
    "KILL": "KILL",
    "USR1": "USR1 (reopen the logs)",
}
"""What the arbiter tells its children by signals; docs/signals.md."""


class Run:
    """One pyfork in a directory of its own.

    Args:
        directory: an empty one.
        count: of workers.
        more: settings of the workers, lines of server.toml.
    """

    def __init__(self, directory: Path, count: int, more: str = "") -> None:
        self.directory = directory
        for gate in (IMPORT_GATE, REQUEST_GATE):
            os.mkfifo(directory / gate)
        (directory / "server.toml").write_text(CONFIGURATION.format(count=count, more=more), encoding="utf-8")
        self.save(APPLICATION)
        command = [sys.executable, "-m", "pyfork", "-c", "server.toml"]
        self._process = subprocess.Popen(command, cwd=directory, env={**os.environ, "PWD": str(directory)})  # noqa: S603 (our own interpreter and module)
        self.wait(r"worker \d+ gen 1 .* is ready", count)
        self._begin = len(self.log)

    @property
    def log(self) -> str:
        """All of it."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def save(self, code: str, *, is_gated: bool = False) -> None:
        """Write the application; with a gate its import waits for `open_gate`."""
        text = (f"open({IMPORT_GATE!r}).close()\n" if is_gated else "") + code
        (self.directory / "site1.py").write_text(text, encoding="utf-8")

    def open_gate(self, name: str) -> None:
        """Let whoever waits at the gate, or comes to it next, go on."""
        os.close(os.open(self.directory / name, os.O_WRONLY))

    def order(self, name: str) -> None:
        """Send the arbiter a signal, "HUP" for example."""
        self._process.send_signal(signal.Signals[f"SIG{name}"])

    def get(self, path: str) -> None:
        """Send a request and read its answer."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.directory / "socket"))
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()

    @contextmanager
    def in_flight(self, path: str) -> Iterator[None]:
        """Have a request in flight for the length of a ``with`` block."""
        client = threading.Thread(target=self.get, args=(path,))
        client.start()
        self.wait(f"begins: GET {path}")
        yield
        self.open_gate(REQUEST_GATE)
        client.join(PATIENCE)

    def wait(self, words: str, count: int = 1) -> None:
        """Wait until the log has said ``words`` so often."""
        deadline = time.monotonic() + PATIENCE
        while len(re.findall(words, self.log)) < count:
            if time.monotonic() > deadline or self._process.poll() not in {None, 0}:
                raise RuntimeError(f"the log does not say {words!r} {count} times:\n{self.log}")
            time.sleep(0.02)

    def finish(self) -> str:
        """End pyfork if it runs, and return the diagram of all that was logged from the start's end until now."""
        log = self.log
        self._process.terminate()
        if self._process.wait(PATIENCE) != 0:
            raise RuntimeError(f"pyfork has failed:\n{self.log}")
        return draw(log[: self._begin], log[self._begin :])

    def kill(self) -> None:
        """Leave nothing behind when a scenario has failed."""
        self._process.kill()
        self._process.wait(PATIENCE)


def draw(before: str, log: str) -> str:
    """Return a sequence diagram of ``log``.

    Args:
        before: what was logged before; it tells the names of those who are there.
        log: of the scenario.
    """
    names = {pid: name for name, pid in re.findall(r"(\w+ \d+ gen \d+) \(pid (\d+)\)", before + log)}
    arrows = [arrow for line in log.splitlines() if (arrow := _arrow(line, names)) is not None]
    text = "\n".join(f"    {arrow}" for arrow in arrows)
    for mold, generation in re.findall(r"(mold \d+ gen (\d+)) \(pid \d+\) is ready", before + log):
        text = re.sub(rf"arbiter (->> worker \d+ gen {generation}: fork)", rf"{mold} \1", text)
    there = dict.fromkeys(re.findall(r"\w+ \d+ gen \d+", before + log))
    participants = [name for name in ("operator", "client", "arbiter") if re.search(rf"\b{name}\b.*:", text)]
    shown = [*participants, *(name for name in there if name in text)]
    for name in sorted(there, key=len, reverse=True):
        text = re.sub(rf"(?m)^(    (?:.*-\S+ )?){name}(?=:| -)", rf"\g<1>{_identifier(name)}", text)
    head = "".join(f"    participant {_identifier(name)} as {name}\n" for name in shown)
    return f"```mermaid\nsequenceDiagram\n{head}{text}\n```\n"


def _arrow(line: str, names: dict[str, str]) -> str | None:
    answered = _ANSWERED.match(line)
    if answered:
        return f"{names[answered['pid']]} -->> client: {answered['status']} ({answered['request']})"
    found = _LINE.match(line)
    if found is None or LEFT_OUT.search(line):
        return None  # the rest of a traceback
    for pattern, template in RULES:
        match = pattern.match(found["message"])
        if match:
            words = match.groupdict()
            if "name" in words and "signal" in words:
                words["signal"] = MEANINGS[words["signal"]]
            return template.format(who=found["who"], **words)
    if found["level"] == "DEBUG":
        return None
    raise ValueError(f"no rule knows this line of the log: {line}")


def _identifier(name: str) -> str:
    return name.replace(" ", "")


def reload_good(run: Run) -> None:
    """Each new worker is let in when the old one before it has gone."""
    run.save(APPLICATION, is_gated=True)
    run.order("HUP")
    run.wait("worker 0 gen 2 .* is booting")
    run.open_gate(IMPORT_GATE)
    run.wait("worker 0 gen 1 .* has ended")
    run.open_gate(IMPORT_GATE)
    run.wait("worker 1 gen 1 .* has ended")
    run.wait("has replaced the others")


def reload_broken(run: Run) -> None:
    """The old worker answers afterwards."""
    run.save("import a_module_that_is_missing\n")
    run.order("HUP")
    run.wait("worker 0 gen 2 .* has ended")
    run.get("/")
    run.wait("answered")


def reload_preloaded(run: Run) -> None:
    """The old worker is held until the old mold has gone."""
    with run.in_flight("/report"):
        run.save(APPLICATION, is_gated=True)
        run.order("HUP")
        run.wait("mold 2 gen 2 .* is booting")
        run.open_gate(IMPORT_GATE)
        run.wait("mold 1 gen 1 .* has ended")
    run.wait("worker 0 gen 1 .* has ended")


def stop_in_flight(run: Run) -> None:
    """The request is let go on when the worker knows that it is to end."""
    with run.in_flight("/report"):
        run.order("TERM")
        run.wait("is sent SIGTERM")
    run.wait("stopped")


@dataclass(frozen=True)
class Scenario:
    """What is run, under which title and with which words above its diagram."""

    title: str
    text: str
    count: int
    perform: Callable[[Run], None]
    more: str = ""


SCENARIOS = (
    Scenario(
        "HUP: new code",
        """
Two workers, and a new version that imports. An old worker is told to end only when a new one serves in its place, so
there are never fewer than two. What it has in flight it finishes.
""",
        2,
        reload_good,
    ),
    Scenario(
        "HUP: new code that does not import",
        """
The first worker of the new generation says why it cannot boot, and the reload ends with that. The old worker was told
nothing but to reopen its logs, and answers on.
""",
        1,
        reload_broken,
    ),
    Scenario(
        "HUP with preload and a request in flight",
        """
A new mold imports the new version, and the worker is forked from it. The old mold is not needed any more when the new
version has replaced the old one; the old worker first answers what it has in flight.
""",
        1,
        reload_preloaded,
        "preload = true",
    ),
    Scenario(
        "TERM with a request in flight",
        """
The worker accepts nothing more, answers what it is at, and ends; then the arbiter does, with status 0. A request that
takes longer than `workers.graceful_timeout` is broken off.
""",
        1,
        stop_in_flight,
    ),
)

HEAD = """# What happens when

These diagrams are drawn from the error and access logs of real runs (level `debug`) by `make docs`; a test draws them
anew and compares. Only pids, times and what workers say of themselves are left out. [lifecycle.md](lifecycle.md) has
the states behind them, [signals.md](signals.md) all signals.
"""


@contextmanager
def _running(scenario: Scenario) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory).resolve(), scenario.count, scenario.more)
        try:
            yield run
        finally:
            run.kill()


def render() -> str:
    """Run all scenarios and return the page."""
    page = HEAD
    for scenario in SCENARIOS:
        with _running(scenario) as run:
            scenario.perform(run)
            page += f"\n## {scenario.title}\n{scenario.text}\n{run.finish()}"
    return page


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
