"""Whether it is pyfork itself that keeps an address in use which a reload wants. Pure.

A reload opens new addresses before it closes old ones, so what it may not have need not be somebody else's.
"""

from collections.abc import Iterable

from msgspec import Struct

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - they are compared, not bound


class Held(Struct, frozen=True):
    """A TCP address that pyfork listens on.

    Attributes:
        bind: what it is called in ``server.bind``.
        host: the address that it got.
        port: the port that it got.
    """

    bind: str
    host: str
    port: int


def explain_own(host: str, port: int, held: Iterable[Held]) -> str | None:
    """Return why pyfork itself may be in the way of an address that is in use, None when it cannot be.

    Args:
        host: the address that is wanted, as the kernel takes it.
        port: its port.
        held: what is listened on.
    """
    same_port = [one for one in held if one.port == port]
    for one in same_port:
        if one.host == host:
            return f"pyfork itself listens there, as {one.bind}; leave that in server.bind, or restart pyfork instead"
    for one in same_port:
        if not _WILDCARDS.isdisjoint((host, one.host)):
            return (
                f"the address is in use, perhaps by pyfork itself, which listens at {one.host}, port {port} "
                f"({one.bind}): a reload opens new addresses before it closes old ones, and where they overlap (a "
                "wildcard and a specific one) only a restart helps; otherwise stop who uses it (see `ss -ltnp`)"
            )
    return None
