"""Sign flips and the bootstrap: what luck could have made of the same differences.

Both are of *units*, independent of each other: see ``scopes``. A difference is the method's error less the baseline's.
"""

from __future__ import annotations

import math
import pickle
from functools import lru_cache
from typing import Any

import numpy as np

from anytime_core.seeds import named_seed
from orchestrator.stats.paired import ROUNDING, Floats, Labels, grouped_means

Counts = np.ndarray[Any, np.dtype[np.integer[Any]]]
EXACT_UNITS = 14
"""Up to so many units all subsets are looked at; of more units, ``SUBSETS`` random ones."""
SUBSETS = 19_999
RESAMPLES = 10_000
EQUAL = 3 * 10.0**-ROUNDING
"""What rounding may make of a mean of 0."""
MOST_DRAWN = 4_000_000
"""Members of random subsets to draw: of very many units there are fewer subsets."""
KEPT_VALUES, KEPT = 32, 256
"""Resamples of up to so many values are kept, and so many draws of them, in 80 MB at most."""
FEWEST_SUBSETS = 999


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """For one purpose; independent of all others. The same draws as everywhere here come from the same words."""
    return np.random.default_rng(named_seed(seed, *purpose))


# Sign flips


def sign_flip(units: Floats) -> float:
    """The chance of so low a sum of differences, were each as likely to have the other sign; one-sided.

    It holds for differences of any sizes, however much these vary between units, if each is as likely above 0 as below
    it. Where every difference has the same size this is the exact sign test, ties dropped.
    """
    means = subset_means(units)
    # After a flip the sum is as low as it was if that of the flipped units is at least 0, and so is their mean.
    return float(1 + np.count_nonzero(means >= -EQUAL)) / (len(means) + 1)


def subset_means(units: Floats) -> Floats:
    """The means of all subsets of the units but the empty one, or of random ones.

    The centre of symmetric differences lies between any two of the sorted means with the same chance (Hartigan 1969).
    """
    return _means_of_subsets(np.asarray(units, np.float64).tobytes()) if len(units) else units


@lru_cache(maxsize=32)
def _means_of_subsets(values: bytes) -> Floats:
    """A test and its interval ask for those of the same units, one after the other. Not to be changed."""
    units = np.frombuffer(values)
    chosen, sizes = _subsets(len(units))
    means: Floats = (chosen @ units) / sizes
    means.flags.writeable = False
    return means


@lru_cache(maxsize=2)
def _subsets(n: int) -> tuple[Floats, Floats]:
    """``[subset, unit]``, 1 for a member; and how many members each subset has."""
    if n <= EXACT_UNITS:
        chosen = ((np.arange(1, 1 << n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    else:
        count = max(min(SUBSETS, MOST_DRAWN // n), FEWEST_SUBSETS)
        chosen = generator(0, "subsets of units", n).integers(0, 2, (count, n)).astype(np.float64)
        chosen[~chosen.any(axis=1), 0] = 1
    return chosen, chosen.sum(axis=1)


# The bootstrap


def bootstrap_means(
    values: Floats, cells: Labels, units: Labels | None, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Means of resamples of paired differences, of which that is drawn anew to which a verdict generalises.

    ``cells`` are the cell of each value. With ``units``, the unit of each cell in the order of the cells, whole units
    are drawn with replacement: the noise of their seeds is in their means, and to draw the seeds too would count it
    twice. Without, the cells are strata: each is in every resample, and its seeds are drawn with replacement.
    Deviations are stretched, as resamples of few values vary less than the mean of new ones does.
    """
    means = grouped_means(values, cells)
    if units is not None:
        return _resampled(grouped_means(means, units), rng, resamples)
    total = np.zeros(resamples)
    for cell in np.unique(cells):
        total += _resampled(values[cells == cell], rng, resamples)
    return total / len(means)


def _resampled(values: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Means of resamples of these values."""
    n, centre = len(values), values.mean()
    drawn = _drawn(n, rng, resamples)
    stretch = math.sqrt(n / (n - 1)) if n > 1 else 1.0
    return np.asarray(centre + drawn @ (values - centre) / n * stretch)


def _drawn(n: int, rng: np.random.Generator, resamples: int) -> Counts:
    """``[resample, value]``, how often each of n values is in a resample.

    Verdicts on as many pairs draw alike, from generators in the same state, and drawing is nearly all of the work: so
    what few values gave is kept, and the generator left as if it had drawn.
    """
    if n > KEPT_VALUES:
        return rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    bits = rng.bit_generator
    drawn, after = _kept(n, resamples, type(bits), pickle.dumps(bits.state))
    bits.state = pickle.loads(after)
    return drawn


@lru_cache(maxsize=KEPT)
def _kept(n: int, resamples: int, kind: type[np.random.BitGenerator], state: bytes) -> tuple[Counts, bytes]:
    """What a generator in this state draws, and its state after that."""
    bits = kind()
    bits.state = pickle.loads(state)
    drawn = np.random.Generator(bits).multinomial(n, np.full(n, 1 / n), size=resamples)
    return drawn.astype(np.uint8), pickle.dumps(bits.state)
