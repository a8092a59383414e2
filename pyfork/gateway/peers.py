"""Who is trusted: the addresses, networks and words of ``proxy.trusted``, and verdicts on peers by them."""

import ipaddress
from collections.abc import Iterable
from functools import cache
from typing import Any

from pyfork.config.proxies import EVERYBODY, UNIX

CACHED_PEERS = 1024
"""Most addresses whose verdict is remembered: behind a proxy they are few, without one there is no end of them."""


class Peers:
    """Peers that are trusted; a worker makes one, and its listeners share it.

    Args:
        trusted: as ``proxy.trusted`` has it, canonical.
    """

    __slots__ = ("_trusts_everybody", "_verdicts")

    def __init__(self, trusted: Iterable[str]) -> None:
        names = set(trusted)
        self._trusts_everybody = EVERYBODY in names
        self._verdicts = _Verdicts(names - {EVERYBODY})

    def has_peer(self, peer: Any) -> bool:
        """Say whether who has connected is trusted.

        Args:
            peer: the address as ``accept`` told it: a tuple that begins with the host, anything else for a unix socket.
        """
        return self._trusts_everybody or self._verdicts[peer[0] if peer.__class__ is tuple else UNIX]

    def has_address(self, address: str) -> bool:
        """Say whether an address that a trusted peer tells is trusted in turn.

        ``*`` says who may connect, and names nobody: else the first word of a list would count, which is the client's.
        """
        return self._verdicts[address]


class _Verdicts(dict[str, bool]):
    """Peers' addresses (``unix:`` for all unix sockets) -> whether they are trusted; filled as they come, bounded."""

    def __init__(self, names: set[str]) -> None:
        self._trusts_unix = UNIX in names
        self._networks = [_network(name) for name in sorted(names - {UNIX})]

    def __missing__(self, host: str) -> bool:
        if len(self) >= CACHED_PEERS:
            self.clear()
        verdict = self[host] = self._judge(host)
        return verdict

    def _judge(self, host: str) -> bool:
        if host == UNIX:
            return self._trusts_unix
        address = ipaddress.ip_address(host)
        # A socket for both families tells an IPv4 peer as ::ffff:10.0.0.1.
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(address in network or plain in network for network in self._networks)


@cache
def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read a network once: a reforked worker finds it read, and writes to none of the pages that hold `ipaddress`."""
    return ipaddress.ip_network(name)


NO_PEERS = Peers(())


def name_of(peer: Any) -> str:
    """Return how the log calls a peer."""
    return str(peer[0]) if peer.__class__ is tuple else "a unix socket"
