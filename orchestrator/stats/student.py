"""Quantiles of Student's t distribution without scipy, whose import takes longer than a plan may."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

MOST_SUMMED = 200
"""Degrees of freedom up to which the distribution is summed; above it two terms beside the normal one are as good."""
HALVINGS = 60


@lru_cache(maxsize=4096)
def t_quantile(probability: float, freedom: int) -> float:
    """Below which the t distribution has this probability; infinite, or minus infinity, without a degree of freedom.

    Raises ValueError for a probability outside of (0, 1).
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability is {probability}, must be between 0 and 1")
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    if probability == 0.5:
        return 0.0
    if freedom < 1:
        return math.inf
    if freedom > MOST_SUMMED:
        z = NormalDist().inv_cdf(probability)
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    low, high = 0.0, math.pi / 2
    for _ in range(HALVINGS):  # of the angle whose tangent is t / sqrt(freedom)
        middle = (low + high) / 2
        low, high = (low, middle) if _within(middle, freedom) >= 2 * probability - 1 else (middle, high)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """The probability of a t between -sqrt(freedom) tan(angle) and as much above 0, for a whole number of degrees of
    freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for order in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (order - 1) / order
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
