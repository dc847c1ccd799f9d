"""Intervals that hold what is estimated with a chance of at least their level, of few units too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from orchestrator.stats.paired import Floats, Labels
from orchestrator.stats.resampling import bootstrap_means, subset_means
from orchestrator.stats.scopes import FEWEST

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """From ``low`` to ``high``, of ``n`` units."""

    low: float
    high: float
    level: float
    n: int

    def inside(self, size: float) -> bool:
        """Whether all of it is at most ``size`` away from 0."""
        return -size <= self.low and self.high <= size


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, must be between 0 and 1")


def clopper_pearson(wins: float, n: int, level: float = LEVEL) -> Interval | None:
    """The exact interval of a percentage of wins (Clopper and Pearson 1934); None of no unit.

    Half wins, and shares of a unit's pairs, enter the formula as they are. A mean of scores between 0 and 1 varies less
    than one of wins and losses alone, so that the interval can only be wider than it must be. Raises ValueError for
    wins that are not from 0 to n.
    """
    check_level(level)
    if not 0 <= wins <= n:
        raise ValueError(f"{wins:g} wins of {n}: must be from 0 to {n}")
    if not n:
        return None
    from scipy.special import betaincinv  # takes a while to import

    tail = (1 - level) / 2
    low = float(betaincinv(wins, n - wins + 1, tail)) if wins > 0 else 0.0
    high = float(betaincinv(wins + 1, n - wins, 1 - tail)) if wins < n else 1.0
    return Interval(low=100 * low, high=100 * high, level=level, n=n)


def mean_interval(units: Floats, level: float = LEVEL) -> Interval | None:
    """Where the mean difference lies: all values that the two-sided sign-flip test does not reject.

    It is exact where the differences are symmetric about one centre, of whatever sizes. None of so few units that the
    test can reject nothing, or where one is infinite.
    """
    check_level(level)
    if not np.isfinite(units).all():
        return None
    means = np.sort(subset_means(units))
    cut = math.floor((1 - level) / 2 * (len(means) + 1) + 1e-9)
    if cut < 1:
        return None
    return Interval(low=float(means[cut - 1]), high=float(means[-cut]), level=level, n=len(units))


def median_interval(units: Floats, level: float = LEVEL) -> Interval | None:
    """Where the median difference lies: all values that the two-sided sign test does not reject; None of too few."""
    check_level(level)
    from scipy.special import bdtr

    n = len(units)
    cut = int((bdtr(np.arange(n), n, 0.5) <= (1 - level) / 2).sum())  # so many may lie on the wrong side
    if cut < 1:
        return None
    ordered = np.sort(units)
    return Interval(low=float(ordered[cut - 1]), high=float(ordered[n - cut]), level=level, n=n)


def bootstrap_interval(
    values: Floats, cells: Labels, units: Labels | None, rng: np.random.Generator, level: float = LEVEL
) -> Interval | None:
    """A percentile interval of the bootstrap of seeds within cells, or of whole ``units`` (see ``bootstrap_means``).

    Its quantiles are those of Student's distribution and not the normal one: from few values a bootstrap knows the
    spread no better than a t-test does (Hesterberg 2015). None where fewer values vary than a verdict needs, as their
    resamples are too few, or where a cell has but one seed to draw.
    """
    check_level(level)
    _, seeds = np.unique(cells, return_counts=True)
    varying = int(seeds.sum() - len(seeds)) + 1 if units is None else len(np.unique(units))
    alone = units is None and seeds.min() < 2
    if varying < FEWEST or alone or not np.isfinite(values).all():
        return None
    freedom = _freedom(values, cells) if units is None else float(varying - 1)
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(stdtrit(freedom, (1 - level) / 2)))
    means = bootstrap_means(values, cells, units, rng)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), level=level, n=len(values) if units is None else varying)


def _freedom(values: Floats, cells: Labels) -> float:
    """Welch and Satterthwaite's degrees of freedom of the mean over cells."""
    groups = [values[cells == cell] for cell in np.unique(cells)]
    squares = np.array([group.var(ddof=1) / len(group) for group in groups])
    if not squares.any():
        return float(len(values) - len(groups))
    return float(squares.sum() ** 2 / (squares**2 / [len(group) - 1 for group in groups]).sum())
