"""The blocking shell: a connection from its beginning to its end, as the client and the logs see it."""

import json
import socket
from wsgiref.validate import validator

import pytest

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import READABLE, Persistence
from pyfork.http1.limits import MAX_FEED, Limits
from tests.contract.visits import PEER, PLAIN, echo, get, post, returning

# An ordinary request.


def test_a_request_is_answered_and_the_connection_closed(visit):
    """One connection, one request, one send for head and body; everything was read, so there is nothing to linger for."""
    served = visit(returning(b"hello"), get())
    assert served.outcome is Outcome.CLOSED
    assert served.received == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: pyfork\r\n"
        b"Content-Length: 5\r\nConnection: close\r\n\r\nhello"
    )
    assert served.is_ended
    assert served.progress.told == [("begin", "GET", b"/"), "enter", ("end", 5, False)]


def test_the_environ_is_the_requests(visit):
    """With the client's address."""
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        return returning()(environ, start_response)

    visit(application, get("/a%20b?c", "X-A: 1\r\n"))
    assert seen["PATH_INFO"] == "/a b"
    assert seen["QUERY_STRING"] == "c"
    assert seen["HTTP_X_A"] == "1"
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("192.0.2.7", "51234")


def test_a_request_may_come_octet_by_octet(visit):
    """Head and body."""
    octets = post(b"body")
    served = visit(echo, *(octets[index : index + 1] for index in range(len(octets))))
    assert served.body == b"body"


def test_the_validator_finds_nothing(visit, log):
    """wsgiref's, around an application that uses everything."""

    def application(environ, start_response):
        body = environ["wsgi.input"]
        lines = [body.readline(), body.read(2), *body]
        start_response("200 OK", PLAIN)
        return [json.dumps([line.decode() for line in lines]).encode()]

    served = visit(validator(application), post(b"one\ntwo\nthree"))
    assert json.loads(served.body.split(b"\r\n")[1]) == ["one\n", "tw", "o\n", "three"]
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        assert visit(validator(returning(b"a")), get(method=method)).status == 200
    assert log("ERROR") == []


def test_a_stream_is_sent_as_it_is_made(prepare):
    """Each block before the next; chunked in HTTP/1.1, until the connection's end in 1.0."""
    seen = []

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        for number in range(3):
            served_so_far()
            yield b"%d" % number

    def served_so_far():
        current[0].take()
        seen.append(current[0].body)

    for version, bodies in (("1.1", [b"", b"1\r\n0\r\n", b"1\r\n0\r\n1\r\n1\r\n"]), ("1.0", [b"", b"0", b"01"])):
        seen.clear()
        current = [prepare(application, get(version=version))]
        current[0].serve()
        assert seen == bodies
        assert b"Connection: close" in current[0].head


def test_each_block_starts_the_applications_time_anew(visit):
    """``timeout`` counts from the last block."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b""
        yield b"a"

    served = visit(application, get())
    assert served.progress.told[1:] == ["enter", "enter", "enter", ("end", 1, False)]


# How a connection ends.


@pytest.mark.parametrize("second", [get(), b"garbage", b"\r\n\r\n"])
def test_octets_left_over_are_lingered_for(visit, second):
    """A pipelined request is not answered, and must not destroy the answer of the first."""
    served = visit(returning(b"hello"), get() + second)
    assert served.outcome is Outcome.LINGER
    assert served.body == b"hello"
    assert served.is_ended
    assert served.server.fileno() >= 0


@pytest.mark.parametrize("stray", [get(), b"\r\n"])
def test_what_came_meanwhile_is_looked_for(prepare, stray):
    """However quick the request: octets that nobody read at close() would destroy the answer."""

    def application(environ, start_response):
        current.client.sendall(stray)
        return returning(b"hello")(environ, start_response)

    current = prepare(application, get())
    assert BlockingConnection(current.server, PEER, current.context).serve() is Outcome.LINGER
    assert prepare(returning(b"hello"), get()).serve().outcome is Outcome.CLOSED


def test_what_lies_behind_a_full_read_is_seen(visit):
    """The head fills the read to its last octet."""
    head = get(headers="X: y\r\n" * 2000)
    head = get(headers="X: y\r\n" * 2000 + f"Y: {'z' * (MAX_FEED - len(head) - 5)}\r\n")
    assert len(head) == MAX_FEED
    served = visit(returning(b"hello"), head + get(), limits=Limits(fields=3000))
    assert served.outcome is Outcome.LINGER
    assert served.body == b"hello"


def test_an_answer_on_its_way_survives_what_comes_then(prepare):
    """The client's buffer is full, and it sends a stray CRLF: a socket that is closed would be reset, and forget."""
    body = bytes(1_000_000)
    current = prepare(returning(body), get(), family=socket.AF_INET)
    outcome = BlockingConnection(current.server, PEER, current.context).serve()
    current.client.sendall(b"\r\n")
    current.client.settimeout(30)
    current.take()
    assert current.body == body
    assert not current.is_reset
    assert outcome is Outcome.LINGER


def test_an_unread_body_is_lingered_for(visit):
    """The application need not read it."""
    served = visit(returning(b"no"), post(length=1000, body=b"some of it"))
    assert served.outcome is Outcome.LINGER
    assert served.body == b"no"


def test_a_body_that_came_with_the_head_is_read(visit):
    """Whether the application has read it or not."""
    assert visit(returning(b"no"), post(b"all of it")).outcome is Outcome.CLOSED


def test_a_refused_client_is_lingered_for(visit, log):
    """It may still be sending."""
    served = visit(returning(), b"GET / HTTP/1.1\r\n\r\n")
    assert served.status == 400
    assert b"Connection: close" in served.head
    assert served.outcome is Outcome.LINGER
    assert served.progress.told == ["leave"]
    (line,) = log("INFO")
    assert "192.0.2.7" in line
    assert "400" in line


def test_a_socket_that_is_reset_meanwhile_is_closed(prepare):
    """Then there is nothing to linger for."""

    def application(environ, start_response):
        current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        current.client.close()
        return returning(b"hello")(environ, start_response)

    current = prepare(application, post(length=5), family=socket.AF_INET)
    assert BlockingConnection(current.server, PEER, current.context).serve() is Outcome.CLOSED
    assert current.server.fileno() == -1


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413),
        (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 300 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 9 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ],
)
def test_each_refusal_has_its_status(visit, octets, status):
    """As http1 decides; here it is answered."""
    limits = Limits(request_line=200, fields=8, field_size=200, body=10)
    served = visit(returning(), octets, limits=limits)
    assert served.status == status
    assert b"Connection: close" in served.head
    assert served.access[0].status.startswith(str(status))


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", 400),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        (b"HEAD /" + b"x" * 300 + b" HTTP/1.1\r\n\r\n", 414),
        (b"HEAD / HTTP/1.1\r\nX: " + b"x" * 300 + b"\r\n\r\n", 431),
        (b"HEAD / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"HEAD / HTT", 408),
        (b"HEAD / HTTP/1.1\r\nX", 408),
    ],
)
def test_a_refused_head_gets_no_content(visit, octets, status):
    """RFC 9110, section 9.3.2: whatever it is refused for."""
    served = visit(returning(), octets, None, limits=Limits(request_line=200, field_size=200, body=10))
    assert served.status == status
    assert int(served.head.partition(b"Content-Length: ")[2].split(b"\r")[0]) > 0
    assert served.body == b""
    assert served.access[0].octets == 0


# Deadlines of the head.


def test_a_silent_client_is_left_in_silence(visit):
    """A browser opens connections in reserve."""
    served = visit(returning(), None)
    assert served.received == b""
    assert served.outcome is Outcome.CLOSED
    assert served.access == []


def test_a_slow_head_is_answered_with_408(prepare):
    """However it drips: there is one deadline for all of it."""
    deadlines = []

    def note(current):
        current.client.send(b"X")

    served = prepare(returning(), b"GET / HT", note, note)
    wait = served.context.wait
    object.__setattr__(
        served.context,
        "wait",
        lambda sock, events, deadline: deadlines.append(deadline) or wait(sock, events, deadline),
    )
    served.serve()
    assert served.status == 408
    assert served.outcome is Outcome.LINGER
    assert len(set(deadlines)) == 1
    assert set(served.waits) == {READABLE}


def test_a_client_that_leaves_is_let_go(prepare, visit, log):
    """Between requests without a word; within one with an answer, as only its writing side may have closed."""

    def leave(current):
        current.client.shutdown(socket.SHUT_WR)

    assert visit(returning(), leave).received == b""
    assert visit(returning(), b"GET / HTTP/1.1\r\n", leave).status == 400

    def reset(current):
        current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        current.client.close()

    served = prepare(returning(), b"GET / HT", reset, family=socket.AF_INET)
    assert BlockingConnection(served.server, PEER, served.context).serve() is Outcome.CLOSED
    assert log("ERROR") == []


def test_a_half_closed_client_is_answered(visit):
    """``nc -N`` sends its request and closes its side."""

    def leave(current):
        current.client.sendall(get())
        current.client.shutdown(socket.SHUT_WR)

    assert visit(returning(b"hello"), leave).body == b"hello"


# The access log.


def test_each_answer_is_told(visit):
    """With what the application gave, and what the client got."""
    served = visit(returning(b"hello", headers=[("X-A", "1")]), get("/x?y"))
    (record,) = served.access
    assert record.request.target == b"/x?y"
    assert record.environ["PATH_INFO"] == "/x"
    assert record.remote == "192.0.2.7"
    assert record.status == "200 OK"
    assert record.response_headers == [*PLAIN, ("X-A", "1")]
    assert record.octets == 5
    assert record.duration > 0


def test_a_refusal_is_told_without_a_request(visit):
    """What could not be parsed cannot be shown."""
    served = visit(returning(), b"garbage\r\n\r\n")
    (record,) = served.access
    assert (record.request, record.environ) == (None, None)
    assert record.status == "400 Bad Request"
    assert record.octets == len(served.body) > 0


def test_nobody_wants_to_know(visit):
    """No access log, no record."""
    assert visit(returning(b"a"), get(), access_log=None).status == 200
    assert visit(returning(b"a"), b"garbage\r\n\r\n", access_log=None).status == 400


# Keeping a connection alive.


def test_a_context_may_keep_connections_alive(visit):
    """As other worker types will; then pipelined requests are all answered, until one says close."""
    seen = []

    def application(environ, start_response):
        seen.append(environ["PATH_INFO"])
        return returning(b"hello")(environ, start_response)

    moves = [get("/1") + get("/2"), post(b"body", target="/3"), get("/4", "Connection: close\r\n"), get("/5")]
    served = visit(application, *moves, persistence=Persistence(is_allowed=True))
    assert seen == ["/1", "/2", "/3", "/4"]
    assert served.received.count(b"HTTP/1.1 200 OK") == 4
    assert served.received.count(b"Connection: close") == 1
    assert served.outcome is Outcome.CLOSED


def test_an_unread_body_ends_a_kept_connection(visit):
    """It cannot be told from the next request before it has come."""
    served = visit(returning(b"a"), post(length=9), persistence=Persistence(is_allowed=True))
    assert served.outcome is Outcome.LINGER
    assert b"\r\nConnection: close\r\n" in served.received


def test_a_body_that_has_been_asked_for_does_not_end_the_connection(visit):
    """Before the response begins; of one that the application asks for later, nobody knows it then."""

    def late(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "9")])
        return [environ["wsgi.input"].read()]

    moves = [post(length=9), b"some body", get()]
    assert b"Connection: close" not in visit(echo, *moves, persistence=Persistence(is_allowed=True)).received
    served = visit(late, *moves, persistence=Persistence(is_allowed=True))
    assert served.received.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in served.received
    assert served.body == b"some body"
