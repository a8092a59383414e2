r"""How values get into a line of the access log so that no line can be forged.

Whatever a client (or the application) chose passes through here: a line never ends early, a quoted field never closes
early, and every line can be unescaped without ambiguity.

To look for what has to be escaped costs more than the rest of a line, and clients repeat their values. So what was made
of a short one is remembered (`Remembered`) and found again by the value itself: the same value, the same text.
"""

import re
from collections.abc import Callable

MOST_REMEMBERED = 1024
"""Values that are remembered; then all are forgotten, or clients could fill the memory with useless ones."""
MOST_CHARACTERS = 256
"""Longer values are escaped each time."""

UNSAFE = re.compile(r"[^ !#-\[\]-~]")
UNSAFE_OR_SPACE = re.compile(r"[^!#-\[\]-~]")


def escape(text: str, unsafe: re.Pattern[str] = UNSAFE) -> str:
    r"""Return ``text`` with each octet that ``unsafe`` matches as ``\xHH`` (above U+00FF: as UTF-8)."""
    if unsafe.search(text) is None:
        return text
    return unsafe.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    character = match[0]
    octets = character.encode("latin-1" if character <= "\xff" else "utf-8", "surrogatepass")
    return "".join(f"\\x{octet:02x}" for octet in octets)


class Remembered(dict[str, str]):
    """Value -> what a line has in its place; learnt, and bounded. Threads may share it.

    Args:
        make: returns the text of a value, and always the same one.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, value: str) -> str:
        text = self._make(value)
        if len(value) <= MOST_CHARACTERS:
            if len(self) >= MOST_REMEMBERED:
                self.clear()
            self[value] = text
        return text


ESCAPED = Remembered(escape)
"""For what stands in quotes."""
ESCAPED_WITH_SPACES = Remembered(lambda text: escape(text, UNSAFE_OR_SPACE) or "-")
"""For what by custom stands without."""
