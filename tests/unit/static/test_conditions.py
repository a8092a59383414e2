"""Preconditions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfork.http1.response import http_date
from pyfork.static.conditions import Validators, Verdict, allows_ranges, judge, read_date, read_tags

NOW = 1_800_000_000.5
CHANGED = 1_700_000_000
STRONG = Validators('"a"', is_strong=True, modified=CHANGED)
WEAK = Validators('"a"', is_strong=False, modified=CHANGED)
AT, BEFORE, AFTER = (http_date(CHANGED + seconds).decode() for seconds in (0, -1, 1))
GO_ON, NOT_MODIFIED, FAILED = Verdict.GO_ON, Verdict.NOT_MODIFIED, Verdict.FAILED


def fields(**conditions):
    return {f"HTTP_IF_{name.upper()}": value for name, value in conditions.items()}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, GO_ON),
        # 1: If-Match, by strong comparison.
        ({"match": '"a"'}, GO_ON),
        ({"match": '"x", "a"'}, GO_ON),
        ({"match": "*"}, GO_ON),
        ({"match": '"x"'}, FAILED),
        ({"match": 'W/"a"'}, FAILED),
        ({"match": "a"}, FAILED),
        ({"match": '"a" x'}, FAILED),
        ({"match": ""}, FAILED),
        # 2: If-Unmodified-Since, without If-Match.
        ({"unmodified_since": AT}, GO_ON),
        ({"unmodified_since": AFTER}, GO_ON),
        ({"unmodified_since": BEFORE}, FAILED),
        ({"unmodified_since": "yesterday"}, GO_ON),
        ({"match": '"a"', "unmodified_since": BEFORE}, GO_ON),
        # 3: If-None-Match, by weak comparison.
        ({"none_match": '"a"'}, NOT_MODIFIED),
        ({"none_match": 'W/"a"'}, NOT_MODIFIED),
        ({"none_match": '"x",W/"a"'}, NOT_MODIFIED),
        ({"none_match": "*"}, NOT_MODIFIED),
        ({"none_match": '"x"'}, GO_ON),
        ({"none_match": "a"}, GO_ON),
        # 4: If-Modified-Since, without If-None-Match.
        ({"modified_since": AT}, NOT_MODIFIED),
        ({"modified_since": AFTER}, NOT_MODIFIED),
        ({"modified_since": BEFORE}, GO_ON),
        ({"modified_since": "tomorrow"}, GO_ON),
        ({"modified_since": f"{AT}, {AT}"}, GO_ON),
        ({"none_match": '"x"', "modified_since": AFTER}, GO_ON),
        # The order.
        ({"match": '"x"', "none_match": '"a"'}, FAILED),
        ({"unmodified_since": BEFORE, "none_match": '"a"'}, FAILED),
        ({"match": '"a"', "none_match": '"a"'}, NOT_MODIFIED),
        ({"unmodified_since": AT, "modified_since": AT}, NOT_MODIFIED),
    ],
)
def test_the_order_is_that_of_the_rfc(conditions, expected):
    """RFC 9110, section 13.2.2."""
    assert judge(fields(**conditions), STRONG, NOW) is expected


def test_a_weak_validator_matches_weakly_only():
    """RFC 9110, section 8.8.3.2."""
    assert judge(fields(match='"a"'), WEAK, NOW) is FAILED
    assert judge(fields(match="*"), WEAK, NOW) is GO_ON
    assert judge(fields(none_match='"a"'), WEAK, NOW) is NOT_MODIFIED


@pytest.mark.parametrize(
    ("condition", "validators", "expected"),
    [
        (None, STRONG, True),
        (None, WEAK, True),
        ('"a"', STRONG, True),
        ('"x"', STRONG, False),
        ('W/"a"', STRONG, False),
        ('"a"', WEAK, False),
        (AT, STRONG, True),
        (AFTER, STRONG, False),
        (BEFORE, STRONG, False),
        (AT, WEAK, False),
        ("anything", STRONG, False),
    ],
)
def test_if_range_compares_strongly(condition, validators, expected):
    """RFC 9110, section 13.1.5: a date must be the very same."""
    conditions = {} if condition is None else fields(range=condition)
    assert allows_ranges(conditions, validators, NOW) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a"', [(False, '"a"')]),
        ('W/"a" , "b",,\t"c,d"', [(True, '"a"'), (False, '"b"'), (False, '"c,d"')]),
        (' ,"a",', [(False, '"a"')]),
        ('""', [(False, '""')]),
        ('"\xff!"', [(False, '"\xff!"')]),
        ("", []),
        (",", []),
        ('w/"a"', []),
        ('"a" "b"', []),
        ('"a', []),
        ('"a b"', []),
        ('W/ "a"', []),
    ],
)
def test_tags_are_a_list(text, expected):
    """RFC 9110, section 8.8.3; one mistake, and it says nothing."""
    assert read_tags(text) == expected


@given(st.text(alphabet='"W/, a', max_size=2000))
def test_any_list_of_tags_is_read_quickly(text):
    """Nothing is looked at twice."""
    assert isinstance(read_tags(text), list)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_forms_of_a_date_are_read(text):
    """RFC 9110, section 5.6.7: the examples of the section."""
    assert read_date(text, NOW) == 784111777


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Friday, 01-Jan-76 00:00:00 GMT", 3345062400),  # 2076: in 49 years
        ("Friday, 01-Jan-77 00:00:00 GMT", 3376684800),  # 2077: in 50
        ("Friday, 01-Jan-78 00:00:00 GMT", 252460800),  # 1978
        ("Fri, 31 Dec 1999 23:59:60 GMT", 946684799),  # a leap second
        ("Sat, 30 Feb 2019 00:00:00 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("Sunday, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun Nov 06 08:49:37 1994", 784111777),
        ("Sun Nov 6 08:49:37 1994", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_years_of_two_digits_and_what_is_no_date(text, expected):
    """NOW is in 2027."""
    assert read_date(text, NOW) == expected


@given(st.integers(0, 253_402_300_799))
def test_what_we_write_we_read(seconds):
    """Last-Modified comes back as If-Modified-Since."""
    assert read_date(http_date(seconds).decode(), NOW) == seconds
