"""Which of a file's precompressed forms a client gets: RFC 9110, section 12.5.3. Pure."""

import re
from collections.abc import Iterable

ENDINGS = {"br": b".br", "gzip": b".gz"}
"""The content codings that are looked for beside a file, by their names' endings; the best first."""

_ELEMENT = re.compile(
    r"[ \t]*([!#-'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_IDENTITY = "identity"


def choose_coding(text: str | None, available: Iterable[str]) -> str | None:
    """Return the coding that the client likes best, None for the file as it is.

    Of codings that it likes as much, the first one available is taken. The file as it is counts only as far as the
    client names it: who accepts a coding at all wants that.

    Args:
        text: the value of Accept-Encoding, None if there is none: then nothing is coded, as old clients cannot tell.
        available: names of codings, in lower case, the best first.
    """
    if text is None:
        return None
    weights = _read_weights(text)
    best, best_weight = None, weights.get(_IDENTITY, 0.0)
    for coding in available:
        weight = weights.get(coding, weights.get("*", 0.0))
        if weight > best_weight or (weight == best_weight > 0 and best is None):
            best, best_weight = coding, weight
    return best


def _read_weights(text: str) -> dict[str, float]:
    """Return each coding's weight; an element that is none is left out."""
    weights: dict[str, float] = {}
    for element in text.split(","):
        found = _ELEMENT.fullmatch(element)
        if found is not None:
            coding = found[1].lower().removeprefix("x-")  # x-gzip is gzip: RFC 9110, section 8.4.1.3
            weights.setdefault(coding, float(found[2] or 1))
    return weights
