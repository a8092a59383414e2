"""The arithmetic of a comparison: medians, and how sure one may be of them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A median and the bounds of its confidence interval."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the median and the bounds of its confidence interval.

    The interval is between two order statistics, chosen by the binomial distribution (the sign test turned round): it
    assumes nothing of how the values are spread. Fewer than six values cannot give 95 %; then it is their whole range.
    """
    ordered = sorted(values)
    count = len(ordered)
    cut = 0
    tail = 0.0
    for rank in range(count // 2):
        tail += math.comb(count, rank) / 2**count
        if tail > (1 - confidence) / 2:
            break
        cut = rank
    return Interval(statistics.median(ordered), ordered[cut], ordered[count - 1 - cut])


def paired_ratios(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return one / other for each round that has both; both map a round's number to its figure."""
    return [one[number] / other[number] for number in sorted(one.keys() & other.keys()) if other[number] > 0]
