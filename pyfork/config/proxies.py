"""Whose word on the client counts, and which: one text of ``proxy.trusted`` or ``proxy.headers``, made canonical. Pure.

Forms of the former: an IP address, a network (``10.0.0.0/8``), ``unix:`` (whoever connects by a unix socket) and ``*``
(everybody). As in gunicorn, a network whose address has host bits is refused: ``10.0.0.1/8`` may mean one machine or
all of them.
"""

import ipaddress
from collections.abc import Iterable

from pyfork.errors import ConfigurationError

EVERYBODY = "*"
UNIX = "unix:"

FORWARDED = "forwarded"
X_FORWARDED_PROTO = "x-forwarded-proto"
FORWARDING_FIELDS = (
    "x-forwarded-for",
    X_FORWARDED_PROTO,
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    FORWARDED,
)
"""What ``proxy.headers`` may list."""

_FORMS = f"an IP address, a network as in 10.0.0.0/8, {UNIX} or {EVERYBODY}"


def parse_proxy(text: str) -> str:
    """Return the canonical form of ``text``.

    Raises:
        ConfigurationError: it stands for nobody; the message says what is wrong and how it is written.
    """
    if text in {EVERYBODY, UNIX}:
        return text
    try:
        return _read_network(text)
    except ValueError as error:
        raise ConfigurationError(f"trusted {text!r}: {error}") from None


def parse_field(text: str) -> str:
    """Return the canonical form of the name of a field that proxies send.

    Raises:
        ConfigurationError: it is none of `FORWARDING_FIELDS`.
    """
    name = text.lower()
    if name not in FORWARDING_FIELDS:
        raise ConfigurationError(f"headers {text!r}: it is none of {', '.join(FORWARDING_FIELDS)}")
    return name


def check_fields(names: Iterable[str]) -> str:
    """Return why no proxy can be believed by all these fields together, "" if one can.

    A proxy sets one family, and passes on what the client sent of the other.
    """
    others = [name for name in dict.fromkeys(names) if name != FORWARDED]
    if not others or len(others) == len(set(names)):
        return ""
    return (
        f"{FORWARDED} and {others[0]} tell the same, and a proxy that sets one passes on what the client sent of the "
        f"other; list {FORWARDED} alone, or none but x-forwarded-... ones"
    )


def as_gunicorn_means(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a ``forwarded_allow_ips`` of gunicorn's trusts: unix sockets too, whatever it lists."""
    return (*texts, UNIX)


def _read_network(text: str) -> str:
    if text.startswith("unix"):
        raise ValueError(f"unix sockets are trusted all or none; write {UNIX}")
    if "%" in text:
        raise ValueError("an address is trusted on every interface; write it without the zone (what follows %)")
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"it is not {_FORMS}") from None
    network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(f"write {network} for the network, or {interface.ip} for the one address")
    return str(network.network_address if network.num_addresses == 1 else network)
