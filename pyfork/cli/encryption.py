"""TLS, seen from the composition root: whether there is any, and the certificates for it."""

import importlib
from typing import TYPE_CHECKING

from pyfork.config.binds import choose_tls, parse_bind
from pyfork.config.schema import Settings
from pyfork.errors import ConfigurationError

if TYPE_CHECKING:
    from pyfork.connection.certificates import Certificates


def load_certificates(settings: Settings) -> "Certificates | None":
    """Return what workers speak TLS with, None when they do not; called in the arbiter, at a start and at each HUP.

    The module is named and not imported: with it comes ``ssl``, megabytes that an arbiter without TLS goes without.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """
    if settings.tls.certfile is None:
        return None
    certificates: Certificates = importlib.import_module("pyfork.connection.certificates").load(settings.tls)
    return certificates


def check_tls(settings: Settings) -> list[str]:
    """Return what is wrong with the table ``tls`` and its files, one sentence for each problem."""
    tls = settings.tls
    problems = _check_schemes(settings.server.bind)
    if tls.certfile is None:
        secure = [bind.written for bind in map(parse_bind, settings.server.bind) if bind.scheme == "https"]
        problems += [f"server.bind: {text}: there is no certificate; set tls.certfile" for text in secure]
        given = [name for name, value in (("keyfile", tls.keyfile), ("sni", tls.sni)) if value]
        problems += [f"tls.{name}: there is no tls.certfile beside it; set that too" for name in given]
        return problems
    if tls.verify != "none" and tls.ca_certs is None:
        problems.append(f'tls.verify: "{tls.verify}" needs tls.ca_certs, which certificates of clients must come from')
        return problems
    try:
        load_certificates(settings)
    except ConfigurationError as error:
        problems += error.problems
    return problems


def warn_of_tls(settings: Settings) -> list[str]:
    """Return what there is to warn of."""
    binds = settings.server.bind
    if settings.tls.certfile is None or any(map(choose_tls(binds, has_certificate=True), _texts(binds))):
        return []
    return ["tls.certfile is set, and no bind speaks TLS: each has the scheme http"]


def _texts(binds: tuple[str, ...]) -> list[str]:
    return [parse_bind(text).text for text in binds]


def _check_schemes(binds: tuple[str, ...]) -> list[str]:
    """An address with two schemes can speak only one."""
    written: dict[str, str] = {}
    return [
        f"server.bind: {bind.text} is there with two schemes, and a listener speaks one"
        for bind in map(parse_bind, binds)
        if written.setdefault(bind.text, bind.scheme) != bind.scheme
    ]
