"""The blocking shell: applications that fail."""

import socket
import sys

import pytest

from pyfork.connection.blocking import Outcome
from pyfork.errors import QuitNow
from tests.contract.visits import PLAIN, get, returning

# The application fails.


def fail(environ, start_response):
    raise ValueError("the reason")


def test_an_exception_before_the_head_gives_500(visit, log):
    """The log has the traceback, which begins in the application; the client learns nothing of it."""
    served = visit(fail, get("/x?y=\\"))
    assert served.status == 500
    assert b"reason" not in served.received
    assert served.outcome is Outcome.CLOSED
    assert served.progress.told[-1][2] is True
    assert served.access[0].status == "500 Internal Server Error"
    assert served.access[0].octets == len(served.body)
    assert "GET /x?y=" in log("ERROR")[0]
    text = log.text
    assert "ValueError: the reason" in text
    assert "in fail" in text
    assert "pyfork/" not in text.partition("Traceback")[2]


def test_a_failure_answers_head_without_a_body(visit):
    """As any answer to HEAD."""
    served = visit(fail, get(method="HEAD"))
    assert served.status == 500
    assert served.body == b""


def test_a_generator_that_fails_at_once_gives_500(visit):
    """Its head was given, but not sent."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b""
        raise ValueError

    assert visit(application, get()).status == 500


@pytest.mark.parametrize(
    ("version", "headers", "end"),
    [("1.1", [], b"5\r\nbegun\r\n"), ("1.1", [("Content-Length", "9")], b"begun"), ("1.0", [], b"begun")],
)
def test_a_failure_behind_the_head_breaks_the_connection_off(visit, log, version, headers, end):
    """The client can tell: no last chunk, too few octets, or a reset where the end would mean completeness."""

    def application(environ, start_response):
        start_response("200 OK", [*PLAIN, *headers])
        yield b"begun"
        raise ValueError("the reason")

    served = visit(application, get(version=version), family=socket.AF_INET)
    assert served.received.endswith(end) or served.is_reset
    assert b"500" not in served.received
    assert served.is_reset == (version == "1.0")
    assert served.outcome is Outcome.CLOSED
    assert "the reason" in log.text
    assert served.progress.told[-1][2] is True


@pytest.mark.parametrize("value", [3, None, "bye"])
def test_sys_exit_does_not_end_the_worker(visit, log, value):
    """It is answered as any failure, and the log says what it was."""

    def application(environ, start_response):
        sys.exit(value)

    assert visit(application, get()).status == 500
    assert f"the application called sys.exit({value!r})" in log("ERROR")[0]


def test_other_exits_do_not_either(visit):
    """KeyboardInterrupt is raised by applications only: SIGINT is ignored in workers."""

    def application(environ, start_response):
        raise KeyboardInterrupt

    assert visit(application, get()).status == 500


def test_quit_now_ends_everything(prepare, log):
    """The application's finally blocks and close() run, nothing is answered or logged."""
    ended = []

    class Body:
        def __iter__(self):
            raise QuitNow

        def close(self):
            ended.append(True)

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        return Body()

    served = prepare(application, get())
    with pytest.raises(QuitNow):
        served.serve()
    assert ended == [True]
    assert served.received == b""
    assert served.server.fileno() == -1
    assert log("ERROR") == []


def test_quit_now_in_close_ends_everything_too(prepare):
    """It is no exception of the application."""

    class Body(list):
        def close(self):
            raise QuitNow

    served = prepare(lambda environ, start_response: start_response("200 OK", PLAIN) and Body([b"a"]), get())
    with pytest.raises(QuitNow):
        served.serve()
    assert served.server.fileno() == -1


def test_a_failing_close_is_logged(visit, log):
    """The response has been sent, and stays as it is."""

    class Body(list):
        def close(self):
            raise ValueError("the reason")

    served = visit(lambda environ, start_response: start_response("200 OK", PLAIN) and Body([b"hello"]), get())
    assert served.status == 200
    assert served.body == b"hello"
    assert "ValueError in close(): GET /" in log("ERROR")[0]


@pytest.mark.parametrize(
    ("status", "headers", "culprit"),
    [
        ("200", [], "'200'"),
        ("200 OK", [("X-Name", "a\r\nSet-Cookie: b")], "X-Name"),
        ("200 OK", [("X-Name", "\N{SNOWMAN}")], "X-Name"),
        ("200 OK\0", [], "200 OK"),
    ],
)
def test_a_bad_head_gives_500_and_names_the_culprit(visit, log, status, headers, culprit):
    """Nothing of it reaches the client."""
    served = visit(returning(b"a", status=status, headers=headers), get())
    assert served.status == 500
    assert b"Set-Cookie" not in served.received
    assert culprit in log("ERROR")[0]


def test_no_response_at_all_gives_500(visit, log):
    """The message says what is missing; there is no traceback, as nobody raised anything."""
    assert visit(lambda environ, start_response: [b"a"], get()).status == 500
    assert "did not call start_response()" in log("ERROR")[0]
    assert visit(lambda environ, start_response: None, get()).status == 500
    assert "returned None" in log("ERROR")[1]
    assert "Traceback" not in log.text


def test_what_clients_send_cannot_forge_a_log_line(visit, log):
    """Octets beyond ASCII are escaped."""
    visit(fail, b"GET /\xe9\xff HTTP/1.1\r\nHost: a\r\n\r\n")
    for line in log("ERROR") + log("INFO"):
        assert line.isascii()
        assert line.isprintable()
