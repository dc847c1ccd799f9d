"""How much better, and not only how surely: paired differences with intervals, and the chance of an improvement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.stats.intervals import (
    Interval,
    bootstrap_interval,
    clopper_pearson,
    mean_interval,
    median_interval,
)
from orchestrator.stats.paired import ROUNDING, Errors, Floats, comparable, differences, log_ratios
from orchestrator.stats.resampling import generator
from orchestrator.stats.scopes import Grouping


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """The method's error less the baseline's, over the units of a scope.

    ``mean`` and ``median`` are in points, ``relative`` is in percent of the baseline's error (the geometric mean of the
    ratios); ``improvement`` is the chance in percent that a run of the method errs less than a run of the baseline on
    the same cell. ``lower`` units of ``n`` err less on average, ``equal`` ones as much. An interval is None where the
    units are too few for one; ``bootstrap`` where there was nothing to draw. Trials that diverged are in none of them.
    """

    n: int
    lower: int
    equal: int
    mean: float
    mean_interval: Interval | None
    median: float
    median_interval: Interval | None
    relative: float | None
    relative_interval: Interval | None
    improvement: float
    improvement_interval: Interval | None
    bootstrap: Interval | None


def effect(own: Errors, other: Errors, grouping: Grouping) -> Effect | None:
    """Of the pairs of which neither diverged; None where there is none."""
    first, second = (np.asarray(errors, dtype=np.float64) for errors in (own, other))
    finite = comparable(own, other) & np.isfinite(first) & np.isfinite(second)
    if not finite.any():
        return None
    first, second, group = first[finite], second[finite], grouping.restricted(finite)
    points = differences(first, second)
    units, scores = group.means(points), improvement_scores(first, second, group)
    ratios = group.means(log_ratios(first, second))
    return Effect(
        n=len(units),
        lower=int((units < 0).sum()),
        equal=int((units == 0).sum()),
        mean=round(float(units.mean()), ROUNDING - 1),  # units are rounded: what cancels is 0
        mean_interval=mean_interval(units),
        median=float(np.median(units)),
        median_interval=median_interval(units),
        relative=_percent(float(ratios.mean())) if np.isfinite(ratios).all() else None,
        relative_interval=_in_percent(mean_interval(ratios)),
        improvement=100 * float(scores.mean()),
        improvement_interval=clopper_pearson(float(scores.sum()), len(scores)),
        bootstrap=bootstrap_interval(
            points,
            group.cells,
            None if group.scope.seeds_apart else group.units_of_cells,
            generator(0, "bootstrap", len(points)),
        ),
    )


def improvement_scores(own: Floats, other: Floats, grouping: Grouping) -> Floats:
    """For each unit, how often one run of the method errs less than one of the baseline, seeds of a cell crossed with
    each other and ties counting half: Mann and Whitney's statistic, as rliable has it (Agarwal et al. 2021)."""
    by_pair = np.empty(len(own))
    for cell in np.unique(grouping.cells):
        members = grouping.cells == cell
        by_pair[members] = _crossed(own[members], other[members])
    return grouping.means(by_pair)


def _crossed(own: Floats, other: Floats) -> float:
    ordered = np.sort(other)
    above = len(other) - np.searchsorted(ordered, own, side="right")
    ties = np.searchsorted(ordered, own, side="right") - np.searchsorted(ordered, own, side="left")
    return float((above + ties / 2).mean() / len(other))


def _percent(ratio: float) -> float:
    return 100 * float(np.expm1(ratio))


def _in_percent(interval: Interval | None) -> Interval | None:
    """Of logarithms of ratios."""
    if interval is None:
        return None
    low, high = _percent(interval.low), _percent(interval.high)
    return Interval(low=low, high=high, level=interval.level, n=interval.n)
