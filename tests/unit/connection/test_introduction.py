"""The header of the PROXY protocol: who waits for it, how it is taken, and what becomes of the connection."""

import math
import socket
from dataclasses import replace

import pytest

from pyfork.config.schema import HttpSettings
from pyfork.connection import handshake, introduction
from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.context import READABLE
from pyfork.connection.handshake import BlockingOpening, IntroducedConnection, IntroducedOpening, begin_blocking
from pyfork.connection.host import Phase
from pyfork.connection.introduction import Intake, Introduction, introduce, needs_introduction
from pyfork.connection.nonblocking import NonblockingConnection
from pyfork.connection.opening import Opening, begin
from pyfork.connection.patience import may_yield_at
from pyfork.connection.proxy_protocol import NONE, Header
from pyfork.errors import DisconnectedError, ProxyHeaderError
from pyfork.gateway.forwarded import TrustedProxies
from pyfork.gateway.peers import Peers
from tests.unit.connection.fakes import make_context

V1 = b"PROXY TCP4 192.0.2.1 203.0.113.5 50000 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PROXY = ("10.0.0.1", 5)


class Certificates:
    """Wraps nothing: it is not used before there is a header."""

    def wrap(self, sock):
        return sock


def show(environ, start_response):
    start_response("200 OK", [])
    names = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")
    return [" ".join(environ.get(name, "-") for name in names).encode()]


def make(protocol="auto", certificates=None, waits=()):
    context = make_context(show, waits=waits, certificates=certificates)
    http = HttpSettings(header_timeout=7)
    return replace(context, http=http, proxy_protocol=protocol, introducers=Peers(["10.0.0.1"]))


@pytest.fixture
def pair():
    """The server's socket, and its client's."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listener.getsockname())
            client.settimeout(10)
            sock, _ = listener.accept()
            with sock:
                yield sock, client


class FakeHost:
    """A worker with one connection."""

    def __init__(self):
        self.told = []

    def watch(self, connection, events):
        connection.watched = events

    def forget(self, connection):
        self.told.append("forget")

    def linger(self, sock):
        self.told.append("linger")
        sock.close()

    def replace(self, old, new):
        self.told.append(new)


@pytest.fixture
def scene(pair, monkeypatch):
    monkeypatch.setattr(introduction, "monotonic", lambda: 100.0)
    host = FakeHost()

    def open_scene(protocol="auto", certificates=None):
        return begin(pair[0], PROXY, make(protocol, certificates), host), host, pair[1]

    return open_scene


@pytest.mark.parametrize(
    ("protocol", "peer", "is_needed"),
    [
        ("off", PROXY, False),
        ("v1", PROXY, True),
        ("auto", PROXY, True),
        ("v1", ("10.0.0.2", 5), False),
        ("v2", "", False),
    ],
)
def test_only_those_who_may_are_waited_for(protocol, peer, is_needed, pair):
    """Of others a connection is what it would be without the protocol."""
    for certificates, kinds in (
        (None, [BlockingConnection, IntroducedConnection, NonblockingConnection]),
        (Certificates(), [BlockingOpening, IntroducedOpening, Opening]),
    ):
        context = make(protocol, certificates)
        assert needs_introduction(peer, context) is is_needed
        assert type(begin_blocking(pair[0], peer, context)) is kinds[is_needed]
        assert type(begin(pair[0], peer, context, FakeHost())) is (Introduction if is_needed else kinds[2])


def test_exactly_the_header_is_taken(pair):
    """Once it is whole; before that all that has come, so that nobody is woken for it again."""
    sock, client = pair
    sock.setblocking(False)
    intake = Intake(sock, "v1")
    assert intake.take() is None
    client.sendall(V1[:9])
    assert intake.take() is None
    assert intake.octets == V1[:9]
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    client.sendall(V1[9:] + GET)
    assert intake.take().length == len(V1)
    assert intake.octets == b""
    assert sock.recv(1000) == GET


def test_what_is_none_stays(pair):
    """But for what was taken before that was known."""
    sock, client = pair
    sock.setblocking(False)
    intake = Intake(sock, "auto")
    client.sendall(b"P")
    assert intake.take() is None
    client.sendall(b"OST")
    assert intake.take() is NONE
    assert (intake.octets, sock.recv(100)) == (b"P", b"OST")


def test_an_end_is_an_end(pair):
    """By a close or a reset."""
    sock, client = pair
    sock.setblocking(False)
    client.close()
    with pytest.raises(DisconnectedError, match=r"^the client has gone$"):
        Intake(sock, "auto").take()
    sock.close()
    with pytest.raises(DisconnectedError, match=r"^the client has gone: Bad file descriptor$"):
        Intake(sock, "auto").take()


def trusts(context, peer):
    environ = {"HTTP_X_FORWARDED_PROTO": "https", "wsgi.url_scheme": "http", "SCRIPT_NAME": ""}
    context.proxies.apply(environ, peer)
    return environ["wsgi.url_scheme"] == "https"


def test_a_header_without_addresses_makes_nobody_a_proxy():
    """The connection is the proxy's, as far as its address goes, but what it says of itself may be a client's."""
    context = replace(make(), proxies=TrustedProxies(["10.0.0.1", "unix:", "192.0.2.1"]))
    assert introduce(NONE, PROXY, context) == (PROXY, context)
    assert trusts(context, PROXY)
    peer, changed = introduce(Header(15), PROXY, context)
    assert (peer, changed.make_answer) == (PROXY, context.make_answer)
    assert not trusts(changed, peer)
    peer, changed = introduce(Header(9, "UNIX", "", ""), PROXY, context)
    assert peer == ""
    assert changed.base_environ is context.base_environ
    assert changed.make_answer is not context.make_answer
    assert not trusts(changed, peer)
    peer, changed = introduce(Header(9, "TCP4", ("192.0.2.1", 1), ("192.0.2.2", 2)), PROXY, context)
    assert trusts(changed, peer)
    assert changed.proxies is context.proxies


def test_a_connection_takes_the_place_of_its_introduction(scene):
    """With the time for a head that begins then; its peer is the client."""
    opening, host, client = scene()
    assert (opening.deadline, may_yield_at(opening), opening.is_idle) == (107.0, 101.0, True)
    opening.on_event(READABLE)
    assert host.told == []
    client.sendall(V1[:9])
    opening.on_event(READABLE)
    assert (host.told, opening.is_idle, opening.phase) == ([], False, Phase.READING)
    client.sendall(V1[9:])
    opening.on_event(READABLE)
    [connection] = host.told
    assert isinstance(connection, NonblockingConnection)
    assert (connection.peer, connection.watched) == (("192.0.2.1", 50000), READABLE)
    assert (opening.phase, opening.deadline) == (Phase.ENDED, math.inf)


def test_tls_comes_behind_it(scene):
    """In the same way."""
    opening, host, client = scene("v1", Certificates())
    client.sendall(V1)
    opening.on_event(READABLE)
    [connection] = host.told
    assert isinstance(connection, Opening)
    assert connection.peer == ("192.0.2.1", 50000)


def test_a_request_that_began_like_a_header_is_whole(scene):
    """The parser has what was taken; more than a line of it cannot be."""
    opening, host, client = scene()
    for octets in (b"\r\n\r", b"\nGET"):
        client.sendall(octets)
        opening.on_event(READABLE)
    [connection] = host.told
    assert connection.peer is PROXY
    assert not connection.is_idle


@pytest.mark.parametrize(("octets", "certificates"), [([V1[:5], b"x"], Certificates()), ([b"\r\n\r\n\0", b"x"], None)])
def test_what_began_like_a_header_may_be_nothing(scene, octets, certificates):
    """It is neither TLS nor a request: the client can read so, and lingers."""
    opening, host, client = scene("auto", certificates)
    for each in octets:
        client.sendall(each)
        opening.on_event(READABLE)
    assert host.told == ["forget", "linger"]
    assert b"This begins neither with" in client.recv(1000)


def test_a_wrong_header_is_answered(scene, caplog):
    """If somebody is there."""
    caplog.set_level("INFO", logger="pyfork.error")
    opening, host, client = scene("v2")
    client.sendall(V1)
    opening.on_event(READABLE)
    assert host.told == ["forget", "linger"]
    assert client.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert caplog.messages == [
        "refused the proxy at 10.0.0.1 with 400: There is no header of the PROXY protocol, version 2"
    ]


def test_a_wrong_header_of_somebody_who_has_gone_is_not(scene, pair):
    """Nobody lingers."""
    opening, host, client = scene("v2")
    client.sendall(V1)
    client.close()
    opening.on_event(READABLE)
    assert host.told == ["forget"]
    assert pair[0].fileno() < 0


def test_who_does_not_come_to_the_point_is_let_go(scene, pair, caplog):
    """At the deadline, or at the end of what is sent; without an answer."""
    caplog.set_level("DEBUG", logger="pyfork.error")
    opening, host, client = scene("v1")
    client.sendall(V1[:9])
    opening.on_event(READABLE)
    opening.on_deadline(107.0)
    assert (host.told, client.recv(1), opening.phase) == (["forget"], b"", Phase.ENDED)
    assert caplog.messages == ["10.0.0.1: its PROXY header did not come in time"]


def test_who_leaves_is_forgotten(scene, pair):
    """As health checks do that only connect."""
    opening, host, client = scene("v1")
    client.close()
    opening.on_event(READABLE)
    assert (host.told, pair[0].fileno(), opening.phase) == (["forget"], -1, Phase.ENDED)


def test_who_has_sent_nothing_makes_room(scene, pair):
    """If others wait, unless something has come meanwhile."""
    opening, host, client = scene("v1")
    client.sendall(V1[:9])
    assert opening.make_way() is False
    opening.on_event(READABLE)
    assert opening.make_way() is True
    assert (host.told, client.recv(1)) == (["forget"], b"")


def test_a_fault_lets_go_of_all(scene, pair):
    """The host has forgotten it then."""
    opening, host, client = scene("v1")
    opening.abandon()
    assert (host.told, opening.phase, client.recv(1)) == ([], Phase.ENDED, b"")


def test_who_waits_for_it_serves_its_client(pair):
    """The wait is that of the first head."""
    sock, client = pair
    pieces = [V1[:9], V1[9:] + GET]
    shell = begin_blocking(sock, PROXY, make("v1"))
    idle = []

    def wait(deadline):
        idle.append(shell.is_idle)
        assert shell.may_yield_at < deadline, "it makes way for others"
        client.sendall(pieces.pop(0))
        return True

    shell.wait_for_head = wait
    assert shell.serve() in Outcome
    assert idle == [True, False]
    assert client.recv(1000).endswith(b"\r\n192.0.2.1 50000 TCP4 203.0.113.5 443")


def test_who_waits_for_it_has_what_was_taken_for_it(pair):
    """As in a loop."""
    sock, client = pair
    pieces = [b"\r", b"\n" + GET]
    shell = begin_blocking(sock, PROXY, make())
    shell.wait_for_head = lambda deadline: client.sendall(pieces.pop(0)) is None
    assert shell.serve() in Outcome
    assert client.recv(1000).endswith(b"\r\n10.0.0.1 5 - - -")


@pytest.mark.parametrize("certificates", [None, Certificates()])
def test_who_waits_for_it_answers_what_is_none(pair, certificates):
    """On the kernel's socket, which then lingers."""
    sock, client = pair
    client.sendall(GET)
    shell = begin_blocking(sock, PROXY, make("v1", certificates))
    assert shell.serve() is Outcome.LINGER
    assert shell.sock is sock
    assert client.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("certificates", [None, Certificates()])
def test_who_waits_for_it_waits_until_its_deadline(pair, monkeypatch, certificates):
    """Then the connection is closed; as it is when the proxy has gone."""
    monkeypatch.setattr(handshake, "monotonic", lambda: 100.0)
    sock, client = pair
    shell = begin_blocking(sock, PROXY, make("v1", certificates))
    deadlines = []
    shell.wait_for_head = deadlines.append
    assert shell.serve() is Outcome.CLOSED
    assert (deadlines, client.recv(1), sock.fileno()) == ([107.0], b"", -1)


def test_who_waits_for_it_notices_that_nobody_is_there(pair):
    """Also when an answer is due."""
    sock, client = pair
    client.sendall(GET)
    client.close()
    assert begin_blocking(sock, PROXY, make("v1")).serve() is Outcome.CLOSED
    assert sock.fileno() < 0


def test_a_fault_while_waiting_closes_the_socket(pair):
    """Whatever it is (QUIT, say)."""
    sock, _ = pair
    shell = begin_blocking(sock, PROXY, make("v1"))

    def fail(deadline):
        raise KeyboardInterrupt

    shell.wait_for_head = fail
    with pytest.raises(KeyboardInterrupt):
        shell.serve()
    assert sock.fileno() < 0


def test_early_octets_are_looked_at():
    """`introduction.check_early` is what `put_back` relies on."""
    introduction.check_early(b"PROXY", make())
    introduction.check_early(b"", make(certificates=Certificates()))
    with pytest.raises(ProxyHeaderError):
        introduction.check_early(b"\r\n\r\n\0", make())
