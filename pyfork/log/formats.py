"""Access log formats: from the text in the settings to one function that writes a line. Pure.

A format is Apache's *common* or *combined*, *json* (an object a line), or text with gunicorn's atoms such as
``%(h)s`` and ``%({x-request-id}i)s``. It is compiled once, at start, so that an unknown atom is a configuration
error and a request pays only for what its line holds. What clients choose is escaped (see `pyfork.log.atoms`);
in a format of your own, put it in quotes: ``"%({x-request-id}i)s"``.
"""

import contextlib
import re
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import TypeVar

from pyfork.errors import ConfigurationError
from pyfork.log.atoms import (
    NAMED_ATOMS,
    NUMBER_ATOMS,
    TEXT_ATOMS,
    Getter,
    dash,
    find_path,
    find_pid,
    find_user,
    header_finder,
    make_clock,
)
from pyfork.log.escaping import ESCAPED_WITH_SPACES, Remembered, escape
from pyfork.log.record import AccessRecord

Format = Callable[[AccessRecord], str]
"""Writes the line of one record, without its newline."""
Texts = TypeVar("Texts")

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
COMBINED = f'{COMMON} "%(f)s" "%(a)s"'

_ATOM = re.compile(r"%(?:%|\((?P<name>[^()]*)\)(?P<spec>[-+ #0]*[0-9]*(?:\.[0-9]+)?)(?P<conversion>[A-Za-z]))")
_NAMED_ATOM = re.compile(r"\{(?P<name>[^{}]+)\}(?P<source>[ioe])")

_OBJECT = '{"time": "%s", "remote": %s, "user": %s, %s, "status": %d, "octets": %d, "duration": %r, %s, "pid": %d}'
_REQUEST = '"method": %s, "target": %s, "path": %s, "query": %s, "protocol": %s, "host": %s'
_CLIENT = '"referer": %s, "user_agent": %s'
_write_time = make_clock(lambda moment: time.strftime("%Y-%m-%dT%H:%M:%S.%%03d%z", moment))
_find_host, _find_referer, _find_user_agent = (header_finder(name) for name in ("host", "referer", "user-agent"))


def compile_format(text: str) -> Format:
    """Return the function that writes lines in the format ``text``: a name, or text with atoms.

    Raises:
        ConfigurationError: an atom is unknown, or a ``%`` begins none; one sentence for each.
    """
    if text in _WRITTEN_OUT:
        return _WRITTEN_OUT[text]
    template = text
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


_user, _moment, _request_line, _referer, _user_agent = (TEXT_ATOMS[name] for name in ("u", "t", "r", "f", "a"))
_STATUSES = Remembered(lambda status: escape(status[:3]))


def _write_common(record: AccessRecord) -> str:
    """Write `COMMON`."""
    return _write_apache(record)[0]


def _write_combined(record: AccessRecord) -> str:
    """Write `COMBINED`."""
    return "".join(_write_apache(record))


def _write_apache(record: AccessRecord) -> tuple[str, str]:
    """Return the line in `COMMON` and what `COMBINED` has behind it; the atoms one by one take twice as long."""
    line, has_user, client = _kept(record, _read_apache)
    environ = record.environ
    user = _user(record) if has_user or (environ is not None and "REMOTE_USER" in environ) else "-"
    common = (
        f'{ESCAPED_WITH_SPACES[record.remote]} - {user} {_moment(record)} "{line}" {_STATUSES[record.status]}'
        f" {record.octets or '-'}"
    )
    return common, client


def _read_apache(record: AccessRecord) -> tuple[str | int, bool, str]:
    """Return what lines have of the request: its line, whether it may name a user, Referer and User-Agent."""
    has_user = record.request is not None and "HTTP_AUTHORIZATION" in record.request.variables
    return _request_line(record), has_user, f' "{_referer(record)}" "{_user_agent(record)}"'


def _write_json(record: AccessRecord) -> str:
    """Write one JSON object; strings are UTF-8 if their octets are, the duration is in seconds."""
    request, client = _kept(record, _read_json)
    return _OBJECT % (
        _write_time(record) % int(record.started % 1 * 1000),
        _quote(record.remote or None),
        _quote(find_user(record) or None),
        request,
        int(record.status[:3]),
        record.octets,
        round(record.duration, 6),
        client,
        find_pid(),
    )


def _read_json(record: AccessRecord) -> tuple[str, str]:
    """Return what objects have of the request, and of its Referer and User-Agent."""
    request = record.request
    if request is None:
        return _REQUEST % (("null",) * 6), _CLIENT % ("null", "null")
    values = (
        request.method,
        request.target.decode("latin-1"),
        find_path(request),
        request.query.decode("latin-1"),
        f"HTTP/{request.http_version}",
        _find_host(request),
    )
    return _REQUEST % tuple(map(_quote, values)), _CLIENT % (
        _quote(_find_referer(request)),
        _quote(_find_user_agent(request)),
    )


def _kept(record: AccessRecord, read: Callable[[AccessRecord], Texts]) -> Texts:
    """Return what ``read`` makes of the record's request alone: now, or when the same request came before."""
    request = record.request
    if request is None:
        return read(record)
    kept = request.logged
    if kept is None or kept[0] is not read:
        kept = request.logged = (read, read(record))
    texts: Texts = kept[1]
    return texts


def _quote(text: str | None) -> str:
    return "null" if text is None else _QUOTED[text]


def _make_quoted(text: str) -> str:
    """Return ``text``, an octet a character, as a JSON string in ASCII."""
    if not text.isascii():
        with contextlib.suppress(UnicodeError):  # it is not UTF-8, or it is the application's, and text already
            text = text.encode("latin-1").decode("utf-8")
    quoted: str = encode_basestring_ascii(text)
    return quoted.replace("\x7f", "\\u007f")  # DEL is the one control character that JSON leaves as it is


_QUOTED = Remembered(_make_quoted)

_WRITTEN_OUT: dict[str, Format] = {"common": _write_common, "combined": _write_combined, "json": _write_json}
