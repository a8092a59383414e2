"""Receiving a request's body."""

from dataclasses import replace

import pytest

from pyfork.connection import receiving
from pyfork.connection.context import Line
from pyfork.connection.receiving import BodyReceiver
from pyfork.errors import DisconnectedError, ProtocolError, RequestBodyError
from pyfork.http1.limits import Limits
from pyfork.http1.parser import RequestParser
from pyfork.http1.response import ResponseEncoder
from tests.unit.connection.fakes import FakeSocket, make_context


def make_receiver(head, *receives, waits=()):
    parser = RequestParser(Limits())
    request, *events = parser.feed(head)
    sock = FakeSocket(*receives)
    encoder = ResponseEncoder(request.method, request.http_version, False, b"")
    return BodyReceiver(Line(sock, None, make_context(waits=waits)), parser, request, events, encoder), sock


def head(length, rest=b"", fields=b""):
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (length, fields, rest)


def test_what_came_with_the_head_comes_first():
    """And if it is all, nothing is received."""
    receiver, sock = make_receiver(head(4, b"abcd"))
    assert receiver.has_ended
    assert [receiver.receive(), receiver.receive(), receiver.receive()] == [b"abcd", b"", b""]
    assert sock.calls == []


def test_the_rest_is_received_when_it_is_asked_for():
    """Not before; its end is known with its last octet."""
    receiver, sock = make_receiver(head(4, b"a"), b"b", None, b"cd")
    assert [receiver.receive(), receiver.receive()] == [b"a", b"b"]
    assert not receiver.has_ended
    assert receiver.receive() == b"cd"
    assert receiver.has_ended
    assert receiver.receive() == b""
    assert sock.calls == ["recv", "recv", "recv"]


def test_chunks_may_bring_framing_only():
    """Then more is received."""
    opening = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    receiver, _ = make_receiver(opening, b"2", b"\r\n", b"ab\r\n0\r\n", b"\r\n")
    assert [receiver.receive(), receiver.receive()] == [b"ab", b""]


def test_trailers_are_there_at_the_end_of_the_body():
    """In the list that was given before; a body of known length has none."""
    opening = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    receiver, _ = make_receiver(opening, b"2\r\nab\r\n", b"0\r\nX-Sum: 1\r\nHost: b\r\n\r\n")
    trailers = receiver.trailers
    assert receiver.receive() == b"ab"
    assert trailers == []
    assert receiver.receive() == b""
    assert trailers == [("x-sum", "1")]
    assert make_receiver(opening + b"0\r\nX-Sum: 1\r\n\r\n")[0].trailers == [("x-sum", "1")]
    assert make_receiver(head(4, b"abcd"))[0].trailers is None


def test_a_refusal_is_raised_behind_what_came_before_it():
    """And again with each further call."""
    opening = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    receiver, _ = make_receiver(opening + b"2\r\nab\r\nx\r\n")
    assert receiver.receive() == b"ab"
    for _ in range(2):
        with pytest.raises(RequestBodyError) as info:
            receiver.receive()
        assert info.value.error.status == 400
    assert not receiver.has_ended


def test_a_deadline_is_a_408():
    """For good: the octets that come later are not read."""
    receiver, sock = make_receiver(head(4), None, b"abcd", waits=[False])
    for _ in range(2):
        with pytest.raises(RequestBodyError) as info:
            receiver.receive()
        assert isinstance(info.value.error, ProtocolError)
        assert info.value.error.status == 408
    assert sock.calls == ["recv"]


def test_waits_use_up_the_time_of_a_body(monkeypatch):
    """Each octet brings back a 240th of a second; the application's own time costs nothing."""
    clock = [1000.0]
    patience = []

    def wait(sock, events, deadline):
        patience.append(deadline - clock[0])
        clock[0] += min(patience[-1], 20.0)
        return patience[-1] >= 20.0

    monkeypatch.setattr(receiving, "monotonic", lambda: clock[0])
    receiver, _ = make_receiver(head(200_000), None, bytes(4800), bytes(60_000), None, bytes(1200), None, b"late")
    receiver._line.context = replace(receiver._line.context, wait=wait)
    sizes = []

    def read():
        while True:
            sizes.append(len(receiver.receive()))
            clock[0] += 3600.0

    with pytest.raises(RequestBodyError) as info:
        read()
    assert info.value.error.status == 408
    assert sizes == [4800, 60_000, 1200]
    assert patience == [30.0, 30.0, 15.0]


def test_a_client_that_has_gone_is_a_disconnect():
    """Which no status answers."""
    receiver, _ = make_receiver(head(4), ConnectionResetError(104, "Reset"))
    with pytest.raises(DisconnectedError):
        receiver.receive()


def test_a_100_is_sent_before_the_first_wait():
    """Not if the body is there already."""
    expect = b"Expect: 100-continue\r\n"
    receiver, sock = make_receiver(head(2, fields=expect), None, b"a", None, b"b")
    assert [receiver.receive(), receiver.receive()] == [b"a", b"b"]
    assert sock.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    receiver, sock = make_receiver(head(2, fields=expect), b"a", None, b"b")
    assert [receiver.receive(), receiver.receive()] == [b"a", b"b"]
    assert sock.sent == b""
