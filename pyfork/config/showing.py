"""How a message shows what somebody gave as a setting, and what no text of a setting may be. Pure."""

import json
import re
from collections.abc import Mapping

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_SHOWN = 60


def show(value: object) -> str:
    """Return ``value`` as a message shows it: on one line, not too long, nothing unprintable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, tuple):
        return ", ".join(show(part) for part in value)
    text = str(value).encode(errors="backslashreplace").decode()
    text = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text


def fault_of(text: str) -> str:
    """Say why ``text`` can be no path, name or variable; "" if it can. It would fail deep inside, unnamed."""
    if not text:
        return "an empty string is not one; leave the setting out instead"
    if _CONTROL.search(text):
        return "it contains a control character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return ""
