"""The line to the service manager: one datagram socket, and which of our listeners it keeps. Lives in the arbiter.

What is said, and when, `announcer` decides; here it is sent. Nothing that befalls the line disturbs the server: what
cannot be sent is logged once. A full queue of systemd's loses nothing that matters: READY=1 and its like wait here.

The variables by which systemd says where it listens are taken out of the environment, and a child closes the socket at
birth: ``NotifyAccess=main`` means the arbiter, and an application that found them would speak in its name.

**Stored listeners** (``FileDescriptorStoreMax=``): systemd keeps a copy of each socket that the arbiter has bound, and
hands it to the next arbiter (LISTEN_FDS) if this one dies: who connects in between waits in the queue. $FDSTORE tells
how many it keeps, but only since systemd 254, and without it nobody can know: so they are sent whenever there is a
socket to send them to, and systemd closes what it does not want. Sockets that came from a socket unit are not sent: it
has them already, and would pass each twice.

A copy must go before its socket does: a path that is gone, or a filter that a stop has left (`listeners`), would make
the next arbiter listen where nobody comes. So the stop takes all of them back first.
"""

import array
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from enum import Enum
from time import monotonic

from pyfork.arbiter.announcer import Announcer
from pyfork.arbiter.figures import Look
from pyfork.arbiter.lifecycle import ArbiterState
from pyfork.arbiter.listeners import BoundListener
from pyfork.arbiter.notices import STORE_PREFIX, Notice, encode, store_name

RETRY = 0.5
"""Seconds after which what found systemd's queue full is sent again."""
PATIENCE = 2.0
"""Seconds that systemd may take for the one notice that cannot be sent later: who the main process is."""
EXTENSION_MARGIN = 2.0
"""Seconds that are asked for beyond the deadline of a hook that is waited for."""
MOST_WAITING = 64
"""Notices that wait for that; the oldest go when there are more."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")
STORED_NAMES = "FDSTORE_NAMES"
"""Our own variable, from one arbiter to the next at an upgrade: the names of the stored listeners."""

_log = logging.getLogger("pyfork.error")


class _Sending(Enum):
    """What has become of a notice."""

    SENT = "sent"
    LATER = "systemd's queue is full"
    LOST = "nobody will get it"


class Notifier:
    """Tells systemd what the arbiter does; without a $NOTIFY_SOCKET it keeps silent.

    Args:
        address: of systemd's socket, as sendmsg(2) takes it; None is silence.
        watchdog: seconds within which a sign of life is wanted, or None.
        stored: names of the descriptors that systemd already keeps.
        most_stored: how many it keeps at most, or None when that is not known.
    """

    def __init__(
        self,
        address: str | None = None,
        watchdog: float | None = None,
        stored: Sequence[str] = (),
        most_stored: int | None = None,
    ) -> None:
        self._address = address
        self._watchdog = watchdog
        self._announcer = Announcer(watchdog)
        self._stored = dict.fromkeys(stored)
        self._most_stored = most_stored
        self._waiting: deque[tuple[Notice, BoundListener | None]] = deque(maxlen=MOST_WAITING)
        self._retry_at = 0.0
        self._has_complained = False
        self._is_waiting_for_turn = False
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Return the notifier that the service manager asks for, and take its variables out of ``environ``.

        $LISTEN_PID and $LISTEN_FDNAMES are read too, and stay: `inheritance.receive` wants them.
        """
        given = {name: environ.pop(name, "") for name in (*VARIABLES, STORED_NAMES)}
        address = _address_of(given["NOTIFY_SOCKET"])
        if address is None:
            return cls()
        most_stored = given["FDSTORE"]
        return cls(
            address,
            _watchdog_of(given),
            _names_of_stored(environ, given[STORED_NAMES]),
            int(most_stored) if most_stored.isdecimal() else None,
        )

    # What happens to the arbiter.

    def state_changed(self, state: ArbiterState, look: Callable[[], Look]) -> None:
        """Tell of a move. At the stop, the stored listeners are taken back before the caller does anything to them."""
        if self._socket is None:
            return
        self._send_all(self._announcer.state_changed(state, monotonic(), look()))
        if state is ArbiterState.STOPPING:
            self.keep(())

    def reload_asked(self) -> None:
        """Tell of a HUP; called before anything is done about it."""
        self._send_all(self._announcer.reload_asked(monotonic()))

    def reload_ended(self, error: str | None, generation: int) -> None:
        """Remember how a reload ended and which generation goes on; see `Announcer.reload_ended`."""
        self._announcer.reload_ended(error, generation)

    def upgrade_failed(self, reason: str) -> None:
        """Remember why an upgrade has come to nothing; see `Announcer.upgrade_failed`."""
        self._announcer.upgrade_failed(reason)

    def failed(self, message: str) -> None:
        """Remember why the arbiter is going to end; told with the stop."""
        self._announcer.failed(message)

    def refused(self, problem: str) -> None:
        """Tell why the arbiter ends without a stop: it could not begin, or has failed."""
        self._send(Notice(encode(("STATUS", f"failed: {problem}"))))

    # Time.

    def next_deadline(self) -> float | None:
        """Return the moment (monotonic) by which `on_time` wants to be called, or None."""
        if self._socket is None:
            return None
        moments = [self._announcer.next_deadline(), self._retry_at if self._waiting else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def on_time(self, look: Callable[[], Look]) -> None:
        """Send what is due; called from the arbiter's own loop whenever it turns, so that a hung one is noticed.

        Args:
            look: returns all figures; called only when they are told.
        """
        if self._socket is None:
            return
        now = monotonic()
        if self._waiting and now >= self._retry_at:
            self._send_waiting()
        self._send_all(self._announcer.on_time(now, look))

    def extend(self, until: float) -> None:
        """Ask for time until ``until`` (monotonic) for a start or a stop; called while a hook is waited for."""
        seconds = max(0.0, until - monotonic()) + EXTENSION_MARGIN
        self._send(Notice(encode(("EXTEND_TIMEOUT_USEC", round(seconds * 1_000_000)))))

    # Stored listeners.

    def keep(self, listeners: Sequence[BoundListener]) -> None:
        """Have systemd keep these, and no others: called before a listener that is not among them is closed."""
        if self._socket is None or self._is_waiting_for_turn:
            return
        wanted = {store_name(listener.describe()): listener for listener in listeners}
        self.forget([name for name in self._stored if name not in wanted])
        missing = {n: one for n, one in wanted.items() if n not in self._stored and not one.is_inherited}
        for name, listener in missing.items():
            if self._most_stored is not None and len(self._stored) >= self._most_stored:
                _log.warning(
                    "systemd keeps %d of %d listeners: FileDescriptorStoreMax= is too small for the others to survive "
                    "a crash of the arbiter",
                    self._most_stored,
                    len(wanted),
                )
                return
            self._stored[name] = None
            self._send(Notice(encode(("FDSTORE", 1), ("FDNAME", name), ("FDPOLL", 0))), listener)

    def forget(self, names: Iterable[str]) -> None:
        """Have systemd let go of what it keeps under ``names``; another socket may be kept under one of them later."""
        for name in dict.fromkeys(names):
            self._stored.pop(name, None)
            self._send(Notice(encode(("FDSTOREREMOVE", 1), ("FDNAME", name))))

    def holds(self, listener: BoundListener) -> bool:
        """Whether systemd was given ``listener`` to keep: its path must stay when the arbiter fails."""
        return self._socket is not None and store_name(listener.describe()) in self._stored

    # Several processes.

    def environment(self) -> dict[str, str]:
        """Return the variables by which a new arbiter (an upgrade) finds systemd.

        $WATCHDOG_PID is not among them: without it the watchdog is meant for whoever reads it (sd_watchdog_enabled(3)).
        """
        if self._address is None:
            return {}
        variables = {"NOTIFY_SOCKET": self._address.replace("\0", "@", 1), STORED_NAMES: ":".join(self._stored)}
        if self._watchdog is not None:
            variables["WATCHDOG_USEC"] = str(round(self._watchdog * 1_000_000))
        if self._most_stored is not None:
            variables["FDSTORE"] = str(self._most_stored)
        return variables

    def wait_for_turn(self) -> None:
        """Keep silent until `take_over`: another arbiter is the main process, and systemd would not listen to us."""
        self._is_waiting_for_turn = True

    def hand_over(self, pid: int) -> bool:
        """Make ``pid`` the service's main process and keep silent from then on, as systemd would not listen any more.

        Returns:
            Whether systemd was told, or there is none. It is waited for, `PATIENCE` for each notice, when its queue is
            full. If it was not told, this process is the main one still and goes on speaking.
        """
        if self._socket is None:
            return True
        self._socket.settimeout(PATIENCE)
        self._send_waiting()
        is_told = not self._waiting and self._try(Notice(encode(("MAINPID", pid)))) is _Sending.SENT
        if is_told:
            self.abandon()
        else:
            self._socket.setblocking(False)
        return is_told

    def take_over(self, listeners: Sequence[BoundListener], look: Callable[[], Look]) -> None:
        """Speak from now on: the predecessor has handed over. Called in the new arbiter, once it serves."""
        self._is_waiting_for_turn = False
        if self._socket is not None:
            self._send_all(self._announcer.taken_over(monotonic(), look()))
            self.keep(listeners)

    def abandon(self) -> None:
        """Keep silent from now on; called in a child, where it takes nothing away from the arbiter."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._waiting.clear()

    def close(self) -> None:
        """Send what waits, if systemd takes it now, and keep silent from now on; called in the arbiter at its end."""
        self._send_waiting()
        self.abandon()

    # Sending.

    def _send_all(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self._send(notice)

    def _send(self, notice: Notice, listener: BoundListener | None = None) -> None:
        """Send a notice behind those that wait; one that matters joins them when it cannot be sent now."""
        if self._socket is None or self._is_waiting_for_turn:
            return
        if (self._waiting or self._try(notice, listener) is _Sending.LATER) and not notice.is_passing:
            if not self._waiting:
                self._retry_at = monotonic() + RETRY
            self._waiting.append((notice, listener))

    def _send_waiting(self) -> None:
        while self._waiting and self._try(*self._waiting[0]) is not _Sending.LATER:
            self._waiting.popleft()
        self._retry_at = monotonic() + RETRY

    def _try(self, notice: Notice, listener: BoundListener | None = None) -> _Sending:
        """Send a notice, with the socket of ``listener`` if there is one, and return what has become of it."""
        if self._socket is None or self._address is None:
            return _Sending.LOST
        attached = []
        if listener is not None:
            if listener.socket.fileno() < 0:  # closed while it waited
                return _Sending.LOST
            attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.socket.fileno()]))]
        try:
            self._socket.sendmsg([notice.payload], attached, 0, self._address)
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                _log.warning("cannot notify systemd at %r: %s (said once)", self._address, error.strerror or error)
            is_full = isinstance(error, BlockingIOError | TimeoutError) or error.errno == errno.ENOBUFS
            return _Sending.LATER if is_full else _Sending.LOST
        return _Sending.SENT


def _address_of(text: str) -> str | None:
    """Return $NOTIFY_SOCKET as an address: a path, or an abstract name, whose ``@`` is a NUL for the kernel."""
    if text.startswith("/"):
        return text
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    if text:
        _log.warning("NOTIFY_SOCKET=%r is neither a path nor an abstract socket: systemd is not notified", text)
    return None


def _watchdog_of(given: Mapping[str, str]) -> float | None:
    """Return the watchdog's seconds, None without one; sd_watchdog_enabled(3): it may be meant for another process."""
    if given["WATCHDOG_PID"] not in {"", str(os.getpid())}:
        return None
    text = given["WATCHDOG_USEC"]
    return int(text) / 1_000_000 if text.isdecimal() and int(text) > 0 else None


def _names_of_stored(environ: Mapping[str, str], handed_on: str) -> list[str]:
    """Return the names of our descriptors that systemd keeps: those it passed to us, or to our predecessor."""
    passed = environ.get("LISTEN_FDNAMES", "") if environ.get("LISTEN_PID") == str(os.getpid()) else ""
    return [name for name in f"{passed}:{handed_on}".split(":") if name.startswith(STORE_PREFIX)]
