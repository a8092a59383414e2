"""Both shells tell the same: to the client, to the access log, to the error log and to the scoreboard."""

import socket

import pytest

from pyfork.connection.context import Persistence
from pyfork.connection.hooked import RequestHooks
from pyfork.hooks.calling import Hook
from pyfork.http1.limits import Limits
from tests.contract.visits import PLAIN, LoopVisit, Visit, echo, get, post, returning


class Loop(LoopVisit):
    way = "held"


def fail(environ, start_response):
    raise ValueError("why")


def fail_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    raise ValueError("why")


def write(environ, start_response):
    start_response("200 OK", PLAIN)(b"written ")
    return [b"returned"]


def stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one"
    yield b""
    yield b"two"


def refuse_to_start(environ, start_response):
    return [b"a"]


class Closing(list):
    def close(self):
        raise ValueError("in close")


def fail_in_close(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"hello"])


def leave(current):
    current.client.shutdown(socket.SHUT_WR)


HELLO = returning(b"hello", headers=[("X-A", "1")])
CASES = {
    "one": (HELLO, [get("/a?b")]),
    "several": (HELLO, [get("/1"), get("/2"), get("/3", "Connection: close\r\n")]),
    "pipelined": (HELLO, [get("/1") + get("/2") + get("/3")]),
    "http 1.0": (HELLO, [get(version="1.0")]),
    "http 1.0 kept": (HELLO, [get(headers="Connection: keep-alive\r\n", version="1.0"), get(version="1.0")]),
    "head": (HELLO, [get(method="HEAD")]),
    "error status": (returning(b"no", status="503 Service Unavailable"), [get()]),
    "too much": (returning(b"hello", headers=[("Content-Length", "3")]), [get()]),
    "too little": (returning(b"hello", headers=[("Content-Length", "7")]), [get()]),
    "hop by hop": (returning(b"hello", headers=[("Keep-Alive", "7")]), [get(), get()]),
    "streamed": (stream, [get(), get()]),
    "streamed 1.0": (stream, [get(version="1.0")]),
    "written": (write, [get(), get()]),
    "body": (echo, [post(b"body"), post(b"again")]),
    "body in pieces": (echo, [post(length=4), b"bo", b"dy"]),
    "chunked": (echo, [get(headers="Transfer-Encoding: chunked\r\n", method="POST"), b"4\r\nbody\r\n0\r\n\r\n"]),
    "failing": (fail, [get("/x?y")]),
    "failing head": (fail, [get(method="HEAD")]),
    "failing late": (fail_late, [get()]),
    "failing late 1.0": (fail_late, [get(version="1.0")]),
    "failing in close": (fail_in_close, [get()]),
    "not started": (refuse_to_start, [get()]),
    "garbage": (HELLO, [b"garbage\r\n\r\n"]),
    "garbage behind": (HELLO, [get() + b"garbage\r\n\r\n"]),
    "no host": (HELLO, [b"GET / HTTP/1.1\r\n\r\n"]),
    "too long": (HELLO, [get("/" + 300 * "x")]),
    "too large": (HELLO, [post(length=1001)]),
    "too large, expecting": (HELLO, [post(length=1001, headers="Expect: 100-continue\r\n")]),
    "slow head": (HELLO, [b"GET / HT", None]),
    "slow body": (echo, [post(length=5), b"a", None]),
    "slow second head": (HELLO, [get(), b"GET / HT", None]),
    "silent": (HELLO, [None]),
    "half-closed": (HELLO, [get(), leave]),
    "half-closed head": (HELLO, [b"GET / HT", leave]),
    "half-closed body": (echo, [post(length=5), leave]),
    "broken body": (echo, [get(headers="Transfer-Encoding: chunked\r\n", method="POST") + b"x\r\n"]),
}


@pytest.fixture
def tell(log, caplog):
    """Serve one connection with a shell; return all that it tells."""
    visits = []

    def serve(shell, application, moves, **context):
        caplog.clear()
        context = {
            "limits": Limits(request_line=200, body=1000),
            "persistence": Persistence(is_allowed=True),
            **context,
        }
        visits.append(shell(application, *moves, **context))
        visit = visits[-1].serve()
        records = [
            (each.request and each.request.target, each.remote, each.status, list(each.response_headers), each.octets)
            for each in visit.access
        ]
        lines = [(each.levelname, each.getMessage(), bool(each.exc_info)) for each in caplog.records]
        ends = [told for told in visit.progress.told if told[0] == "end"]
        return visit.received, records, lines, ends, visit.outcome

    yield serve
    for each in visits:
        each.close()


@pytest.mark.parametrize("name", CASES)
def test_the_shells_tell_the_same(tell, name):
    """Whoever changes the worker type changes nothing else."""
    application, moves = CASES[name]
    blocking, loop = tell(Visit, application, moves), tell(Loop, application, moves)
    if "body" in name and loop[3] == []:
        # The application never saw this request, so it is none for the scoreboard, and no environ is in the record.
        blocking = (*blocking[:3], [], blocking[4])
    for one, other in zip(blocking, loop, strict=True):
        assert one == other


@pytest.mark.parametrize("shell", [Visit, Loop])
@pytest.mark.parametrize("name", CASES)
def test_hooks_around_a_request_change_nothing(tell, name, shell):
    """Who looks on changes neither the framing nor the logs."""
    application, moves = CASES[name]
    hooks = RequestHooks(
        Hook("pre_request", "a:b", lambda environ: None),
        Hook("post_request", "a:b", lambda environ, status, octets, seconds: None),
    )
    without, hooked = tell(shell, application, moves), tell(shell, application, moves, make_answer=hooks.make_answer)
    for one, other in zip(without, hooked, strict=True):
        assert one == other
