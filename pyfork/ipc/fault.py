"""Why the newest version does not serve: written by the arbiter of a `development.reload`, read by its workers.

One anonymous shared mapping, as the scoreboard is one: it is made before the first fork, and to read it costs no system
call. Its record is a generation, a length and a text. The writer makes the sequence number odd, writes, and makes it
even again; who saw an odd or a changed number reads again (a seqlock; one writer).
"""

import mmap
from enum import IntEnum

CAPACITY = 32 * 1024
"""Octets of the text; of a longer one the middle is left out."""

_OMISSION = b"\n  [...]\n"


class _Word(IntEnum):
    """Which word of the head holds what."""

    SEQUENCE = 0
    GENERATION = 1
    """The newest that has failed; 0 when none has since the last good one."""
    LENGTH = 2


_HEAD_OCTETS = 8 * len(_Word)


class ReloadFault:
    """The mapping; one to an arbiter, inherited by every child."""

    def __init__(self) -> None:
        self._view = memoryview(mmap.mmap(-1, _HEAD_OCTETS + CAPACITY))
        self._words = self._view[:_HEAD_OCTETS].cast("Q")
        self._text = self._view[_HEAD_OCTETS:]

    def set(self, generation: int, error: str) -> None:
        """Say that ``generation`` failed, and why; called in the arbiter."""
        octets = error.encode("utf-8", "backslashreplace")
        if len(octets) > CAPACITY:
            half = (CAPACITY - len(_OMISSION)) // 2
            octets = octets[:half] + _OMISSION + octets[-half:]
        self._write(generation, octets)

    def clear(self) -> None:
        """Say that the newest version serves; called in the arbiter."""
        self._write(0, b"")

    def since(self, generation: int) -> str | None:
        """Return why a generation newer than ``generation`` failed, or None; called in a worker, by any thread.

        A worker of a newer generation than the failed one has nothing to complain of.
        """
        words = self._words
        for _ in range(100):  # a writer needs microseconds; one that was killed in between leaves it odd for good
            before = words[_Word.SEQUENCE]
            failed = words[_Word.GENERATION]
            if failed <= generation:
                return None
            octets = bytes(self._text[: words[_Word.LENGTH]])
            if before % 2 == 0 and before == words[_Word.SEQUENCE]:
                return octets.decode("utf-8", "replace")
        return None

    def _write(self, generation: int, octets: bytes) -> None:
        words = self._words
        words[_Word.SEQUENCE] += 1
        words[_Word.GENERATION] = generation
        words[_Word.LENGTH] = len(octets)
        self._text[: len(octets)] = octets
        words[_Word.SEQUENCE] += 1
