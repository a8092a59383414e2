"""What somebody may have meant by a name that is none of ours."""

import difflib

from pyfork.config.catalogue import SETTINGS, TABLES
from pyfork.config.gunicorn import COUNTERPARTS

_CLOSE = 0.6
"""difflib's ratio from which "did you mean" is worth saying; its own default."""


def nearest_setting(table: str, key: str) -> str:
    """Return the name of the known setting that is nearest to ``[table] key``.

    gunicorn's name for it, the same key in another table, a similar key in this table, a similar key anywhere: in this
    order. There is always an answer.
    """
    if key in COUNTERPARTS:
        return COUNTERPARTS[key]
    namesakes = [setting.name for setting in SETTINGS.values() if setting.key == key]
    if namesakes:
        return namesakes[0]
    own = {setting.key: setting.name for setting in SETTINGS.values() if setting.table == table}
    close = difflib.get_close_matches(key, own, n=1, cutoff=_CLOSE)
    if close:
        return own[close[0]]
    anywhere = {setting.key: setting.name for setting in SETTINGS.values()}
    return anywhere[difflib.get_close_matches(key, anywhere, n=1, cutoff=0)[0]]


def nearest_table(table: str) -> str:
    """Return the known table that is nearest to ``table``."""
    return difflib.get_close_matches(table, TABLES, n=1, cutoff=0)[0]


def close_variable(variable: str) -> str | None:
    """Return the environment variable of ours that ``variable`` may be a slip of, or None."""
    known = [setting.variable for setting in SETTINGS.values()]
    # All of them begin alike, so the likeness of whole names says little.
    close = difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
    return close[0] if close else None
