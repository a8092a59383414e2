import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.http1.host import is_valid_host


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"a",
        b"my_app:8000",
        b"www.example.org.",
        b"127.0.0.1:80",
        b"a:",
        b":8000",
        b"a:65535",
        b"a:00080",
        b"[::1]",
        b"[::1]:8000",
        b"[::ffff:192.0.2.1]",
        b"[v1.x]",
        b"caf%C3%A9",
        b"a!$&'()*+,;=~-._",
    ],
)
def test_valid(value: bytes) -> None:
    """RFC 3986 section 3.2 allows it."""
    assert is_valid_host(value)


@pytest.mark.parametrize(
    "value",
    [
        b"a b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:1:2",
        b"a:65536",
        b"a:000080",
        b"a\n",
        b"caf\xe9",
        b"a%1",
        b"::1",
        b"[]",
        b"[a]",
        b"[1::2::3]",
        b"[::1]a",
        b"[::1",
        b"[::1%25eth0]",
        b"[v1.]",
        b"[.]",
    ],
)
def test_invalid(value: bytes) -> None:
    """RFC 3986 section 3.2 does not allow it, or TCP has no such port."""
    assert not is_valid_host(value)


@given(st.binary(max_size=50))
def test_any_octets_get_an_answer(value: bytes) -> None:
    """Whatever a client sends, the answer is yes or no."""
    assert is_valid_host(value) in {True, False}
