"""The table ``tls.sni``: names that clients ask for, and the files of the certificates for them. Pure.

A name is kept as it crosses the wire, in ASCII and in lower case (RFC 6066, section 3): what is written otherwise is
translated. A pattern stands for exactly one label, as in a certificate (RFC 9525, section 6.3).
"""

import re
from collections.abc import Mapping
from typing import Any

LABEL = r"(?!-)[a-z0-9_-]{1,63}"
_NAME = re.compile(rf"(\*\.)?{LABEL}(\.{LABEL})*")
_KEYS = {"certfile", "keyfile"}


def read_sni(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table with each name as it crosses the wire, and its files as ``CERTFILE`` or ``CERTFILE:KEYFILE``.

    Values of another type than text or table stay as they are.

    Raises:
        ValueError: a name is none, or its files are not said properly; the message says what is wrong.
    """
    found: dict[str, Any] = {}
    for written, value in table.items():
        name = read_name(written)
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = _join(name, value) if isinstance(value, Mapping) else value
        if isinstance(value, str):
            split_files(value)
    return found


def read_name(text: str) -> str:
    """Return a server's name, or a pattern, as it crosses the wire.

    Raises:
        ValueError: it is none.
    """
    prefix = "*." if text.startswith("*.") else ""
    try:
        name = prefix + text.removeprefix(prefix).encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{text!r} is no server's name, as in shop.example.org or *.example.org")
    return name


def split_files(text: str) -> tuple[str, str]:
    """Return certificate file and key file; they are the same file if only one is named.

    Raises:
        ValueError: it names none, or more than two.
    """
    certfile, _, keyfile = text.partition(":")
    if not certfile or ":" in keyfile or text.endswith(":"):
        raise ValueError(f"{text!r} is not CERTFILE or CERTFILE:KEYFILE")
    return certfile, keyfile or certfile


def find_pattern(name: str) -> str:
    """Return the pattern that ``name`` would match, "" for a name of one label."""
    _, dot, rest = name.partition(".")
    return f"*.{rest}" if dot else ""


def _join(name: str, table: Mapping[str, Any]) -> str:
    unknown = next((key for key in table if key not in _KEYS), None)
    if unknown is not None:
        raise ValueError(f"{name} has a key {unknown}; there are certfile and keyfile")
    files = [table.get(key) for key in ("certfile", "keyfile") if key in table]
    if "certfile" not in table or not all(isinstance(file, str) and file and ":" not in file for file in files):
        raise ValueError(f"{name} needs a certfile, and may have a keyfile, both without a colon in their names")
    return ":".join(map(str, files))
