"""Which trailer fields an application may see."""

import pytest

from pyfork.gateway.trailers import FORBIDDEN, FORBIDDEN_PREFIXES, offered


def test_names_are_in_lower_case_and_values_as_they_came():
    """In their order; one that came twice is there twice, and its values are not joined."""
    fields = [(b"X-Sum", b"1"), (b"Server-Timing", b"db;dur=53"), (b"x-sum", b"\xe9")]
    assert offered(fields) == [("x-sum", "1"), ("server-timing", "db;dur=53"), ("x-sum", "\xe9")]
    assert offered([]) == []


@pytest.mark.parametrize(
    "name",
    [*sorted(FORBIDDEN), *[f"{prefix}x" for prefix in FORBIDDEN_PREFIXES], "x_forwarded_for", "content_length", "a_b"],
)
def test_what_must_not_come_so_late_is_left_out(name):
    """However it is written: framing, routing, authentication, and what looks like it once it is a CGI variable."""
    for form in (name, name.title(), name.upper()):
        assert offered([(b"X-A", b"1"), (form.encode(), b"2"), (b"X-B", b"3")]) == [("x-a", "1"), ("x-b", "3")]


def test_what_only_begins_alike_is_offered():
    """A name is compared whole."""
    assert offered([(b"Hostess", b"1"), (b"X-Host", b"2"), (b"Range-Sum", b"3")]) == [
        ("hostess", "1"),
        ("x-host", "2"),
        ("range-sum", "3"),
    ]
