"""Performance profiles: in which share of the cells a method does at least so well, and how sure that is.

The unit is a cell with its seeds averaged, as in the average-score distributions of Agarwal et al. (NeurIPS 2021,
arXiv 2108.13264). C cells, S seeds, X points. A score is lower where it is better; NaN stands for one that is missing,
infinity for a trial that diverged, which is below no point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.stats.paired import ROUNDING

Scores = NDArray[np.float64]
MOST_POINTS = 200
"""Steps of a profile; more could not be told apart."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Profile:
    """``share`` [X] of the ``cells`` whose mean score is at most each point, with a pointwise band from ``low`` to
    ``high``, of resamples of the seeds in each cell; or of the cells, where no cell has a second seed."""

    points: Scores
    share: Scores
    low: Scores
    high: Scores
    cells: int
    resampled: Literal["seeds", "cells"]


def profile(
    scores: Scores, points: Scores, rng: np.random.Generator, *, level: float = 0.95, resamples: int = 1000
) -> Profile:
    """The profile of one method; ``scores`` [C, S] have at least one in each cell, ``points`` [X] ascend.

    Seeds are drawn anew within each cell (a stratified bootstrap), which says how the same cells would come out with
    other seeds. One seed a cell cannot say that: then cells are drawn, which says how other cells like these would.
    """
    ordered = np.sort(scores, axis=1)  # what is missing comes last
    counts = (~np.isnan(ordered)).sum(axis=1)
    if not len(scores) or not counts.all():
        raise ValueError("scores must have at least one cell, and each cell at least one score")
    means = _means(ordered, counts)
    by_seeds = bool((counts > 1).any())
    drawn = _by_seeds(ordered, counts, rng, resamples) if by_seeds else rng.choice(means, (resamples, len(means)))
    low, high = np.quantile(_shares(drawn, points), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Profile(
        points=points,
        share=_shares(means[None], points)[0],
        low=low,
        high=high,
        cells=len(means),
        resampled="seeds" if by_seeds else "cells",
    )


def steps(scores: Scores) -> Scores:
    """The points at which profiles of these scores [..., S] step, thinned where they are many."""
    values = _over_seeds(scores)
    points: Scores = np.unique(values[np.isfinite(values)])
    if len(points) > MOST_POINTS:
        points = points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)]
    return points


def _over_seeds(scores: Scores) -> Scores:
    """Over the seeds that are there, NaN where none is."""
    there = ~np.isnan(scores)
    count = there.sum(axis=-1)
    total = np.where(there, scores, 0).sum(axis=-1)
    return np.where(count > 0, np.round(total / np.maximum(count, 1), ROUNDING), np.nan)


def _means(ordered: Scores, counts: NDArray[np.int64]) -> Scores:
    """Over the first ``counts`` [C] of the last axis."""
    there = np.arange(ordered.shape[-1]) < counts[:, None]
    means: Scores = np.round(np.where(there, ordered, 0).sum(axis=-1) / counts, ROUNDING)
    return means


def _by_seeds(ordered: Scores, counts: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> Scores:
    """Mean scores [resamples, C], of as many seeds of each cell as it has."""
    picked = (rng.random((resamples, *ordered.shape)) * counts[:, None]).astype(int)
    return _means(np.take_along_axis(ordered[None], picked, axis=2), counts)


def _shares(means: Scores, points: Scores) -> Scores:
    """Which share of each row of ``means`` [B, C] is at most each point: [B, X]."""
    rows, cells = means.shape
    first = np.searchsorted(points, means)  # the first point that is not below; X for none
    places = first + np.arange(rows)[:, None] * (len(points) + 1)
    counts = np.bincount(places.ravel(), minlength=rows * (len(points) + 1)).reshape(rows, -1)
    shares: Scores = counts[:, :-1].cumsum(axis=1) / cells
    return shares
