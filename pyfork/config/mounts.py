"""What `[static]` mounts where: the values of its keys that begin with a slash, read and checked. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pyfork.config.schema_static import LONGEST_AGE, StaticMount
from pyfork.config.showing import fault_of, show
from pyfork.errors import ConfigurationError

_OPTIONS = {
    "dir": "a directory",
    "index": 'the name of a file, or "" for none',
    "max_age": f"a whole number of seconds from 0 to {LONGEST_AGE}",
    "immutable": "true or false",
    "precompressed": "true or false",
    "fall_through": "true or false",
}
_FIELDS = {field.name: field.type for field in msgspec.structs.fields(StaticMount)}
_ODD = re.compile(r"[%?#\\\x00-\x1f\x7f]|//|/\.{1,2}(?:/|$)")
"""What is in no decoded path that a file can have, or would not mean itself."""


def read_mounts(given: Mapping[str, Any], origin: str) -> dict[str, StaticMount]:
    """Return the mounts by their prefixes, none of which ends with a slash but ``/`` itself.

    Args:
        given: prefixes, each with a directory, or a table of options.
        origin: where they stand, as in ``server.toml``.

    Raises:
        ConfigurationError: with every problem.
    """
    mounts: dict[str, StaticMount] = {}
    problems: list[str] = []
    for prefix, content in given.items():
        name = f"{origin}: static.{show(prefix)}"
        canonical = prefix.rstrip("/") or "/"
        found = [f"{name} {fault}" for fault in _faults_of_prefix(prefix)]
        if canonical in mounts:
            found.append(f"{name} is mounted twice: a slash at the end makes no difference")
        options = {"dir": content} if isinstance(content, str) else content
        if isinstance(options, dict):
            found += [f"{name}.{fault}" for fault in _faults_of_options(options)]
        else:
            found.append(f'{name} must be a directory, or a table as in {{ dir = "assets" }}, not {show(content)}')
        problems += found
        if not found:
            mounts[canonical] = msgspec.convert(options, StaticMount)
    if problems:
        raise ConfigurationError(*problems)
    return mounts


def mount_options(mount: StaticMount) -> str | dict[str, Any]:
    """Return how a file says ``mount``: the directory alone, or a table of what it has of its own."""
    options = {name: value for name in _OPTIONS if (value := getattr(mount, name)) is not msgspec.UNSET}
    return options if len(options) > 1 else mount.dir


def is_file_name(text: str) -> bool:
    """Whether ``text`` can be the name of a file that is served: what no path may ask for, none may stand for."""
    return not fault_of(text) and not text.startswith(".") and "/" not in text and "\\" not in text


def _faults_of_prefix(prefix: str) -> Iterator[str]:
    if not prefix.startswith("/"):
        yield 'must begin with a slash, as in "/assets"'
    elif fault := fault_of(prefix):
        yield f"cannot be the beginning of a path: {fault}"
    elif found := _ODD.search(prefix):
        yield f"cannot be the beginning of a path: {show(found[0])} is in it; write it decoded, with single slashes"


def _faults_of_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if name not in _OPTIONS:
            yield f"{name}: there is no such option; there are {', '.join(_OPTIONS)}"
        elif not _fits(name, value):
            yield f"{name} must be {_OPTIONS[name]}, not {show(value)}"
    if "dir" not in options:
        yield 'dir is missing; write { dir = "assets", ... }'


def _fits(name: str, value: Any) -> bool:
    try:
        msgspec.convert(value, _FIELDS[name])
    except msgspec.ValidationError:
        return False
    if name == "index":
        return value == "" or is_file_name(value)
    return name != "dir" or not fault_of(value)
