"""Which precompressed form a client gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.static.codings import choose_coding

BOTH = ("br", "gzip")


@pytest.mark.parametrize(
    ("accepted", "available", "expected"),
    [
        (None, BOTH, None),
        ("", BOTH, None),
        ("gzip, deflate, br", BOTH, "br"),
        ("gzip, deflate, br", ("gzip",), "gzip"),
        ("gzip", BOTH, "gzip"),
        ("GZip", BOTH, "gzip"),
        ("x-gzip", BOTH, "gzip"),
        ("deflate", BOTH, None),
        ("gzip;q=1.0, br;q=0.9", BOTH, "gzip"),
        ("gzip;q=0.5, br;q=0.5", BOTH, "br"),
        ("gzip ; Q=0.5 ,\tbr;q=0.4", BOTH, "gzip"),
        ("gzip;q=0", BOTH, None),
        ("gzip;q=0.000, *", BOTH, "br"),
        ("*", BOTH, "br"),
        ("*;q=0", BOTH, None),
        ("br;q=0, *;q=0.1", BOTH, "gzip"),
        ("identity", BOTH, None),
        ("identity, gzip", BOTH, "gzip"),
        ("identity;q=1, gzip;q=0.5", BOTH, None),
        ("identity;q=0.5, gzip", BOTH, "gzip"),
        ("identity;q=0", (), None),
        ("gzip;q=2", BOTH, None),
        ("gzip;q=0.1234", BOTH, None),
        ("gzip;level=9", BOTH, None),
        ("gzip gzip", BOTH, None),
        (",, gzip ,", BOTH, "gzip"),
        ("gzip;q=0, gzip;q=1", BOTH, None),
        ("gzip", (), None),
    ],
)
def test_the_client_says_what_it_likes(accepted, available, expected):
    """RFC 9110, section 12.5.3: weights, the asterisk, identity; what is no element says nothing."""
    assert choose_coding(accepted, available) == expected


@given(st.text(alphabet="gzipbr*;q=01.5, \tx-", max_size=40), st.sampled_from([(), ("br",), ("gzip",), BOTH]))
def test_nothing_else_is_chosen(accepted, available):
    """Whatever a client says."""
    assert choose_coding(accepted, available) in {None, *available}
