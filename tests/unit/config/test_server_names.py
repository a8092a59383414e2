"""The names of tls.sni, and the files behind them."""

import pytest

from pyfork.config.server_names import find_pattern, read_name, read_sni, split_files


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Shop.Example.org", "shop.example.org"),
        ("example.org.", "example.org"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("_dmarc.example.org", "_dmarc.example.org"),
    ],
)
def test_a_name_is_kept_as_it_crosses_the_wire(written, name):
    """In ASCII and in lower case."""
    assert read_name(written) == name


@pytest.mark.parametrize(
    "name", ["", "*", "*.", "a.*.b", "**.a", "-a", "a b", "a..b", "a" * 64, "a." * 126 + "aa", "a:443", "ü" * 64]
)
def test_what_is_no_name_is_refused(name):
    """Such a certificate would never be chosen."""
    with pytest.raises(ValueError, match=r"is no server's name, as in shop\.example\.org"):
        read_name(name)


def test_files_are_text_or_a_table():
    """The command line and the environment know only text; TOML has both."""
    table = {
        "a": "a.pem",
        "B": "b.crt:b.key",
        "c": {"certfile": "c.crt", "keyfile": "c.key"},
        "d": {"certfile": "d.pem"},
    }
    assert read_sni(table) == {"a": "a.pem", "b": "b.crt:b.key", "c": "c.crt:c.key", "d": "d.pem"}
    assert read_sni({"a": 1}) == {"a": 1}, "msgspec says what is wrong with it"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"a": "x", "A": "y"}, "a is there twice"),
        ({"a": ""}, "'' is not CERTFILE or CERTFILE:KEYFILE"),
        ({"a": "x:"}, "'x:' is not CERTFILE"),
        ({"a": ":y"}, "':y' is not CERTFILE"),
        ({"a": "x:y:z"}, "'x:y:z' is not CERTFILE"),
        ({"a": {"keyfile": "y"}}, "a needs a certfile"),
        ({"a": {"certfile": 1}}, "a needs a certfile"),
        ({"a": {"certfile": ""}}, "a needs a certfile"),
        ({"a": {"certfile": "x:y"}}, "without a colon"),
        ({"a": {"certfile": "x", "key": "y"}}, "a has a key key; there are certfile and keyfile"),
    ],
)
def test_files_that_are_not_said_properly_are_refused(table, reason):
    """The reason names the server or the value."""
    with pytest.raises(ValueError, match=reason):
        read_sni(table)


def test_one_file_may_hold_both():
    """The certificate and its key."""
    assert split_files("a.pem") == ("a.pem", "a.pem")
    assert split_files("a.crt:a.key") == ("a.crt", "a.key")


def test_a_pattern_stands_for_one_label():
    """RFC 9525, section 6.3."""
    assert find_pattern("a.b.example.org") == "*.b.example.org"
    assert find_pattern("localhost") == ""
