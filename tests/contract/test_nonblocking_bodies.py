"""The non-blocking shell: a request's body, which is there before the application runs."""

import errno
import os
import socket
import tempfile

import pytest

from pyfork.connection.blocking import Outcome
from pyfork.connection.context import Persistence
from pyfork.connection.host import Phase
from pyfork.connection.incoming import MOST_IN_MEMORY
from pyfork.http1.limits import Limits
from tests.contract.visits import PLAIN, echo, get, post, returning

OPEN = {"persistence": Persistence(is_allowed=True)}
CHUNKED = "Transfer-Encoding: chunked\r\n"
EXPECT = "Expect: 100-continue\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def shell(way):
    return way


@pytest.fixture
def files(monkeypatch):
    """The temporary files that were made."""
    made = []
    make = tempfile.TemporaryFile

    def spy(*arguments):
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", spy)
    return made


@pytest.mark.parametrize("size", [0, 1, 65536, MOST_IN_MEMORY, MOST_IN_MEMORY + 1, 2_000_000])
def test_bodies_are_whole(visit, files, size):
    """With a length or in chunks, in whatever pieces they come; the large ones in a file that is gone afterwards."""
    body = os.urandom(size)

    def measure(environ, start_response):
        octets = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN)
        return [b"same" if octets == body else b"different"]

    pieces = [body[start : start + 50_000] for start in range(0, size, 50_000)]
    chunks = [b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    moves = [post(length=size), *pieces, get(headers=CHUNKED, method="POST"), *chunks, b"0\r\nTrailer: x\r\n\r\n"]
    served = visit(measure, *moves, **OPEN)
    assert served.received.count(b"same") == 2
    assert len(files) == (2 if size > MOST_IN_MEMORY else 0)
    assert all(file.closed for file in files)
    assert served.outcome is Outcome.CLOSED


def test_a_body_may_come_octet_by_octet(visit):
    """Head and body."""
    octets = post(b"body") + get(headers=CHUNKED, method="POST") + b"4\r\nbody\r\n0\r\n\r\n"
    served = visit(echo, *(octets[index : index + 1] for index in range(len(octets))), **OPEN)
    assert served.received.count(b"\r\n\r\nbody") == 2


def test_the_application_runs_when_all_is_there(visit):
    """Not before; and its time does not run until then."""
    seen = []

    def application(environ, start_response):
        seen.append(current_moves())
        return echo(environ, start_response)

    def current_moves():
        return len(seen)

    served = visit(
        application, post(length=2), lambda _: seen.append("first"), b"a", lambda _: seen.append("second"), b"b"
    )
    assert seen == ["first", "second", 2]
    assert served.body == b"ab"
    assert served.progress.told == [("begin", "POST", b"/"), "enter", ("end", 2, False)]


def test_lines_are_read_from_a_file(visit, files):
    """wsgi.input over a temporary file is a file like any other."""
    lines = [b"%06d\n" % number for number in range(100_000)]

    def application(environ, start_response):
        body = environ["wsgi.input"]
        same = body.readline() == lines[0] and body.read(7) == lines[1] and list(body) == lines[2:]
        start_response("200 OK", PLAIN)
        return [b"%d" % same]

    assert (
        visit(
            application, post(length=700_000), *[b"".join(lines[at : at + 5000]) for at in range(0, 100_000, 5000)]
        ).body
        == b"1"
    )
    assert len(files) == 1


# Those that are not whole.


def leave(current):
    current.client.shutdown(socket.SHUT_WR)


def test_a_body_that_stops_is_answered_with_408(visit, files, log):
    """The application never hears of it. Its file is gone."""
    served = visit(
        echo,
        post(length=MOST_IN_MEMORY + 9),
        bytes(200_000),
        bytes(200_000),
        bytes(MOST_IN_MEMORY - 399_999),
        None,
        **OPEN,
    )
    assert served.status == 408
    assert served.outcome is Outcome.LINGER
    assert [file.closed for file in files] == [True]
    assert log("ERROR") == []
    assert "408" in log("INFO")[0]
    assert served.access[0].status == "408 Request Timeout"
    assert served.progress.told == []


def test_a_client_that_leaves_within_its_body_takes_the_file_along(prepare, files, log):
    """A descriptor left open would be one for each such client."""

    def reset(current):
        current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        current.client.close()

    pieces = [bytes(100_000)] * 6
    served = prepare(echo, post(length=2_000_000), *pieces, reset, family=socket.AF_INET, **OPEN)
    while not served.is_forgotten:
        served.turn()
    assert [file.closed for file in files] == [True]
    assert log("ERROR") == []
    served = prepare(echo, post(length=2_000_000), *pieces, leave, **OPEN).serve()
    assert served.status == 400
    assert [file.closed for file in files] == [True, True]


@pytest.mark.parametrize(
    ("min_rate", "expected"),
    [
        (0, [8, 8, 8, 8, 8, 8]),  # ``body_timeout`` from the last octets on, though they are only a chunk's frame
        (1, [8, 1, 1, 3, 4, 1]),  # as many seconds as octets have come of the content: frames bring nothing
        (0.1, [8, 1, 1, 8, 8, 1]),  # and no more than ``body_timeout``
    ],
)
def test_each_wait_has_its_time(prepare, now, min_rate, expected):
    """Behind a kept-alive request as well. Each move comes when one second is left."""
    lengths = []

    def note(octets):
        def move(current):
            if current.connection.phase is Phase.BODY:
                lengths.append(round(current.connection.deadline - now))
                current.connection.deadline = min(current.connection.deadline, now + 1)
            current.client.sendall(octets)

        return move

    head = get(headers=CHUNKED, method="POST")
    moves = [get(), head, note(b"5;a"), note(b"=b\r\n"), note(b"ab"), note(b"cde\r\n"), note(b"0\r\n"), note(b"\r\n")]
    served = prepare(echo, *moves, min_rate=min_rate, **OPEN).serve()
    assert served.received.endswith(b"abcde")
    assert lengths == expected


@pytest.mark.parametrize("octets", [b"x\r\n", b"5\r\nabcdefg\r\n", b"\r\n"])
def test_a_broken_body_is_answered_with_400(visit, octets):
    """And the application never hears of it."""
    served = visit(echo, get(headers=CHUNKED, method="POST"), octets, **OPEN)
    assert served.status == 400
    assert served.progress.told == []
    assert visit(echo, get(headers=CHUNKED, method="POST") + octets, **OPEN).status == 400
    assert visit(echo, post(length=5), leave, **OPEN).status == 400


def test_a_body_beyond_the_limit_is_answered_with_413(visit):
    """Chunks do not tell their sum beforehand."""
    head = get(headers=CHUNKED, method="POST")
    served = visit(echo, head, b"6\r\nabcdef\r\n", b"6\r\nabcdef\r\n", limits=Limits(body=10), **OPEN)
    assert served.status == 413
    assert served.outcome is Outcome.LINGER


# Expect: 100-continue.


def test_the_client_is_told_to_go_on(visit):
    """Once; before the application runs."""
    served = visit(echo, post(headers=EXPECT, length=4), b"ab", b"cd", **OPEN)
    assert served.received.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n")
    assert served.received.endswith(b"abcd")
    assert served.received.count(CONTINUE) == 1


def test_a_breach_is_refused_without_100(visit):
    """The client keeps its body."""
    served = visit(echo, post(headers=EXPECT, length=11), limits=Limits(body=10), **OPEN)
    assert served.status == 413
    assert CONTINUE not in served.received


@pytest.mark.parametrize(
    "moves",
    [
        [post(b"abcd", EXPECT)],
        [post(b"ab", EXPECT, 4), b"cd"],
        [get(headers=CHUNKED + EXPECT, method="POST") + b"4\r\nabcd\r\n0\r\n\r\n"],
    ],
)
def test_a_client_that_did_not_wait_needs_no_100(visit, moves):
    """RFC 9110 section 10.1.1."""
    served = visit(echo, *moves, **OPEN)
    assert CONTINUE not in served.received
    assert served.body == b"abcd"


def test_an_empty_body_needs_no_100(visit):
    """There is nothing to go on with."""
    assert CONTINUE not in visit(echo, post(b"", EXPECT), **OPEN).received


def test_a_client_that_is_told_to_go_on_may_have_gone(prepare):
    """The next read says so."""

    def send_and_close(current):
        current.client.sendall(post(headers=EXPECT, length=4))
        current.client.close()

    served = prepare(echo, send_and_close, **OPEN)
    while not served.is_forgotten:
        served.turn()
    assert served.progress.told == []


# The disk.


class FullDisk:
    """A temporary file whose disk is full: what is written stays in its buffer, and close() tries again."""

    closed = False

    def __init__(self, room):
        self.room = room

    def write(self, data):
        self.room -= len(data)
        self.flush()

    def writelines(self, lines):
        self.write(b"".join(lines))

    def flush(self):
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def seek(self, position):
        self.flush()

    def close(self):
        self.closed = True
        self.flush()


@pytest.mark.parametrize("room", [0, MOST_IN_MEMORY + 100_000])
def test_a_full_disk_is_answered_with_500(visit, monkeypatch, log, room):
    """And logged, with the directory. The client can read the answer: the connection is not reset."""
    disk = FullDisk(room)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: disk)
    served = visit(echo, post(length=2_000_000), *[bytes(100_000)] * 12, **OPEN)
    assert served.status == 500
    assert served.outcome is Outcome.LINGER
    (line,) = log("ERROR")
    assert "No space left on device" in line
    assert tempfile.gettempdir() in line
    assert disk.closed
    assert served.access[0].status == "500 Internal Server Error"


def test_a_file_that_cannot_be_made_is_answered_with_500(visit, monkeypatch, log):
    """No descriptor is left, say."""

    def fail():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    served = visit(echo, post(length=2_000_000), *[bytes(100_000)] * 12, **OPEN)
    assert served.status == 500
    assert "Too many open files" in log("ERROR")[0]


def test_an_unread_body_costs_nothing(visit, files):
    """It has been read from the client, so the connection goes on."""
    served = visit(returning(b"no"), post(length=600_000), *[bytes(100_000)] * 6, get(), **OPEN)
    assert served.received.count(b"HTTP/1.1 200 OK") == 2
    assert [file.closed for file in files] == [True]
