"""Who is trusted."""

import pytest

from pyfork.gateway import peers
from pyfork.gateway.peers import CACHED_PEERS, Peers, name_of


@pytest.mark.parametrize(
    ("trusted", "peer", "is_trusted"),
    [
        (["10.0.0.1"], ("10.0.0.1", 1), True),
        (["10.0.0.1"], ("10.0.0.2", 1), False),
        (["10.0.0.0/8", "::1"], ("10.255.0.1", 1), True),
        (["10.0.0.0/8", "::1"], ("11.0.0.1", 1), False),
        (["10.0.0.0/8", "::1"], ("::1", 1, 0, 0), True),
        (["10.0.0.0/8"], ("::1", 1, 0, 0), False),
        (["10.0.0.0/8"], ("::ffff:10.0.0.1", 1, 0, 0), True),
        (["::ffff:10.0.0.1"], ("::ffff:10.0.0.1", 1, 0, 0), True),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 2), True),
        (["unix:"], "", True),
        (["unix:"], b"", True),
        (["unix:"], ("10.0.0.1", 1), False),
        (["10.0.0.1", "0.0.0.0/0"], "", False),
        (["*"], ("192.0.2.1", 1), True),
        (["*"], "", True),
        ([], ("127.0.0.1", 1), False),
        ([], "", False),
    ],
)
def test_a_peer_is_trusted_or_not(trusted, peer, is_trusted):
    """A second question meets the same verdict, from memory."""
    judge = Peers(trusted)
    assert [judge.has_peer(peer) for _ in range(2)] == [is_trusted, is_trusted]


@pytest.mark.parametrize(
    ("trusted", "address", "is_trusted"),
    [
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["10.0.0.0/8"], "192.0.2.1", False),
        (["0.0.0.0/0"], "192.0.2.1", True),
        (["*", "10.0.0.0/8"], "10.0.0.1", True),
        (["*", "10.0.0.0/8"], "192.0.2.1", False),
        (["*"], "127.0.0.1", False),
        (["unix:"], "127.0.0.1", False),
    ],
)
def test_an_address_that_is_told_is_trusted_only_by_its_name(trusted, address, is_trusted):
    """With ``*`` the peer is a proxy whoever it is; who sent to that is the client."""
    assert Peers(trusted).has_address(address) is is_trusted


def test_a_verdict_is_reached_once_for_each_address(monkeypatch):
    """It takes longer than the rest of the environ."""
    judged = []
    monkeypatch.setattr(peers._Verdicts, "_judge", lambda _, host: judged.append(host) or True)
    judge = Peers([])
    for port in range(3):
        judge.has_peer(("10.0.0.1", port))
        judge.has_peer("")
    assert judged == ["10.0.0.1", "unix:"]


def test_the_memory_of_addresses_is_bounded():
    """Clients come from anywhere where no proxy is in front."""
    judge = Peers(["10.0.0.1"])
    for number in range(CACHED_PEERS + 1):
        assert not judge.has_peer((f"192.0.{number >> 8}.{number & 255}", 1))
    assert len(judge._verdicts) == 1
    assert judge.has_peer(("10.0.0.1", 1))


def test_the_log_calls_peers_by_their_address():
    """A unix socket's client has none."""
    assert [name_of(peer) for peer in (("::1", 1, 0, 0), "", b"")] == ["::1", "a unix socket", "a unix socket"]
