"""Trusted peers: every form, and everything that would trust others than was meant."""

import pytest

from pyfork.config.proxies import FORWARDING_FIELDS, as_gunicorn_means, check_fields, parse_field, parse_proxy
from pyfork.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*"),
        ("unix:", "unix:"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("0:0::0001", "::1"),
        ("2001:DB8::/32", "2001:db8::/32"),
    ],
)
def test_every_form_is_read_and_made_canonical(text, canonical):
    """And the canonical form is one of the forms."""
    assert parse_proxy(text) == parse_proxy(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("localhost", "it is not an IP address, a network as in 10.0.0.0/8, unix: or *"),
        ("10.0.0", "it is not an IP address"),
        ("10.0.0.256", "it is not an IP address"),
        ("10.0.0.0/33", "it is not an IP address"),
        ("127.0.0.1:80", "it is not an IP address"),
        ("[::1]", "it is not an IP address"),
        ("", "it is not an IP address"),
        ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"),
        ("fe80::1%eth0", "without the zone"),
        ("unix:/run/a.sock", "all or none; write unix:"),
        ("unix", "write unix:"),
    ],
)
def test_what_is_no_peer_is_refused_with_its_reason(text, reason):
    """The message names the text as it was given."""
    with pytest.raises(ConfigurationError) as caught:
        parse_proxy(text)
    assert str(caught.value).startswith(f"trusted {text!r}: ")
    assert reason in str(caught.value)


def test_gunicorns_lists_trust_unix_sockets_besides():
    """Its documentation: "Connections not associated with an IP address are treated as allowed, unconditionally"."""
    assert as_gunicorn_means(("10.0.0.1",)) == ("10.0.0.1", "unix:")


def test_fields_are_known_by_their_names():
    """In any case; what is none is an error that lists them."""
    assert [parse_field(name.title()) for name in FORWARDING_FIELDS] == list(FORWARDING_FIELDS)
    with pytest.raises(ConfigurationError, match=r"^headers 'x-real-ip': it is none of x-forwarded-for, x"):
        parse_field("x-real-ip")


@pytest.mark.parametrize(
    ("names", "is_right"),
    [
        ((), True),
        (("forwarded",), True),
        (("forwarded", "forwarded"), True),
        (("x-forwarded-for", "x-forwarded-host", "x-forwarded-for"), True),
        (("forwarded", "x-forwarded-host", "x-forwarded-for"), False),
        (("x-forwarded-host", "forwarded"), False),
    ],
)
def test_only_one_family_can_be_believed(names, is_right):
    """A client sends the other one, and the proxy that sets the first passes it on."""
    problem = check_fields(names)
    assert is_right is (problem == "")
    assert is_right or problem.startswith("forwarded and x-forwarded-host tell the same")
