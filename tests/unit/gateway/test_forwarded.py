"""What a proxy says of the client: by whom it counts, and what it says."""

import logging

import pytest

from pyfork.gateway import forwarded
from pyfork.gateway.forwarded import CACHED_PEERS, NOBODY, TrustedProxies

PROXY = ("10.0.0.1", 1234)
HTTPS = [(b"Host", b"a"), (b"X-Forwarded-Proto", b"https")]


def scheme(headers, trusted=("10.0.0.1",), peer=PROXY):
    return TrustedProxies(trusted).scheme_of(headers, peer)


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Forwarded-Proto", b"https"),
        (b"x-forwarded-PROTO", b"HTTPS"),
        (b"X-Forwarded-Protocol", b"ssl"),
        (b"X-Forwarded-Ssl", b"on"),
    ],
)
def test_each_field_has_a_word_for_tls(field):
    """gunicorn's three."""
    assert scheme([field]) == "https"


@pytest.mark.parametrize(
    "field",
    [
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Proto", b""),
        (b"X-Forwarded-Proto", b"ssl"),
        (b"X-Forwarded-Proto", b"https, http"),
        (b"X-Forwarded-Proto", b"https,https"),
        (b"X-Forwarded-Protocol", b"https"),
        (b"X-Forwarded-Ssl", b"off"),
    ],
)
def test_any_other_value_is_not_it(field):
    """The value counts whole: a list was begun by somebody further away."""
    assert scheme([field]) == "http"


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
def test_only_a_trusted_peer_is_believed(trusted, peer, is_trusted):
    """Any client can send the fields; a second request meets the same verdict, from memory."""
    proxies = TrustedProxies(trusted)
    expected = "https" if is_trusted else "http"
    assert [proxies.scheme_of(HTTPS, peer) for _ in range(2)] == [expected, expected]


def test_without_a_field_nothing_is_believed():
    """It is not asked then; were it asked, no word is not "TLS"."""
    assert scheme([(b"Host", b"a")]) == "http"


def test_nobody_trusts_no_peer():
    """It stands where no list is given."""
    assert NOBODY.scheme_of(HTTPS, ("127.0.0.1", 1)) == NOBODY.scheme_of(HTTPS, "") == "http"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Ssl", b"on")], "https"),
        ([(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Proto", b"https")], "https"),
        ([(b"X-Forwarded-Proto", b"http"), (b"X-Forwarded-Ssl", b"off")], "http"),
    ],
)
def test_fields_that_agree_are_one_word(headers, expected, caplog):
    """Also one that came twice, as when two proxies add it."""
    assert scheme(headers) == expected
    assert not caplog.records


def test_fields_that_contradict_each_other_leave_it_at_http(caplog):
    """The log says so once for each worker, and only of proxies: what others send does not matter."""
    proxies = TrustedProxies(["10.0.0.1", "unix:"])
    headers = [(b"x-forwarded-proto", b"https"), (b"X-Forwarded-Ssl", b"off"), (b"X-Forwarded-Protocol", b"\n")]
    with caplog.at_level(logging.WARNING, logger="pyfork.error"):
        assert proxies.scheme_of(headers, ("10.0.0.2", 1)) == "http"
        assert not caplog.records
        assert [proxies.scheme_of(headers, PROXY) for _ in range(2)] == ["http", "http"]
    [record] = caplog.records
    assert record.getMessage() == (
        "the proxy 10.0.0.1 contradicts itself: by X-Forwarded-Proto the client came by TLS, by X-Forwarded-Protocol "
        "and X-Forwarded-Ssl it did not; wsgi.url_scheme stays http (each worker says this once)"
    )


def test_a_field_can_contradict_itself(caplog):
    """A client's own, which the proxy let through beside its own; here at a unix socket."""
    headers = [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Proto", b"http")]
    assert scheme(headers, ["unix:"], "") == "http"
    assert "the proxy at a unix socket contradicts itself: by X-Forwarded-Proto the client" in caplog.text


def test_a_verdict_is_reached_once_for_each_address(monkeypatch):
    """It takes longer than the rest of the environ."""
    judged = []
    monkeypatch.setattr(forwarded._Verdicts, "_judge", lambda _, host: judged.append(host) or True)
    proxies = TrustedProxies([])
    for port in range(3):
        proxies.scheme_of(HTTPS, ("10.0.0.1", port))
        proxies.scheme_of(HTTPS, "")
    assert judged == ["10.0.0.1", "unix:"]


def test_the_memory_of_addresses_is_bounded():
    """Clients come from anywhere where no proxy is in front."""
    proxies = TrustedProxies(["10.0.0.1"])
    for number in range(CACHED_PEERS + 1):
        assert proxies.scheme_of(HTTPS, (f"192.0.{number >> 8}.{number & 255}", 1)) == "http"
    assert len(proxies._verdicts) == 1
    assert proxies.scheme_of(HTTPS, PROXY) == "https"


def test_a_listener_that_speaks_tls_is_what_it_is_without_a_proxys_word():
    """A stranger cannot make it plain; a trusted proxy says how the client came to it."""
    plain = [(b"X-Forwarded-Proto", b"http")]
    assert TrustedProxies(["10.0.0.1"]).scheme_of(plain, ("10.0.0.2", 1), "https") == "https"
    assert TrustedProxies(["10.0.0.1"]).scheme_of(plain, ("10.0.0.1", 1), "https") == "http"
    assert TrustedProxies(["10.0.0.1"]).scheme_of([*plain, *HTTPS], ("10.0.0.1", 1), "https") == "https"
