"""The blocking shell: a request's body, as the application pulls it."""

import os
import socket

import pytest

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.errors import DisconnectedError, RequestBodyError
from pyfork.http1.limits import Limits
from tests.contract.visits import PEER, PLAIN, echo, get, post, returning

# The request's body.


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
def test_bodies_are_streamed(visit, size):
    """With a length or in chunks, in whatever pieces they come."""
    body = os.urandom(size)

    def measure(environ, start_response):
        octets = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN)
        return [b"same" if octets == body else b"different"]

    pieces = [body[start : start + 50_000] for start in range(0, size, 50_000)]
    assert visit(measure, post(length=size), *pieces).body == b"same"
    head = get(headers="Transfer-Encoding: chunked\r\n", method="POST")
    chunks = [b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    served = visit(measure, head, *chunks, b"0\r\nTrailer: x\r\n\r\n")
    assert served.body == b"same"
    assert served.outcome is Outcome.CLOSED


def test_the_time_stands_still_while_the_body_is_waited_for(visit):
    """`Visit.wait` checks it; here is the order."""
    served = visit(echo, post(length=2), b"a", b"b")
    assert served.progress.told == [
        ("begin", "POST", b"/"),
        "enter",
        "leave",
        "enter",
        "leave",
        "enter",
        ("end", 2, False),
    ]


def test_a_body_that_stops_is_answered_with_408(visit, log):
    """When the application lets the exception pass; it has no traceback, as nobody has made a mistake."""
    served = visit(echo, post(length=5), b"a", None)
    assert served.status == 408
    assert served.outcome is Outcome.LINGER
    assert log("ERROR") == []
    assert "408" in log("INFO")[0]
    assert served.access[0].status == "408 Request Timeout"
    assert served.progress.told[-1] == ("end", 0, False)


def test_a_body_beyond_the_limit_is_answered_with_413(visit):
    """Chunks do not tell their sum beforehand."""
    head = get(headers="Transfer-Encoding: chunked\r\n", method="POST")
    served = visit(echo, head, b"6\r\nabcdef\r\n", b"6\r\nabcdef\r\n", limits=Limits(body=10))
    assert served.status == 413
    assert served.outcome is Outcome.LINGER


def test_a_broken_body_is_answered_with_400(visit):
    """So is one that ends early."""
    head = get(headers="Transfer-Encoding: chunked\r\n", method="POST")
    assert visit(echo, head + b"x\r\n").status == 400

    def leave(current):
        current.client.shutdown(socket.SHUT_WR)

    assert visit(echo, post(length=5), leave).status == 400


def test_the_application_may_answer_for_the_client(visit, log):
    """It sees an OSError, each time it reads; its own answer goes before ours."""
    seen = []

    def application(environ, start_response):
        for _ in range(2):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                seen.append(error)
        start_response("400 Bad Request", PLAIN)
        return [b"mine"]

    served = visit(application, post(length=5), None)
    assert served.body == b"mine"
    assert [type(error) for error in seen] == [RequestBodyError, RequestBodyError]
    assert served.outcome is Outcome.LINGER
    assert log("ERROR") == []


@pytest.mark.parametrize("is_chained", [True, False])
def test_an_exception_made_of_the_clients_fault_is_the_clients(visit, log, is_chained):
    """As Django makes one; but what is raised "from None" is the application's own."""

    def application(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            raise ValueError("unreadable") from (error if is_chained else None)

    assert visit(application, post(length=5), None).status == (408 if is_chained else 500)
    assert bool(log("ERROR")) is not is_chained


def test_a_mistake_beside_the_clients_fault_is_logged(visit, log):
    """The client gets what it deserves, and the application's author the traceback."""

    def application(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            return undefined_name  # noqa: F821 (the mistake)

    served = visit(application, post(length=5), None)
    assert served.status == 408
    assert served.progress.told[-1][2] is False
    (line,) = log("ERROR")
    assert "the application raised NameError" in line
    assert "in application" in log.text.partition("During handling")[2]


def test_a_client_that_leaves_within_its_body_gets_nothing(prepare, log):
    """The application sees a ConnectionError; nobody is to blame."""
    seen = []

    def application(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except ConnectionError as error:
            seen.append(error)
            raise

    def reset(current):
        current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        current.client.close()

    served = prepare(application, post(length=5), reset, family=socket.AF_INET)
    assert BlockingConnection(served.server, PEER, served.context).serve() is Outcome.CLOSED
    assert isinstance(seen[0], DisconnectedError)
    assert served.access == []
    assert log("ERROR") == []
    assert served.progress.told[-1] == ("end", 0, False)


# Expect: 100-continue.

EXPECT = "Expect: 100-continue\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_the_first_read_sends_100(visit):
    """And no later one."""
    served = visit(echo, post(headers=EXPECT, length=4), b"ab", b"cd")
    assert served.received.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n")
    assert served.received.endswith(b"abcd")
    assert served.received.count(CONTINUE) == 1


def test_nobody_reads_so_nobody_sends_100(visit):
    """The client then keeps its body."""
    served = visit(returning(b"no"), post(headers=EXPECT, length=4))
    assert CONTINUE not in served.received
    assert served.outcome is Outcome.LINGER


@pytest.mark.parametrize("moves", [[post(b"abcd", EXPECT)], [post(b"ab", EXPECT, 4), b"cd"]])
def test_a_client_that_did_not_wait_needs_no_100(visit, moves):
    """RFC 9110 section 10.1.1."""
    served = visit(echo, *moves)
    assert CONTINUE not in served.received
    assert served.body == b"abcd"


def test_an_empty_body_needs_no_100(visit):
    """There is nothing to go on with."""
    assert CONTINUE not in visit(echo, post(b"", EXPECT)).received


def test_a_response_that_has_begun_is_not_followed_by_100(visit):
    """The client would take it for the next response."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)(b"early ")
        return [environ["wsgi.input"].read()]

    served = visit(application, post(headers=EXPECT, length=4), b"abcd")
    assert CONTINUE not in served.received
    assert b"abcd" in served.body
