"""What a proxy says of the client: by whom it counts, what it says, and what is left of the rest."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.config.proxies import FORWARDING_FIELDS
from pyfork.gateway.forwarded import MOST_HOPS, NOBODY, TrustedProxies, tells_of_client

PROXY = ("10.0.0.1", 1234)
STRANGER = ("192.0.2.9", 1234)
ALL_X = tuple(name for name in FORWARDING_FIELDS if name != "forwarded")
INNER = ("10.0.0.0/8", "unix:")


def see(fields, headers=ALL_X, trusted=INNER, peer=PROXY, *, keeps=False, **changes):
    """Return the environ of a request with these fields; their names are those of X-Forwarded-* but for one."""
    environ = {
        "REMOTE_ADDR": peer[0] if peer else "",
        "REMOTE_PORT": str(peer[1]) if peer else "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "HTTP_HOST": "backend:8000",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
        **changes,
    }
    environ |= {variable(name): value for name, value in fields.items()}
    TrustedProxies(trusted, headers, keeps_untrusted=keeps).apply(environ, peer)
    return environ


def variable(name):
    return "HTTP_FORWARDED" if name == "forwarded" else f"HTTP_X_FORWARDED_{name.upper()}"


def address(value, **keywords):
    environ = see({"for": value}, **keywords)
    return environ["REMOTE_ADDR"], environ["REMOTE_PORT"], environ.get("HTTP_X_FORWARDED_FOR")


def scheme(headers=("x-forwarded-proto",), **fields):
    return see(fields, headers)["wsgi.url_scheme"]


# For.


@pytest.mark.parametrize(
    ("value", "client", "left"),
    [
        ("192.0.2.1", ("192.0.2.1", ""), "192.0.2.1"),
        ("192.0.2.1:4711", ("192.0.2.1", "4711"), "192.0.2.1:4711"),
        ("[2001:DB8::1]:4711", ("2001:db8::1", "4711"), "[2001:DB8::1]:4711"),
        ("198.51.100.1, 192.0.2.1", ("192.0.2.1", ""), "192.0.2.1"),
        ("198.51.100.1,192.0.2.1, 10.0.0.3,10.0.0.2", ("192.0.2.1", ""), "192.0.2.1, 10.0.0.3,10.0.0.2"),
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", ""), "10.0.0.3, 10.0.0.2"),
        ("10.0.0.3, ::ffff:10.0.0.2", ("10.0.0.3", ""), "10.0.0.3, ::ffff:10.0.0.2"),
        (",192.0.2.1 ,, 10.0.0.2,", ("192.0.2.1", ""), "192.0.2.1 ,, 10.0.0.2,"),
        ("192.0.2.1, unknown, 10.0.0.2", ("10.0.0.2", ""), "10.0.0.2"),
        ('192.0.2.1, "10.0.0.3", 10.0.0.2:1', ("10.0.0.2", "1"), "10.0.0.2:1"),
        ("192.0.2.1, _hidden", PROXY, None),
        ("127.0.0.1, localhost", PROXY, None),
        ("", PROXY, None),
        (", ,", PROXY, None),
        ("\xff", PROXY, None),
        (",".join(["192.0.2.1"] * 1000), ("192.0.2.1", ""), "192.0.2.1"),
        ("8.8.8.8," + ",".join(["10.0.0.2"] * 1000), ("10.0.0.2", ""), ",".join(["10.0.0.2"] * (MOST_HOPS + 1))),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(value, client, left):
    """The leftmost if all are; who does not tell an address is its end. Left of the client nothing is kept."""
    assert address(value) == (client[0], str(client[1]), left)


def test_whoever_connects_is_a_proxy_but_whom_it_names_is_not():
    """With ``*`` the word of the peer itself counts; a network of all addresses passes over all of them."""
    assert address("127.0.0.1, 192.0.2.1", trusted=["*"])[0] == "192.0.2.1"
    assert address("8.8.8.8, 192.0.2.1, 10.0.0.3", trusted=["*", "10.0.0.0/8"], peer=STRANGER)[0] == "192.0.2.1"
    assert address("8.8.8.8, 192.0.2.1", trusted=["0.0.0.0/0"])[0] == "8.8.8.8"


def test_a_proxy_at_a_unix_socket_tells_of_its_client():
    """Which is all that there is: the socket has no address."""
    assert address("8.8.8.8, 192.0.2.1", peer="")[0] == "192.0.2.1"
    assert address("unknown", peer="") == ("", "", None)


# The scheme.


@pytest.mark.parametrize("fields", [{"proto": "https"}, {"proto": "HTTPS"}, {"protocol": "ssl"}, {"ssl": "on"}])
def test_each_field_has_a_word_for_tls(fields):
    """gunicorn's three."""
    assert scheme(**fields) == "https"
    assert see(fields, ["x-forwarded-proto"])[variable(*fields)] == next(iter(fields.values()))


@pytest.mark.parametrize(
    "fields",
    [
        {"proto": "http"},
        {"proto": ""},
        {"proto": "ssl"},
        {"proto": '"https"'},
        {"proto": "https, http"},
        {"proto": "http,https"},
        {"protocol": "https"},
        {"ssl": "off"},
    ],
)
def test_any_other_value_is_not_it(fields):
    """Also where one element says so and another does not."""
    assert scheme(**fields) == "http"


def test_a_proxy_says_that_the_client_came_without_tls():
    """Where it came to us by TLS itself; a word that is empty is none."""
    secure = {"wsgi.url_scheme": "https"}
    assert see({"proto": "http"}, **secure)["wsgi.url_scheme"] == "http"
    assert see({"proto": "", "ssl": ","}, **secure)["wsgi.url_scheme"] == "https"
    assert see({"for": "192.0.2.1"}, **secure)["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"proto": "https", "ssl": "on"}, "https"),
        ({"proto": "https,https"}, "https"),
        ({"proto": "http", "ssl": "off"}, "http"),
    ],
)
def test_words_that_agree_are_one(fields, expected, caplog):
    """Also one that came twice, as when two proxies add it: the application sees one."""
    environ = see(fields)
    assert environ["wsgi.url_scheme"] == environ["HTTP_X_FORWARDED_PROTO"] == expected
    assert not caplog.records


def test_words_that_contradict_each_other_are_http(caplog):
    """They are removed; the log says so once for each worker, and only of proxies: others do not matter."""
    proxies = TrustedProxies(["10.0.0.1", "unix:"])
    fields = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_SSL": "off", "HTTP_X_FORWARDED_PROTOCOL": "\n"}
    with caplog.at_level(logging.WARNING, logger="pyfork.error"):
        for peer in (STRANGER, PROXY, PROXY, ""):
            environ = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http", **fields}
            proxies.apply(environ, peer)
            assert environ == {"SCRIPT_NAME": "", "wsgi.url_scheme": "http"}
    [record] = caplog.records
    assert record.getMessage() == (
        "the proxy at 10.0.0.1 contradicts itself: by X-Forwarded-Proto the client came by TLS, by "
        "X-Forwarded-Protocol and X-Forwarded-Ssl it did not; wsgi.url_scheme is http (each worker says this once)"
    )


# Host, port and prefix.


@pytest.mark.parametrize(
    ("fields", "secure", "expected"),
    [
        ({"host": "example.org"}, False, ("example.org", "example.org", "80")),
        ({"host": "example.org"}, True, ("example.org", "example.org", "443")),
        ({"host": "example.org:8443"}, True, ("example.org:8443", "example.org", "8443")),
        ({"host": "[::1]:81"}, False, ("[::1]:81", "[::1]", "81")),
        ({"host": "evil.example, example.org"}, False, ("example.org", "example.org", "80")),
        ({"host": "example.org, a b"}, False, ("backend:8000", "127.0.0.1", "8000")),
        ({"host": ""}, False, ("backend:8000", "127.0.0.1", "8000")),
        ({"port": "8443"}, True, ("backend:8443", "127.0.0.1", "8443")),
        ({"port": "443"}, True, ("backend", "127.0.0.1", "443")),
        ({"port": "1, 443"}, False, ("backend:443", "127.0.0.1", "443")),
        ({"port": "443, x"}, False, ("backend:8000", "127.0.0.1", "8000")),
        ({"host": "example.org:1", "port": "2"}, False, ("example.org:2", "example.org", "2")),
        ({"host": "example.org:1", "port": "80"}, False, ("example.org", "example.org", "80")),
        ({"host": ":1"}, False, ("backend:8000", "127.0.0.1", "8000")),
    ],
)
def test_a_proxy_tells_how_the_client_names_the_server(fields, secure, expected):
    """The last element counts, a port before the host's own; without any it is the scheme's."""
    environ = see({**fields, "proto": "https" if secure else "http"})
    assert (environ["HTTP_HOST"], environ["SERVER_NAME"], environ["SERVER_PORT"]) == expected


def test_a_port_goes_without_a_host():
    """HTTP/1.0 may have none."""
    environ = see({"port": "81"}, HTTP_HOST="")
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("", "81")


@pytest.mark.parametrize(
    ("value", "mounted", "expected", "left"),
    [
        ("/shop", "", "/shop", "/shop"),
        ("/shop/", "/cart", "/shop/cart", "/shop/"),
        ("/", "/cart", "/cart", "/"),
        ("//evil.example, /shop", "", "/shop", "/shop"),
        ("/shop, //evil.example", "/cart", "/cart", None),
        ("", "/cart", "/cart", None),
    ],
)
def test_a_prefix_is_in_front_of_the_mount(value, mounted, expected, left):
    """The proxy has taken it off the path already."""
    environ = see({"prefix": value}, SCRIPT_NAME=mounted)
    assert (environ["SCRIPT_NAME"], environ.get("HTTP_X_FORWARDED_PREFIX")) == (expected, left)


def test_what_cannot_be_read_is_removed_and_told_once(caplog):
    """For each field; the log has nothing of its value."""
    proxies = TrustedProxies(INNER, ALL_X)
    for _ in range(2):
        environ = {"SCRIPT_NAME": "", "HTTP_X_FORWARDED_HOST": "a b\n", "HTTP_X_FORWARDED_PORT": "x"}
        proxies.apply(environ, PROXY)
        assert environ == {"SCRIPT_NAME": ""}
    assert [record.getMessage() for record in caplog.records] == [
        f"X-Forwarded-{name} of the proxy at 10.0.0.1 cannot be read, and is ignored (each worker says this once)"
        for name in ("Host", "Port")
    ]


# Forwarded.


@pytest.mark.parametrize(
    ("value", "expected", "left"),
    [
        ("for=192.0.2.1", ("192.0.2.1", "", "http", "backend:8000"), "for=192.0.2.1"),
        (
            'for="[2001:db8::1]:4711";proto=https;host="example.org:8443"',
            ("2001:db8::1", "4711", "https", "example.org:8443"),
            'for="[2001:db8::1]:4711";proto=https;host="example.org:8443"',
        ),
        (
            "for=8.8.8.8;host=evil, for=192.0.2.1;proto=https;host=a, for=10.0.0.2;proto=http;host=b",
            ("192.0.2.1", "", "https", "a"),
            "for=192.0.2.1;proto=https;host=a, for=10.0.0.2;proto=http;host=b",
        ),
        (
            "for=10.0.0.3;host=a,for=10.0.0.2;host=b",
            ("10.0.0.3", "", "http", "a"),
            "for=10.0.0.3;host=a,for=10.0.0.2;host=b",
        ),
        (
            "for=8.8.8.8,for=_secret;proto=https",
            ("10.0.0.1", "1234", "https", "backend:8000"),
            "for=_secret;proto=https",
        ),
        ("for=8.8.8.8,for=unknown,for=10.0.0.2", ("10.0.0.2", "", "http", "backend:8000"), "for=unknown,for=10.0.0.2"),
        ("for=8.8.8.8,proto=https", ("10.0.0.1", "1234", "https", "backend:8000"), "proto=https"),
        ('for="8.8.8.8, for=192.0.2.1', ("192.0.2.1", "", "http", "backend:8000"), "for=192.0.2.1"),
        ('for="8.8.8.8, for=10.0.0.2;host=a', ("10.0.0.2", "", "http", "a"), "for=10.0.0.2;host=a"),
        ("for=8.8.8.8, for=[::1]", ("10.0.0.1", "1234", "http", "backend:8000"), None),
        ("for=192.0.2.1;proto=https;host=", ("10.0.0.1", "1234", "http", "backend:8000"), None),
        ('for=192.0.2.1;host="a b"', ("192.0.2.1", "", "http", "backend:8000"), 'for=192.0.2.1;host="a b"'),
        ('for=192.0.2.1;proto="HTTPS"', ("192.0.2.1", "", "https", "backend:8000"), 'for=192.0.2.1;proto="HTTPS"'),
        ("for=192.0.2.1;proto=wss", ("192.0.2.1", "", "http", "backend:8000"), "for=192.0.2.1;proto=wss"),
        ("", ("10.0.0.1", "1234", "http", "backend:8000"), None),
    ],
)
def test_forwarded_is_read_element_by_element(value, expected, left):
    """What stands in the element that tells the client belongs together."""
    environ = see({"forwarded": value}, ["forwarded"])
    assert tuple(environ[name] for name in ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST")) == expected
    assert environ.get("HTTP_FORWARDED") == left


def test_as_many_elements_as_hops_are_read():
    """Then whoever is there is the client."""
    value = "for=8.8.8.8," + ",".join(["for=10.0.0.2"] * 1000)
    assert see({"forwarded": value}, ["forwarded"])["HTTP_FORWARDED"].count(",") == MOST_HOPS


def test_a_request_without_forwarded_is_as_it_came():
    """It has a field of the other family only, which nobody reads."""
    environ = see({"for": "8.8.8.8"}, ["forwarded"])
    assert (environ["REMOTE_ADDR"], "HTTP_X_FORWARDED_FOR" in environ) == ("10.0.0.1", False)


def test_a_forwarded_that_cannot_be_read_is_told_once(caplog):
    """Its proxy should be mended."""
    proxies = TrustedProxies(INNER, ["forwarded"])
    for value in ("for=a b", "x", "for=192.0.2.1"):
        proxies.apply({"HTTP_FORWARDED": value}, PROXY)
    [record] = caplog.records
    assert record.getMessage().startswith("Forwarded of the proxy at 10.0.0.1 cannot be read")


# What counts, and what becomes of the rest.

FIELDS = {
    "for": "192.0.2.1",
    "proto": "https",
    "protocol": "ssl",
    "ssl": "on",
    "host": "h:1",
    "port": "2",
    "prefix": "/p",
    "forwarded": "for=192.0.2.2;proto=https;host=f",
}
SENT = {variable(name): value for name, value in FIELDS.items()}
NAMES = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME")
UNTOUCHED = ("10.0.0.1", "http", "backend:8000", "8000", "")


def left_of(environ):
    return {name: value for name, value in environ.items() if name in SENT}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], UNTOUCHED),
        (["x-forwarded-for"], ("192.0.2.1", *UNTOUCHED[1:])),
        (["x-forwarded-proto"], ("10.0.0.1", "https", *UNTOUCHED[2:])),
        (["x-forwarded-host"], ("10.0.0.1", "http", "h:1", "1", "")),
        (["x-forwarded-port"], ("10.0.0.1", "http", "backend:2", "2", "")),
        (["x-forwarded-prefix"], ("10.0.0.1", "http", "backend:8000", "8000", "/p")),
        (ALL_X, ("192.0.2.1", "https", "h:2", "2", "/p")),
        (["forwarded"], ("192.0.2.2", "https", "f", "443", "")),
    ],
)
def test_only_what_is_listed_counts(headers, expected):
    """Of the family that is read the rest stays for the application; the other one, which nobody reads, does not."""
    environ = see(FIELDS, headers)
    assert tuple(environ[name] for name in NAMES) == expected
    family = {"HTTP_FORWARDED"} if "forwarded" in headers else set(SENT) - {"HTTP_FORWARDED"}
    assert left_of(environ) == {name: SENT[name] for name in (family if headers else set())}
    kept = see(FIELDS, headers, keeps=True)
    assert tuple(kept[name] for name in NAMES) == expected
    assert left_of(kept) == SENT


def test_by_default_only_the_scheme_counts():
    """A proxy that sets that, and nothing else, passes on what the client says of the rest."""
    environ = see(FIELDS, TrustedProxies.__init__.__defaults__[0])
    assert tuple(environ[name] for name in NAMES) == ("10.0.0.1", "https", "backend:8000", "8000", "")


@pytest.mark.parametrize("headers", [[], ALL_X, ["forwarded"]])
def test_the_word_of_others_is_removed(headers, caplog):
    """Or kept as it is, and believed never; the log says once how a proxy becomes trusted."""
    with caplog.at_level(logging.INFO, logger="pyfork.error"):
        environ = see(FIELDS, headers, peer=STRANGER)
        assert tuple(environ[name] for name in NAMES) == ("192.0.2.9", *UNTOUCHED[1:])
        assert left_of(environ) == {}
        [record] = caplog.records
        assert record.getMessage() == (
            "fields by which proxies tell of clients, such as Forwarded, came from 192.0.2.9, which proxy.trusted does "
            "not list: they are removed (each worker says this once)"
        )
        kept = see(FIELDS, headers, peer=STRANGER, keeps=True)
        assert tuple(kept[name] for name in NAMES) == ("192.0.2.9", *UNTOUCHED[1:])
        assert left_of(kept) == SENT
        assert len(caplog.records) == 1


@pytest.mark.parametrize("keeps", [False, True])
def test_clients_of_proxies_can_be_strangers(keeps, caplog):
    """Where the peer is a proxy, and who speaks is not: the log does not tell of that."""
    caplog.set_level(logging.INFO, logger="pyfork.error")
    environ = {**SENT, "wsgi.url_scheme": "http"}
    TrustedProxies(INNER, ALL_X, keeps_untrusted=keeps).of_strangers().apply(environ, PROXY)
    assert environ == {**(SENT if keeps else {}), "wsgi.url_scheme": "http"}
    assert not caplog.records


def test_kept_means_kept_whole():
    """Also what stands left of what was believed, and what was not."""
    fields = {"for": "8.8.8.8, 192.0.2.1", "proto": "http,https", "host": "evil, a", "prefix": "x"}
    assert left_of(see(fields, keeps=True)) == {variable(name): value for name, value in fields.items()}


def test_nobody_trusts_no_peer():
    """It stands where no list is given, and changes nothing."""
    for peer in (("127.0.0.1", 1), ""):
        environ = {**SENT, "wsgi.url_scheme": "http"}
        NOBODY.apply(environ, peer)
        assert environ == {**SENT, "wsgi.url_scheme": "http"}


def test_the_fields_are_noticed():
    """Each of them; a request without any is the common one."""
    assert not tells_of_client({"HTTP_HOST": "a", "HTTP_X_REAL_IP": "b"})
    assert all(tells_of_client({"HTTP_HOST": "a", name: ""}) for name in SENT)


WORDS = """for proto host https http on ssl unknown _x 10.0.0.2 192.0.2.1 ::1 %2F example.org 443 /shop"""
PIECES = st.lists(st.sampled_from([*'",;=\\[]: /\t\xff', *WORDS.split()]), max_size=14).map("".join)


@given(
    st.dictionaries(st.sampled_from(list(FIELDS)), PIECES),
    st.one_of(st.just(("forwarded",)), st.lists(st.sampled_from(ALL_X))),
    st.booleans(),
)
def test_whatever_a_client_sends_its_proxy_is_believed(fields, headers, keeps):
    """The proxy adds its own to the right of it; nothing raises, and what comes out is what the proxy said."""
    added = {
        "for": "192.0.2.77",
        "host": "right.example",
        "port": "4443",
        "prefix": "/right",
        "forwarded": 'for="192.0.2.77";proto=http;host="right.example"',
    }
    for name, value in added.items():
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    environ = see(fields, headers, keeps=keeps)
    is_forwarded = "forwarded" in headers
    if is_forwarded or "x-forwarded-for" in headers:
        assert environ["REMOTE_ADDR"] == "192.0.2.77"
    if is_forwarded or "x-forwarded-host" in headers:
        assert environ["SERVER_NAME"] == "right.example"
    if "x-forwarded-port" in headers:
        assert environ["SERVER_PORT"] == "4443"
    assert environ["SCRIPT_NAME"] == ("/right" if "x-forwarded-prefix" in headers else "")
    assert environ["wsgi.url_scheme"] == "http" or "x-forwarded-proto" in headers
    stranger = see(fields, headers, peer=STRANGER, keeps=keeps)
    assert stranger["REMOTE_ADDR"] == STRANGER[0]
    assert tells_of_client(stranger) is keeps
