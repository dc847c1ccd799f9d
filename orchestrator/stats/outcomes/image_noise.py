"""What other test images would have said: intervals that draw images anew, and McNemar's test of two networks.

N images, S seeds. Two networks are compared on the same images, so that most of the noise of a difficult image cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.intervals import LEVEL, Interval, check_level
from orchestrator.stats.paired import Floats
from orchestrator.stats.significance import sign_test, two_sided

RESAMPLES = 1000
BATCH = 100
"""Resamples that are in memory at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class McNemar:
    """Of ``n`` images ``only_own`` are right in the one network alone and ``only_other`` in the other alone; ``p`` is
    two-sided. It is about these two trained networks and new images: not about new seeds, nor a method."""

    only_own: int
    only_other: int
    n: int
    p: float


def mcnemar(own: NDArray[np.bool_], other: NDArray[np.bool_]) -> McNemar:
    """The exact test of McNemar (1947) on whether two networks are ``right`` [N]: images on which they agree say
    nothing, and of the others as many should be right in either (a sign test)."""
    gained, lost = int((own & ~other).sum()), int((other & ~own).sum())
    p = two_sided(sign_test(gained, lost), sign_test(lost, gained))
    return McNemar(only_own=gained, only_other=lost, n=len(own), p=p)


def crossed_means(values: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Means of resamples of ``values`` [S, N] that draw seeds and images with replacement, each by itself (Owen 2007,
    the pigeonhole bootstrap). Its spread is a little too large, as what belongs to a seed on an image alone is counted
    three times, and never too small.

    Of one seed images alone are drawn. Means of seeds are stretched apart by sqrt(S / (S - 1)), as resamples of few
    values vary less than the mean of new ones does. Images whose values are the same are drawn together: how many there
    are of each kind is multinomial.
    """
    seeds, images = values.shape
    kinds, counts = np.unique(values, axis=1, return_counts=True)
    of_seeds = values.mean(axis=1, keepdims=True)
    stretch = np.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    stretched = kinds + (stretch - 1) * (of_seeds - values.mean())
    drawn = []
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start)
        by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size) / seeds
        by_image = rng.multinomial(images, counts / images, size) / images
        drawn.append(((by_seed @ stretched) * by_image).sum(axis=1))
    return np.concatenate(drawn)


def crossed_interval(values: Floats, rng: np.random.Generator, level: float = LEVEL) -> Interval:
    """Where the mean of ``values`` [S, N] lies for new seeds and new images; of one seed for new images alone.

    Values may be differences of two methods, seed by seed and image by image: of errors, or of any mean over images
    such as ``curves.image_aucs``. The interval is Student's around the mean, with the spread of ``crossed_means`` and
    Satterthwaite's degrees of freedom: of a few seeds a bootstrap has too few resamples for percentiles.
    """
    check_level(level)
    from scipy.special import stdtrit  # takes a while to import

    centre, spread = float(values.mean()), float(crossed_means(values, rng).std())
    reach = spread * float(stdtrit(_freedom(values), (1 + level) / 2))
    return Interval(low=centre - reach, high=centre + reach, level=level, n=values.shape[1])


def _freedom(values: Floats) -> float:
    """Satterthwaite's degrees of freedom of a mean over seeds and images."""
    parts = [values.mean(axis=1 - axis) for axis in range(2) if values.shape[axis] > 1]
    squares = np.array([part.var(ddof=1) / len(part) for part in parts])
    if not squares.any():
        return float(max(values.size - 1, 1))
    return float(squares.sum() ** 2 / (squares**2 / [len(part) - 1 for part in parts]).sum())


def resampled_interval(
    metric: Callable[[Outcomes], float],
    own: Outcomes,
    other: Outcomes | None,
    rng: np.random.Generator,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Of a metric of one trained network, or of the difference of two on the same images, for new images.

    It is the percentile interval of resamples of the images, the same for both networks. For metrics that are no mean
    over images, such as a calibration error; of others ``crossed_interval`` is faster and takes seeds. Raises
    ValueError for two networks whose images are not the same.
    """
    check_level(level)
    if other is not None and not np.array_equal(own.labels, other.labels):
        raise ValueError("the two networks have answered other images: their labels differ")
    images = own.labels.size
    found = np.empty(resamples)
    for place in range(resamples):
        chosen = rng.integers(images, size=images)
        found[place] = metric(own.of_images(chosen)) - (0 if other is None else metric(other.of_images(chosen)))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, n=images)
