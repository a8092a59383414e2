"""What somebody may have meant by a name that is none of ours."""

from collections.abc import Iterable

from pyfork.config.catalogue import SETTINGS, TABLES
from pyfork.config.gunicorn import COUNTERPARTS

_CLOSE = 0.6
"""difflib's ratio from which "did you mean" is worth saying; its own default."""


def nearest_names(name: str, known: Iterable[str], likeness: float = _CLOSE) -> list[str]:
    """Return the one of ``known`` that is nearest to ``name``, or nothing where none has that ``likeness`` (0 to 1)."""
    import difflib  # noqa: PLC0415 (0.4 MB, kept out of the arbiters of those who make no slip)

    return difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)


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
    close = nearest_names(key, own)
    if close:
        return own[close[0]]
    anywhere = {setting.key: setting.name for setting in SETTINGS.values()}
    return anywhere[nearest_names(key, anywhere, 0)[0]]


def nearest_table(table: str) -> str:
    """Return the known table that is nearest to ``table``."""
    return nearest_names(table, TABLES, 0)[0]


def close_variable(variable: str) -> str | None:
    """Return the environment variable of ours that ``variable`` may be a slip of, or None."""
    known = [setting.variable for setting in SETTINGS.values()]
    # All of them begin alike, so the likeness of whole names says little.
    close = nearest_names(variable, known, 0.85)
    return close[0] if close else None
