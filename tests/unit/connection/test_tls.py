"""TLS between a shell and the kernel, without a kernel."""

import contextlib
import errno
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyfork.config.schema_tls import TlsSettings
from pyfork.connection import tls as module
from pyfork.connection.certificates import load
from pyfork.errors import HandshakeError
from tests.authority import Authority, ClientKeys, MemoryClient


class Kernel:
    """A socket with the octets that have come, and with room for some that go."""

    family = socket.AF_INET

    def __init__(self):
        self.come = b""
        self.room = 1 << 30
        self.reserve = 0  # what there is room for beyond TCP_NOTSENT_LOWAT
        self.gone = b""
        self.calls = []
        self.is_at_end = False

    def setblocking(self, flag):
        self.calls.append("setblocking")

    def fileno(self):
        return 7

    def recv(self, size, flags=0):
        if not self.come:
            if self.is_at_end:
                return b""
            raise BlockingIOError
        data = self.come[:size]
        if not flags:
            self.come = self.come[size:]
        return data

    def send(self, data, flags=0):
        if self.room < 0:
            raise BrokenPipeError(errno.EPIPE, "gone")
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.gone += taken
        return len(taken)

    def shutdown(self, how):
        self.calls.append(("shutdown", how))
        self.is_at_end = True

    def setsockopt(self, *option):
        self.calls.append(option)
        self.room += self.reserve

    def close(self):
        self.calls.append("close")

    def taken(self):
        gone, self.gone = self.gone, b""
        return gone


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server", "localhost", "*.example.org")


@pytest.fixture(scope="module")
def certificates(pair):
    return load(TlsSettings(certfile=pair[0], keyfile=pair[1]))


@pytest.fixture(scope="module")
def trust(authority):
    return authority.trust()


def shake_hands(certificates, context, **client):
    """Return the server's side, the kernel below it, and the client."""
    kernel = Kernel()
    server, peer = certificates.wrap(kernel), MemoryClient(context, **client)
    octets, is_over = peer.shake_hands(), False
    while octets:
        server.feed(octets)
        is_over = server.shake_hands()
        octets = peer.shake_hands(kernel.taken())
    assert is_over
    assert not server.has_pending
    return server, kernel, peer


@pytest.fixture
def line(certificates, trust):
    return shake_hands(certificates, trust)


def test_octets_go_and_come(line):
    """With a handshake before them; the socket never blocks."""
    server, kernel, client = line
    assert kernel.calls == ["setblocking"]
    kernel.come = client.encrypt(b"to the server")
    assert server.recv(16384) == b"to the server"
    assert server.send(b"to the client") == 13
    assert client.decrypt(kernel.taken()) == b"to the client"
    with pytest.raises(BlockingIOError):
        server.recv(16384)


def test_the_connection_is_described(line):
    """For the environ, by the names of mod_ssl."""
    server, _, client = line
    assert server.variables == {
        "SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": client.tls.cipher()[0], "SSL_SESSION_RESUMED": "Initial",
    }  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, 5, 1000])
def test_a_record_in_pieces_is_returned_when_it_is_whole(line, step):
    """What has come of it is nothing yet, but somebody has begun to say something."""
    server, kernel, client = line
    octets = client.encrypt(b"a" * 100)
    assert server._is_partial is False
    received = b""
    for start in range(0, len(octets), step):
        kernel.come = octets[start : start + step]
        try:
            received += server.recv(16384)
        except BlockingIOError:
            assert server.recv(1, socket.MSG_PEEK)
    assert received == b"a" * 100
    with pytest.raises(BlockingIOError):
        server.recv(1, socket.MSG_PEEK)


def test_nothing_that_is_decrypted_is_held_back(line):
    """The kernel would be silent about it: many records come with one read, and so does part of the next."""
    server, kernel, client = line
    records = [client.encrypt(bytes([number]) * 1000) for number in range(10)]
    kernel.come = b"".join(records)[:-1]
    assert server.recv(65536) == b"".join(bytes([number]) * 1000 for number in range(9))
    kernel.come = records[-1][-1:]
    assert server.recv(65536) == b"\x09" * 1000


def test_what_came_with_the_handshake_is_read_first(certificates, trust):
    """A client sends its request with its last words of the handshake; the kernel does not tell of it again."""
    kernel = Kernel()
    server, client = certificates.wrap(kernel), MemoryClient(trust)
    server.feed(client.shake_hands())
    server.shake_hands()
    server.feed(client.shake_hands(kernel.taken()) + client.encrypt(b"early"))
    assert server.shake_hands()
    assert server.has_pending
    assert server.recv(1, socket.MSG_PEEK)
    assert server.recv(16384) == b"early"


@given(
    st.lists(st.integers(0, 40_000), max_size=30),
    st.lists(st.integers(1, 300_000), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_no_octet_counts_as_sent_before_the_kernel_has_it(certificates, trust, rooms, sizes):
    """And every octet arrives once, whatever the kernel takes at a time; who sends on begins with what is left."""
    server, kernel, client = shake_hands(certificates, trust)
    data = memoryview(b"".join(bytes([number + 1]) * size for number, size in enumerate(sizes)))
    received = 0
    rest = data
    for room in [*rooms, *[1 << 30] * 10]:
        kernel.room = room
        while rest:
            try:
                sent = server.send(rest)
            except BlockingIOError:
                break
            assert 0 < sent <= len(rest)
            rest = rest[sent:]
        plain = client.decrypt(kernel.taken())
        assert plain == data[received : received + len(plain)]
        received += len(plain)
        if not rest:
            break
    assert received == len(data)
    assert not server.has_unsent


def test_a_whole_response_is_sent_only_when_its_last_octet_is(line):
    """The kernel lacks one octet of the ciphertext: the last octet is not sent yet."""
    server, kernel, client = line
    kernel.room = 100 + 21  # a record of TLS 1.3 has 22 octets of its own
    assert server.send(b"a" * 100) == 99
    assert client.decrypt(kernel.taken()) == b""
    with pytest.raises(BlockingIOError):
        server.send(b"a")
    kernel.room = 1000
    assert server.send(b"a") == 1
    assert client.decrypt(kernel.taken()) == b"a" * 100


def test_what_reading_has_passed_on_is_not_sent_twice(line):
    """An application may read its body in one greenlet while its response waits in another."""
    server, kernel, client = line
    kernel.room = 50
    rest = b"a" * 100
    rest = rest[server.send(rest) :]
    kernel.room = 1000
    kernel.come = client.encrypt(b"body")[:7]
    with pytest.raises(BlockingIOError):
        server.recv(100)
    assert not server.has_unsent
    while rest:
        rest = rest[server.send(rest) :]
    server.send(b"b")
    assert client.decrypt(kernel.taken()) == b"a" * 100 + b"b"


def test_the_beginning_of_a_record_is_no_news(line):
    """A client that has sent one octet of a record, and no more, makes way for others; reading still waits for it."""
    server, kernel, client = line
    record = client.encrypt(b"body")
    kernel.come = record[:1]
    assert server.has_news()
    with pytest.raises(BlockingIOError):
        server.recv(100)
    assert not server.has_news()
    assert server.recv(1, socket.MSG_PEEK), "a request has begun"
    kernel.come = record[1:]
    assert server.has_news()
    assert server.recv(100) == b"body"


@pytest.mark.parametrize("room", [0, 3, 10, 25])
@pytest.mark.parametrize("more", [0, 5, 1000])
def test_octets_that_are_given_up_are_no_part_of_what_follows(line, room, more):
    """A 100 (Continue) that the kernel does not take goes before the response, and does not count as part of it."""
    server, kernel, client = line
    kernel.room = room
    with contextlib.suppress(BlockingIOError):
        server.send(b"aside ")
    assert server.has_unsent
    rest = b"response"
    for kernel.room in (more, 1000):
        with contextlib.suppress(BlockingIOError):
            while rest:
                rest = rest[server.send(rest) :]
    assert rest == b""
    assert client.decrypt(kernel.taken()) == b"aside response"


def test_the_end_is_said_by_tls(line):
    """A close_notify is an end like that of a socket; what comes behind it is nothing."""
    server, kernel, client = line
    kernel.come = client.close_notify()
    assert server.recv(16384) == b""
    assert server.recv(16384) == b""


def test_the_end_behind_octets_is_told_by_the_kernel(line):
    """The loop would not ask again: the socket is made to report it."""
    server, kernel, client = line
    kernel.come = client.encrypt(b"last") + client.close_notify()
    assert server.recv(16384) == b"last"
    assert ("shutdown", socket.SHUT_RD) in kernel.calls
    assert server.recv(16384) == b""


def test_an_end_without_a_word_is_one(line):
    """A request is complete or not by its own framing, whatever TLS says."""
    server, kernel, _ = line
    kernel.is_at_end = True
    assert server.recv(16384) == b""


def test_a_connection_that_ends_well_says_so(line):
    """A close_notify goes before the end; then ciphertext is only read to be forgotten."""
    server, kernel, client = line
    server.shutdown(socket.SHUT_WR)
    assert client.decrypt(kernel.taken()) == b""
    assert client.tls.read(1) == b"", "not ragged"
    assert ("shutdown", socket.SHUT_WR) in kernel.calls
    kernel.come = client.encrypt(b"too late")
    assert server.recv(5) != b""
    assert server.recv(65536) != b""
    with pytest.raises(BrokenPipeError):
        server.send(b"more")
    server.shutdown(socket.SHUT_RDWR)  # once more says nothing more
    assert kernel.gone == b""


@pytest.mark.parametrize("reserve", [1000, 0])
def test_the_end_is_said_though_the_kernel_is_to_take_no_more(line, reserve):
    """It keeps little of what is not on its way; where there is no room at all, nobody waits for it."""
    server, kernel, client = line
    kernel.room, kernel.reserve = 0, reserve
    server.shutdown(socket.SHUT_WR)
    octets = kernel.taken()
    assert bool(octets) is bool(reserve)
    assert ("shutdown", socket.SHUT_WR) in kernel.calls
    if reserve:
        assert client.decrypt(octets) == b""
        assert client.tls.read(1) == b"", "not ragged"


def test_what_is_broken_off_does_not_look_whole(line):
    """Neither by closing nor by an end behind octets that are not sent."""
    server, kernel, _ = line
    kernel.room = 50
    server.send(b"a" * 100)
    kernel.room = 1000
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    assert len(kernel.taken()) == 50
    assert kernel.calls[-1] == "close"


def test_what_is_broken_off_between_two_records_does_not_look_whole(line):
    """The kernel has taken all that it was given, but the response has not ended."""
    server, kernel, client = line
    server.send(b"a" * 100)
    server.break_off()
    server.close()
    assert client.decrypt(kernel.taken()) == b"a" * 100
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.read(1)
    assert kernel.calls[-2:] == [("shutdown", socket.SHUT_RDWR), "close"]
    with pytest.raises(OSError):
        server.send(b"a")


def test_closing_says_nothing(line):
    """A copy of the process closes its sockets, and the connection is the original's."""
    server, kernel, _ = line
    server.setblocking(True)
    server.setsockopt(1, 2, 3)
    server.close()
    assert kernel.gone == b""
    assert kernel.calls[-2:] == [(1, 2, 3), "close"]


def test_what_is_no_tls_ends_the_connection(line):
    """The client is told by an alert; the shell hears of a client that has gone."""
    server, kernel, client = line
    kernel.come = b"\x17\x03\x03\x00\x20" + b"x" * 32
    with pytest.raises(ConnectionAbortedError, match=r"bad record mac|decryption failed"):
        server.recv(16384)
    with pytest.raises(ssl.SSLError, match="alert"):
        client.decrypt(kernel.taken())


def test_what_came_before_it_is_returned(line):
    """It was valid; the end comes with the next read."""
    server, kernel, client = line
    kernel.come = client.encrypt(b"good") + b"\x17\x03\x03\x00\x20" + b"x" * 32
    assert server.recv(16384) == b"good"
    assert server.recv(16384) == b""


def test_tls_has_something_to_say_though_nobody_reads(line, monkeypatch):
    """What TLS answers by itself is kept for a client that takes nothing, up to a bound."""
    server, kernel, client = line
    kernel.room = 0
    server._tls.write(b"an answer")  # stands for an answer to KeyUpdate
    kernel.come = client.encrypt(b"a")
    assert server.recv(16384) == b"a"
    assert server.has_unsent
    server._tls.write(b"another")
    kernel.come = client.encrypt(b"b")
    assert server.recv(16384) == b"b"
    monkeypatch.setattr(module, "MOST_KEPT", 20)
    kernel.come = client.encrypt(b"c")
    with pytest.raises(ConnectionAbortedError, match="takes nothing"):
        server._pass_on()
    kernel.room = 1000
    monkeypatch.setattr(module, "MOST_KEPT", 2000)
    server.flush()
    server.flush()
    assert client.decrypt(kernel.taken()) == b"an answeranother"


def test_a_client_may_change_its_keys(certificates, authority, tmp_path):
    """KeyUpdate (RFC 8446, section 4.6.3): the server's comes before what it sends next, and both go on."""
    log = tmp_path / "keys"
    context = authority.trust()
    context.keylog_filename = str(log)
    server, kernel, client = shake_hands(certificates, context)
    keys = ClientKeys(log.read_text())
    kernel.come = keys.key_update()
    with pytest.raises(BlockingIOError):
        server.recv(16384)
    kernel.come = keys.record(b"after it", 23)
    assert server.recv(16384) == b"after it"
    server.send(b"answer")
    assert client.decrypt(kernel.taken()) == b"answer"


def test_a_handshake_that_fails_says_why(certificates, trust, authority, pair):
    """In OpenSSL's words, and to the client by an alert."""
    kernel = Kernel()
    server = certificates.wrap(kernel)
    server.feed(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(HandshakeError, match="unexpected message"):
        server.shake_hands()
    assert kernel.gone[:1] == b"\x15"
    strict = load(TlsSettings(certfile=pair[0], keyfile=pair[1], verify="required", ca_certs=authority.path))
    with pytest.raises(HandshakeError, match="peer did not return a certificate"):
        shake_hands(strict, trust)


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(pair, authority, tmp_path):
    """With verify = "optional" too: one that comes must be valid."""
    stranger = Authority(tmp_path)
    strict = load(TlsSettings(certfile=pair[0], keyfile=pair[1], verify="optional", ca_certs=authority.path))
    context = authority.trust(*stranger.issue("ann", "ann"))
    with pytest.raises(HandshakeError, match=r"certificate verify failed|the certificate is not accepted"):
        shake_hands(strict, context)


def test_a_client_that_has_gone_ends_the_handshake(certificates, trust):
    """In the middle of it."""
    kernel = Kernel()
    kernel.room = -1
    server = certificates.wrap(kernel)
    server.feed(MemoryClient(trust).shake_hands())
    with pytest.raises(HandshakeError, match="the client has gone"):
        server.shake_hands()


def test_a_certificate_of_the_client_is_described(pair, authority):
    """Whole, and by its names."""
    asking = load(TlsSettings(certfile=pair[0], keyfile=pair[1], verify="optional", ca_certs=authority.path))
    server, _, _ = shake_hands(asking, authority.trust())
    assert server.variables["SSL_CLIENT_VERIFY"] == "NONE"
    ann = authority.issue("ann", "ann@example.org", common_name="Ann")
    server, _, _ = shake_hands(asking, authority.trust(*ann))
    assert server.variables["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert server.variables["SSL_CLIENT_S_DN"].startswith("CN=Ann,")
    assert "O=Example\\, Inc." in server.variables["SSL_CLIENT_S_DN"]
    assert server.variables["SSL_CLIENT_CERT"].startswith("-----BEGIN CERTIFICATE-----")


def test_a_name_gets_its_certificate(pair, authority):
    """By SNI; whoever asks for none, or for another, gets the default."""
    files = ":".join(authority.issue("shop", "shop.example.org"))
    many = load(TlsSettings(certfile=pair[0], keyfile=pair[1], sni={"shop.example.org": files}))
    for name, expected in (
        ("shop.example.org", "'shop.example.org'"),
        ("localhost", "'*.example.org'"),
        ("other.example.org", "'*.example.org'"),
    ):
        _, _, client = shake_hands(many, authority.trust(), name=name)
        assert expected in str(client.tls.getpeercert()["subjectAltName"])
    context = authority.trust()
    context.check_hostname = False
    _, _, client = shake_hands(many, context, name=None)
    assert "'localhost'" in str(client.tls.getpeercert()["subjectAltName"])


def test_nothing_but_http_is_agreed_upon(certificates, authority):
    """ALPN (RFC 7301)."""
    context = authority.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, _, client = shake_hands(certificates, context)
    assert client.tls.selected_alpn_protocol() == "http/1.1"
