"""Generated requests against real servers of each type: good ones are answered, bad ones hurt nobody.

The same few each time, so that a run of the tests says the same twice; `make fuzz` looks for new ones.
"""

import json
import os
import socket
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyfork.errors import ProtocolError
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.request import EndOfMessage, Request
from tests.conftest import WORKER_TYPES
from tests.fuzz.grammar import conversations, damaged, in_pieces
from tests.harness import parse_response, read_all, wait_until
from tests.unit.http1.flow import feed_all

EXAMPLES = int(os.environ.get("PYFORK_FUZZ_EXAMPLES", "0"))
ONE_REQUEST_ONLY = {"sync"}

SITE = """
import gc, json, os
from pyfork.ipc.scoreboard import Slot

def app(environ, start_response):
    if environ["RAW_URI"] == "/scoreboard":
        slots = [each for each in gc.get_objects() if isinstance(each, Slot)]
        mine = next(each for each in slots if each.statistics().pid == os.getpid()).statistics()
        seen = {"connections": mine.connections, "in_flight": mine.in_flight, "errors": mine.errors}
    else:
        body = environ["wsgi.input"].read()
        fields = {name: value for name, value in environ.items() if name.startswith("HTTP_X_")}
        seen = [environ["REQUEST_METHOD"], environ["RAW_URI"], body.decode("latin-1"), fields]
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(answer))), ("X-Worker", str(os.getpid()))])
    return [answer]
"""

fuzz = settings(
    max_examples=EXAMPLES or 60,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
if not EXAMPLES:
    fuzz = settings(fuzz, database=None)


@pytest.fixture(scope="module")
def workers(share, tmp_path_factory):
    """The server of each type, with its worker's pid: one worker for ever."""
    site = tmp_path_factory.mktemp("site")
    (site / "mirror_site.py").write_text(SITE)
    servers = {name: share("mirror_site:app", cwd=site, settings={"workers": {"type": name}}) for name in WORKER_TYPES}
    return {name: (server, server.get("/").header("X-Worker")) for name, server in servers.items()}


def answers_to(server, pieces, heads):
    """Send pieces and the end of our side; return the final responses, of which some are to HEAD."""
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        rest = read_all(client)
    responses = []
    while rest:
        is_head = len(responses) < len(heads) and heads[len(responses)]
        response, rest = parse_response(rest, is_head=is_head and not rest.startswith(b"HTTP/1.1 1"))
        if response.status >= 200:
            responses.append(response)
    return responses


def check(workers):
    """Each worker is the one that it was, is at nothing but this, and has no fault of its own to tell."""

    def is_sane(server, worker):
        response = server.get("/scoreboard")
        assert response.header("X-Worker") == worker, server.log
        figures = json.loads(response.body)
        return figures["in_flight"] == 1 and figures["connections"] <= 1

    for name, (server, worker) in workers.items():
        wait_until(lambda pair=(server, worker): is_sane(*pair), f"{name}: nothing in flight but the question")
        server.check_log()


def test_good_requests_are_answered_with_what_was_sent(workers):
    """Method, target, fields and content reach the application as they were, however they are framed and cut."""

    @fuzz
    @given(conversations(), st.data())
    def exchange(sent, data):
        pieces = data.draw(in_pieces(b"".join(each.octets for each in sent)))
        for name, (server, worker) in workers.items():
            expected = sent[:1] if name in ONE_REQUEST_ONLY else sent
            responses = answers_to(server, pieces, [each.method == "HEAD" for each in sent])
            assert [response.status for response in responses] == [200] * len(expected), name
            for each, response in zip(expected, responses, strict=True):
                assert response.header("X-Worker") == worker, name
                if each.method != "HEAD":
                    assert json.loads(response.body) == seen_of(each), name

    exchange()
    check(workers)


def seen_of(sent):
    """Return what the application sees of a request."""
    fields = {f"HTTP_{name.upper().replace('-', '_')}": value.decode("latin-1") for name, value in sent.fields}
    return [sent.method, sent.target, sent.content.decode("latin-1"), fields]


def test_bad_requests_are_answered_as_the_parser_says(workers):
    """Nothing more is served than what is right before the fault, and nobody waits for an answer or is hurt."""

    @fuzz
    @given(damaged(), st.data())
    def exchange(octets, data):
        pieces = data.draw(in_pieces(octets))
        served, refusal = read(octets)
        for name, (server, worker) in workers.items():
            check_answers(name, answers_to(server, pieces, heads_of(served, refusal)), served, refusal, worker)

    exchange()
    check(workers)


def check_answers(name, responses, served, refusal, worker):
    """Hold the responses of one type to what the parser has read."""
    wanted = [200] * len(served) + ([refusal.status] if refusal else [])
    got = [response.status for response in responses]
    if name in ONE_REQUEST_ONLY:
        wanted, got = wanted[:1], got[:1]
    is_unfinished = refusal is not None and refusal.is_unfinished  # and so may be answered with nothing
    assert got == wanted or (is_unfinished and got == wanted[:-1]), name
    for (request, content), response in zip(served, responses, strict=False):
        assert response.header("X-Worker") == worker, name
        if request.method != "HEAD":
            method, target, body, _ = json.loads(response.body)
            assert (method, target) == (request.method, request.target.decode("latin-1")), name
            assert body == content.decode("latin-1"), name


class Refusal(NamedTuple):
    """How the parser refuses, and whether only because nothing more comes."""

    status: int
    method: str
    is_unfinished: bool


def heads_of(served, refusal):
    """Return which responses are to HEAD."""
    methods = [request.method for request, _ in served] + ([refusal.method] if refusal else [])
    return [method == "HEAD" for method in methods]


def read(octets):
    """Return the whole requests with their contents, and the refusal or None, as the parser reads them."""
    parser = RequestParser(Limits())
    events = feed_all(parser, [octets])
    is_unfinished = not parser.is_closed
    if is_unfinished:
        events += parser.feed_eof()
    served, request, content, refusal = [], None, b"", None
    for event in events:
        if isinstance(event, Request):
            request, content = event, b""
        elif isinstance(event, bytes):
            content += event
        elif isinstance(event, EndOfMessage):
            served.append((request, content))
            request = None
        elif isinstance(event, ProtocolError):
            refusal = Refusal(event.status, request.method if request else parser.method, is_unfinished)
    return served, refusal
