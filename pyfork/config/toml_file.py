"""Reads server.toml: octets to raw values, and every way in which the file is not one.

TOML is read by the standard library. Unknown tables and keys, and tables that are none, are problems here; what the
values must be is `config.values`' business.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from pyfork.config.catalogue import SETTINGS, TABLES
from pyfork.config.nearest import nearest_setting, nearest_table
from pyfork.config.reading import IrregularFileError, read_regular
from pyfork.config.showing import show
from pyfork.config.values import Raw
from pyfork.errors import ConfigurationError

MAXIMUM_SIZE = 1_048_576
"""Octets; a larger file is not a server.toml but a mistake, and tomllib would take its time over it."""
MOUNTS = "static.mounts"
"""The setting that the file gives by keys that begin with a slash, and not by its name."""

_POSITION = re.compile(r" ?\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


def read_file(path: str, shown: str, *, may_wait: bool = False) -> tuple[dict[str, Raw], list[str]]:
    """Return the values that ``path`` gives, by setting, and its problems; called in the arbiter.

    Args:
        path: the file, absolute.
        shown: how messages call it.
        may_wait: whether it may be something that has to be waited for, as a pipe.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML.
    """
    document = _parse(_decode(_read(path, shown, may_wait=may_wait), shown), shown)
    problems: list[str] = []
    values: dict[str, Raw] = {}
    for table, content in document.items():
        if table not in TABLES:
            problems.append(_unknown_table(table, content, shown))
        elif not isinstance(content, dict):
            problems.append(f"{shown}: {table} must be a table, not {show(content)}; write [{table}] and keys under it")
        else:
            problems += _unknown_keys(table, content, shown)
            values |= {name: Raw(value, shown, is_text=False) for name, value in _known(table, content)}
    return values, problems


def _known(table: str, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    mounts = {key: value for key, value in content.items() if _is_mount(table, key)}
    if mounts:
        yield MOUNTS, mounts
    for key, value in content.items():
        name = f"{table}.{key}"
        if name in SETTINGS and name != MOUNTS:
            yield name, value


def _is_mount(table: str, key: str) -> bool:
    """Whether a key is the beginning of a path, and the value what is served under it."""
    return table == "static" and key.startswith("/")


def _unknown_table(table: str, content: Any, shown: str) -> str:
    if isinstance(content, dict):
        return f"{shown}: unknown table {show_key(table)}; the nearest known one is [{nearest_table(table)}]"
    near, _, key = nearest_setting("", table).partition(".")
    return f"{shown}: unknown key {show_key(table)}, outside any table; did you mean {key} in [{near}]?"


def _unknown_keys(table: str, content: dict[str, Any], shown: str) -> list[str]:
    problems = []
    for key in content:
        name = f"{table}.{key}"
        if name == MOUNTS:
            problems.append(f'{shown}: unknown key {name}; write each mount as a key of its own: "/assets" = "dir"')
        elif name not in SETTINGS and not _is_mount(table, key):
            hint = f"did you mean {nearest_setting(table, key)}?"
            if table == "static":
                hint += ' (a directory that is served begins with a slash: "/assets" = "dir")'
            problems.append(f"{shown}: unknown key {table}.{show_key(key)}; {hint}")
    return problems


def show_key(key: str) -> str:
    """Return ``key`` as TOML and messages write it: quoted unless it is a bare one."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else show(key)


def _read(path: str, shown: str, *, may_wait: bool) -> bytes:
    try:
        content = _read_patiently(path) if may_wait else read_regular(path, MAXIMUM_SIZE + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{shown}: there is no such configuration file") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{shown}: this is a directory, not a configuration file") from None
    except IrregularFileError as error:
        raise ConfigurationError(
            f"{shown}: this is {error.kind}, not a regular file, and a reload or an upgrade waits for no other; put a "
            "file in its place, or restart pyfork with -c FILE"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"{shown}: the configuration file cannot be read: {reason}") from error
    if len(content) > MAXIMUM_SIZE:
        raise ConfigurationError(f"{shown}: this is no configuration file: it has more than {MAXIMUM_SIZE} octets")
    return content


def _read_patiently(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAXIMUM_SIZE + 1)


def _decode(content: bytes, shown: str) -> str:
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with U+FEFF
    except UnicodeDecodeError as error:
        line, column = _position(content[: error.start].decode(errors="replace"))
        octet = error.object[error.start]
        raise ConfigurationError(
            f"{shown}: line {line}, column {column}: not UTF-8, as TOML must be: octet 0x{octet:02x}"
        ) from None


def _parse(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _POSITION.search(message)
        line, column = _position(text)  # the end, when the parser names no other place
        if found is not None and found["line"]:
            line, column = int(found["line"]), int(found["column"])
        reason = _POSITION.sub("", message)
        raise ConfigurationError(f"{shown}: line {line}, column {column}: not valid TOML: {reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{shown}: not valid TOML: nested too deeply") from None
    except ValueError:  # sys.get_int_max_str_digits()
        raise ConfigurationError(f"{shown}: not valid TOML: a number has too many digits") from None


def _position(before: str) -> tuple[int, int]:
    """Return the line and column, from 1, of what follows ``before``."""
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1
