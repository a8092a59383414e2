"""One raw value of a setting, from TOML or as text, becomes a checked one, or a sentence that says what it must be.

Text (environment, command line) is read generously, since everything is text there; TOML strictly, since it has types:
``count = "4"`` is a mistake in a file and the only way to say 4 in a variable.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec
from msgspec import Struct

from pyfork.config.binds import parse_bind
from pyfork.config.catalogue import Setting
from pyfork.config.declarations import Form
from pyfork.config.mounts import is_file_name, read_mounts
from pyfork.config.proxies import parse_field, parse_proxy
from pyfork.config.server_names import read_sni
from pyfork.config.showing import fault_of, show
from pyfork.errors import ConfigurationError

LEVELS = ("debug", "info", "warning", "error", "critical")
UNLIMITED = "unlimited"
REPEATED = "..."
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Raw(Struct, frozen=True):
    """A value as somebody gave it.

    Attributes:
        value: what TOML says; or text, or a tuple of texts (a flag given several times).
        origin: where it stands, as in ``environment PORT``.
        is_text: whether it comes from a place that knows only text.
    """

    value: Any
    origin: str
    is_text: bool


class _UnfitError(Exception):
    """The value is not what the setting takes; the argument, if any, says more than the expectation does."""


def read_value(setting: Setting, raw: Raw) -> Any:
    """Return the value of ``setting`` that ``raw`` stands for.

    Raises:
        ConfigurationError: it stands for none; every problem names the origin and the setting.
    """
    try:
        value = _from_text(setting, raw.value) if raw.is_text else raw.value
        if setting.option.form is Form.MOUNTS:
            return read_mounts(value, raw.origin)
        value = _read_steps(setting, value, is_text=raw.is_text) if setting.option.form is Form.STEPS else value
        value = _read_table(value) if setting.option.form is Form.SNI else value
        value = _read_form(setting, value)
        is_strict = not (raw.is_text and (setting.is_switch or setting.number))
        value = msgspec.convert(value, setting.checked_type, strict=is_strict)
        _check_strings(value)
    except (_UnfitError, msgspec.ValidationError) as error:
        more = str(error) if isinstance(error, _UnfitError) else _hint(setting, raw)
        wanted = expectation(setting, is_text=raw.is_text)
        problem = f"{raw.origin}: {setting.name} must be {wanted}, not {show(raw.value)}"
        raise ConfigurationError(f"{problem} ({more})" if more else problem) from None
    parse = _PARSERS.get(setting.option.form)
    return value if parse is None else _read_each(parse, setting, value, raw)


def expectation(setting: Setting, *, is_text: bool = False) -> str:
    """Return what ``setting`` takes, to follow "must be"."""
    if setting.option.form in _EXPECTATIONS:
        return _EXPECTATIONS[setting.option.form]
    if setting.option.form in {Form.CHOICE, Form.VERIFY}:
        return f"one of {', '.join(get_args(setting.type))}"
    if setting.is_list:
        return "one or more values, separated by commas" if is_text else "an array of strings"
    if setting.is_mapping:
        return "KEY=VALUE" if is_text else "a table of strings"
    if setting.is_switch:
        return "true or false"
    if setting.number:
        lowest, highest = setting.bounds
        number = "a whole number" if setting.number is int else "a number of seconds"
        zero = " (0 stands for the highest)" if setting.option.form is Form.ZERO_IS_HIGHEST else ""
        return f"{number} from {lowest:g} to {highest:.0f}{zero}"
    return "a string"


_EXPECTATIONS = {
    Form.ACCOUNT: "a name, or a number from 0 on",
    Form.OCTAL: "a mask of file modes from 0 to 0o777, as in 0o027",
    Form.LEVEL: f"one of {', '.join(LEVELS)}",
    Form.ZERO_IS_UNLIMITED: f'a number of octets, or "{UNLIMITED}"',
    Form.SIZE: f'a number of octets from 1M on, with a unit as in "512M" or without, or "{UNLIMITED}"',
    Form.STEPS: f'whole numbers from 1 on, the last of which "{REPEATED}" may follow',
    Form.SNI: "a table of server names, each with CERTFILE or CERTFILE:KEYFILE",
    Form.HOOK: 'a function, as in "myproject.hooks:on_starting"',
    Form.MOUNTS: "PREFIX=DIR, as in /assets=static/assets",
    Form.FILE_NAME: "the name of a file, as in index.html",
}


def _hint(setting: Setting, raw: Raw) -> str:
    """Say how the value would be right, where it is plain what was meant."""
    if setting.is_mapping and isinstance(raw.value, dict):
        return next(f"{name} is {show(value)}" for name, value in raw.value.items() if not isinstance(value, str))
    if setting.is_list and isinstance(raw.value, list):
        return next(
            (f"{show(value)} is not a string" for value in raw.value if not isinstance(value, str)), "it is empty"
        )
    if raw.is_text or not isinstance(raw.value, str):
        return ""
    if setting.is_list:
        return f"write {setting.key} = [{show(raw.value)}]"
    try:
        msgspec.convert(raw.value, setting.checked_type, strict=False)
    except msgspec.ValidationError:
        return ""
    return "write it without the quotes"


# Text: environment variables and flags.


def _from_text(setting: Setting, text: Any) -> Any:
    """Take lists and tables apart; the rest is left to msgspec."""
    if setting.is_mapping:
        return _assignments(text if isinstance(text, tuple) else _cut(text))
    if setting.is_list and isinstance(text, tuple):
        is_whole = setting.option.form is Form.BINDS  # a flag names one address; only a variable needs commas
        return list(text) if is_whole else _cut(",".join(text))
    return _cut(text) if setting.is_list else text


def _cut(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _assignments(pieces: list[str] | tuple[str, ...]) -> dict[str, str]:
    found = {}
    for piece in pieces:
        key, separator, value = piece.partition("=")
        if not separator:
            raise _UnfitError
        found[key] = value
    return found


# The notations that a setting has beside its type. What a reader does not know it leaves to msgspec.


def _read_form(setting: Setting, value: Any) -> Any:
    reader = _READERS.get(setting.option.form)
    is_candidate = reader is not None and isinstance(value, str | int) and not isinstance(value, bool)
    return reader(setting, value) if reader is not None and is_candidate else value


def _read_account(_: Setting, value: str | int) -> str:
    if str(value).startswith("-"):
        raise _UnfitError
    return str(value)


def _read_octal(_: Setting, value: str | int) -> int:
    """Read text as gunicorn does: octal when it begins with 0, hexadecimal after 0x, decimal else."""
    if isinstance(value, int):
        return value
    try:
        return int(re.sub(r"^0(?=[0-9])", "0o", value), 0)
    except ValueError:
        raise _UnfitError from None


def _read_level(_: Setting, value: str | int) -> str:
    if str(value).lower() not in LEVELS:
        raise _UnfitError
    return str(value).lower()


def _read_zero_as_highest(setting: Setting, value: str | int) -> str | int:
    return int(setting.bounds[1]) if value in {0, "0"} else value


def _read_zero_as_unlimited(_: Setting, value: str | int) -> int | None:
    if value in {0, "0", UNLIMITED}:
        return None
    try:
        return int(value)
    except ValueError:
        raise _UnfitError from None


def _read_steps(setting: Setting, value: Any, *, is_text: bool) -> Any:
    """Check counts that ``"..."`` may follow; text gives them as text."""
    if not isinstance(value, list):
        raise _UnfitError(f"write {setting.key} = [{value}]" if str(value).isdecimal() and int(value) else "")
    counts = value[:-1] if value[-1:] == [REPEATED] else value
    if is_text:
        counts = [int(count) if str(count).isdecimal() else count for count in counts]
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise _UnfitError(f"{show(count)} is none" if count != REPEATED else f'"{REPEATED}" is not the last')
    if not counts and value:
        raise _UnfitError(f'"{REPEATED}" has nothing to repeat')
    return [*counts, *value[len(counts) :]]


def _read_table(value: Any) -> Any:
    """Check server names with their files; what is no table is left to msgspec."""
    try:
        return read_sni(value) if isinstance(value, Mapping) else value
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _read_verify(setting: Setting, value: str | int) -> str:
    """Read gunicorn's numbers, those of the standard library's ``ssl.VerifyMode``, too."""
    words: tuple[str, ...] = get_args(setting.type)
    text = str(int(value)) if isinstance(value, int) else value
    return words[int(text)] if text in {"0", "1", "2"} else text


def _read_size(_: Setting, value: str | int) -> int | None:
    if value in {0, "0", UNLIMITED}:
        return None
    found = re.fullmatch(r"([0-9]{1,18})([KMGT]?)(iB|B)?", str(value), re.IGNORECASE)
    if found is None:
        raise _UnfitError
    return int(found[1]) * UNITS.get(found[2].upper(), 1)


def _read_hook(_: Setting, value: str | int) -> str | int:
    """Leave whether the function is there to the process that calls it; but what cannot be one is told at once."""
    if isinstance(value, int):
        return value
    module, colon, function = value.rpartition(":")
    names = [*module.split("."), *function.split(".")]
    is_file = module.endswith(".py") or "/" in module
    if not colon or not all(name.isidentifier() for name in (function.split(".") if is_file else names)):
        raise _UnfitError
    return value


def _read_file_name(_: Setting, value: str | int) -> str | int:
    if isinstance(value, str) and not is_file_name(value):
        raise _UnfitError
    return value


_READERS: Mapping[Form, Callable[[Setting, Any], Any]] = {
    Form.ACCOUNT: _read_account,
    Form.OCTAL: _read_octal,
    Form.LEVEL: _read_level,
    Form.ZERO_IS_HIGHEST: _read_zero_as_highest,
    Form.ZERO_IS_UNLIMITED: _read_zero_as_unlimited,
    Form.SIZE: _read_size,
    Form.VERIFY: _read_verify,
    Form.HOOK: _read_hook,
    Form.FILE_NAME: _read_file_name,
}


_PARSERS: Mapping[Form, Callable[[str], str]] = {
    Form.BINDS: lambda text: parse_bind(text).written,
    Form.PROXIES: parse_proxy,
    Form.FORWARDING: parse_field,
}
"""What reads each text of a list, and returns its canonical form."""


def _read_each(parse: Callable[[str], str], setting: Setting, texts: tuple[str, ...], raw: Raw) -> tuple[str, ...]:
    """Return the canonical texts.

    Raises:
        ConfigurationError: with one problem for each text that is none of the setting's.
    """
    found, problems = [], []
    for text in texts:
        try:
            found.append(parse(text))
        except ConfigurationError as error:
            problems += [f"{raw.origin}: {setting.table}.{problem}" for problem in error.problems]
    if problems:
        raise ConfigurationError(*problems)
    return tuple(found)


def _check_strings(value: Any) -> None:
    """Refuse what no path, name or variable can be, before it fails somewhere deep with no name on it."""
    if isinstance(value, dict):
        for name, text in value.items():
            _check_name(name)
            if "\0" in text:
                raise _UnfitError("a value contains NUL")
        return
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str):
            _check_string(text)


def _check_name(name: str) -> None:
    _check_string(name)
    if "=" in name:
        raise _UnfitError("the name of a variable contains '='")


def _check_string(text: str) -> None:
    if fault := fault_of(text):
        raise _UnfitError(fault)
