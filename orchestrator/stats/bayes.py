"""What the differences make one believe: the chances that a method is better, practically equal, or worse.

As in Benavoli, Corani, Demsar and Zaffalon (2017), with a region of practical equivalence, the *rope*: differences of
at most so many points make no difference to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.stats.paired import ROUNDING, Floats
from orchestrator.stats.resampling import generator

SAMPLES = 10_000
MOST_UNITS = 500
"""Of more units the signed-rank posterior takes too long; Student's is the same by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Posterior:
    """Chances of the method's error being lower by more than the rope, within it, and higher by more."""

    better: float
    equal: float
    worse: float


def posterior(units: Floats, rope: float) -> Posterior | None:
    """The signed-rank posterior, or Student's of very many units; None of no unit."""
    if not len(units):
        return None
    return signed_rank(units, rope) if len(units) <= MOST_UNITS else correlated_t(units, rope)


def signed_rank(units: Floats, rope: float, samples: int = SAMPLES, prior: float = 0.5) -> Posterior:
    """The Bayesian signed-rank test: no distribution of the differences is taken for granted.

    Weights of the units, and of a prior unit with no difference, are drawn from a Dirichlet distribution. A sample says
    better where the pairs of units whose mean is below the rope weigh more than those within it and those above it.
    """
    values = np.concatenate([[0.0], units])
    weights = generator(0, "signed rank", len(units)).dirichlet([prior, *[1.0] * len(units)], samples)
    means = np.round((values[:, None] + values) / 2, ROUNDING)
    below, above = (_weighed(_over(sign * means, rope), weights) for sign in (-1, 1))
    winners = np.argmax(np.stack([below, 1 - below - above, above]), axis=0)
    better, equal, worse = (float((winners == region).mean()) for region in range(3))
    if rope == 0:  # nothing lies within a region without width
        better, equal, worse = better / (better + worse), 0.0, worse / (better + worse)
    return Posterior(better=better, equal=equal, worse=worse)


def _over(means: Floats, rope: float) -> Floats:
    """1 above the rope, one half on its edge."""
    return np.asarray((means > rope) + 0.5 * (means == rope), np.float64)


def _weighed(region: Floats, weights: Floats) -> Floats:
    """``region[unit, unit]`` -> its weight in each sample."""
    return np.asarray(((weights @ region) * weights).sum(axis=1))


def correlated_t(units: Floats, rope: float, correlation: float = 0.0) -> Posterior:
    """The Bayesian correlated t-test: Student's distribution around the mean difference.

    ``correlation`` is that of any two differences, as between the folds of a cross-validation; of trainings of their
    own it is 0. One unit says nothing: each sign is as likely as the other.
    """
    n, mean = len(units), float(units.mean())
    if n < 2:
        return Posterior(better=0.5, equal=0.0, worse=0.5)
    scale = float(np.sqrt(units.var(ddof=1) * (1 / n + correlation / (1 - correlation))))
    if scale == 0:
        region = np.sign(mean) * (abs(mean) > rope)
        return Posterior(better=float(region < 0), equal=float(region == 0), worse=float(region > 0))
    from scipy.special import stdtr

    better, worse = (float(stdtr(n - 1, (-rope - sign * mean) / scale)) for sign in (1, -1))
    return Posterior(better=better, equal=max(1 - better - worse, 0.0), worse=worse)
