"""How a worker in service forks the next mold when the arbiter orders it; that it is ripe, `pyfork.workers.wear` says.

The copy is taken between two requests, while no response is under way, so that nothing of one is ever finished in the
mold: a generator of the application's, say, whose ``finally`` would speak to the database over the worker's connection.
It closes what is the worker's (`Worker.let_go`), and lives on in `pyfork.workers.mold`. The worker goes on serving.
"""

import logging
from collections.abc import Callable

from pyfork.ipc.messages import Handoff, MoldHandoff
from pyfork.ipc.orders import GarbledOrderError, PromoteOrder, decode_order
from pyfork.ipc.passing import close_all, receive_message
from pyfork.workers.births import BecameMold, Birth, fork_apart, report_threads
from pyfork.workers.copies import unwatch_copies, watch_copies

_log = logging.getLogger("pyfork.error")


class Promotion:
    """A worker's part in it; lives in the loop's thread.

    Args:
        handoff: the worker's.
        begin: makes a copy of the worker a process of its own; called in the copy.

    Attributes:
        fd: where the order comes; None when this worker never gets one.
        is_ordered: it has come: call `carry_out` as soon as it may be.
    """

    def __init__(self, handoff: Handoff, begin: Callable[[], None]) -> None:
        self.fd = handoff.control_fd
        self.is_ordered = False
        self._handoff = handoff
        self._begin = begin
        self._serial = 0
        self._descriptors: list[int] = []

    def take_order(self) -> bool:
        """Read what has come; a later order replaces one that waits, which the arbiter has given up.

        Returns:
            Whether another may come; otherwise the arbiter is gone, and `fd` stays readable.
        """
        try:
            message, descriptors = receive_message(-1 if self.fd is None else self.fd)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        if not message:
            return False
        self.refuse()
        try:
            self._serial = _serial_of(message, descriptors)
        except GarbledOrderError as error:
            _log.error("cannot fork a mold: %s", error)
            close_all(descriptors)
        else:
            self._descriptors, self.is_ordered = descriptors, True
        return True

    def refuse(self) -> None:
        """Let go of an order that waits; the arbiter hears of it by the end of the pipes."""
        close_all(self._descriptors)
        self._descriptors, self.is_ordered = [], False

    def let_go(self) -> None:
        """Close what is the worker's; called in a process that the application forks."""
        self.refuse()
        if self.fd is not None:
            close_all([self.fd])
            self.fd = None

    def carry_out(self) -> None:
        """Fork the mold that was ordered; when that fails, go on as if nothing had been.

        Raises:
            BecameMold: in the mold, and there only.
        """
        heartbeat_fd, lifeline_fd, control_fd = self._descriptors
        report_threads("in a worker that is made a mold")
        on_copied = unwatch_copies()
        try:
            is_mold = fork_apart(Birth(self._begin, heartbeat_fd, lifeline_fd))
        except OSError as error:
            _log.error("cannot fork a mold: %s", error)
            is_mold = False
        if is_mold:
            own = self._handoff
            raise BecameMold(
                MoldHandoff(
                    generation=own.generation,
                    serial=self._serial,
                    scoreboard=own.scoreboard,
                    listeners=own.listeners,
                    heartbeat_fd=heartbeat_fd,
                    lifeline_fd=lifeline_fd,
                    control_fd=control_fd,
                    settings=own.settings,
                    worker_class=own.worker_class,
                    fault=own.fault,
                    certificates=own.certificates,
                )
            )
        if on_copied is not None:
            watch_copies(on_copied)
        self.refuse()


def _serial_of(message: bytes, descriptors: list[int]) -> int:
    """Return which mold is ordered.

    Raises:
        GarbledOrderError: the message orders none.
    """
    order = decode_order(message)
    if not isinstance(order, PromoteOrder) or len(descriptors) != 3:
        raise GarbledOrderError(f"{order} came with {len(descriptors)} descriptors")
    return order.serial
