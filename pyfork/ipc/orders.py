"""What the arbiter asks of a mold, and of a worker that is to become one: messages on their control sockets. Pure.

One order is one message of a SOCK_SEQPACKET socket (`ipc.passing`). The descriptors that belong to it come with it: the
child's ends of its pipes, in the order heartbeat, lifeline, and where it has one, its own control socket.
"""

import struct

from msgspec import Struct

from pyfork.errors import PyforkError

LONGEST_ORDER = 64
"""Octets; more than any order has."""
MOST_DESCRIPTORS = 3
"""That come with one order."""

_SPAWN = struct.Struct("!cIIIQ")
_PROMOTE = struct.Struct("!cI")


class GarbledOrderError(PyforkError):
    """A message on a control socket is no order: a fault of ours, or the application's own code has written it."""


class SpawnOrder(Struct, frozen=True):
    """To a mold: fork this worker.

    Attributes:
        number: the worker's place.
        generation: the mold's own, too.
        slot: the number of the worker's slot of the scoreboard.
        refork_at: after how many requests it says that it is ripe; 0 is never.
    """

    number: int
    generation: int
    slot: int
    refork_at: int


class PromoteOrder(Struct, frozen=True):
    """To a worker: fork the mold ``serial``."""

    serial: int


Order = SpawnOrder | PromoteOrder


def encode_order(order: Order) -> bytes:
    """Return the message of an order."""
    if isinstance(order, SpawnOrder):
        return _SPAWN.pack(b"S", order.number, order.generation, order.slot, order.refork_at)
    return _PROMOTE.pack(b"P", order.serial)


def decode_order(message: bytes) -> Order:
    """Return the order that a message is.

    Raises:
        GarbledOrderError: it is none.
    """
    if message[:1] == b"S" and len(message) == _SPAWN.size:
        return SpawnOrder(*_SPAWN.unpack(message)[1:])
    if message[:1] == b"P" and len(message) == _PROMOTE.size:
        return PromoteOrder(*_PROMOTE.unpack(message)[1:])
    raise GarbledOrderError(f"{message!r} is no order")
