"""Sending on a socket that does not block."""

import pytest

from pyfork.connection import sending
from pyfork.connection.context import Line
from pyfork.connection.sending import LayeredSocket, send_all, send_region
from pyfork.errors import DisconnectedError
from pyfork.gateway.file_wrapper import FileRegion
from tests.unit.connection.fakes import FakeSocket, make_context


def test_what_goes_out_at_once_costs_one_call():
    """The worker is not asked to wait, and the application's time goes on."""
    line = Line(FakeSocket(), None, make_context())
    send_all(line, b"hello")
    assert line.sock.calls == ["send"]
    assert line.progress.told == []


def test_the_rest_is_sent_after_each_wait():
    """As much as the client takes; a wait may end for nothing."""
    line = Line(FakeSocket(sends=[None, 2, None, 1]), None, make_context())
    send_all(line, b"hello")
    assert line.sock.sent == b"hello"
    assert line.progress.told == ["leave", "enter"] * 4


@pytest.mark.parametrize("sends", [[BrokenPipeError(32, "Broken pipe")], [1, ConnectionResetError(104, "Reset")]])
def test_a_client_that_has_gone_is_a_disconnect(sends):
    """At once or later."""
    with pytest.raises(DisconnectedError, match="the client has gone"):
        send_all(Line(FakeSocket(sends=sends), None, make_context()), b"hello")


def test_a_client_that_takes_nothing_is_one_too():
    """The socket is shut down, so that nobody waits for it again."""
    line = Line(FakeSocket(sends=[2]), None, make_context(waits=[False]))
    with pytest.raises(DisconnectedError, match="took nothing for 30 s"):
        send_all(line, b"hello")
    assert line.sock.calls == ["send", "shutdown"]
    assert line.progress.told == ["leave"]


def test_a_client_that_takes_little_is_waited_for(monkeypatch):
    """The kernel reports a socket as writable only when much is free; what it still holds tells who reads."""
    held = [90_000, 82_000, 74_000]
    monkeypatch.setattr(sending, "octets_unsent", lambda sock: held.pop(0))
    line = Line(FakeSocket(sends=[2]), None, make_context(waits=[False, False, True]))
    send_all(line, b"hello")
    assert line.sock.sent == b"hello"
    assert line.progress.told == ["leave", "enter"]


@pytest.mark.parametrize("held", [[900, 900], [90_000, 82_000, 82_000]])
def test_it_is_not_waited_for_when_it_stops(monkeypatch, held):
    """Each wait counts for itself."""
    monkeypatch.setattr(sending, "octets_unsent", lambda sock: held.pop(0))
    with pytest.raises(DisconnectedError, match="took nothing for 30 s"):
        send_all(Line(FakeSocket(sends=[2]), None, make_context(waits=[False, False])), b"hello")
    assert held == []


def test_it_is_not_waited_for_when_it_takes_too_little(monkeypatch):
    """240 octets a second, on average over the wait."""
    held = [90_000, 82_800, 75_601]
    monkeypatch.setattr(sending, "octets_unsent", lambda sock: held.pop(0))
    line = Line(FakeSocket(sends=[2]), None, make_context(waits=[False, False]))
    with pytest.raises(DisconnectedError, match="took only 7199 octets for 30 s"):
        send_all(line, b"hello")
    assert line.sock.calls == ["send", "shutdown"]


def test_a_layer_is_broken_off_without_a_good_end():
    """TLS would say a close_notify with an ordinary end, as if the response were whole."""

    class Layered(LayeredSocket, FakeSocket):
        def break_off(self):
            self.calls.append("break off")

    line = Line(Layered(sends=[2]), None, make_context(waits=[False, False]))
    with pytest.raises(DisconnectedError):
        send_all(line, b"hello")
    assert line.sock.calls == ["send", "break off"]


def test_a_file_is_read_where_the_kernel_cannot_send_it(monkeypatch, tmp_path):
    """sendfile(2) would send it without the encryption."""

    class Layered(LayeredSocket, FakeSocket):
        pass

    monkeypatch.setattr("os.sendfile", lambda *_: pytest.fail("it was sent plain"))
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20_000)
    line = Line(Layered(), None, make_context())
    with path.open("rb") as file:
        send_region(line, FileRegion(b"head ", file.fileno(), 5, 150_000))
    assert line.sock.sent == b"head " + path.read_bytes()[5:150_005]
