import pytest

from pyfork.http1 import variables
from pyfork.http1.variables import CACHED_NAME_LENGTH, CACHED_NAMES, variables_of


def test_names_become_variables() -> None:
    """Case and dashes go, two names have no prefix, and values are latin-1."""
    headers = [(b"x-Forwarded-FOR", b"caf\xe9"), (b"Content-Type", b"a/b"), (b"content-length", b"0")]
    assert variables_of(headers) == {"HTTP_X_FORWARDED_FOR": "caf\xe9", "CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "0"}


def test_fields_that_come_twice_are_joined() -> None:
    """By a comma, and cookies by a semicolon (RFC 9110 section 5.3, RFC 6265 section 5.4)."""
    headers = [(b"Accept", b"a"), (b"Cookie", b"a=1"), (b"accept", b"b"), (b"Cookie", b"b=2"), (b"Accept", b"c")]
    assert variables_of(headers) == {"HTTP_ACCEPT": "a,b,c", "HTTP_COOKIE": "a=1; b=2"}


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"Content_Length", b"Host_", b"_"])
def test_names_with_an_underscore_are_dropped(name: bytes) -> None:
    """They would become the variables of other fields."""
    assert variables_of([(name, b"forged"), (b"Host", b"a"), (name, b"again")]) == {"HTTP_HOST": "a"}


@pytest.mark.parametrize("name", ["", "a b", "a:", "caf\xe9", "a\n", " a", "a\t"])
def test_what_is_no_token_is_no_name(name: str) -> None:
    """The look-up is the check."""
    with pytest.raises(ValueError, match="not a token"):
        variables._Variables()[name]


def test_what_is_learnt_of_names_is_bounded() -> None:
    """Clients choose the names, so neither their number nor their length may grow what is kept."""
    learnt = variables._Variables()
    assert learnt["x" * (CACHED_NAME_LENGTH + 1)] == "HTTP_" + "X" * (CACHED_NAME_LENGTH + 1)
    assert not learnt
    for number in range(CACHED_NAMES + 10):
        assert learnt[f"x-{number}"] == f"HTTP_X_{number}"
    assert len(learnt) == 10
