import pytest

from pyfork.http1.limits import MAX_FEED, MAX_FRAMING, Limits


def test_limits_are_those_of_the_settings() -> None:
    """Without an operator's word, the limits are the documented ones."""
    limits = Limits()
    assert (limits.request_line, limits.fields, limits.field_size, limits.body) == (8190, 100, 8190, None)
    assert MAX_FEED == MAX_FRAMING == 16_384


def test_limits_are_frozen() -> None:
    """Limits are shared by all connections of a listener."""
    with pytest.raises(AttributeError):
        Limits().fields = 1  # type: ignore[misc]
