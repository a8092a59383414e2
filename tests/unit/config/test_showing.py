"""How messages show values, and what no text may be."""

import pytest

from pyfork.config.showing import fault_of, show


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (5, "5"),
        ("a\nb", '"a\\nb"'),
        ("é", '"é"'),
        ("x" * 100, '"' + "x" * 60 + '..."'),
        ({"a": 1}, "a table"),
        ([1], "an array"),
        (("a", "b"), '"a", "b"'),
        ("\udcff", '"\\\\udcff"'),
    ],
)
def test_values_are_shown_on_one_line(value, expected):
    """Not too long, and nothing unprintable."""
    assert show(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/é", ""),
        ("", "an empty string is not one; leave the setting out instead"),
        ("a\tb", "it contains a control character"),
        ("\udcff", "it is not UTF-8"),
    ],
)
def test_what_no_text_may_be(text, expected):
    """It is told before it fails somewhere deep."""
    assert fault_of(text) == expected
