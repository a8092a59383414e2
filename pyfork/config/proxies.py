"""Whose word on the client counts: one text of ``proxy.trusted``, read and made canonical. Pure.

Forms: an IP address, a network (``10.0.0.0/8``), ``unix:`` (whoever connects by a unix socket) and ``*`` (everybody).
As in gunicorn, a network whose address has host bits is refused: ``10.0.0.1/8`` may mean one machine or all of them.
"""

import ipaddress

from pyfork.errors import ConfigurationError

EVERYBODY = "*"
UNIX = "unix:"

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
