"""What is handed over at the fork, and the words that a child says on its heartbeat pipe. Pure: values and octets only.

A word is one octet: ``.`` a beat, ``R`` ready, ``F`` a boot failure, which four octets of length (big-endian) and a
JSON array ``[kind, message, traceback]`` follow. One octet keeps a beat at one ``write`` that is atomic and never
blocks; the pipe needs no framing for what it carries all day.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pyfork.config.schema import Settings
from pyfork.errors import PyforkError

if TYPE_CHECKING:
    from pyfork.ipc.scoreboard import Scoreboard

BEAT = b"."
READY = b"R"
FAILURE = b"F"
MAXIMUM_REPORT = 48 * 1024
"""Octets of a boot report: with its head it fits an empty pipe of 64 KiB, so the dying child never blocks."""
LONGEST_REPORT = 65536
"""Octets; a longer one is not ours, and would fill the arbiter's memory."""
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


@dataclass(frozen=True, slots=True)
class Beat:
    """The child's loop is alive."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child serves."""


@dataclass(frozen=True, slots=True)
class BootReport:
    """The child will not serve, and this is why. ``traceback`` is "" when there is none."""

    kind: FailureKind
    message: str
    traceback: str


Word = Beat | Ready | BootReport


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket as a worker inherits it.

    Attributes:
        fd: the descriptor, listening and non-blocking.
        family: "tcp" or "unix".
        host: the local address of a TCP socket, the path of a unix socket.
        port: 0 for unix sockets.
        text: how the log and messages call it, as in ``http://127.0.0.1:8000``.
    """

    fd: int
    family: str
    host: str
    port: int
    text: str


@dataclass(frozen=True, slots=True)
class Handoff:
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

    @property
    def name(self) -> str:
        """How the log calls the worker."""
        return f"worker {self.number} gen {self.generation}"


def beat_interval(timeout: float) -> float:
    """Return the seconds between two beats for ``workers.timeout`` (0 is "never stuck")."""
    return min(BEAT_INTERVAL, timeout / 4) if timeout else BEAT_INTERVAL


def encode_report(report: BootReport) -> bytes:
    """Return the octets of a boot failure; an overlong traceback loses its middle."""
    traceback = report.traceback
    if len(traceback) > MAXIMUM_REPORT // 16:  # a character takes up to 12 octets as JSON
        half = MAXIMUM_REPORT // 32
        traceback = f"{traceback[:half]}\n  [...]\n{traceback[-half:]}"
    body = json.dumps([report.kind.value, report.message[:2000], traceback]).encode()
    return FAILURE + len(body).to_bytes(4, "big") + body


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
            elif octet == READY:
                words.append(Ready())
                position += 1
            elif octet == FAILURE:
                length = int.from_bytes(buffer[position + 1 : position + 5], "big")
                if length > LONGEST_REPORT:
                    raise GarbledPipeError(f"a boot report of {length} octets is none of ours")
                end = position + 5 + length
                if len(buffer) < position + 5 or len(buffer) < end:
                    break
                words.append(_decode_report(buffer[position + 5 : end]))
                position = end
            else:
                raise GarbledPipeError(f"octet {octet!r} on the heartbeat pipe is no word")
        self._rest = buffer[position:]
        return words


def _skip_beats(buffer: bytes, position: int) -> int:
    """Return where the beats that begin at ``position`` end."""
    beats = _BEATS.match(buffer, position)
    return beats.end() if beats else position


def _decode_report(body: bytes) -> BootReport:
    try:
        kind, message, traceback = json.loads(body)
        return BootReport(FailureKind(kind), str(message), str(traceback))
    except (ValueError, TypeError) as error:
        raise GarbledPipeError(f"a boot report cannot be read: {error}") from error
