"""Preconditions: RFC 9110, section 13. Pure.

`judge` evaluates them in the order of section 13.2.2, except for its last step, If-Range (`allows_ranges`), which only
says whether Range counts. What cannot be read never lets through what it was meant to stop: an If-Match without a valid
tag matches nothing (412), an If-None-Match without one matches nothing either (200), and dates that are none are
ignored, as the sections say.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from msgspec import Struct

_TAG = re.compile(r'(W/)?("[!#-~\x80-\xff]*")[ \t]*(?:,[ \t,]*|\Z)')
"""An entity tag and what separates it from the next (RFC 9110, sections 8.8.3 and 5.6.1)."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_DAY = "(?P<day>[0-9]{2})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    map(
        re.compile,
        (
            f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), {_DAY} {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
            f"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, {_DAY}-{_MONTH}-(?P<year>[0-9][0-9]) {_TIME} GMT",
            f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
        ),
    )
)
"""The three forms that a recipient must accept: RFC 9110, section 5.6.7."""


class Validators(Struct, frozen=True):
    """What tells one state of a file from another (RFC 9110, section 8.8).

    Attributes:
        tag: the opaque tag, in its quotes.
        is_strong: whether the file has been as it is for long enough that its date tells all states apart.
        modified: when it was changed last, in whole seconds since the epoch.
    """

    tag: str
    is_strong: bool
    modified: int


class Verdict(Enum):
    """What the preconditions say."""

    GO_ON = "they hold, or there are none"
    NOT_MODIFIED = "the client has it: 304"
    FAILED = "412"


def judge(fields: Mapping[str, str], validators: Validators, now: float) -> Verdict:
    """Evaluate the preconditions of a GET or HEAD.

    Args:
        fields: of the request, by their CGI variables.
        validators: of the selected representation.
        now: seconds since the epoch.
    """
    if "HTTP_IF_MATCH" in fields:
        if not _matches(fields["HTTP_IF_MATCH"], validators, is_strong=True):
            return Verdict.FAILED
    elif "HTTP_IF_UNMODIFIED_SINCE" in fields:
        date = read_date(fields["HTTP_IF_UNMODIFIED_SINCE"], now)
        if date is not None and validators.modified > date:
            return Verdict.FAILED
    if "HTTP_IF_NONE_MATCH" in fields:
        if _matches(fields["HTTP_IF_NONE_MATCH"], validators, is_strong=False):
            return Verdict.NOT_MODIFIED
    elif "HTTP_IF_MODIFIED_SINCE" in fields:
        date = read_date(fields["HTTP_IF_MODIFIED_SINCE"], now)
        if date is not None and validators.modified <= date:
            return Verdict.NOT_MODIFIED
    return Verdict.GO_ON


def allows_ranges(fields: Mapping[str, str], validators: Validators, now: float) -> bool:
    """Whether If-Range lets Range count, or is not there (RFC 9110, section 13.1.5).

    Only strong validators do: parts of two states must never be put together.
    """
    condition = fields.get("HTTP_IF_RANGE")
    if condition is None:
        return True
    if not validators.is_strong:
        return False
    if condition.startswith('"'):
        return condition == validators.tag
    return read_date(condition, now) == validators.modified


def _matches(text: str, validators: Validators, *, is_strong: bool) -> bool:
    """Compare as RFC 9110, section 8.8.3.2 has it."""
    if text == "*":
        return True
    if is_strong and not validators.is_strong:
        return False
    return any(tag == validators.tag and not (is_strong and is_weak) for is_weak, tag in read_tags(text))


def read_tags(text: str) -> list[tuple[bool, str]]:
    """Return the entity tags of a list, each with whether it is a weak one; none if anything else is in it."""
    tags = []
    position = len(text) - len(text.lstrip(" \t,"))
    while position < len(text):
        found = _TAG.match(text, position)
        if found is None:
            return []
        tags.append((found[1] is not None, found[2]))
        position = found.end()
    return tags


def read_date(text: str, now: float) -> int | None:
    """Return the seconds since the epoch that an HTTP-date stands for, None if it is none.

    Args:
        text: of one of the three forms of RFC 9110, section 5.6.7.
        now: seconds since the epoch: a year of two digits is the last one that ends so, or at most 50 years away.
    """
    found = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    month, second = _MONTHS.index(found["month"]) + 1, min(59, int(found["second"]))  # 60 is a leap second
    try:
        moment = datetime(year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp())
