"""The handshake in a loop: who waits for whom, and what becomes of it."""

import errno
import math
from dataclasses import replace

import pytest

from pyfork.config.schema import HttpSettings
from pyfork.config.schema_tls import TlsSettings
from pyfork.connection import opening as module
from pyfork.connection.certificates import load
from pyfork.connection.context import READABLE, WRITABLE
from pyfork.connection.host import Phase
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.connection.opening import LONGEST_SLICE, Opening, Openings, begin
from pyfork.connection.patience import may_yield_at
from tests.authority import Authority, MemoryClient
from tests.unit.connection.fakes import make_context
from tests.unit.connection.raw import Raw


class FakeHost:
    """A worker with one connection."""

    def __init__(self, now=lambda: 0.0):
        self.openings = Openings(now)
        self.told = []
        self.connection = None

    def watch(self, connection, events):
        self.told.append(("watch", events))
        connection.watched = events

    def forget(self, connection):
        self.told.append("forget")

    def linger(self, sock):
        self.told.append("linger")

    def replace(self, opening, connection):
        self.told.append("replace")
        self.connection = connection

    def run(self):
        self.openings.run(lambda _, error: self.told.append(error))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority):
    certfile, keyfile = authority.issue("server", "localhost")
    certificates = load(TlsSettings(certfile=certfile, keyfile=keyfile))
    return replace(make_context(certificates=certificates), http=HttpSettings(header_timeout=7))


@pytest.fixture
def scene(context, monkeypatch):
    monkeypatch.setattr(module, "monotonic", lambda: 100.0)
    raw, host = Raw(), FakeHost()
    return raw, host, begin(raw, ("192.0.2.1", 5), context, host)


def shake_hands(scene, authority):
    raw, host, opening = scene
    client = MemoryClient(authority.trust())
    octets = client.shake_hands()
    while octets:
        raw.come.append(octets)
        opening.on_event(READABLE)
        host.run()
        octets = client.shake_hands(raw.taken())
    return client


def test_a_plain_listener_has_no_opening():
    """Its connections begin as they always have."""
    assert isinstance(begin(Raw(), ("a", 1), make_context(), FakeHost()), NonblockingConnection)


def test_a_connection_takes_its_place(scene, authority):
    """With the time for a head that begins then."""
    _, host, opening = scene
    assert isinstance(opening, Opening)
    assert (opening.deadline, opening.phase, opening.is_idle) == (107.0, Phase.READING, True)
    shake_hands(scene, authority)
    assert host.told == ["replace"]
    assert host.connection.watched == READABLE
    assert host.connection.sock.variables["SSL_PROTOCOL"] == "TLSv1.3"
    assert (opening.deadline, opening.phase) == (math.inf, Phase.ENDED)


def test_an_event_only_takes_what_has_come(scene, authority):
    """The work is done when its turn has come, and nothing more is taken before."""
    raw, host, opening = scene
    hello = MemoryClient(authority.trust()).shake_hands()
    raw.come = [hello[:100], hello[100:]]
    opening.on_event(READABLE)
    opening.on_event(READABLE)
    assert raw.come == [hello[100:]], "it waits in the kernel, which knows bounds"
    assert len(host.openings) == 1
    host.run()
    assert len(host.openings) == 0
    assert raw.gone == b""
    opening.on_event(READABLE)
    opening.on_event(READABLE)  # for nothing
    host.run()
    assert len(host.openings) == 0
    assert raw.gone[:1] == b"\x16"


def test_handshakes_have_a_slice_of_each_turn(context):
    """One step at least, then no more than there is time for."""
    moments = [0.0]
    host = FakeHost(lambda: moments[0])

    class Step:
        def __init__(self, takes):
            self.takes = takes

        def advance(self):
            moments[0] += self.takes
            if not self.takes:
                raise ValueError

    for takes in (0, LONGEST_SLICE / 2, 1.0, 0, 0):
        host.openings.append(Step(takes))
    host.run()
    assert [type(error) for error in host.told] == [ValueError], "a fault ends its own connection"
    assert len(host.openings) == 2
    host.run()
    assert len(host.openings) == 0


def test_plain_http_is_answered_readably(scene):
    """Then the client is seen off, or it could not read it."""
    raw, host, opening = scene
    raw.come = [b"GET / HTTP/1.1\r\n\r\n"]
    opening.on_event(READABLE)
    assert raw.gone.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert raw.gone.endswith(b"The plain HTTP request was sent to an HTTPS port\n")
    assert host.told == ["forget", "linger"]
    assert len(host.openings) == 0


def test_a_failed_handshake_is_told_by_an_alert(scene):
    """The client is seen off, unless it has gone."""
    raw, host, opening = scene
    raw.come = [b"\x16\x03\x01\x00\x05hello"]
    opening.on_event(READABLE)
    host.run()
    assert raw.gone[:1] == b"\x15"
    assert host.told == ["forget", "linger"]


@pytest.mark.parametrize("has_reset", [False, True])
def test_a_client_that_has_gone_is_forgotten(scene, has_reset):
    """Before or in the middle of it."""
    raw, host, opening = scene
    step = ConnectionResetError(errno.ECONNRESET, "reset") if has_reset else b""
    raw.come = [b"\x16\x03\x01\x02\x00hello", step]
    opening.on_event(READABLE)
    host.run()
    opening.on_event(READABLE)
    assert host.told == ["forget"]
    assert raw.calls == ["close"]


def test_a_client_that_takes_nothing_is_waited_for(scene, authority):
    """Until the deadline, which is one for all of it."""
    raw, host, opening = scene
    client = MemoryClient(authority.trust())
    raw.come, raw.room = [client.shake_hands()], 10
    opening.on_event(READABLE)
    host.run()
    assert host.told == [("watch", READABLE | WRITABLE)]
    raw.room = math.inf
    opening.on_event(WRITABLE)
    host.run()
    assert host.told[1:] == [("watch", READABLE)]
    raw.come, raw.room = [client.shake_hands(raw.taken())], 10
    opening.on_event(READABLE)
    host.run()
    assert host.told[2:] == [("watch", WRITABLE)], "the tickets: nothing is read meanwhile"
    raw.room = math.inf
    opening.on_event(WRITABLE)
    host.run()
    assert host.told[3:] == [("watch", READABLE), "replace"]


def test_what_waited_for_its_turn_does_nothing_after_the_end(scene):
    """Its time was over first."""
    raw, host, opening = scene
    raw.come = [b"\x16\x03\x01\x02\x00hello"]
    opening.on_event(READABLE)
    opening.on_deadline(107.0)
    host.run()
    assert (raw.gone, host.told) == (b"", ["forget"])


def test_a_client_that_is_silent_is_closed_without_a_word(scene):
    """It has sent nothing that could be answered."""
    raw, host, opening = scene
    opening.on_deadline(107.0)
    assert (raw.gone, raw.calls, host.told) == (b"", ["close"], ["forget"])


def test_an_opening_makes_room_for_others(scene):
    """Not at once, and not when something has come."""
    raw, host, opening = scene
    assert may_yield_at(opening) == 101.0
    raw.come = [b"\x16"]
    assert not opening.make_way()
    opening.on_event(READABLE)
    assert not opening.make_way()
    host.run()
    assert opening.make_way()
    assert raw.calls == ["close"]


def test_a_fault_lets_go_of_all(scene):
    """The host has forgotten it by then."""
    raw, host, opening = scene
    opening.abandon()
    assert (raw.calls, host.told, opening.phase) == (["close"], [], Phase.ENDED)


def test_nobody_lingers_for_a_client_that_has_reset(scene):
    """The socket is closed."""
    raw, host, opening = scene
    raw.come, raw.room = [b"GET"], -1
    opening.on_event(READABLE)
    assert raw.calls == ["shutdown", "close"]
    assert host.told == ["forget"]
