"""What a proxy in front says of the client, and whether it may: today, that the client came to it by TLS.

The rules are gunicorn's. Any client can send these fields, so they count only from a peer that ``proxy.trusted`` lists;
a value counts only whole ("https, http" is not "https"); and the fields stay in the environ whatever became of them.
Where gunicorn refuses a request whose fields contradict each other, it stays ``http`` here, and the log says so once.
"""

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from pyfork.config.proxies import EVERYBODY, UNIX

CACHED_PEERS = 1024
"""Most addresses whose verdict is remembered: behind a proxy they are few, without one there is no end of them."""

_SECURE = {b"x-forwarded-proto": b"https", b"x-forwarded-protocol": b"ssl", b"x-forwarded-ssl": b"on"}

_log = logging.getLogger("pyfork.error")


class TrustedProxies:
    """The peers whose word counts; a worker makes one, and its listeners share it.

    Args:
        trusted: as ``proxy.trusted`` has it, canonical.
    """

    __slots__ = ("_has_warned", "_verdicts")

    def __init__(self, trusted: Iterable[str]) -> None:
        self._verdicts = _Verdicts(trusted)
        self._has_warned = False

    def scheme_of(self, headers: Sequence[tuple[bytes, bytes]], peer: Any, own: str = "http") -> str:
        """Return the scheme of a request that has at least one of the fields: "https" or "http".

        Args:
            headers: of the request, as sent.
            peer: the client's address as ``accept`` told it: a tuple that begins with the host, anything else for a
                unix socket.
            own: the scheme of the listener, which counts where no word does.
        """
        if not self._verdicts[peer[0] if peer.__class__ is tuple else UNIX]:
            return own
        says_secure = [value.lower() == _SECURE[lower] for name, value in headers if (lower := name.lower()) in _SECURE]
        if True not in says_secure:
            return "http"
        if False not in says_secure:
            return "https"
        if not self._has_warned:
            self._has_warned = True
            _warn(headers, peer)
        return own


class _Verdicts(dict[str, bool]):
    """Peers' addresses (``unix:`` for all unix sockets) -> whether they are trusted; filled as they come, bounded."""

    def __init__(self, trusted: Iterable[str]) -> None:
        names = set(trusted)
        self._trusts_everybody = EVERYBODY in names
        self._trusts_unix = UNIX in names
        self._networks = [ipaddress.ip_network(name) for name in sorted(names - {EVERYBODY, UNIX})]

    def __missing__(self, host: str) -> bool:
        if len(self) >= CACHED_PEERS:
            self.clear()
        verdict = self[host] = self._judge(host)
        return verdict

    def _judge(self, host: str) -> bool:
        if self._trusts_everybody:
            return True
        if host == UNIX:
            return self._trusts_unix
        address = ipaddress.ip_address(host)
        # A socket for both families tells an IPv4 peer as ::ffff:10.0.0.1.
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(address in network or plain in network for network in self._networks)


def _warn(headers: Sequence[tuple[bytes, bytes]], peer: Any) -> None:
    fields = [(name, value) for name, value in headers if name.lower() in _SECURE]
    secure = {name.title() for name, value in fields if value.lower() == _SECURE[name.lower()]}
    plain = {name.title() for name, value in fields if value.lower() != _SECURE[name.lower()]}
    _log.warning(
        "the proxy %s contradicts itself: by %s the client came by TLS, by %s it did not; wsgi.url_scheme stays http "
        "(each worker says this once)",
        peer[0] if peer.__class__ is tuple else "at a unix socket",
        b" and ".join(sorted(secure)).decode("ascii"),
        b" and ".join(sorted(plain)).decode("ascii"),
    )


NOBODY = TrustedProxies(())
"""Trusts no peer."""
