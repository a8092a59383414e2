"""What is handed over at the fork, and the words that a child says on its heartbeat pipe. Pure: values and octets only.

A word begins with one octet: ``.`` a beat, ``R`` ready, ``M`` ripe, ``P`` born, ``F`` a boot failure, ``W`` worn. Four
octets (big-endian) follow the last three: the child's pid, or the length of what comes then, which is a JSON array
``[kind, message, traceback]`` or the reason in UTF-8. One octet keeps a beat at one ``write`` that is atomic and never
blocks; the pipe needs no framing for what it carries all day.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from pyfork.config.schema import Settings
from pyfork.errors import PyforkError

if TYPE_CHECKING:
    from pyfork.connection.certificates import Certificates  # named only: `ssl` is not for everybody
    from pyfork.ipc.fault import ReloadFault
    from pyfork.ipc.scoreboard import Scoreboard

BEAT = b"."
READY = b"R"
RIPE = b"M"
BORN = b"P"
FAILURE = b"F"
WORN = b"W"
MAXIMUM_REPORT = 48 * 1024
"""Octets of a boot report: with its head it fits an empty pipe of 64 KiB, so the dying child never blocks."""
LONGEST_MESSAGE = 2000
"""Characters of a boot report's message: half of the report at worst."""
OMISSION = "\n  [...]\n"
"""What stands for the middle of a traceback that is longer than a report."""
LONGEST_REPORT = 65536
"""Octets; a longer one is not ours, and would fill the arbiter's memory."""
LONGEST_CHANGE = 511
"""Octets: with its end of line it is what POSIX has every pipe take in one piece."""
LONGEST_REASON = 1024
"""Octets of the reason of a worn worker: with its head it is far below PIPE_BUF, so that it is written whole or not."""
BEAT_INTERVAL = 5.0
_BEATS = re.compile(rb"\.*")


class FailureKind(Enum):
    """Why a worker did not become ready."""

    APPLICATION = "application"
    """The application could not be imported (exit status 4 at the first start)."""
    BOOT = "boot"
    """Anything else (exit status 3 at the first start)."""


class GarbledPipeError(PyforkError):
    """A child wrote to its heartbeat pipe what is no word; only the application's own code can have done it."""


class Beat(Struct, frozen=True):
    """The child's loop is alive."""


class Ready(Struct, frozen=True):
    """The child serves."""


class Ripe(Struct, frozen=True):
    """The child has served enough requests to become a mold."""


class Born(Struct, frozen=True):
    """The first word of a child that the arbiter did not fork itself: it exists, and this is its pid."""

    pid: int


class BootReport(Struct, frozen=True):
    """The child will not serve, and this is why. ``traceback`` is "" when there is none."""

    kind: FailureKind
    message: str
    traceback: str


class Worn(Struct, frozen=True):
    """The child has served for long enough and asks to be replaced; it serves on until it is told to end."""

    reason: str


Word = Beat | Ready | Ripe | Born | BootReport | Worn
_PLAIN: dict[bytes, Word] = {READY: Ready(), RIPE: Ripe()}
"""The words that are one octet and nothing else, but for beats."""


class Listener(Struct, frozen=True):
    """A bound socket as a worker inherits it.

    Attributes:
        fd: the descriptor, listening and non-blocking.
        family: "tcp" or "unix".
        host: the local address of a TCP socket, the path of a unix socket.
        port: 0 for unix sockets.
        text: how the log and messages call it, as in ``http://127.0.0.1:8000``.
        is_tls: whether its connections begin with a handshake.
    """

    fd: int
    family: str
    host: str
    port: int
    text: str
    is_tls: bool = False


class Handoff(Struct, frozen=True):
    """All that a worker gets from the arbiter, at the fork.

    Attributes:
        number: the worker's place, from 0; its replacement has the same.
        generation: counted from 1, one more with each reload.
        slot: the number of its slot of the scoreboard.
        scoreboard: the shared mapping.
        listeners: what to accept from.
        heartbeat_fd: the write end of its heartbeat pipe, non-blocking.
        lifeline_fd: a pipe's read end whose EOF says that the arbiter is gone.
        settings: of its generation.
        worker_class: "module:Class", resolved from ``workers.type``.
        fault: where the arbiter says why newer versions fail; with ``development.reload`` only.
        certificates: for the listeners that speak TLS; None when none does. They were loaded before the fork, so that
            all workers of a generation share the keys of session tickets, and need not be able to read the files.
        control_fd: where the arbiter's order to fork a mold comes from (`ipc.orders`); None for who never gets one.
        refork_at: after how many requests the worker says that it is ripe; 0 is never.
    """

    number: int
    generation: int
    slot: int
    scoreboard: "Scoreboard"
    listeners: tuple[Listener, ...]
    heartbeat_fd: int
    lifeline_fd: int
    settings: Settings
    worker_class: str
    control_fd: int | None = None
    refork_at: int = 0
    fault: "ReloadFault | None" = None
    certificates: "Certificates | None" = None

    @property
    def name(self) -> str:
        """How the log calls the worker."""
        return f"worker {self.number} gen {self.generation}"


class WatchHandoff(Struct, frozen=True):
    """All that the watcher of `development.reload` gets from the arbiter, at the fork.

    Attributes:
        words_fd: the write end of the pipe on which it says what has changed (`encode_change`).
        lifeline_fd: a pipe's read end whose EOF says that the arbiter is gone, or wants no watcher any more.
        settings: those in force.
        file: the configuration file, or None.
    """

    words_fd: int
    lifeline_fd: int
    settings: Settings
    file: str | None


class MoldHandoff(Struct, frozen=True):
    """All that a mold gets from the arbiter, at the fork; see `Handoff` for what both have.

    Attributes:
        generation: whose workers it forks.
        serial: which mold it is, counted from 1 over the arbiter's life.
        control_fd: where the arbiter's orders to fork a worker come from (`ipc.orders`); never None.
    """

    generation: int
    serial: int
    scoreboard: "Scoreboard"
    listeners: tuple[Listener, ...]
    heartbeat_fd: int
    lifeline_fd: int
    control_fd: int
    settings: Settings
    worker_class: str
    fault: "ReloadFault | None" = None
    certificates: "Certificates | None" = None

    @property
    def name(self) -> str:
        """How the log calls the mold."""
        return f"mold {self.serial} gen {self.generation}"


class HookHandoff(Struct, frozen=True):
    """All that a process gets from the arbiter that is forked to call one hook.

    Attributes:
        name: the hook's, "child_exit" for one.
        specification: the dotted path.
        pid: of the process that the event is about; None when there is none yet.
        status: how that process ended: its exit status, or the name of the signal that ended it; None otherwise.
        settings: those in force.
        lifeline_fd: a pipe's read end whose EOF says that the arbiter is gone; -1 while the call waits for its turn.
    """

    name: str
    specification: str
    pid: int | None
    status: int | str | None
    settings: Settings
    lifeline_fd: int = -1


AnyHandoff = Handoff | MoldHandoff | HookHandoff | WatchHandoff
"""What a child of the arbiter is born with; `cli/serve.py` knows what each becomes."""


def beat_interval(timeout: float) -> float:
    """Return the seconds between two beats for ``workers.timeout`` (0 is "never stuck")."""
    return min(BEAT_INTERVAL, timeout / 4) if timeout else BEAT_INTERVAL


def encode_born(pid: int) -> bytes:
    """Return the octets of the first word of a child that the arbiter did not fork itself."""
    return BORN + pid.to_bytes(4, "big")


def encode_report(report: BootReport) -> bytes:
    """Return the octets of a boot failure; an overlong message loses its end, an overlong traceback its middle.

    It is measured as it is written: a character takes one octet as JSON mostly, and up to 12 at worst.
    """
    message = report.message[:LONGEST_MESSAGE]
    room = MAXIMUM_REPORT - len(json.dumps([report.kind.value, message, ""]))
    body = json.dumps([report.kind.value, message, _leave_middle_out(report.traceback, room)]).encode()
    return FAILURE + len(body).to_bytes(4, "big") + body


def _leave_middle_out(text: str, room: int) -> str:
    """Return ``text``, or its two ends, so that it takes at most ``room`` octets as JSON."""
    if _size(text) <= room:
        return text
    half = (room - _size(OMISSION)) // 2
    beginning, end = text[:half], text[-half:]
    first = bisect_right(range(len(beginning) + 1), half, key=lambda count: _size(beginning[:count])) - 1
    last = bisect_right(range(len(end) + 1), half, key=lambda count: _size(end[len(end) - count :])) - 1
    return beginning[:first] + OMISSION + end[len(end) - last :]


def _size(text: str) -> int:
    """Return the octets of ``text`` as JSON, without its quotes."""
    return len(json.dumps(text)) - 2


def encode_worn(reason: str) -> bytes:
    """Return the octets by which a worker asks to be replaced; an overlong reason loses its end."""
    body = reason.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore").encode()  # no half character
    return WORN + len(body).to_bytes(4, "big") + body


def encode_change(what: str) -> bytes:
    """Return the octets by which the watcher says what has changed: a line that a pipe takes in one piece (PIPE_BUF).

    Args:
        what: one line of printable ASCII for the log; an overlong one loses its end.
    """
    return what.encode("ascii", "backslashreplace")[:LONGEST_CHANGE] + b"\n"


def decode_changes(data: bytes) -> list[str]:
    """Return what the lines of `encode_change` said, given whole ones."""
    return data.decode("ascii", "backslashreplace").splitlines()


class WordDecoder:
    """Turns the octets of one heartbeat pipe into words, however they were cut.

    Beats that came together say no more than one: a child that floods its pipe must not keep the arbiter busy.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Word]:
        """Return the words that ``data`` completes.

        Raises:
            GarbledPipeError: an octet is no word's.
        """
        buffer = self._rest + data
        words: list[Word] = []
        position = 0
        while position < len(buffer):
            octet = buffer[position : position + 1]
            if octet == BEAT:
                words.append(Beat())
                position = _skip_beats(buffer, position)
                continue
            plain = _PLAIN.get(octet)
            if plain is not None:
                words.append(plain)
                position += 1
                continue
            long = _find_long(octet, buffer, position + 1)
            if long is None:
                break
            word, position = long
            words.append(word)
        self._rest = buffer[position:]
        return words


def _skip_beats(buffer: bytes, position: int) -> int:
    """Return where the beats that begin at ``position`` end."""
    beats = _BEATS.match(buffer, position)
    return beats.end() if beats else position


def _find_long(octet: bytes, buffer: bytes, start: int) -> tuple[Word, int] | None:
    """Return the word that ``octet`` begins and where it ends, or None when the rest of it has not come."""
    body = start + 4
    number = int.from_bytes(buffer[start:body], "big")
    if octet == BORN:
        return None if len(buffer) < body else (Born(number), body)
    if octet not in _LONG_WORDS:
        raise GarbledPipeError(f"octet {octet!r} on the heartbeat pipe is no word")
    longest, decode = _LONG_WORDS[octet]
    if number > longest:
        raise GarbledPipeError(f"a word of {number} octets is none of ours")
    end = body + number
    return None if len(buffer) < max(body, end) else (decode(buffer[body:end]), end)


def _decode_report(body: bytes) -> BootReport:
    try:
        kind, message, traceback = json.loads(body)
        return BootReport(FailureKind(kind), str(message), str(traceback))
    except (ValueError, TypeError) as error:
        raise GarbledPipeError(f"a boot report cannot be read: {error}") from error


def _decode_worn(body: bytes) -> Worn:
    try:
        return Worn(body.decode())
    except UnicodeDecodeError as error:
        raise GarbledPipeError(f"the reason of a worn worker cannot be read: {error}") from error


_LONG_WORDS: dict[bytes, tuple[int, Callable[[bytes], Word]]] = {
    FAILURE: (LONGEST_REPORT, _decode_report),
    WORN: (LONGEST_REASON, _decode_worn),
}
