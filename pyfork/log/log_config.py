"""``log.config``: the standard library's own logging configuration, as gunicorn's ``--log-config`` has it.

A file that ends in ``.json``, or begins with ``{`` as no other can, is a dictionary for `logging.config.dictConfig`,
any other is in the format of `logging.config.fileConfig`, with ``%(here)s`` and ``%(__file__)s`` as gunicorn gives
them. It is applied after pyfork's own handlers were attached: what it says of ``pyfork.error`` and ``pyfork.access``
replaces them, and a logger that it does not name keeps them. Existing loggers stay enabled unless the file says
otherwise.

The arbiter applies it, so a handler class of your own named there is imported by the arbiter.
"""

import json
import os
from typing import TYPE_CHECKING, Any

from pyfork.config.reading import read_regular
from pyfork.errors import ConfigurationError

if TYPE_CHECKING:
    from configparser import ConfigParser

_FOREIGN = ("gunicorn.error", "gunicorn.access")


def apply_log_config(path: str) -> tuple[str, ...]:
    """Configure the standard library's logging from the file ``path``.

    Returns:
        Warnings: what the file configures in vain.

    Raises:
        ConfigurationError: it cannot be read or applied.
    """
    content = read_log_config(path)
    try:
        import logging.config  # noqa: PLC0415 (0.7 MB, kept out of the arbiters that have no such file)

        if isinstance(content, dict):
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **content})
        else:
            logging.config.fileConfig(content, disable_existing_loggers=False)
    except Exception as error:
        raise ConfigurationError(f"log.config: {path!r} cannot be applied: {_explain(error)}") from error
    return tuple(
        f"log.config: {path!r} configures the logger {name!r}, which nobody uses here: name it"
        f" {name.replace('gunicorn', 'pyfork')!r}"
        for name in _FOREIGN
        if name in _named_loggers(content)
    )


def read_log_config(path: str) -> "dict[str, Any] | ConfigParser":
    """Return the content of ``path``, parsed and not applied.

    Raises:
        ConfigurationError: there is no such file, or it is neither of the two formats.
    """
    try:
        text = read_regular(path).decode()
        is_json = path.endswith(".json") or text.lstrip().startswith("{")
        return _parse_json(text) if is_json else _parse_ini(text, path)
    except OSError as error:
        raise ConfigurationError(f"log.config: cannot read {path!r}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"log.config: {path!r} is not valid: {_explain(error)}") from error


def _parse_json(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it must hold one JSON object, as logging.config.dictConfig takes it")  # noqa: TRY004 (of the content, not of an argument)
    return content


def _parse_ini(text: str, path: str) -> "ConfigParser":
    import configparser  # noqa: PLC0415 (as logging.config)

    here = os.path.dirname(os.path.abspath(path))
    parser = configparser.ConfigParser({"__file__": path, "here": here})
    try:
        parser.read_string(text, source=path)
    except configparser.Error as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    missing = [name for name in ("loggers", "handlers", "formatters") if not parser.has_section(name)]
    if missing:
        raise ValueError(f"it has no section {', '.join(f'[{name}]' for name in missing)}")
    return parser


def _named_loggers(content: "dict[str, Any] | ConfigParser") -> set[str]:
    if isinstance(content, dict):
        return set(content.get("loggers", ()))
    return {content.get(section, "qualname", fallback="") for section in content.sections()}


def _explain(error: BaseException) -> str:
    """Return the error with what caused it: the standard library names the handler, its cause what is wrong."""
    sentence = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
    cause = error.__cause__
    return " ".join(f"{sentence}: {_explain(cause)}".split()) if cause else " ".join(sentence.split())
