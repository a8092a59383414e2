"""The hooks around a request, in both shells: when they are called, with what, and what they cannot break."""

import os
import socket

import pytest

from pyfork.connection.context import Persistence
from pyfork.connection.hooked import RequestHooks
from pyfork.errors import DisconnectedError, QuitNow
from pyfork.hooks.calling import Hook
from tests.contract.visits import PLAIN, LoopVisit, Visit, echo, get, post, returning


class AtOnce(LoopVisit):
    way = "at once"


class Held(LoopVisit):
    way = "held"


class OnAThread(LoopVisit):
    way = "on a thread"


@pytest.fixture(params=[Visit, AtOnce, Held, OnAThread])
def shell(request):
    """Each shell, with the application run in each way."""
    return request.param


class Told(list):
    """Keeps what the hooks are told."""

    def __init__(self, before=None, after=None):
        self.before, self.after = before, after

    @property
    def context(self):
        """What makes a connection call them."""
        hooks = RequestHooks(
            Hook("pre_request", "shop:before", self.pre), Hook("post_request", "shop:after", self.post)
        )
        return {"make_answer": hooks.make_answer, "persistence": Persistence(is_allowed=True)}

    def pre(self, environ):
        self.append(("pre", environ["PATH_INFO"]))
        if self.before:
            self.before(environ)

    def post(self, environ, status, octets, seconds):
        assert 0 <= seconds < 60
        self.append(("post", environ["PATH_INFO"], status, octets))
        if self.after:
            self.after(environ)


def fail(*_):
    raise ValueError("the reason")


def stream(environ, start_response):
    start_response("202 Accepted", PLAIN)
    yield b"one"
    yield b"two"


def write(environ, start_response):
    start_response("200 OK", PLAIN)(b"written ")
    return [b"returned"]


def fail_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    raise ValueError


def send_file(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "20")])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


@pytest.mark.parametrize(
    ("application", "status", "octets"),
    [
        (returning(b"hello"), 200, 5),
        (returning(b"a", b"b", status="404 Not Found"), 404, 2),
        (returning(), 200, 0),
        (stream, 202, 6),
        (write, 200, 16),
        (send_file, 200, 20),
        (fail_late, 200, 5),
    ],
)
def test_each_request_is_told_once_with_its_response(visit, application, status, octets):
    """Whatever the application returns, and however it is sent."""
    told = Told()
    visit(application, get("/one", "Connection: close\r\n"), **told.context)
    assert told == [("pre", "/one"), ("post", "/one", status, octets)]


def test_each_request_of_a_connection_is_told(visit):
    """In pairs, pipelined or not."""
    told = Told()
    visit(echo, post(b"body", target="/1") + get("/2"), get("/3"), **told.context)
    assert [entry[:2] for entry in told] == [(name, path) for path in ("/1", "/2", "/3") for name in ("pre", "post")]


def test_the_response_has_been_sent_when_the_hook_behind_it_runs(prepare):
    """A client does not wait for what is only measured; nothing is held back to be sent with others."""
    seen = []

    def look(environ):
        visit.take()
        seen.append(visit.received)

    visit = prepare(returning(b"hello"), get(), **Told(after=look).context)
    visit.serve()
    assert seen[0].endswith(b"hello")


def test_the_hook_comes_behind_close(visit):
    """What the application does in close() belongs to the request."""
    told = Told()

    class Closing(list):
        def close(self):
            told.append("close")

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        return Closing([b"hello"])

    visit(application, get(), **told.context)
    assert told == [("pre", "/"), "close", ("post", "/", 200, 5)]


def test_the_application_sees_what_the_hook_changes(visit):
    """The environ is one and the same."""

    def application(environ, start_response):
        start_response("200 OK", PLAIN)
        return [environ["shop.name"].encode()]

    served = visit(application, get(), **Told(before=lambda environ: environ.update({"shop.name": "x"})).context)
    assert served.body == b"x"


def test_a_hook_that_raises_answers_its_request_with_500(visit, log):
    """The application is not called; the log names the hook, and its traceback begins there."""
    called = []
    told = Told(before=fail)
    served = visit(lambda *_: called.append(1), get("/x"), **told.context)
    assert served.status == 500
    assert b"reason" not in served.received
    assert not called
    assert told == [("pre", "/x"), ("post", "/x", 500, len(served.body))]
    [line] = log("ERROR")
    assert line.startswith(
        "the hook pre_request (shop:before) raised ValueError: the reason; the request is answered with 500: GET /x from"
    )
    assert "in fail" in log.text
    assert "pyfork/" not in log.text.partition("Traceback")[2]
    assert served.progress.told[-1][2] is True


def test_a_body_that_the_hook_cannot_read_is_the_clients_fault(visit, log):
    """As if the application had read it."""
    told = Told(before=lambda environ: environ["wsgi.input"].read())
    served = visit(echo, get(method="POST", headers="Transfer-Encoding: chunked\r\n") + b"x\r\n", **told.context)
    assert served.status == 400
    assert log("ERROR") == []


def test_a_hook_behind_the_response_harms_nobody(visit, log):
    """The response stands, the connection goes on."""
    served = visit(returning(b"hello"), get("/1"), get("/2"), **Told(after=fail).context)
    assert served.received.count(b"200 OK") == 2
    assert log("ERROR")[0].startswith(
        "the hook post_request (shop:after) raised ValueError: the reason; nothing is stopped by that: GET /1 from"
    )
    assert all(not end[2] for end in served.progress.told if end[0] == "end")


def test_an_application_that_fails_is_told_as_500(visit, log):
    """Status and octets are those of what was sent in its place."""
    told = Told()
    served = visit(fail, get(), **told.context)
    assert told[1] == ("post", "/", 500, len(served.body))


def test_a_request_that_the_application_never_sees_is_not_told(visit):
    """It has no environ, or one that is not to be believed (RFC 9110 section 7.4)."""
    told = Told()
    assert visit(echo, b"garbage\r\n\r\n", **told.context).status == 400
    assert visit(echo, b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", **told.context).status == 421
    assert told == []


def test_a_response_that_is_broken_off_is_told(prepare):
    """With the status that its head had."""
    told = Told()

    def application(environ, start_response):
        visit.client.shutdown(socket.SHUT_RDWR)
        start_response("200 OK", PLAIN)
        while True:
            yield b"nobody reads this"

    visit = prepare(application, get(), **told.context)
    visit.serve()
    assert [entry[:3] for entry in told] == [("pre", "/"), ("post", "/", 200)]


def test_a_client_that_left_before_the_response_is_told(visit):
    """Nothing was sent, so there is no status; its input says so to the application."""
    told = Told()

    def application(environ, start_response):
        raise DisconnectedError("the client has gone")

    visit(application, get(), **told.context)
    assert told == [("pre", "/"), ("post", "/", 0, 0)]


def test_only_one_of_the_hooks_may_be_there(visit):
    """Neither needs the other."""
    told = Told()
    before = RequestHooks(Hook("pre_request", "a:b", told.pre), None)
    after = RequestHooks(None, Hook("post_request", "a:b", told.post))
    for hooks in (before, after):
        visit(returning(b"hello"), get(), make_answer=hooks.make_answer)
    assert [entry[0] for entry in told] == ["pre", "post"]


def test_an_order_to_end_at_once_passes(prepare):
    """It is no failure of the hook's."""

    def quit_now(environ):
        raise QuitNow

    visit = prepare(returning(b"hello"), get(), **Told(before=quit_now).context)
    with pytest.raises(QuitNow):
        visit.serve()


def test_a_copy_of_the_process_is_not_told(visit, monkeypatch):
    """The request is its parent's; what it raises is its own."""
    told = Told()

    def become_a_copy(environ):
        monkeypatch.setattr(os, "getpid", lambda: -1)

    told.before = become_a_copy
    visit(returning(b"hello"), get(), **told.context)
    assert [entry[0] for entry in told] == ["pre"]
