"""Medians, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import attrs

_DOUBT = 0.05


@attrs.frozen
class Spread:
    """
    The median of several figures and an interval that holds the true one.

    :param low: Lower end.
    :param high: Upper end.
    :param confidence: How probably the interval holds it; 95 % or more from six figures on.
    """

    median: float
    low: float
    high: float
    confidence: float


def spread(figures: Sequence[float]) -> Spread:
    """
    Give the median with its interval by order statistics, which assume no distribution.

    :param figures: At least one.
    """
    ordered = sorted(figures)
    count = len(ordered)
    place, doubt = 0, _outside(count, 0)
    while place + 1 < (count + 1) // 2 and _outside(count, place + 1) <= _DOUBT:
        place += 1
        doubt = _outside(count, place)
    return Spread(median(ordered), ordered[place], ordered[-1 - place], 1 - doubt)


def _outside(count: int, place: int) -> float:
    """Give the probability that the median is outside the figures from *place* on both sides."""
    return float(2 * sum(math.comb(count, k) for k in range(place + 1)) / 2**count)
