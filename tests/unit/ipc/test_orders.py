"""The messages on the control sockets."""

import pytest

from pyfork.ipc import orders

ORDERS = [
    orders.SpawnOrder(number=3, generation=2, slot=1023, refork_at=0),
    orders.SpawnOrder(number=0, generation=2**31, slot=0, refork_at=2**53),
    orders.PromoteOrder(serial=7),
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_an_order_survives_the_socket(order: orders.Order) -> None:
    """What is read is what was written, and it fits."""
    message = orders.encode_order(order)
    assert len(message) <= orders.LONGEST_ORDER
    assert orders.decode_order(message) == order


@pytest.mark.parametrize("message", [b"", b"S", b"P\0", b"X\0\0\0\1", orders.encode_order(ORDERS[0]) + b"\0"])
def test_what_is_no_order_is_refused(message: bytes) -> None:
    """Cut, too long, or somebody else's."""
    with pytest.raises(orders.GarbledOrderError, match="is no order"):
        orders.decode_order(message)
