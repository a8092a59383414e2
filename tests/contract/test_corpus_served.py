"""The HTTP corpus, sent to a running server of each worker type: what it answers and what the application sees."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import WORKER_TYPES
from tests.corpus_files import Case, ExpectedContent, ExpectedEnd, ExpectedRequest, load_cases
from tests.harness import Response, Server, parse_response, read_all

LEAST = {"request_line": 64, "field_size": 64, "fields": 1, "body": 1}
"""The lowest limits that settings can ask for; the parser's own tests go below them."""
CASES = [case for case in load_cases() if all(value >= LEAST[name] for name, value in case.limits.items())]
ONE_REQUEST_ONLY = {"sync"}
"""Types that close the connection behind the first response."""

SITE = """
import json
def app(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = [environ["REQUEST_METHOD"], environ["RAW_URI"], body.decode("latin-1")]
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


@pytest.fixture(scope="module")
def server_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, dict[str, int]], Server]]:
    """A server of the given type and limits: started when a case first needs it, stopped behind the last."""
    site = tmp_path_factory.mktemp("site")
    (site / "site1.py").write_text(SITE)
    servers: dict[str, Server] = {}

    def get(worker_type: str, limits: dict[str, int]) -> Server:
        key = json.dumps([worker_type, sorted(limits.items())])
        if key not in servers:
            http = {f"limit_request_{_setting(name)}": value for name, value in limits.items()}
            directory: Path = tmp_path_factory.mktemp("server")
            settings = {"workers": {"type": worker_type}, "http": http}
            servers[key] = Server(directory, "site1:app", cwd=site, settings=settings).start()
        return servers[key]

    yield get
    for server in servers.values():
        server.__exit__(None, None, None)


def _setting(limit: str) -> str:
    return {"request_line": "line"}.get(limit, limit)


def answers_to(server: Server, octets: bytes) -> list[Response]:
    """Send the octets and our end of the connection; return the final responses, to its end."""
    with server.connect() as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        rest = read_all(client)
    responses = []
    while rest:
        is_head = octets.startswith(b"HEAD ") and not rest.startswith(b"HTTP/1.1 1") and not responses
        response, rest = parse_response(rest, is_head=is_head)
        if response.status >= 200:
            responses.append(response)
    return responses


@pytest.mark.parametrize("worker_type", WORKER_TYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_server_answers_as_the_corpus_says(
    server_with: Callable[[str, dict[str, int]], Server], worker_type: str, case: Case
) -> None:
    """Statuses and order are the corpus's; a message that was cut short never reaches the application as a whole."""
    responses = answers_to(server_with(worker_type, case.limits), case.octets)
    statuses = case.statuses
    if worker_type in ONE_REQUEST_ONLY:
        statuses, responses = statuses[:1], responses[:1]
    got = [response.status for response in responses]
    if case.state == "waiting" and len(got) == len(statuses) + 1:
        assert got.pop() == 400, "what the client left unfinished is answered with nothing or with 400"
    assert got == statuses
    for seen, (method, target, body) in zip(responses, _served(case), strict=False):
        if seen.status == 200 and method != "HEAD":
            assert json.loads(seen.body) == [method, target.decode("latin-1"), body.decode("latin-1")]


def _served(case: Case) -> Iterator[tuple[str, bytes, bytes]]:
    """The complete requests of a case: method, target, content."""
    current: ExpectedRequest | None = None
    content = b""
    for expected in case.expected:
        if isinstance(expected, ExpectedRequest):
            current, content = expected, b""
        elif isinstance(expected, ExpectedContent):
            content += expected.octets
        elif isinstance(expected, ExpectedEnd) and current is not None:
            yield current.method, current.target, content
