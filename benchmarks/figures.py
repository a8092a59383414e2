"""The arithmetic of a comparison: medians, and how sure one may be of them."""

import math
import statistics
from collections.abc import Sequence


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
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
    return statistics.median(ordered), ordered[cut], ordered[count - 1 - cut]
