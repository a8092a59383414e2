"""The arithmetic of a comparison: medians, and how sure one may be of them."""

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Round = TypeVar("Round")


class Interval(NamedTuple):
    """A median and the bounds of its confidence interval."""

    median: float
    low: float
    high: float


class Estimate(NamedTuple):
    """A figure of all rounds together, and the bounds of its confidence interval."""

    value: float
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


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of these do not exceed; they are in order of size."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def resampled_interval(
    rounds: Sequence[Round], figure: Callable[[Sequence[Round]], float], *, confidence: float = 0.95, draws: int = 1000
) -> Estimate:
    """Return a figure of all rounds together, and how it would move if other rounds had been measured (a bootstrap).

    For what a single round has too few values to tell, as a 99th percentile. Rounds are drawn as wholes: their values
    hang together, since what disturbs one request disturbs its neighbours. With few rounds the interval is too narrow.

    Args:
        rounds: what was measured.
        figure: makes the figure of rounds; called with as many as there are, some of them more than once.
        confidence: that the figure is within the bounds.
        draws: how often rounds are drawn; the same ones each time.
    """
    chance = random.Random(0)
    drawn = sorted(figure(chance.choices(rounds, k=len(rounds))) for _ in range(draws))
    tail = (1 - confidence) / 2
    return Estimate(figure(rounds), percentile(drawn, tail), percentile(drawn, 1 - tail))
