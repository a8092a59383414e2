"""Settings that are valid and come to nothing, beside what the others say: worth a warning, and no reason to refuse."""

from collections.abc import Mapping
from typing import Any

_JITTERS = (
    ("workers.max_requests_jitter", "workers.max_requests"),
    ("workers.max_lifetime_jitter", "workers.max_lifetime"),
)


def find_idle(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting that nothing follows from.

    Args:
        values: all of them, by setting.
    """
    idle = [
        f"{jitter} = {values[jitter]:.15g} is not used: there is no {limit}, which it is added to"
        for jitter, limit in _JITTERS
        if values[jitter] and not values[limit]
    ]
    return idle + _find_steps(values)


def _find_steps(values: Mapping[str, Any]) -> list[str]:
    """Say which step of `workers.refork_after` no worker lives to see; the first of them, as the others come later.

    One that reaches both numbers at once is replaced, and becomes no mold.
    """
    most = values["workers.max_requests"]
    highest = most + values["workers.max_requests_jitter"]
    steps = [step for step in values["workers.refork_after"] if isinstance(step, int)]
    missed = next((step for step in steps if step >= highest), None) if most else None
    if missed is None:
        return []
    limit = f"workers.max_requests is {most}" + (f" and its jitter {highest - most}" if highest > most else "")
    what = f"no worker becomes a mold after {missed} requests, as it is replaced before: {limit}"
    return [f"workers.refork_after: {what}; choose a smaller number here or a larger one there"]
