"""Access log formats: from the text in the settings to one function that writes a line. Pure.

A format is Apache's *common* or *combined*, *json* (an object a line), or text with gunicorn's atoms such as
``%(h)s`` and ``%({x-request-id}i)s``. It is compiled once, at start, so that an unknown atom is a configuration
error and a request pays only for what its line holds. What clients choose is escaped (see `pyfork.log.atoms`);
in a format of your own, put it in quotes: ``"%({x-request-id}i)s"``.
"""

import json
import os
import re
import time
from collections.abc import Callable

from pyfork.errors import ConfigurationError
from pyfork.log.atoms import (
    NAMED_ATOMS,
    NUMBER_ATOMS,
    TEXT_ATOMS,
    Getter,
    dash,
    find_header,
    find_path,
    find_user,
    make_clock,
)
from pyfork.log.record import AccessRecord

Format = Callable[[AccessRecord], str]
"""Writes the line of one record, without its newline."""

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
COMBINED = f'{COMMON} "%(f)s" "%(a)s"'

_ATOM = re.compile(r"%(?:%|\((?P<name>[^()]*)\)(?P<spec>[-+ #0]*[0-9]*(?:\.[0-9]+)?)(?P<conversion>[A-Za-z]))")
_write_time = make_clock(lambda moment: time.strftime("%Y-%m-%dT%H:%M:%S.{:03d}%z", moment))
_NAMED_ATOM = re.compile(r"\{(?P<name>[^{}]+)\}(?P<source>[ioe])")


def compile_format(text: str) -> Format:
    """Return the function that writes lines in the format ``text``: a name, or text with atoms.

    Raises:
        ConfigurationError: an atom is unknown, or a ``%`` begins none; one sentence for each.
    """
    if text == "json":
        return _write_json
    template = {"common": COMMON, "combined": COMBINED}.get(text, text)
    if "%(" not in template:
        raise ConfigurationError(
            f'log.format: {text!r} is not "common", "combined" or "json", and has no atom such as %(h)s'
        )
    problems: list[str] = []
    pattern: list[str] = []
    getters: list[Getter] = []
    position = 0
    for match in _ATOM.finditer(template):
        pattern.append(_literal(template, position, match.start(), problems))
        position = match.end()
        if match["name"] is None:
            pattern.append("%%")
            continue
        pattern.append(f"%{match['spec']}{match['conversion']}")
        getters.append(_getter(match, problems))
    pattern.append(_literal(template, position, len(template), problems))
    if problems:
        raise ConfigurationError(*problems)
    return _assemble("".join(pattern), tuple(getters))


def _assemble(pattern: str, getters: tuple[Getter, ...]) -> Format:
    def write_line(record: AccessRecord) -> str:
        return pattern % tuple([get(record) for get in getters])  # a list display: faster than a generator

    return write_line


def _literal(template: str, start: int, end: int, problems: list[str]) -> str:
    stray = template.find("%", start, end)
    if stray >= 0:
        problems.append(
            f"log.format: the % at character {stray + 1} ({template[stray : stray + 12]!r}) begins no atom"
            " such as %(h)s; write %% for a percent sign"
        )
    return template[start:end]


def _getter(match: re.Match[str], problems: list[str]) -> Getter:
    """Return what reads the atom of ``match``; an impossible one is reported in ``problems``."""
    name, conversion = match["name"], match["conversion"]
    named = _NAMED_ATOM.fullmatch(name)
    if named is None and name not in TEXT_ATOMS and name not in NUMBER_ATOMS:
        problems.append(f"log.format: unknown atom {match[0]!r}; the known ones are {_known_atoms()}")
    elif conversion not in ("sd" if name in NUMBER_ATOMS else "s"):
        problems.append(f"log.format: {match[0]!r} cannot be written with {conversion!r}; write %({name})s")
    elif named is not None:
        return NAMED_ATOMS[named["source"]](named["name"])
    return NUMBER_ATOMS.get(name) or TEXT_ATOMS.get(name, dash)


def _known_atoms() -> str:
    names = sorted([*TEXT_ATOMS, *NUMBER_ATOMS], key=lambda name: (name.lower(), name))
    return " ".join([*(f"%({name})s" for name in names), "%({header}i)s", "%({header}o)s", "%({variable}e)s"])


def _write_json(record: AccessRecord) -> str:
    """Write one JSON object: strings hold an octet a character (latin-1), the duration is in seconds."""
    request = record.request
    line = json.dumps(
        {
            "time": _write_time(record).format(int(record.started % 1 * 1000)),
            "remote": record.remote or None,
            "user": find_user(record) or None,
            "method": request.method if request else None,
            "target": request.target.decode("latin-1") if request else None,
            "path": find_path(request) if request else None,
            "query": request.query.decode("latin-1") if request else None,
            "protocol": f"HTTP/{request.http_version}" if request else None,
            "host": find_header(record, b"host"),
            "status": int(record.status[:3]),
            "octets": record.octets,
            "duration": round(record.duration, 6),
            "referer": find_header(record, b"referer"),
            "user_agent": find_header(record, b"user-agent"),
            "pid": os.getpid(),
        }
    )
    return line.replace("\x7f", "\\u007f")  # DEL is the one control character that JSON leaves as it is
