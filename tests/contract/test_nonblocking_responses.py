"""The non-blocking shell: responses, to clients that are slow or gone, from memory and from files."""

import errno
import os
import select
import socket
import tempfile

import pytest

from pyfork.connection import nonblocking, outgoing
from pyfork.connection.blocking import Outcome
from pyfork.connection.context import READABLE, WRITABLE, Persistence
from pyfork.connection.host import MOST_IN_A_ROW, Phase
from pyfork.connection.outgoing import MOST_AT_ONCE, MOST_KEPT
from pyfork.errors import QuitNow
from tests.contract.visits import PLAIN, get, open_descriptors, returning

OPEN = {"persistence": Persistence(is_allowed=True)}
BODY = os.urandom(3_000_000)


@pytest.fixture
def shell(way):
    return way


def drain(current):
    current.take()


def reset(current):
    current.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    current.client.close()


def run(served):
    """Serve a client that may have closed its socket."""
    while not served.is_forgotten:
        served.turn()
    return served


class Blocks:
    """An iterable that counts: how often it was asked, and closed."""

    def __init__(self, *blocks):
        self.blocks = iter(blocks)
        self.asked = 0
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.asked += 1
        block = next(self.blocks)
        if isinstance(block, BaseException):
            raise block
        return block

    def close(self):
        self.closed += 1

    def __call__(self, environ, start_response):
        start_response("200 OK", PLAIN)
        return self


# Slow clients.


def test_the_application_is_not_asked_for_more_than_the_client_takes(prepare):
    """One block is kept; the next is asked for when it has gone."""
    blocks = Blocks(*[bytes(1_000_000)] * 4)
    asked = []

    def take(current):
        if current.connection.phase is Phase.READING:
            return False
        asked.append(blocks.asked)
        assert current.connection.phase is Phase.SENDING
        assert current.connection.watched == WRITABLE
        assert current.connection._outgoing.octets <= 1_000_100
        current.take()
        return True

    served = prepare(blocks, get(), *[take] * 200, **OPEN).serve()
    assert len(served.received) > 4_000_000
    assert asked[0] == 1
    assert asked == sorted(asked)
    assert set(asked) >= {1, 2, 3, 4}
    assert blocks.closed == 1
    assert served.progress.told[-1] == ("end", 4_000_000, False)
    assert served.registrations == [WRITABLE, READABLE] * (len(served.registrations) // 2)


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
@pytest.mark.parametrize(
    "blocks", [[BODY], [BODY[:1000], BODY[1000:]], [BODY[at : at + 9999] for at in range(0, len(BODY), 9999)]]
)
def test_a_slow_client_gets_all_of_it(visit, family, blocks):
    """From a list or from an iterable, and goes on to its next request."""
    served = visit(returning(*blocks), get(), *[drain] * 500, family=family, **OPEN)
    assert served.body == BODY
    assert len(served.access) == 1
    served = visit(Blocks(*blocks), get(headers="Connection: close\r\n"), *[drain] * 500, family=family)
    assert len(served.body) > len(BODY)
    assert served.access[0].octets == len(BODY)


def test_a_stream_is_sent_as_it_is_made(prepare):
    """Each block before the next is asked for."""
    seen = []

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        for number in range(3):
            current[0].take()
            seen.append(current[0].body)
            yield b"%d" % number

    for version, bodies in (("1.1", [b"", b"1\r\n0\r\n", b"1\r\n0\r\n1\r\n1\r\n"]), ("1.0", [b"", b"0", b"01"])):
        seen.clear()
        current = [prepare(application, get(version=version))]
        current[0].serve()
        assert seen == bodies


@pytest.mark.parametrize("way", ["at once"], indirect=True)
@pytest.mark.parametrize("block", [b"x", b"", bytes(100_000)])
def test_a_stream_without_end_leaves_the_others_their_turn(prepare, block):
    """Sixteen blocks at a time, however fast the client is; and its time does not run in between."""
    blocks = Blocks(*[block] * 1000)
    served = prepare(blocks, get())
    served.turn()
    before = 0
    while not served.is_forgotten and blocks.asked < 300:
        served.turn()
        assert blocks.asked - before <= MOST_IN_A_ROW
        assert not served.progress.is_inside
        before = blocks.asked
        served.take()
    assert blocks.asked >= 300
    reset(served)
    run(served)
    assert blocks.closed == 1


def test_write_never_waits(visit):
    """What the client does not take is kept; beyond some of it in one file, with few descriptors."""
    before = len(open_descriptors())
    most = []

    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Length", str(len(BODY)))])
        for at in range(0, len(BODY), 1000):
            write(BODY[at : at + 1000])
        most.append(len(open_descriptors()) - before)
        return []

    served = visit(application, get(), *[drain] * 200, **OPEN)
    assert served.body == BODY
    assert most[0] <= 4  # the connection, the file and its region
    assert served.progress.told[-1] == ("end", len(BODY), False)


def test_write_keeps_so_much_in_memory(prepare):
    """And returned blocks follow behind it."""
    kept = []

    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Length", str(2 * len(BODY) + 3))])
        write(BODY)
        write(BODY)
        kept.append(current.connection._outgoing.octets)
        return [b"end"]

    current = prepare(application, get(), *[drain] * 300, **OPEN)
    assert current.serve().body == BODY + BODY + b"end"
    assert kept[0] <= MOST_KEPT


def test_what_is_written_to_a_client_that_keeps_up_again_goes_out_at_once(prepare):
    """It was slow for a moment; what comes then does not wait for the next write()."""
    seen = []

    def application(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(BODY)
        for number in range(100):
            write(b"%03d" % number)
            current.take()
            seen.append(current.received.endswith(b"3\r\n%03d\r\n" % number))
        return []

    current = prepare(application, get(), *[drain] * 10, **OPEN)
    assert current.serve().received.endswith(b"3\r\n099\r\n0\r\n\r\n")
    assert seen[-50:] == [True] * 50


@pytest.mark.parametrize("is_caught", [True, False])
def test_a_full_disk_breaks_a_written_response_off(prepare, monkeypatch, log, is_caught):
    """Nothing may follow the gap, and the client must not take it for the whole."""

    class FullDisk:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())

    def application(environ, start_response):
        write = start_response("200 OK", PLAIN)
        for _ in range(3):
            try:
                write(BODY)
            except OSError:
                if not is_caught:
                    raise
        return [b"the end"]

    served = prepare(application, get(), *[drain] * 200, family=socket.AF_INET, **OPEN)
    run(served)
    served.client.settimeout(30)
    served.take()
    assert not served.received.endswith(b"0\r\n\r\n")
    assert b"the end" not in served.received
    assert any("No space left on device" in line for line in log("ERROR"))
    assert len(served.access) == 1


def test_a_client_that_takes_nothing_is_left(visit, log):
    """For write_timeout. The application is closed, and nobody is blamed."""
    blocks = Blocks(bytes(3_000_000), b"more")
    served = visit(blocks, get(), None, **OPEN)
    assert (blocks.asked, blocks.closed) == (1, 1)
    assert served.waits.count(WRITABLE) == 1
    assert served.outcome is Outcome.CLOSED
    assert log("ERROR") == []
    assert served.progress.told[-1][2] is False


def test_a_client_that_takes_little_is_served(prepare):
    """The socket is not writable before a third of its buffer is free; the client reads all the same."""

    def take_some(current):
        current.received += current.client.recv(100_000)
        return select.select([], [current.server], [], 0)[1] != []

    served = prepare(returning(BODY), get(), *[take_some] * 1000, **OPEN)
    served.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 500_000)
    assert served.serve().body == BODY


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_client_may_go_at_any_stage(prepare, log, count):
    """close() is called once, whatever happens, and nothing is left open."""
    blocks = Blocks(*[bytes(1_000_000)] * 4)
    served = run(prepare(blocks, get(), *[drain] * count, reset, family=socket.AF_INET, **OPEN))
    assert blocks.closed == 1
    assert served.outcome is Outcome.CLOSED
    assert log("ERROR") == []
    assert served.progress.told[-1][2] is False
    assert len(served.access) == 1


# Applications that fail.


@pytest.mark.parametrize("blocks", [[ValueError("why")], [b"", ValueError("why")]])
def test_a_failure_before_the_head_gives_500(visit, log, blocks):
    """The log has the reason, the client does not."""
    application = Blocks(*blocks)
    served = visit(application, get(), **OPEN)
    assert served.status == 500
    assert application.closed == 1
    assert b"why" not in served.received
    assert "ValueError: why" in log.text


@pytest.mark.parametrize(("version", "is_slow"), [("1.1", False), ("1.0", False), ("1.1", True), ("1.0", True)])
def test_a_failure_behind_the_head_breaks_the_connection_off(prepare, log, version, is_slow):
    """The client can tell: the last chunk is missing, or the connection is reset where its end would say "complete"."""
    application = Blocks(BODY if is_slow else b"begun", ValueError("why"))
    served = prepare(application, get(version=version), *[drain] * 100, family=socket.AF_INET, **OPEN)
    run(served)
    served.client.settimeout(30)
    served.take()
    assert not served.received.endswith(b"0\r\n\r\n")
    assert served.is_reset == (version == "1.0")
    assert application.closed == 1
    assert "ValueError: why" in log.text
    assert served.progress.told[-1][2] is True


@pytest.mark.parametrize(("length", "level"), [("3", "WARNING"), ("7", "ERROR")])
def test_a_wrong_length_is_told(visit, log, length, level):
    """Too much is cut and the connection goes on; with too little it ends."""
    served = visit(returning(b"hello", headers=[("Content-Length", length)]), get(), get(), **OPEN)
    assert served.received.count(b"HTTP/1.1 200 OK") == (2 if length == "3" else 1)
    assert served.body.startswith(b"hel")
    assert len(log(level)) == (2 if length == "3" else 1)


@pytest.mark.parametrize("request_octets", [get(method="HEAD"), get("/204"), get("/304")])
def test_some_responses_have_no_body(visit, request_octets):
    """Nothing follows the head but the next response."""

    def application(environ, start_response):
        status = {"/204": "204 No Content", "/304": "304 Not Modified"}.get(environ["PATH_INFO"], "200 OK")
        return returning(b"hello", status=status)(environ, start_response)

    served = visit(application, request_octets, request_octets, **OPEN)
    assert b"hello" not in served.received
    assert served.received.count(b"HTTP/1.1 ") == 2
    assert served.received.endswith(b"\r\n\r\n")


def test_quit_now_leaves_the_shell(prepare):
    """The worker is to end at once; it is no exception of the application."""

    def application(environ, start_response):
        raise QuitNow

    served = prepare(application, get(), **OPEN)
    with pytest.raises(QuitNow):
        served.serve()
    assert served.access == []


def test_a_failing_close_is_logged(visit, log):
    """The response has been sent, and stays as it is; the connection goes on."""

    class Failing(list):
        def close(self):
            raise ValueError("why")

    served = visit(lambda environ, start: start("200 OK", PLAIN) and Failing([b"hello"]), get(), get(), **OPEN)
    assert served.received.count(b"hello") == 2
    assert "ValueError in close(): GET /" in log("ERROR")[0]


# Files.


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def send_file(path):
    """An application that sends the file; it closes it in close(), and keeps what it opened in ``opened``."""

    def application(environ, start_response):
        file = path.open("rb")
        application.opened.append(file)
        file.seek(1000)
        start_response("200 OK", [*PLAIN, *application.headers])
        return environ["wsgi.file_wrapper"](file)

    application.opened = []
    application.headers = []
    yield application
    assert all(file.closed for file in application.opened)


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_file_is_sent_by_the_kernel(visit, send_file, monkeypatch, family):
    """In as many parts as the client takes it, and not too much in one turn."""
    calls = []
    sendfile = os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *arguments: calls.append(arguments) or sendfile(*arguments))
    served = visit(send_file, get(), *[drain] * 1000, get(), *[drain] * 1000, family=family, **OPEN)
    assert served.received.count(b"Content-Length: 2999000") == 2
    assert served.received.count(BODY[1000:]) == 2
    assert all(count <= MOST_AT_ONCE for _, _, _, count in calls)
    assert [record.octets for record in served.access] == [2_999_000] * 2


def test_a_part_of_a_file_is_sent(visit, send_file, log):
    """Up to the Content-Length; HEAD gets none of it."""
    send_file.headers = [("Content-Length", "5")]
    served = visit(send_file, get(), get(method="HEAD"), **OPEN)
    assert served.received.count(BODY[1000:1005]) == 1
    assert log("WARNING") == []


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS"])
def test_a_file_system_without_sendfile_is_read(visit, send_file, monkeypatch, name):
    """The kernel says so at the first attempt."""

    def refuse(*_):
        raise OSError(getattr(errno, name), "not here")

    monkeypatch.setattr(os, "sendfile", refuse)
    assert visit(send_file, get(), *[drain] * 200, **OPEN).body == BODY[1000:]


@pytest.mark.parametrize("has_sendfile", [True, False])
def test_a_file_that_shrinks_breaks_the_connection_off(visit, send_file, path, monkeypatch, log, has_sendfile):
    """The client was promised more."""

    def refuse(*_):
        raise OSError(errno.EINVAL, "not here")

    def shrink(current):
        path.write_bytes(b"")
        current.take()

    if not has_sendfile:
        monkeypatch.setattr(os, "sendfile", refuse)
    served = visit(send_file, get(), shrink, *[drain] * 200, **OPEN)
    assert len(served.body) < len(BODY)
    assert "shorter while it was sent" in log("ERROR")[0]
    assert served.progress.told[-1][2] is True


@pytest.mark.parametrize("culprit", ["sendfile", "dup"])
def test_a_file_that_cannot_be_sent_is_told(visit, send_file, monkeypatch, log, culprit):
    """A broken disk, or no descriptor left, is not the client's fault; the file is closed, and the others are served."""

    def break_down(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, culprit, break_down)
    served = visit(send_file, get(), **OPEN)
    assert len(log("ERROR")) == 1
    assert "Input/output error" in log.text
    assert served.progress.told[-1][2] is True
    assert BODY[1000:1010] not in served.received


def test_a_client_that_leaves_within_a_file(prepare, send_file, log):
    """Is no error; the descriptors are closed."""
    served = run(prepare(send_file, get(), drain, reset, family=socket.AF_INET, **OPEN))
    assert served.outcome is Outcome.CLOSED
    assert log("ERROR") == []


# What the server itself fails over.


@pytest.mark.parametrize("stage", ["body", "soon", "sending", "ended"])
def test_what_is_abandoned_leaves_nothing_open(prepare, stage):
    """The worker calls it when our own code has raised: files, the application's close() and the figures."""
    blocks = Blocks(*[b""] * 100, *[bytes(1_000_000)] * 3)
    served = prepare(
        blocks, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n", *[bytes(100_000)] * 7, **OPEN
    )
    reached = {
        "body": lambda: served.connection._body is not None and served.connection._body.octets > 600_000,
        "soon": lambda: bool(served.sooner),
        "sending": lambda: served.connection.phase is Phase.SENDING,
        "ended": lambda: served.is_forgotten,
    }[stage]
    while not reached():
        served.turn()
    served.connection.abandon()
    assert served.connection.phase is Phase.ENDED
    assert served.server.fileno() == -1
    assert blocks.closed == (0 if stage == "body" else 1)
    ends = [told for told in served.progress.told if told[0] == "end"]
    assert len(ends) == (0 if stage == "body" else 1)


def test_one_turn_is_bounded():
    """The numbers that the head of the module promises."""
    assert nonblocking.MOST_HELD <= outgoing.MOST_KEPT <= MOST_AT_ONCE
