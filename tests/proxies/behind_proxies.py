"""The HTTP corpus through a real nginx and a real HAProxy: the application sees what they believe they forwarded.

`make test-proxies` runs it, and it is no part of `make test`: the proxies come from the system, not from the package
index. Each case is sent to the proxy on a connection of its own, then a canary on another: it takes the same connection
to the server, so that a server which is out of step by one octet answers it with something else.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import WORKER_TYPES
from tests.corpus_files import Case, ExpectedContent, ExpectedEnd, load_cases
from tests.harness import Server, read_all
from tests.proxies.fronts import FRONTS, Forwarded, Front

CASES = [case for case in load_cases() if not case.limits]
CANARY = b"GET /canary-%d HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n"
ENDS_EACH_CONNECTION = {"sync"}


@dataclass(frozen=True)
class Seen:
    """A request as the application saw it, and the port from which the proxy's connection came."""

    method: bytes
    target: bytes
    body: bytes
    connection: str


@dataclass
class Scene:
    """A proxy and a server.

    Attributes:
        visits: how many visits there were.
        kept: how many of them came by the same connection to the server as the visit before.
    """

    front: Front
    record: Path
    position: int = 0
    visits: int = 0
    kept: int = 0
    last_connection: str = ""

    def visit(self, octets: bytes) -> tuple[list[Forwarded], list[Seen]]:
        """Send octets, then a canary that must be answered; return what was forwarded and what was seen before it."""
        self._send(octets)
        self.visits += 1
        target = b"/canary-%d" % self.visits
        answer = self._send(CANARY % self.visits)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b'"target": "%b"' % target in answer, f"the canary got another's answer: {answer!r}"
        forwarded = self.front.forwarded_until(target)
        seen = self._read_record()
        assert seen, "the application has seen the canary"
        assert seen[-1].target == target, "the canary is the last"
        self.kept += seen[-1].connection == self.last_connection
        self.last_connection = seen[-1].connection
        return [request for request in forwarded[:-1] if request.status == "200"], seen[:-1]

    def _send(self, octets: bytes) -> bytes:
        with self.front.connect() as client:
            with contextlib.suppress(OSError):  # it has refused before all was sent
                client.sendall(octets)
                client.shutdown(socket.SHUT_WR)
            try:
                return read_all(client)
            except ConnectionResetError:  # it has refused, and not read the rest
                return b""

    def _read_record(self) -> list[Seen]:
        lines = self.record.read_bytes()[self.position :]
        self.position += len(lines)
        values = [json.loads(line) for line in lines.splitlines()]
        return [
            Seen(*(value[name].encode("latin-1") for name in ("method", "target", "body")), value["connection"])
            for value in values
        ]


def differences(forwarded: list[Forwarded], seen: list[Seen]) -> list[str]:
    """Return what the application has seen otherwise than the proxy believes."""
    found = []
    if len(forwarded) != len(seen):
        found.append(f"{len(forwarded)} requests were forwarded, {len(seen)} were seen: {forwarded} {seen}")
    for given, taken in zip(forwarded, seen, strict=False):
        if (given.method, given.target) != (taken.method, taken.target):
            found.append(f"{given.method!r} {given.target!r} was seen as {taken.method!r} {taken.target!r}")
        if given.body is not None and given.body != taken.body:
            found.append(f"the content {given.body!r} was seen as {taken.body!r}")
    return found


@pytest.fixture(scope="module", params=[(front, name) for front in FRONTS for name in WORKER_TYPES], ids="-".join)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Each proxy before each worker type; most canaries must have come by the connection of the visit before."""
    front_name, worker_type = request.param
    directory = tmp_path_factory.mktemp("behind")
    record = directory / "record"
    settings = {"workers": {"type": worker_type}, "http": {"keep_alive": 60}}
    server = Server(
        directory, "recorder:app", cwd=Path(__file__).parent, settings=settings, environ={"RECORD": str(record)}
    )
    with server:
        front = Front(front_name, directory, server.port)
        try:
            found = Scene(front, record)
            yield found
        finally:
            front.stop()
        if worker_type in ENDS_EACH_CONNECTION:
            assert not found.kept
        elif found.visits > 100:
            assert found.kept > found.visits / 2, f"{found.kept} of {found.visits} found the connection open"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}: {case.name}")
def test_the_application_sees_what_was_forwarded(scene: Scene, case: Case) -> None:
    """Number, order, method, target and content are the same, and the next request is answered as itself.

    A proxy that streams does not say which content it forwarded: there, it is what the corpus says.
    """
    forwarded, seen = scene.visit(case.octets)
    assert not differences(forwarded, seen)
    contents = _contents(case)
    if len(seen) == len(contents):
        assert [request.body for request in seen] == contents


def _contents(case: Case) -> list[bytes]:
    """The contents of the complete requests of a case."""
    contents = [b""]
    for event in case.expected:
        if isinstance(event, ExpectedContent):
            contents[-1] += event.octets
        elif isinstance(event, ExpectedEnd):
            contents.append(b"")
    return contents[:-1]


def test_a_server_that_ignores_lengths_is_found_out(tmp_path: Path) -> None:
    """The comparison can fail: a server that takes content for the next request is out of step, and it shows."""
    record = tmp_path / "record"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=_serve_heads, args=(listener, record))
        serving.start()
        front = Front("nginx", tmp_path, listener.getsockname()[1])
        try:
            scene = Scene(front, record)
            smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
            with pytest.raises(AssertionError):  # it depends on when nginx reads: a difference, or the canary's answer
                assert not differences(*scene.visit(post + smuggled))
        finally:
            front.stop()
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            serving.join()


def _serve_heads(listener: socket.socket, record: Path) -> None:
    """Answer each head as a request without content, until the listener is shut down."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(ConnectionError):  # nginx has noticed that something is wrong
                _serve_heads_of(client, record)


def _serve_heads_of(client: socket.socket, record: Path) -> None:
    rest = b""
    while received := client.recv(65536):
        *heads, rest = (rest + received).split(b"\r\n\r\n")
        for head in heads:
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            seen = {"method": method, "target": target, "body": "", "connection": "1"}
            with record.open("a") as file:
                file.write(json.dumps(seen) + "\n")
            body = json.dumps(seen).encode()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
