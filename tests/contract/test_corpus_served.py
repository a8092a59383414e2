"""The HTTP corpus, sent to a running server of each worker type: what it answers and what the application sees.

Whole, octet by octet, and in two pieces: cut where a cut may matter, or, with PYFORK_CORPUS=all (`make corpus`), at
every boundary. (The parser alone is cut at every boundary each time: tests/unit/http1/test_corpus.py.)
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from tests.contract.crowd import Address, converse, read_responses, turns, yield_often
from tests.corpus_files import Case, ExpectedRequest, edges, load_cases
from tests.harness import Response, Server

LEAST = {"request_line": 64, "field_size": 64, "fields": 1, "body": 1}
"""The lowest limits that settings can ask for; the parser's own tests go below them."""
CASES = [case for case in load_cases() if all(value >= LEAST[name] for name, value in case.limits.items())]
ONE_REQUEST_ONLY = {"sync"}
"""Types that close the connection behind the first response, and have no turns: they serve one client at a time."""
EVERY_BOUNDARY = os.environ.get("PYFORK_CORPUS") == "all"
MOST_SINGLE = 400
"""Octets of a case that are sent one by one; those in the middle of a long case go in larger pieces."""
MOST_CUTS = 60
"""Places where a long case is cut."""
MOST_BOUNDARIES = 1000
"""Octets of the longest case that is cut at every boundary."""

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n"

SITE = """
import json
def app(environ, start_response):
    seen = {name: value for name, value in environ.items() if type(value) is str}
    seen["body"] = environ["wsgi.input"].read().decode("latin-1")
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


class Conversation:
    """One case, played to one server.

    Args:
        case: of the corpus.
        pieces: its octets, cut, perhaps with `NEXT` behind them.
        answers: how many responses there can be on one connection.
    """

    def __init__(self, case: Case, pieces: Sequence[bytes], answers: int) -> None:
        self.case = case
        self.pieces = pieces
        self.has_next = pieces[-1].endswith(NEXT)
        self.methods = case.methods[:answers]
        self.statuses = case.statuses[:answers]
        self.lives_on = case.state == "idle" and case.served is None and len(self.statuses) < answers
        self.responses: list[Response] = []
        self.rest = b""

    def __repr__(self) -> str:
        return f"{self.case.family}: {self.case.name} (in {len(self.pieces)} pieces)"

    def go_on(self, received: bytes, is_over: bool) -> bytes | None:
        """Send a next request when all has been answered, if the connection lives on; wait for its end."""
        self.responses, self.rest = read_responses(received, self.methods)
        if is_over:
            return None
        if self.lives_on and not self.has_next and len(self.responses) == len(self.statuses):
            self.has_next = True
            return NEXT
        return b""

    def shut_when_sent(self) -> bool:
        """End our side if the rest of a request is awaited that never comes."""
        return self.case.state == "waiting"

    def complaint(self) -> str | None:
        """Return what was wrong, None if nothing."""
        statuses = [response.status for response in self.responses]
        wanted = [*self.statuses, 200] if self.lives_on else self.statuses
        if self.case.state == "waiting" and statuses == [*wanted, 400]:
            statuses.pop()  # what the client leaves unfinished is answered with nothing or with 400
        if statuses != wanted or self.rest:
            return f"{self}: {statuses} and {self.rest[:80]!r} instead of {wanted}"
        for response in self.responses:
            if response.header("Date") is None:
                return f"{self}: no Date in a {response.status}"
            if response.status != 200 and response.header("Connection") != "close":
                return f"{self}: no close in a {response.status}"
        seen = [
            json.loads(response.body) if response.status == 200 and response.body else None
            for response in self.responses
        ]
        for environ, (request, content) in zip(seen, self.case.complete, strict=False):
            if environ is not None and (difference := _compare(environ, request, content)):
                return f"{self}: {difference}"
        if self.lives_on and seen[-1]["PATH_INFO"] != "/next":
            return f"{self}: the next request was taken for {seen[-1]['RAW_URI']}"
        return None


def _compare(environ: dict[str, Any], request: ExpectedRequest, content: bytes) -> str | None:
    """Return how what the application saw differs from the request of the corpus."""
    wanted = {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.target.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "body": content.decode("latin-1"),
    }
    if "path" in request.attributes:
        path = unquote_to_bytes(request.attributes["path"]).decode("latin-1")  # type: ignore[arg-type]
        wanted["PATH_INFO"] = "" if path == "*" else path
    for attribute, variable in (("query", "QUERY_STRING"), ("host", "HTTP_HOST")):
        if request.attributes.get(attribute):
            wanted[variable] = request.attributes[attribute].decode("latin-1")  # type: ignore[attr-defined]
    for name, value in request.fields:
        text = name.decode("latin-1").upper().replace("-", "_")
        variable = text if text == "CONTENT_LENGTH" else f"HTTP_{text}"
        if b"_" in name:
            if variable in environ:
                return f"{name!r} has not been dropped"
        elif variable != "HTTP_HOST" and value.decode("latin-1") not in environ[variable]:
            return f"{name!r} is {environ[variable]!r}"
    differences = {name: environ.get(name) for name, value in wanted.items() if environ.get(name) != value}
    return f"{differences} instead of {wanted}" if differences else None


Play = Callable[[Callable[[Case], Sequence[Sequence[bytes]]]], None]


@pytest.fixture
def play(worker_type: str, servers: Callable[[str, dict[str, int]], Server]) -> Play:
    """Play every case to servers of one worker type, cut in each of the ways that the argument gives."""
    answers = 1 if worker_type in ONE_REQUEST_ONLY else 1000

    def play_all(ways: Callable[[Case], Sequence[Sequence[bytes]]]) -> None:
        complaints = []
        for limits in ({}, {"fields": 3, "body": 4}):
            cases = [case for case in CASES if case.limits == limits]
            conversations = [Conversation(case, pieces, answers) for case in cases for pieces in ways(case)]
            server = servers(worker_type, limits)
            address = ("127.0.0.1", server.port)
            with _pace(worker_type, address) as pace:
                converse(address, conversations, pace, 3 if worker_type in ONE_REQUEST_ONLY else 64)
            complaints += [complaint for each in conversations if (complaint := each.complaint())]
        assert not complaints, f"{len(complaints)} failures:\n" + "\n".join(complaints[:20])

    return play_all


@contextmanager
def _pace(worker_type: str, address: Address) -> Iterator[Callable[[], None]]:
    if worker_type in ONE_REQUEST_ONLY:
        yield yield_often
    else:
        with turns(address) as pace:
            yield pace


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, dict[str, int]], Server]]:
    """A server of the given type and limits: started when a test first needs it, stopped behind the last."""
    site = tmp_path_factory.mktemp("site")
    (site / "site1.py").write_text(SITE)
    servers: dict[str, Server] = {}

    def get(worker_type: str, limits: dict[str, int]) -> Server:
        key = json.dumps([worker_type, sorted(limits.items())])
        if key not in servers:
            http: dict[str, float] = {f"limit_request_{name}": value for name, value in limits.items()}
            http |= {"keep_alive": 120, "header_timeout": 120, "body_timeout": 120}  # octet by octet takes its time
            directory: Path = tmp_path_factory.mktemp("server")
            settings = {
                "workers": {"type": worker_type, "count": 2 if worker_type in ONE_REQUEST_ONLY else 1},
                "http": http,
                "log": {"level": "warning"},
            }
            servers[key] = Server(directory, "site1:app", cwd=site, settings=settings).start()
        return servers[key]

    yield get
    for server in servers.values():
        server.__exit__(None, None, None)


def test_no_case_is_left_out() -> None:
    """Each has one of the limits that servers are started with, or is below what settings can ask for."""
    assert {tuple(sorted(case.limits.items())) for case in CASES} == {(), (("body", 4), ("fields", 3))}
    assert len(load_cases()) - len(CASES) <= 3


def test_whole(play: Play) -> None:
    """At once, with a next request behind it: that is answered if the connection lives on, else never."""
    play(lambda case: [[case.octets if case.state == "waiting" else case.octets + NEXT]])


def test_octet_by_octet(play: Play) -> None:
    """However the network cuts it, the same is answered; and the connection lives on, or ends, as the corpus says."""
    play(lambda case: [_single_octets(case.octets)])


def test_cut_in_two(play: Play) -> None:
    """As above; where a cut may matter, or at every boundary."""
    play(_cuts())


def _single_octets(octets: bytes) -> list[bytes]:
    half = MOST_SINGLE // 2
    middle = octets[half:-half]
    return [
        *(bytes([octet]) for octet in octets[:half]),
        *(middle[place : place + 1000] for place in range(0, len(middle), 1000)),
        *(bytes([octet]) for octet in octets[max(half, len(octets) - half) :]),
    ]


def _cuts() -> Callable[[Case], Sequence[Sequence[bytes]]]:
    """Return a way to cut in two: never twice behind the same octets, for there the server has read the same."""
    seen: set[bytes] = set()

    def cut(case: Case) -> Sequence[Sequence[bytes]]:
        octets = case.octets
        if EVERY_BOUNDARY and len(octets) <= MOST_BOUNDARIES:
            return [(octets[:place], octets[place:]) for place in range(1, len(octets))]
        places = [place for place in edges(octets, MOST_CUTS) if octets[:place] not in seen]
        seen.update(octets[:place] for place in places)
        return [(octets[:place], octets[place:]) for place in places]

    return cut
