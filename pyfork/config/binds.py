"""Addresses to listen on: one text, one `Bind`. Pure: nothing is looked up and nothing is opened.

Forms: ``HOST:PORT``, ``:PORT`` (every IPv4 address), ``[IPv6]:PORT``, ``unix:PATH``, ``unix:@ABSTRACT`` and ``fd://N``.
As in gunicorn a missing port is 8000, and ``tcp://`` and ``unix://`` may lead. What gunicorn takes for something else
than was meant is refused here: an IPv6 address without brackets, and a port alone (``8000`` is the host 0.0.31.64).

``https://`` and ``http://`` may lead too, and their port is then 443 or 80 if it is missing. They are no part of the
address: a reload that only changes the scheme keeps the socket.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pyfork.errors import ConfigurationError

DEFAULT_PORT = 8000
PORTS = {"http": 80, "https": 443}
"""Of the schemes (RFC 9110, sections 4.2.1 and 4.2.2)."""
MAXIMUM_PORT = 65535
MAXIMUM_PATH = 107
"""Octets of a unix socket's path or name: ``sun_path`` of sockaddr_un has 108, the last of them NUL; unix(7)."""

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")
_LOOKS_NUMERIC = re.compile(r"[0-9.]+")
_FORMS = "HOST:PORT, :PORT, [IPv6]:PORT, unix:PATH, unix:@NAME or fd://N, or https:// and one of the first three"


class Bind(Struct, frozen=True):
    """One address.

    Attributes:
        kind: "tcp4" has ``host`` (an IPv4 address or a name) and ``port``, "tcp6" the same without the brackets, "unix"
            a ``path``, "abstract" a ``path`` that is the name without ``@``, "fd" an ``fd``.
        text: the canonical form: two binds are the same address when it is equal.
        scheme: "https" or "http" where it was said, "" otherwise.
    """

    kind: Literal["tcp4", "tcp6", "unix", "abstract", "fd"]
    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    scheme: str = ""

    @property
    def written(self) -> str:
        """The canonical form with its scheme."""
        return f"{self.scheme}://{self.text}" if self.scheme else self.text


def parse_bind(text: str) -> Bind:
    """Return the address that ``text`` stands for.

    Raises:
        ConfigurationError: it stands for none; the message says what is wrong and how it is written.
    """
    try:
        return _parse(text)
    except ValueError as error:
        raise ConfigurationError(f"bind {text!r}: {error}") from None


def _parse(text: str) -> Bind:
    scheme, separator, rest = text.partition("://")
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:").removeprefix("//"))
    if not separator:
        return _parse_tcp(text)
    if scheme == "tcp":
        return _parse_tcp(rest)
    if scheme == "fd":
        return _parse_fd(rest)
    if scheme in PORTS:
        return _parse_url(scheme, rest)
    raise ValueError(f"there is no {scheme + '://'!r} here; write {_FORMS}")


def choose_tls(binds: Sequence[str], *, has_certificate: bool) -> Callable[[str], bool]:
    """Return which listeners speak TLS, as a function of the text of their bind.

    With a scheme anywhere, those that say ``https``; without, all of them if there is a certificate, as in gunicorn. A
    socket that was passed in and that no bind stands for speaks it, unless one of the binds says ``http``: what was
    meant for TLS must not be served without.

    Args:
        binds: ``server.bind``.
        has_certificate: whether ``tls.certfile`` is set.
    """
    schemes = {bind.text: bind.scheme for bind in map(parse_bind, binds)}
    if not any(schemes.values()):
        return lambda _: has_certificate
    of_strangers = "" if "http" in schemes.values() else "https"
    return lambda text: has_certificate and schemes.get(text, of_strangers) == "https"


def _parse_url(scheme: str, rest: str) -> Bind:
    if rest.startswith(("unix:", "fd:")) or not rest:
        raise ValueError(
            f"{scheme}:// is followed by HOST:PORT; a bind of another form speaks TLS when there is a tls.certfile and "
            "no bind has a scheme"
        )
    bind = _parse_tcp(rest, PORTS[scheme])
    return replace(bind, scheme=scheme)


def _parse_unix(path: str) -> Bind:
    name = path.removeprefix("@")
    if not name:
        raise ValueError("the path is missing; write unix:/run/NAME.sock or unix:@NAME")
    if "\0" in name:
        raise ValueError("a path cannot contain NUL")
    if len(path.encode(errors="surrogateescape")) > MAXIMUM_PATH:
        raise ValueError(f"the path of a unix socket has at most {MAXIMUM_PATH} octets")
    if path != name:
        return Bind("abstract", f"unix:{path}", path=name)
    return Bind("unix", f"unix:{path}", path=path)


def _parse_fd(number: str) -> Bind:
    if not _is_number(number):
        raise ValueError("a descriptor is a number, as in fd://3")
    return Bind("fd", f"fd://{int(number)}", fd=int(number))


def _parse_tcp(text: str, default_port: int = DEFAULT_PORT) -> Bind:
    if text.startswith("["):
        return _parse_ipv6(text, default_port)
    host, separator, port = text.partition(":")
    if ":" in port:
        raise ValueError(f"an IPv6 address goes in brackets, as in [::1]:{DEFAULT_PORT}")
    if not separator and _is_number(host):
        raise ValueError(f"this is a port without a host; write :{host} or 127.0.0.1:{host}")
    if not text:
        raise ValueError(f"it is empty; write {_FORMS}")
    host = _read_host(host) if host else "0.0.0.0"  # noqa: S104 (what ":8000" asks for, as in gunicorn)
    number = _read_port(port) if separator else default_port
    return Bind("tcp4", f"{host}:{number}", host=host, port=number)


def _parse_ipv6(text: str, default_port: int) -> Bind:
    address, bracket, rest = text[1:].partition("]")
    if not bracket or (rest and not rest.startswith(":")):
        raise ValueError(f"write an IPv6 address as [::1]:{DEFAULT_PORT}")
    try:
        host = str(ipaddress.IPv6Address(address))
    except ValueError:
        raise ValueError(f"{address!r} is not an IPv6 address") from None
    number = _read_port(rest[1:]) if rest else default_port
    return Bind("tcp6", f"[{host}]:{number}", host=host, port=number)


def _read_host(host: str) -> str:
    if _LOOKS_NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv4 address") from None
    if not _HOST_NAME.fullmatch(host):
        hint = f"; write :{DEFAULT_PORT} for every address of this machine" if host == "*" else ""
        raise ValueError(f"{host!r} is neither an address nor a host name{hint}")
    return host.lower()


def _read_port(port: str) -> int:
    if not _is_number(port) or int(port) > MAXIMUM_PORT:
        raise ValueError(f"a port is a number from 0 to {MAXIMUM_PORT} (0: the system chooses), not {port!r}")
    return int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10  # longer than any port or descriptor
