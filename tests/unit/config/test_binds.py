"""Addresses: every form, and everything that gunicorn would take for something else than was meant."""

import pytest

from pyfork.config.binds import MAXIMUM_PATH, Bind, choose_tls, parse_bind
from pyfork.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8000", Bind("tcp4", "127.0.0.1:8000", host="127.0.0.1", port=8000)),
        (":8000", Bind("tcp4", "0.0.0.0:8000", host="0.0.0.0", port=8000)),
        ("0.0.0.0:0", Bind("tcp4", "0.0.0.0:0", host="0.0.0.0", port=0)),
        ("LocalHost:80", Bind("tcp4", "localhost:80", host="localhost", port=80)),
        ("localhost", Bind("tcp4", "localhost:8000", host="localhost", port=8000)),
        ("my_app.example.:80", Bind("tcp4", "my_app.example.:80", host="my_app.example.", port=80)),
        ("tcp://127.0.0.1:65535", Bind("tcp4", "127.0.0.1:65535", host="127.0.0.1", port=65535)),
        ("[::1]:80", Bind("tcp6", "[::1]:80", host="::1", port=80)),
        ("[0:0::0001]", Bind("tcp6", "[::1]:8000", host="::1", port=8000)),
        ("[fe80::1%eth0]:80", Bind("tcp6", "[fe80::1%eth0]:80", host="fe80::1%eth0", port=80)),
        ("unix:/run/a.sock", Bind("unix", "unix:/run/a.sock", path="/run/a.sock")),
        ("unix:///run/a.sock", Bind("unix", "unix:/run/a.sock", path="/run/a.sock")),
        ("unix:a.sock", Bind("unix", "unix:a.sock", path="a.sock")),
        ("unix:@name", Bind("abstract", "unix:@name", path="name")),
        ("fd://03", Bind("fd", "fd://3", fd=3)),
    ],
)
def test_every_form_is_read_and_made_canonical(text, bind):
    """Two texts for one address have one canonical form, which is how a reload knows a socket again."""
    assert parse_bind(text) == bind
    assert parse_bind(bind.text) == bind


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("8000", "write :8000 or 127.0.0.1:8000"),
        ("::1", "in brackets"),
        ("::1:8000", "in brackets"),
        ("[::1", r"write an IPv6 address as \[::1\]:8000"),
        ("[::1]8000", r"write an IPv6 address as \[::1\]:8000"),
        ("[::g]:80", "'::g' is not an IPv6 address"),
        ("256.0.0.1:80", "'256.0.0.1' is not an IPv4 address"),
        ("127.0.0.1:", "a port is a number from 0 to 65535"),
        ("127.0.0.1:65536", "not '65536'"),
        ("127.0.0.1:99999999999999999999", "a port is a number"),
        ("127.0.0.1:http", "not 'http'"),
        ("127.0.0.1:-1", "not '-1'"),
        ("127.0.0.1:+1", "a port is a number"),
        ("127.0.0.1:٣", "a port is a number"),
        ("*:80", "neither an address nor a host name; write :8000 for every address"),
        ("a b:80", "'a b' is neither an address nor a host name"),
        ("-a:80", "neither an address"),
        ("ftp://127.0.0.1:80", "there is no 'ftp://' here; write HOST:PORT"),
        ("https://unix:/a", "https:// is followed by HOST:PORT; a bind of another form speaks TLS when"),
        ("http://fd://3", "http:// is followed by HOST:PORT"),
        ("https://", "https:// is followed by HOST:PORT"),
        ("https://443", "a port without a host"),
        ("fd://", "a descriptor is a number"),
        ("fd://x", "a descriptor is a number"),
        ("fd://-1", "a descriptor is a number"),
        ("unix:", "the path is missing"),
        ("unix://", "the path is missing"),
        ("unix:@", "the path is missing"),
        ("unix:a\0b", "NUL"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text, reason):
    """The message names the text as it was given and says how it is written."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        parse_bind(text)
    assert repr(text) in str(caught.value)


def test_unix_paths_end_where_the_kernel_ends_them():
    """sun_path has 108 octets, one of them NUL; octets count, not characters."""
    assert parse_bind("unix:/" + "a" * (MAXIMUM_PATH - 1)).kind == "unix"
    with pytest.raises(ConfigurationError, match="at most 107 octets"):
        parse_bind("unix:/" + "a" * MAXIMUM_PATH)
    with pytest.raises(ConfigurationError, match="at most 107 octets"):
        parse_bind("unix:/" + "é" * (MAXIMUM_PATH // 2 + 1))


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("https://:8443", "0.0.0.0:8443", "https://0.0.0.0:8443"),
        ("http://Localhost", "localhost:80", "http://localhost:80"),
        ("https://[::1]", "[::1]:443", "https://[::1]:443"),
        ("tcp://:1", "0.0.0.0:1", "0.0.0.0:1"),
    ],
)
def test_a_scheme_is_no_part_of_the_address(text, address, written):
    """So a reload that changes the scheme keeps the socket; a missing port is the scheme's."""
    bind = parse_bind(text)
    assert (bind.text, bind.written) == (address, written)
    assert parse_bind(written) == bind


def test_a_certificate_without_any_scheme_is_for_all():
    """As in gunicorn: unix sockets and what was passed in, too."""
    is_tls = choose_tls([":1", "unix:/a"], has_certificate=True)
    assert [is_tls(text) for text in ("0.0.0.0:1", "unix:/a", "LISTEN_FDS:3")] == [True, True, True]
    assert not choose_tls([":1"], has_certificate=False)("0.0.0.0:1")


def test_where_there_are_schemes_they_choose():
    """A bind without one is plain then; a socket that no bind stands for is plain only if some bind says http."""
    is_tls = choose_tls(["https://:1", "http://:2", ":3"], has_certificate=True)
    assert [is_tls(f"0.0.0.0:{port}") for port in (1, 2, 3)] == [True, False, False]
    assert not is_tls("LISTEN_FDS:3")
    assert choose_tls(["https://:1", ":3"], has_certificate=True)("LISTEN_FDS:3")
    assert not choose_tls(["https://:1"], has_certificate=False)("0.0.0.0:1")
