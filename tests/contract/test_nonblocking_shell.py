"""The non-blocking shell: a connection from its beginning to its end, in each way to run the application."""

import re
import socket

import pytest

from pyfork.connection import nonblocking
from pyfork.connection.blocking import Outcome
from pyfork.connection.context import READABLE, Persistence
from pyfork.connection.host import MOST_IN_A_ROW, Phase
from pyfork.connection.patience import SLOW_PATIENCE
from pyfork.errors import ProtocolError
from pyfork.http1.limits import MAX_FEED, Limits
from tests.contract.visits import PLAIN, echo, get, post, returning

OPEN = {"persistence": Persistence(is_allowed=True)}
LAST = "Connection: close\r\n"


@pytest.fixture
def shell(way):
    return way


def leave(current):
    """Send no more; go on reading."""
    current.client.shutdown(socket.SHUT_WR)


def reset(current):
    current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    current.client.close()


def paths(seen):
    """An application that tells which paths it was asked for."""

    def application(environ, start_response):
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", PLAIN)
        return [environ["PATH_INFO"].encode()]

    return application


# Keep-alive.


def test_requests_follow_one_another(visit):
    """Without a call for the poller: it watches for octets from beginning to end."""
    served = visit(returning(b"hello"), get(), get(), get(), **OPEN)
    assert served.received.count(b"hello") == 3
    assert b"Connection" not in served.received
    assert served.registrations == []
    assert served.outcome is Outcome.CLOSED
    assert served.progress.told == [("begin", "GET", b"/"), "enter", ("end", 5, False)] * 3


@pytest.mark.parametrize(
    ("request_octets", "headers"),
    [(get(headers=LAST), []), (get(), [("Connection", "close")]), (get(version="1.0"), [])],
)
def test_either_side_may_end_it(visit, request_octets, headers):
    """The client or the application says close; HTTP/1.0 says nothing."""
    served = visit(returning(b"hello", headers=headers), request_octets, get("/2"), **OPEN)
    assert served.received.count(b"hello") == 1
    assert b"Connection: close" in served.head
    assert served.moves
    assert served.outcome is Outcome.CLOSED


def test_http_1_0_may_ask_for_more(visit):
    """And is told that it may."""
    first = get(headers="Connection: keep-alive\r\n", version="1.0")
    served = visit(returning(b"hello"), first, get(version="1.0"), **OPEN)
    assert served.received.count(b"hello") == 2
    assert served.received.count(b"Connection: keep-alive") == 1
    assert served.received.count(b"Connection: close") == 1


def test_http_1_0_without_a_length_ends_with_its_body(visit):
    """The end of the connection is the end of the body."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"a"
        yield b"b"

    served = visit(application, get(headers="Connection: keep-alive\r\n", version="1.0"), get(), **OPEN)
    assert served.body == b"ab"
    assert b"Connection: close" in served.head
    assert served.outcome is Outcome.CLOSED


def test_persistence_may_end_between_two_requests(prepare):
    """The worker drains: the next response is the last."""
    persistence = Persistence(is_allowed=True)

    def drain(current):
        persistence.is_allowed = False
        current.client.sendall(get())

    served = prepare(returning(b"hello"), get(), drain, persistence=persistence).serve()
    assert served.received.count(b"Connection: close") == 1
    assert served.received.count(b"hello") == 2


def test_an_idle_client_is_left_after_keep_alive(prepare, now):
    """Without a word. The first request has the time of a head, and so has the next from its first octet on."""
    lengths = []

    def note(current):
        lengths.append(round(current.connection.deadline - now))

    def begin(current):
        note(current)
        current.client.sendall(b"GET /")

    def drip(current):
        note(current)
        current.client.sendall(b"x")

    served = prepare(returning(b"hello"), begin, drip, b" HTTP/1.1\r\nHost: a\r\n\r\n", begin, drip, note, **OPEN)
    served.serve()
    assert lengths == [7, 7, 5, 7, 7]
    assert served.received.count(b"HTTP/1.1 200 OK") == 1
    assert served.received.count(b"HTTP/1.1 408 ") == 1
    assert served.outcome is Outcome.LINGER
    served = prepare(returning(b"hello"), get(), **OPEN).serve()
    assert served.received.endswith(b"hello")
    assert served.outcome is Outcome.CLOSED
    assert len(served.access) == 1


def test_empty_lines_are_no_request(prepare):
    """They give an idle client no more time."""
    deadlines = []

    def empty(current):
        deadlines.append(current.connection.deadline)
        current.client.sendall(b"\r\n")

    served = prepare(returning(b"hello"), get(), empty, empty, empty, **OPEN).serve()
    assert len(set(deadlines)) == 1
    assert served.access[1:] == []


def test_what_came_in_time_is_read_before_a_deadline_is_kept(prepare):
    """A loop that was busy finds the request and the passed deadline at once: a request in the kernel is no idleness."""
    served = prepare(returning(b"hello"), **OPEN)
    served.client.sendall(get())
    served.connection.on_deadline(served.connection.deadline)
    while served.connection.phase is not Phase.READING or not served.access:
        served.turn()
    served.client.sendall(get())
    served.connection.on_deadline(served.connection.deadline)
    served.serve()
    assert served.received.count(b"hello") == 2
    served = prepare(echo, post(length=4), **OPEN)
    while served.connection.phase is not Phase.BODY:
        served.turn()
    served.client.sendall(b"body")
    served.connection.on_deadline(served.connection.deadline)
    assert served.serve().received.endswith(b"body")


def test_a_head_in_time_is_a_whole_head(prepare):
    """One that drips until after its deadline has had its time."""
    served = prepare(returning(b"hello"), b"GET / HTTP/1.1\r\n", **OPEN)
    while served.connection._parser.is_idle:
        served.turn()
    served.client.sendall(b"X: y\r\n")
    served.connection.on_deadline(served.connection.deadline)
    assert served.is_forgotten
    served.take()
    assert served.status == 408


# Pipelining.


@pytest.mark.parametrize("count", [2, MOST_IN_A_ROW, MOST_IN_A_ROW + 1, 5 * MOST_IN_A_ROW])
def test_pipelined_requests_are_answered_in_order(visit, count):
    """All of them."""
    seen = []
    octets = b"".join(get(f"/{number}") for number in range(count))
    served = visit(paths(seen), octets, **OPEN)
    assert seen == [f"/{number}" for number in range(count)]
    assert served.received.count(b"HTTP/1.1 200 OK") == count
    positions = [served.received.index(b"\r\n\r\n/%d" % number) for number in range(count)]
    assert positions == sorted(positions)
    assert served.outcome is Outcome.CLOSED


@pytest.mark.parametrize("way", ["at once"], indirect=True)
def test_after_some_the_others_have_their_turn(prepare):
    """Sixteen in a row, or one more; what the kernel reports meanwhile does not make the loop spin."""
    seen = []
    served = prepare(paths(seen), get() * (3 * MOST_IN_A_ROW) + b"GET", **OPEN)
    served.turn()
    counts = []
    while not served.is_forgotten:
        served.turn()
        counts.append(len(seen))
        if len(counts) == 1:
            served.client.sendall(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert counts[0] in (MOST_IN_A_ROW, MOST_IN_A_ROW + 1)
    assert counts[1] - counts[0] == MOST_IN_A_ROW
    assert len(seen) == 3 * MOST_IN_A_ROW + 1
    assert served.registrations in ([0, READABLE], [0, READABLE] * 2)


def test_a_flood_is_not_read_ahead(prepare):
    """A client that sends megabytes of requests and reads no answer: one feed is what the server holds."""
    held = []

    def application(environ, start_response):
        held.append(current.connection._parser.leftover)
        start_response("200 OK", PLAIN)
        return [bytes(100_000)]

    def flood(visit):
        try:
            while True:
                visit.client.send(get() * 1000)
        except BlockingIOError:
            return

    current = prepare(application, flood, **OPEN)
    current.serve()
    assert max(held) <= MAX_FEED
    assert len(held) < 20
    assert current.connection._outgoing is None


def test_a_request_behind_a_body_and_behind_a_slow_response(visit):
    """Each has its turn."""
    seen = []
    body = bytes(3_000_000)

    def application(environ, start_response):
        seen.append((environ["PATH_INFO"], environ["wsgi.input"].read()))
        start_response("200 OK", PLAIN)
        return [body if environ["PATH_INFO"] == "/slow" else b"end"]

    moves = [post(b"abc", target="/1") + get("/slow") + post(b"def", target="/3")]
    served = visit(application, *moves, *[type("", (), {"__call__": lambda _, v: v.take()})()] * 100, **OPEN)
    assert seen == [("/1", b"abc"), ("/slow", b""), ("/3", b"def")]
    assert served.received.count(b"HTTP/1.1 200 OK") == 3
    assert served.received.endswith(b"end")


@pytest.mark.parametrize("second", [b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"BREW / HTTP/3.0\r\n\r\n"])
def test_an_error_behind_a_request_is_answered_behind_it(visit, second):
    """And nothing behind the error."""
    seen = []
    served = visit(paths(seen), get("/1") + second + get("/3"), **OPEN)
    assert seen == ["/1"]
    assert served.received.count(b"HTTP/1.1 200 OK") == 1
    assert len(re.findall(rb"HTTP/1.1 \d", served.received)) == 2
    assert served.outcome is Outcome.LINGER


def test_nothing_is_answered_behind_the_last(visit):
    """A request with close ends it, whatever was pipelined."""
    seen = []
    served = visit(paths(seen), get("/1") + get("/2", LAST) + get("/3"), **OPEN)
    assert seen == ["/1", "/2"]
    assert served.outcome is Outcome.LINGER


def test_an_application_that_fails_ends_the_connection(visit, log):
    """A 500 is the last; what was pipelined behind it is not looked at."""
    seen = []

    def application(environ, start_response):
        seen.append(environ["PATH_INFO"])
        raise ValueError

    served = visit(application, get("/1") + get("/2"), **OPEN)
    assert seen == ["/1"]
    assert served.status == 500
    assert b"Connection: close" in served.head
    assert served.outcome is Outcome.LINGER


# How clients end.


@pytest.mark.parametrize("octets", [get("/1"), get("/1") + get("/2"), get("/1") * 40, post(b"abc", target="/1")])
def test_a_half_closed_client_gets_its_whole_answers(prepare, octets):
    """``nc -N`` sends its requests and closes its side; the answers are larger than the kernel's buffer."""
    body = bytes(400_000)
    count = octets.count(b" HTTP/1.1")

    def send(current):
        current.client.sendall(octets)
        current.client.shutdown(socket.SHUT_WR)

    served = prepare(returning(body), send, *[lambda current: current.take()] * 200, **OPEN).serve()
    assert served.received.count(b"HTTP/1.1 200 OK") == count
    assert len(served.received) > count * len(body)
    assert served.outcome is Outcome.CLOSED


def test_a_client_that_leaves_is_let_go(prepare, visit, log):
    """Between requests without a word; within one with an answer, as only its writing side may have closed."""
    assert visit(returning(), leave, **OPEN).received == b""
    assert visit(returning(b"hello"), get(), leave, **OPEN).received.count(b"HTTP") == 1
    assert visit(returning(), b"GET / HTTP/1.1\r\n", leave, **OPEN).status == 400
    for first in (b"GET / HT", b"", post(length=5)):
        served = prepare(returning(), *([first] if first else []), reset, family=socket.AF_INET, **OPEN)
        assert run(served).outcome is Outcome.CLOSED
    assert log("ERROR") == []


def run(served):
    """Serve a client that has closed its socket."""
    while not served.is_forgotten:
        served.turn()
    return served


def test_a_client_may_go_while_the_application_has_it(prepare, log):
    """What the kernel reports over and over is muted; its answer goes nowhere."""
    ended = []

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        try:
            for number in range(100):
                if number == 1:
                    reset(current)
                yield bytes(10)
        finally:
            ended.append(True)

    current = prepare(application, get(), family=socket.AF_INET, **OPEN)
    assert run(current).outcome is Outcome.CLOSED
    assert ended == [True]
    assert log("ERROR") == []
    assert current.turns < 20
    assert current.progress.told[-1][2] is False


@pytest.mark.parametrize("way", ["on a thread"], indirect=True)
@pytest.mark.parametrize("end", [leave, reset])
def test_events_while_it_runs_are_muted(prepare, end):
    """EPOLLHUP comes whatever is asked for; and it is unmuted afterwards."""
    current = prepare(returning(b"hello"), get(), family=socket.AF_INET, **OPEN)
    while current.connection.phase is not Phase.RUNNING:
        events = current.reported()
        if events:
            current.connection.on_event(events)
        else:
            current.wait(current.server, READABLE, 0)
    end(current)
    current.connection.on_event(current.reported())
    assert current.registrations == [0]
    assert current.reported() == 0
    run(current)
    assert current.registrations in ([0, READABLE], [0])
    assert current.outcome is Outcome.CLOSED


# Refusals.


def test_a_refusal_that_the_client_does_not_take_is_waited_for(prepare):
    """For write_timeout; then it is reset."""
    body = bytes(3_000_000)

    def fill(current):
        """Leave no room in the kernel's buffer."""
        try:
            while True:
                current.server.send(bytes(1 << 16))
        except BlockingIOError:
            current.client.sendall(b"garbage\r\n\r\n")

    served = prepare(returning(body), fill, lambda current: current.take(), **OPEN).serve()
    assert b"HTTP/1.1 400 Bad Request" in served.received
    assert served.outcome is Outcome.LINGER
    served = prepare(returning(body), fill, None, **OPEN).serve()
    assert served.outcome is Outcome.CLOSED
    assert b"HTTP/1.1 400" not in served.received


def test_a_refused_client_that_has_gone_is_let_go(prepare):
    """Nobody is left to be told."""

    def send_and_close(current):
        current.client.sendall(b"garbage\r\n\r\n")
        current.client.close()

    assert run(prepare(returning(), send_and_close, **OPEN)).access[0].status == "400 Bad Request"


# The worker's end.


def test_who_has_sent_nothing_is_idle(prepare):
    """A worker that is to end, or that needs room, may close such a connection."""
    served = prepare(returning(b"hello"), get(), **OPEN)
    assert served.connection.is_idle
    while not served.access or served.connection.phase is not Phase.READING:
        served.turn()
    assert served.connection.is_idle
    assert served.connection.make_way()
    assert served.outcome is Outcome.CLOSED


def test_whoever_has_sent_something_meanwhile_does_not_make_way(prepare):
    """Its request must not be dropped."""
    served = prepare(returning(b"hello"), **OPEN)
    served.client.sendall(get())
    assert served.connection.is_idle
    assert not served.connection.make_way()
    assert served.serve().body == b"hello"


@pytest.mark.parametrize("octets", [b"GET / HT", post(length=4), post(length=4) + b"abc"])
def test_a_slow_request_makes_way_with_a_408(prepare, octets):
    """Its client is told so."""
    served = prepare(echo, octets, **OPEN)
    while served.connection._parser.is_idle:
        served.turn()
    assert served.connection.make_way()
    assert served.is_forgotten
    served.take()
    assert served.status == 408
    assert b"others who wait" in served.body
    assert served.outcome is Outcome.LINGER


@pytest.mark.parametrize(("taken", "makes_way"), [(0, True), (100_000, False)])
def test_a_slow_reader_makes_way(prepare, log, taken, makes_way):
    """Unless it has taken as much as it should in the meantime; nobody is blamed."""
    served = prepare(returning(bytes(3_000_000)), get(), **OPEN)
    while served.connection.phase is not Phase.SENDING:
        served.turn()
    if taken:
        assert len(served.client.recv(taken)) > 20_000
    uptake = served.connection.uptake
    lag = uptake.lag(uptake.since + SLOW_PATIENCE)
    assert (lag is not None) is makes_way
    if lag is not None:
        served.connection.break_off(lag.error)
    if served.started:
        served.turn()
    assert served.is_forgotten is makes_way
    assert log("ERROR") == []


def test_a_request_that_has_begun_is_not_idle(prepare):
    """A head or a body on its way is in flight."""
    for octets in (b"GET / HT", post(length=4)):
        served = prepare(echo, octets, **OPEN)
        while served.connection._parser.is_idle:
            served.turn()
        assert not served.connection.is_idle


def test_what_was_pipelined_is_answered_though_the_worker_is_to_end(prepare):
    """Its octets have come, so it must not be dropped; the last response says that it is the last."""
    persistence = Persistence(is_allowed=True)
    served = prepare(returning(b"hello"), get("/1") + get("/2") + get("/3"), persistence=persistence)
    persistence.end()
    received = served.serve().received
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"Connection: close") == 1
    assert received.index(b"Connection: close") > received.rindex(b"HTTP/1.1 200 OK")


def test_an_endless_pipeline_ends_with_the_worker(prepare):
    """The client has had its share."""
    persistence = Persistence(is_allowed=True)
    served = prepare(returning(b"hello"), get() * 200, persistence=persistence)
    persistence.end()
    assert served.serve().received.count(b"HTTP/1.1 200 OK") == nonblocking.MOST_OWED + 1


def test_a_request_that_nobody_has_begun_can_be_turned_away(prepare):
    """With 503: the client may try again, at another worker."""
    calls = []
    served = prepare(lambda environ, start_response: calls.append(environ), get(), **OPEN)
    served.start = lambda connection: False
    while served.connection.phase is not Phase.RUNNING:
        served.turn()
    served.connection.turn_away(ProtocolError(503, "It ends"))
    served.take()
    assert served.received.startswith(b"HTTP/1.1 503 ")
    assert b"Connection: close" in served.received
    assert not calls
    assert served.access[0].status == "503 Service Unavailable"
    assert served.progress.told[-1][2] is True


def test_each_refusal_is_counted_in_the_access_log(visit):
    """With the request if its head was right, without it if not."""
    served = visit(echo, post(length=5), None, limits=Limits(), **OPEN)
    assert served.access[0].request.method == "POST"
    assert served.access[0].status == "408 Request Timeout"
    served = visit(echo, b"garbage\r\n\r\n", **OPEN)
    assert served.access[0].request is None
    assert MOST_IN_A_ROW == 16
