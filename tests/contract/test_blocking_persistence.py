"""The blocking shell with connections that persist: what comes behind a request, and how long is waited for it."""

import pytest

from pyfork.connection import blocking
from pyfork.connection.blocking import MOST_OWED, BlockingConnection, Outcome
from pyfork.connection.context import Persistence
from pyfork.http1.limits import MAX_FEED, Limits
from tests.contract.visits import PEER, PLAIN, Visit, echo, get, post, returning

OPEN = {"persistence": Persistence(is_allowed=True)}


class TimedVisit(Visit):
    """Keeps how long the shell would have waited."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.lengths = []

    def wait(self, connection, events, deadline):
        self.lengths.append(round(deadline - blocking.monotonic()))
        return super().wait(connection, events, deadline)


@pytest.fixture
def shell(now):
    """The blocking shell, and its patience."""
    return TimedVisit


def paths(environ, start_response):
    """Answer with the path."""
    return returning(environ["PATH_INFO"].encode())(environ, start_response)


def test_pipelined_requests_are_answered_in_order(visit):
    """Each with its own; a head may come in two feeds."""
    count = 3 * MAX_FEED // 2 // len(get("/100"))
    pipelined = b"".join(get(f"/{100 + number}") for number in range(count))
    served = visit(paths, pipelined, *[Visit.take] * 50, **OPEN)
    positions = [served.received.index(b"/%d" % (100 + number)) for number in range(count)]
    assert positions == sorted(positions)
    assert served.outcome is Outcome.CLOSED


def test_nothing_is_read_ahead_of_a_request_in_work(prepare):
    """What a client pipelines beyond a feed stays in the kernel."""
    unread = []

    def application(environ, start_response):
        unread.append(current.server.recv(1 << 20))
        return returning(b"hello")(environ, start_response)

    current = prepare(application, get() + b"x" * MAX_FEED)
    current.serve()
    assert unread == [b"x" * len(get())]


def test_the_idle_wait_is_keep_alive_and_a_heads_is_its_own(prepare):
    """The first request has the time of a head, and so has the next from its first octet on; then it is a 408."""
    served = prepare(returning(b"hello"), get()[:9], get()[9:], b"GET /", b"x", **OPEN).serve()
    assert served.lengths == [7, 7, 5, 7, 7]
    assert served.received.count(b"HTTP/1.1 200 OK") == 1
    assert served.received.count(b"HTTP/1.1 408 ") == 1
    assert served.outcome is Outcome.LINGER


def test_an_idle_client_is_left_in_silence(visit):
    """Its time is over; nothing was asked, nothing is answered."""
    served = visit(returning(b"hello"), get(), **OPEN)
    assert served.lengths == [7, 5]
    assert served.received.endswith(b"hello")
    assert served.outcome is Outcome.CLOSED


def test_what_came_at_the_last_moment_is_served(visit):
    """A busy worker learns late that the time is over: octets that are in the kernel by then came in time."""
    served = visit(paths, get("/one"), lambda current: current.client.sendall(get("/two")) or False, **OPEN)
    assert served.received.endswith(b"/two")
    assert served.lengths == [7, 5, 5]


def test_a_part_of_a_head_at_the_last_moment_has_no_more_time(visit):
    """It has had all of it."""
    served = visit(paths, b"GET ", lambda current: current.client.sendall(b"/") or False)
    assert served.status == 408
    assert served.lengths == [7, 7]


@pytest.mark.parametrize(
    ("request_head", "is_kept", "said"),
    [
        (get(), True, None),
        (get(headers="Connection: close\r\n"), False, b"Connection: close"),
        (get(version="1.0"), False, b"Connection: close"),
        (get(headers="Connection: keep-alive\r\n", version="1.0"), True, b"Connection: keep-alive"),
    ],
)
def test_client_and_server_agree_on_the_connection(visit, request_head, is_kept, said):
    """RFC 9112, section 9.3."""
    served = visit(returning(b"hello"), request_head, get(), **OPEN)
    assert served.received.count(b"hello") == (2 if is_kept else 1)
    first = served.received.partition(b"\r\n\r\n")[0]
    assert (b"Connection" in first) == (said is not None)
    assert said is None or said in first


def test_a_worker_that_drains_says_so_with_the_next_response(prepare):
    """And closes then."""
    persistence = Persistence(is_allowed=True)

    def drain(current):
        persistence.is_allowed = False
        current.client.sendall(get())

    served = prepare(returning(b"hello"), get(), drain, get(), persistence=persistence).serve()
    assert served.received.count(b"Connection: close") == 1
    assert served.received.count(b"hello") == 2


@pytest.mark.parametrize("fed", [10, MAX_FEED])
def test_a_worker_that_drains_answers_what_has_come(prepare, fed):
    """It says so with the last: what is pipelined behind that would be lost. The kernel may have some of it."""
    persistence = Persistence(is_allowed=True)

    def drain(current):
        persistence.end()
        first = get("/0", headers="X: \r\n")
        first = first.replace(b"X: ", b"X: " + b"x" * (fed - len(first)))
        current.client.sendall(first + get("/1") + get("/2"))

    served = prepare(paths, get(), drain, persistence=persistence, limits=Limits(field_size=MAX_FEED)).serve()
    assert served.received.count(b"Connection: close") == 1
    assert served.received.rindex(b"Connection: close") > served.received.index(b"/1")
    assert served.received.endswith(b"/2")
    assert served.outcome is Outcome.CLOSED


def test_a_worker_that_drains_answers_no_endless_row(prepare):
    """A client that pipelines on and on is told."""
    served = prepare(paths, get() * 100, persistence=Persistence(is_allowed=False, is_retiring=True)).serve()
    assert served.received.count(b"HTTP/1.1 200 OK") == MOST_OWED + 1
    assert served.received.count(b"Connection: close") == 1
    assert served.outcome is Outcome.LINGER


def test_a_worker_that_drains_looks_behind_a_body(prepare):
    """What is left of a body is no request; the application's head is the moment to look."""

    def hasty(environ, start_response):
        start_response("200 OK", PLAIN)
        return [environ["wsgi.input"].read()]

    persistence = Persistence(is_allowed=False, is_retiring=True)
    body = b"x" * 2 * MAX_FEED
    served = prepare(echo, post(body) + post(b"last"), persistence=persistence).serve()
    assert served.received.count(b"Connection: close") == 1
    assert served.received.endswith(b"last")
    served = prepare(hasty, post(body) + get(), persistence=persistence).serve()
    assert served.received.count(b"HTTP/1.1 200 OK") == 1
    assert served.received.count(b"Connection: close") == 1


def test_the_worker_can_see_who_is_idle_and_end_who_is_not(prepare):
    """A connection is idle until the first octet of a request, and again behind its response."""
    seen = []

    def application(environ, start_response):
        seen.append(connection.is_idle)
        return returning(b"hello")(environ, start_response)

    def note(octets):
        def move(current):
            seen.append(connection.is_idle)
            current.client.sendall(octets)

        return move

    def end(current):
        connection.is_last = True
        note(get())(current)

    current = prepare(application, note(b"GET / "), note(get()[6:]), end, note(get()), **OPEN)
    connection = BlockingConnection(current.server, PEER, current.context)
    assert connection.serve() is Outcome.CLOSED
    assert seen == [True, False, False, True, False]


def test_a_body_that_is_read_slowly_is_progress(visit):
    """The client is faster than the application and never makes it wait; each read begins a new stretch."""

    def application(environ, start_response):
        while environ["wsgi.input"].read(65536):
            pass
        return returning(b"hello")(environ, start_response)

    served = visit(application, post(b"x" * 150_000))
    assert served.progress.told.count("leave") == 0
    assert served.progress.told.count("enter") > 2


def test_others_have_their_turn_between_blocks(visit):
    """A client that takes, or gives, all at once makes nobody wait; the worker may have others."""
    turns = []

    def stream(environ, start_response):
        start_response("200 OK", PLAIN)
        return (block for block in (b"one", b"two", b"three"))

    visit(stream, get(), give_way=lambda: turns.append("block"))
    assert len(turns) >= 3
    turns.clear()
    visit(echo, post(b"x" * 150_000), give_way=lambda: turns.append("read"))
    assert len(turns) >= 2
