"""103 (Early Hints), as octets."""

import pytest

from pyfork.errors import ApplicationError
from pyfork.http1.early_hints import encode_early_hints
from pyfork.http1.response import ResponseEncoder

STYLE = ("Link", "</style.css>; rel=preload; as=style")


def test_the_fields_are_sent_as_they_are():
    """In their order, behind a status line of their own; without Date, Server and Content-Length."""
    octets = encode_early_hints([STYLE, ("Link", "</caf\xe9>"), ("X-Tab", "a\tb")])
    assert octets == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nLink: </caf\xe9>\r\nX-Tab: a\tb\r\n\r\n"
    )


def test_no_fields_are_no_response():
    """There is nothing to hint at."""
    assert encode_early_hints([]) == b""
    assert (
        encode_early_hints([("Content-Length", "5"), ("Connection", "close"), ("transfer-encoding", "chunked")]) == b""
    )


def test_fields_of_the_connection_and_of_the_framing_are_left_out():
    """They are the server's."""
    octets = encode_early_hints([("Keep-Alive", "5"), STYLE, ("CONTENT-LENGTH", "0"), ("Upgrade", "x")])
    assert octets == encode_early_hints([STYLE])


@pytest.mark.parametrize(
    "headers",
    [
        (STYLE,),
        {"Link": "a"},
        None,
        [["Link", "a"]],
        [("Link",)],
        [("Link", "a", "b")],
        [("Link", "a\r\nSet-Cookie: b")],
        [("Link", "a\n")],
        [("Link", "\0")],
        [("Link\r\nX", "a")],
        [("", "a")],
        [("Link ", "a")],
        [("Link", b"a")],
        [(b"Link", "a")],
        [("Link", "\u20ac")],
        [("Link", None)],
    ],
)
def test_what_a_response_may_not_have_is_refused(headers):
    """Nobody can end the head, or add a response, with a value (RFC 9110, section 5.5)."""
    with pytest.raises(ApplicationError):
        encode_early_hints(headers)


def test_the_encoder_knows_who_gets_them():
    """HTTP/1.0 has no interim responses; the fields are looked at all the same, so that a mistake shows."""
    assert ResponseEncoder("GET", "1.1", True, b"").encode_early_hints([STYLE]) == encode_early_hints([STYLE])
    old = ResponseEncoder("GET", "1.0", True, b"")
    assert old.encode_early_hints([STYLE]) == b""
    with pytest.raises(ApplicationError):
        old.encode_early_hints([("Link", "\n")])


def test_they_are_not_sent_behind_the_head():
    """Between start_response and the first octet they can be."""
    encoder = ResponseEncoder("GET", "1.1", True, b"")
    encoder.start("200 OK", [])
    assert encoder.encode_early_hints([STYLE])
    encoder.encode(b"a")
    with pytest.raises(ApplicationError, match="after the head"):
        encoder.encode_early_hints([STYLE])
