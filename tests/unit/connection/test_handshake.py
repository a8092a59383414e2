"""The handshake in a worker that waits for it; the client acts whenever the worker waits."""

import errno
import math

import pytest

from pyfork.config.schema_tls import TlsSettings
from pyfork.connection.blocking import BlockingConnection, Outcome
from pyfork.connection.certificates import load
from pyfork.connection.context import READABLE, WRITABLE
from pyfork.connection.handshake import begin_blocking
from tests.authority import Authority, MemoryClient
from tests.unit.connection.fakes import make_context
from tests.unit.connection.raw import Raw

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificates(authority):
    certfile, keyfile = authority.issue("server", "localhost")
    return load(TlsSettings(certfile=certfile, keyfile=keyfile))


class Scene:
    """A connection, and what its client does with each wait of the worker's."""

    def __init__(self, certificates, act):
        self.raw, self.waits, self.act = Raw(), [], act
        context = make_context(hello, certificates=certificates)
        object.__setattr__(context, "wait", self.wait)
        self.shell = begin_blocking(self.raw, "", context)

    def wait(self, connection, events, deadline):
        self.waits.append(events)
        return self.act(self)


def client_of(authority):
    """Return what a client does that shakes hands and asks."""
    client = MemoryClient(authority.trust())
    answers = []

    def act(scene):
        if client.tls.version() is None or not answers:
            octets = client.shake_hands(scene.raw.taken())
            if client.tls.cipher() is not None and scene.waits[1:]:
                answers.append(b"")
                octets += client.encrypt(REQUEST)
            scene.raw.come.append(octets)
        return True

    return client, act


def test_all_others_go_before_each_step(authority, certificates):
    """A step takes as long as many requests: clients that have a connection must not wait for a crowd of new ones."""
    _, act = client_of(authority)
    scene = Scene(certificates, act)
    asides = []
    object.__setattr__(scene.shell.context, "step_aside", lambda: asides.append(scene.raw.gone))
    assert scene.shell.serve() is Outcome.CLOSED
    assert asides == [b"", b""]  # before the ServerHello, and before the tickets (the client has taken the first)


def test_a_plain_listener_has_no_handshake():
    """Its connections are served by the plain class."""
    assert type(begin_blocking(Raw(), "", make_context())) is BlockingConnection


def test_a_request_is_answered_behind_the_handshake(certificates, authority):
    """What came with its last octets is read first; the end is said by TLS."""
    client, act = client_of(authority)
    scene = Scene(certificates, act)
    assert scene.shell.serve() is Outcome.CLOSED
    assert scene.waits == [READABLE, READABLE]
    assert client.decrypt(scene.raw.taken()).endswith(b"\r\n\r\nhello")
    assert client.tls.read(1) == b"", "not ragged"
    assert scene.raw.calls == ["shutdown", "close"]


def test_plain_http_is_answered_readably(certificates):
    """Then the worker sees the client off."""
    scene = Scene(certificates, lambda scene: scene.raw.come.append(REQUEST) or True)
    assert scene.shell.serve() is Outcome.LINGER
    assert scene.shell.sock is scene.raw
    assert scene.raw.gone.endswith(b"The plain HTTP request was sent to an HTTPS port\n")
    assert scene.raw.calls == ["shutdown"]


def test_a_failure_is_told_by_an_alert(certificates):
    """Unless the client has gone: there is nobody to linger for."""
    for room, outcome in ((math.inf, Outcome.LINGER), (-1, Outcome.CLOSED)):
        scene = Scene(certificates, lambda scene: scene.raw.come.append(b"\x16\x03\x01\x00\x05hello") or True)
        scene.raw.room = room
        assert scene.shell.serve() is outcome
        if outcome is Outcome.LINGER:
            assert scene.raw.gone[:1] == b"\x15"
        else:
            assert scene.raw.calls[-1] == "close"


@pytest.mark.parametrize("has_reset", [False, True])
def test_a_client_that_goes_is_forgotten(certificates, has_reset):
    """In the middle of the handshake."""
    steps = [b"\x16\x03\x01\x02\x00hello", ConnectionResetError(errno.ECONNRESET, "reset") if has_reset else b""]
    scene = Scene(certificates, lambda scene: scene.raw.come.append(steps.pop(0)) or True)
    assert scene.shell.serve() is Outcome.CLOSED
    assert (scene.raw.calls, scene.raw.gone) == (["close"], b"")


def test_a_silent_client_has_until_the_deadline(certificates):
    """An early wake-up is none: it is waited for again."""
    script = [True, False]
    scene = Scene(certificates, lambda _: script.pop(0))
    assert scene.shell.serve() is Outcome.CLOSED
    assert (scene.waits, scene.raw.calls) == ([READABLE, READABLE], ["close"])


def test_a_client_that_takes_nothing_is_waited_for(certificates, authority):
    """The handshake is over when the client's kernel has all of it, the tickets too."""
    client = MemoryClient(authority.trust())

    def take_all(scene):
        scene.raw.room = math.inf
        return True

    def speak(scene):
        scene.raw.come.append(client.shake_hands(scene.raw.taken()))
        scene.raw.room = 10
        return True

    script = [speak, take_all, speak, take_all, lambda _: False]
    scene = Scene(certificates, lambda scene: script.pop(0)(scene))  # noqa: PLW0108 (each time the next)
    assert scene.shell.serve() is Outcome.CLOSED
    assert scene.waits == [READABLE, READABLE | WRITABLE, READABLE, WRITABLE, READABLE]
