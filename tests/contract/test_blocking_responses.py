"""The blocking shell: responses, to clients that are slow or gone, from memory and from files."""

import errno
import io
import os
import select
import socket

import pytest

from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import WRITABLE
from tests.contract.visits import PEER, PLAIN, get, returning

# The response's framing.


def test_too_much_is_cut_and_logged(visit, log):
    """The client reads exactly what it was promised."""
    served = visit(returning(b"hello", headers=[("Content-Length", "3")]), get("/x"))
    assert served.body == b"hel"
    (line,) = log("WARNING")
    assert "2 octets were cut" in line
    assert "GET /x" in line
    assert served.access[0].octets == 3


def test_too_little_is_logged_and_counted_as_an_error(visit, log):
    """The connection ends early, so the client can tell."""
    served = visit(returning(b"hello", headers=[("Content-Length", "7")]), get("/x"))
    assert served.body == b"hello"
    assert served.is_ended
    (line,) = log("ERROR")
    assert "2 octets are missing" in line
    assert served.progress.told[-1] == ("end", 5, True)


def test_hop_by_hop_headers_are_dropped_with_one_warning(visit, log):
    """One for each name and worker; ``Connection: close`` is no breach."""
    warned = set()
    headers = [("Connection", "close"), ("Keep-Alive", "5"), ("Transfer-Encoding", "chunked"), ("keep-alive", "6")]
    for _ in range(2):
        served = visit(returning(b"a", headers=headers), get(), warned_fields=warned)
        assert served.head.count(b"Connection:") == 1
        assert b"eep-alive" not in served.head.lower().replace(b"connection", b"")
        assert b"Transfer-Encoding" not in served.head
    assert len(log("WARNING")) == 2
    assert warned == {"keep-alive", "transfer-encoding"}


@pytest.mark.parametrize("request_octets", [get(method="HEAD"), get("/204"), get("/205"), get("/304")])
def test_some_responses_have_no_body(visit, request_octets):
    """Nothing follows the head."""

    def application(environ, start_response):
        status = {"/204": "204 No Content", "/205": "205 Reset Content", "/304": "304 Not Modified"}.get(
            environ["PATH_INFO"], "200 OK"
        )
        return returning(b"hello", status=status)(environ, start_response)

    served = visit(application, request_octets)
    assert served.body == b""
    assert served.received.endswith(b"\r\n\r\n")
    assert served.access[0].octets == 0


# Slow clients.


def drain(current):
    current.take()


def test_a_slow_client_is_waited_for(visit):
    """And the application's time stands still meanwhile (`Visit.wait` checks it)."""
    body = os.urandom(3_000_000)
    served = visit(returning(body), get(), *[drain] * 100)
    assert served.body == body
    assert WRITABLE in served.waits
    assert served.progress.told[-1] == ("end", len(body), False)


def test_write_waits_for_a_slow_client_too(visit):
    """From inside the application."""
    body = os.urandom(3_000_000)

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(body)))])(body)
        return []

    assert visit(application, get(), *[drain] * 100).body == body


def test_a_client_that_reads_less_than_the_kernel_waits_for_is_served(prepare):
    """The socket is not writable before a third of its buffer is free; the client reads all the same."""

    def take_some(current):
        current.received += current.client.recv(100_000)
        return select.select([], [current.server], [], 0)[1] != []

    body = os.urandom(3_000_000)
    served = prepare(returning(body), get(), *[take_some] * 1000)
    served.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 500_000)
    served.serve()
    assert served.body == body


def test_a_client_that_takes_nothing_is_left(visit, log):
    """The application is closed, nobody is blamed, and nothing more is sent: not even if it catches the error."""
    ended = []

    def application(environ, start_response):
        write = start_response("200 OK", PLAIN)
        for _ in range(3):
            try:
                write(bytes(3_000_000))
            except OSError as error:
                ended.append(str(error))
        return [b"more"]

    served = visit(application, get(), None)
    assert len(ended) == 3
    assert ended[0] == "the client took nothing for 9 s"
    assert served.waits.count(WRITABLE) == 1
    assert served.outcome is Outcome.CLOSED
    assert log("ERROR") == []


def test_close_is_called_when_the_client_has_gone(prepare, log):
    """A generator's finally runs; so does the close() of what wraps it."""
    ended = []

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        try:
            while True:
                yield bytes(1_000_000)
        finally:
            ended.append(True)

    def reset(current):
        current.client.close()

    served = prepare(application, get(), reset)
    assert BlockingConnection(served.server, PEER, served.context).serve() is Outcome.CLOSED
    assert ended == [True]
    assert log("ERROR") == []
    assert served.progress.told[-1][2] is False


# Files.


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    return path


def send_file(path, *, headers=(), position=0):
    def application(environ, start_response):
        file = path.open("rb")
        file.seek(position)
        start_response("200 OK", [*PLAIN, *headers])
        return environ["wsgi.file_wrapper"](file)

    return application


@pytest.fixture
def sent_by_kernel(monkeypatch):
    """The calls of sendfile: offset, count, result."""
    calls = []
    sendfile = os.sendfile

    def spy(out, file, offset, count):
        sent = sendfile(out, file, offset, count)
        calls.append((offset, count, sent))
        return sent

    monkeypatch.setattr(os, "sendfile", spy)
    return calls


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_file_is_sent_by_the_kernel(visit, path, sent_by_kernel, family):
    """In as many parts as the client takes it, from its position on."""
    served = visit(send_file(path, position=1000), get(), *[drain] * 1000, family=family)
    assert served.body == path.read_bytes()[1000:]
    assert b"Content-Length: 2999000" in served.head
    assert sum(sent for _, _, sent in sent_by_kernel) == 2_999_000
    assert len(sent_by_kernel) > 1 or family == socket.AF_INET  # which has a larger buffer
    assert served.access[0].octets == 2_999_000


def test_a_file_is_sent_to_the_length(visit, path, sent_by_kernel, log):
    """A range of it, say."""
    served = visit(send_file(path, headers=[("Content-Length", "5")], position=7), get())
    assert served.body == path.read_bytes()[7:12]
    assert sent_by_kernel == [(7, 5, 5)]
    assert log("WARNING") == []


def test_head_of_a_file_sends_nothing_of_it(visit, path, sent_by_kernel):
    """But its length."""
    served = visit(send_file(path), get(method="HEAD"))
    assert b"Content-Length: 3000000" in served.head
    assert served.body == b""
    assert sent_by_kernel == []


def test_what_is_no_file_is_read(visit, sent_by_kernel):
    """Block by block."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789"), 4)

    assert visit(application, get()).body == b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"
    assert sent_by_kernel == []


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS"])
def test_a_file_system_without_sendfile_is_read(visit, path, monkeypatch, name):
    """The kernel says so at the first attempt."""

    def refuse(*_):
        raise OSError(getattr(errno, name), "not here")

    monkeypatch.setattr(os, "sendfile", refuse)
    assert visit(send_file(path), get(), *[drain] * 200).body == path.read_bytes()


def test_a_file_that_shrinks_breaks_the_connection_off(visit, path, log):
    """The client was promised more."""

    def shrink(current):
        path.write_bytes(b"")
        current.take()

    served = visit(send_file(path), get(), shrink, *[drain] * 200)
    assert len(served.body) < 3_000_000
    assert "shorter while it was sent" in log("ERROR")[0]
    assert served.progress.told[-1][2] is True


def test_a_file_that_cannot_be_read_is_told(visit, path, monkeypatch, log):
    """A broken disk is not the client's fault."""

    def break_down(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "sendfile", break_down)
    visit(send_file(path), get())
    assert "Input/output error" in log.text
    assert len(log("ERROR")) == 1


def test_a_client_that_leaves_within_a_file(prepare, path, log):
    """Is no error."""

    def leave(current):
        current.client.close()

    served = prepare(send_file(path), get(), leave)
    assert BlockingConnection(served.server, PEER, served.context).serve() is Outcome.CLOSED
    assert log("ERROR") == []
