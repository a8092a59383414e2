"""Fields by the names of CGI's meta-variables (RFC 3875, section 4.1), as an environ has them.

Two names are the same field exactly when they are the same variable, as long as neither has an underscore. Those that
have are left out: ``X_Forwarded_For`` would become the same variable as ``X-Forwarded-For``, and a proxy that removes
one lets the other through (gunicorn and nginx drop them as well).

Names are few, so what is known of them is remembered. Clients choose them, so there is an end to it.
"""

import re
from collections.abc import Iterable

CACHED_NAMES = 1024
"""Most names that are remembered; then all are forgotten, or a client could fill the memory with useless ones."""
CACHED_NAME_LENGTH = 64
"""Longer names are translated each time."""
DROPPED = ""
"""The variable of a name with an underscore."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
"""RFC 9110, section 5.6.2."""
_WITHOUT_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class _Variables(dict[str, str]):
    """Field name as sent -> variable; learnt, and bounded."""

    def __missing__(self, name: str) -> str:
        if not _TOKEN.fullmatch(name):
            raise ValueError("a field's name is not a token")
        variable = name.upper().replace("-", "_")
        if "_" in name:
            variable = DROPPED
        elif variable not in _WITHOUT_PREFIX:
            variable = f"HTTP_{variable}"
        if len(name) <= CACHED_NAME_LENGTH:
            if len(self) >= CACHED_NAMES:
                self.clear()
            self[name] = variable
        return variable


VARIABLES = _Variables()
"""Raises ValueError for a name that is not a token."""


def variables_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields by their variables; the octets become text as latin-1 ("native strings", PEP 3333).

    Args:
        headers: names that are tokens, and values.
    """
    variables: dict[str, str] = {}
    for name, value in headers:
        variable = VARIABLES[name.decode("latin-1")]
        text = value.decode("latin-1")
        variables[variable] = combine(variable, variables[variable], text) if variable in variables else text
    variables.pop(DROPPED, None)
    return variables


def combine(variable: str, first: str, second: str) -> str:
    """Return the value of a field that came twice (RFC 9110, section 5.3; RFC 6265, section 5.4 for cookies)."""
    return first + ("; " if variable == "HTTP_COOKIE" else ",") + second
