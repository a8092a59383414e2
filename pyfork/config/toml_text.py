"""Settings as TOML text that every reader understands the same.

The reader `toml`, which many users' tools still have, takes escapes apart twice and cuts arrays at commas inside
strings. So a string is written plain where it can be, else between apostrophes, else with escapes that contain none of
its stumbling blocks; only a string with both backslashes and apostrophes or control characters is left to it as it is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pyfork.config.catalogue import SETTINGS, TABLES, Setting
from pyfork.config.declarations import Form
from pyfork.config.mounts import mount_options
from pyfork.config.values import UNLIMITED

_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\"'\\\[\],#]*")
_LITERAL = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029']*")
_HARMLESS = re.compile(r"[\w ./:;%(){}=@+*<>|~^$!?&-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_settings(values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Return the tables of a server.toml that sets ``values``, by setting; ``comments`` stand behind them.

    A setting without a value becomes a comment whole, since TOML has no word for it.
    """
    lines = []
    for table in TABLES:
        given = [SETTINGS[name] for name in values if SETTINGS[name].table == table]
        if given:
            lines += ["", f"[{table}]"]
        # A mapping becomes a table of its own, and those come last in theirs.
        for setting in sorted(given, key=lambda setting: setting.is_mapping):
            comment = _CONTROL.sub("?", comments.get(setting.name, "").encode(errors="replace").decode())
            lines += _setting_lines(setting, values[setting.name], f"  # {comment}" if comment else "")
    return "\n".join([*lines, ""])


def _setting_lines(setting: Setting, value: Any, comment: str) -> Iterator[str]:
    if setting.option.form is Form.MOUNTS:
        yield from (f"{_key(prefix)} = {literal(mount_options(mount))}{comment}" for prefix, mount in value.items())
        if not value:
            yield f"# {setting.key}: none{comment}"
    elif setting.is_mapping and value:
        yield from ("", f"[{setting.name}]{comment}")
        yield from (f"{_key(key)} = {literal(text)}" for key, text in value.items())
    elif value is None and setting.option.form not in {Form.ZERO_IS_UNLIMITED, Form.SIZE}:
        yield f"# {setting.key}: {setting.option.default_text}{comment}"
    elif setting.option.form is Form.OCTAL:
        yield f'{setting.key} = "0o{value:03o}"{comment}'  # a string: not every reader knows TOML's octal numbers
    else:
        yield f"{setting.key} = {literal(value)}{comment}"


def literal(value: Any) -> str:
    """Return ``value`` (text, number, truth value, list or table of text; None: no limit) as TOML writes it."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_nested(part)}" for key, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_nested, value)) + "]"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return _string(UNLIMITED) if value is None else str(value)


def _nested(value: Any) -> str:
    return _string(value, is_nested=True) if isinstance(value, str) else literal(value)


def _key(key: str) -> str:
    """Return ``key`` as it stands before the equals sign."""
    return key if _BARE_KEY.fullmatch(key) else _string(key, is_nested=True)


def _string(text: str, *, is_nested: bool = False) -> str:
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    if _LITERAL.fullmatch(text) and not is_nested:
        return f"'{text}'"
    if "\\" not in text:
        return '"' + "".join(char if _HARMLESS.fullmatch(char) else _escape(char) for char in text) + '"'
    import tomlkit  # noqa: PLC0415 (kept out of the arbiter, which never writes TOML)

    return tomlkit.string(text).as_string()


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
