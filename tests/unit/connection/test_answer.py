"""One request's way through the application, without a shell."""

import gc
import logging
import os
import weakref

import pytest

from pyfork.connection import answer as module
from pyfork.connection.answer import Answer, log_refusal, refuse, summarise
from pyfork.connection.context import Line
from pyfork.errors import DisconnectedError, ProtocolError, QuitNow
from pyfork.gateway.input import EMPTY_INPUT
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.response import ResponseEncoder
from tests.unit.connection.fakes import FakeSocket, make_context


class Records(list):
    log = list.append


def make_answer(application, octets=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", **changes):
    """Return an answer to a request, and its line."""
    request = RequestParser(Limits()).feed(octets)[0]
    context = make_context(application, **{"access_log": Records(), **changes})
    line = Line(FakeSocket(), ("192.0.2.7", 1), context)
    encoder = ResponseEncoder(request.method, request.http_version, request.keep_alive, b"now")
    return Answer(line, request, EMPTY_INPUT, encoder, line.sock.send), line


class Body:
    def __init__(self, *blocks, failure=None):
        self.blocks = iter(blocks)
        self.failure = failure
        self.closed = 0

    def __iter__(self):
        return self.blocks

    def close(self):
        self.closed += 1
        if self.failure is not None:
            raise self.failure


def run(answer):
    """Have the application go on to its end."""
    while not answer.is_finished:
        answer.produce()
    answer.close()


def returning(body):
    return lambda environ, start_response: start_response("200 OK", []) and body


def test_it_is_told_in_order():
    """Begun, entered with each block, and ended when the shell says so."""
    body = Body(b"a", b"", b"b")
    answer, line = make_answer(returning(body))
    octets = [answer.produce()]
    while not answer.is_finished:
        octets.append(answer.produce())
    assert b"".join(octets).endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert answer.can_persist
    answer.close()
    answer.close()
    assert body.closed == 1
    answer.end()
    assert line.progress.told == ["begin", *["enter"] * 4, "end"]
    (record,) = line.context.access_log
    assert (record.status, record.octets) == ("200 OK", 2)


@pytest.mark.parametrize("stage", ["begin", "advance", "close"])
def test_quit_now_is_nobodys_failure(stage):
    """It leaves, wherever the application is."""

    def stop():
        yield b"a"
        raise QuitNow

    def application(environ, start_response):
        if stage == "begin":
            raise QuitNow
        start_response("200 OK", [])
        return stop() if stage == "advance" else Body(b"a", failure=QuitNow())

    answer, _ = make_answer(application)
    with pytest.raises(QuitNow):
        run(answer)


def test_a_client_that_leaves_before_anything_is_sent_is_no_error(caplog):
    """Nothing was answered, so nothing is in the access log; the application's fault it is not."""
    answer, line = make_answer(returning([b"a"]))
    assert answer.fail(DisconnectedError("gone")) == b""
    assert answer.must_reset
    assert not answer.can_persist
    answer.close()
    answer.end()
    assert line.context.access_log == []
    assert line.progress.told == ["begin", "end"]
    assert caplog.records == []


def test_what_the_application_owes_is_answered_in_its_place():
    """With our own status and length, and no word of the reason."""

    def application(environ, start_response):
        start_response("200 OK", [("X-A", "1")])
        raise ValueError("why")

    answer, line = make_answer(application)
    octets = answer.produce()
    assert octets.startswith(b"HTTP/1.1 500 ")
    assert b"why" not in octets
    answer.end()
    (record,) = line.context.access_log
    assert record.status == "500 Internal Server Error"
    assert record.response_headers == ()
    assert record.octets == len(octets.partition(b"\r\n\r\n")[2])


class ExitedError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "status", "is_logged"),
    [
        (SystemExit(7), 7, False),
        (SystemExit("bye"), 1, False),
        (ValueError("why"), 1, True),
        (DisconnectedError("its sockets are closed"), 1, False),
    ],
)
def test_a_copy_of_the_worker_ends(monkeypatch, caplog, error, status, is_logged):
    """Whatever it failed by: the client is its parent's. A mistake is told."""

    def leave(code):
        raise ExitedError(code)

    answer, _ = make_answer(returning([b"a"]), pid=os.getpid() + 1)
    monkeypatch.setattr(module.os, "_exit", leave)
    with caplog.at_level(logging.ERROR, logger="pyfork.error"), pytest.raises(ExitedError, match=str(status)):
        answer.fail(error)
    assert bool(caplog.records) is is_logged


def test_a_refusal_is_told_to_those_who_want_to_know(caplog):
    """The error log hears of what clients did; of a 500 somebody else has told it."""
    line = Line(FakeSocket(), ("192.0.2.7", 1), make_context(None, access_log=Records()))
    with caplog.at_level(logging.INFO, logger="pyfork.error"):
        octets = refuse(line, ProtocolError(413, "too much"), "GET")
        refuse(line, ProtocolError(500, "no room"), "GET")
    assert [record.getMessage() for record in caplog.records] == ["refused 192.0.2.7 with 413: too much"]
    log_refusal(line, octets, None)
    (record,) = line.context.access_log
    assert (record.status, record.octets) == summarise(octets)
    assert record.octets > 0
    log_refusal(Line(FakeSocket(), None, make_context(None)), octets, None)


def test_an_answered_request_goes_without_the_collector():
    """Its environ has wsgi.early_hints, which is the answer's, which has the environ."""

    class Kept:
        pass

    watched = []

    def application(environ, start_response):
        environ["kept"] = Kept()
        watched.append(weakref.ref(environ["kept"]))
        start_response("200 OK", [])
        return [b"a"]

    gc.disable()
    try:
        answer, _ = make_answer(application, access_log=None)
        run(answer)
        answer.end()
        del answer
        assert watched[0]() is None
    finally:
        gc.enable()


def test_early_hints_are_sent_at_once():
    """By what sends for write(), before the application goes on."""
    seen = []

    def application(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "</a>")])
        seen.append(line.sock.sent)
        start_response("200 OK", [])
        return [b"a"]

    answer, line = make_answer(application)
    run(answer)
    assert seen == [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
