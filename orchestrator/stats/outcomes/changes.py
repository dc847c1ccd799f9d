"""What becomes of an image's answer from prediction to prediction: overthinking, and whether answers only get better.

N images, L predictions. Shares are in percent of all images unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.curves import errors
from orchestrator.stats.paired import Floats

FALLS = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Overthinking:
    """As in Shallow-Deep Networks (Kaya et al. 2019, arXiv 1810.07052).

    ``wasteful`` is the share of images that are first right before the last prediction: to go on gains them nothing.
    ``destructive`` is the share that are wrong at the end although an earlier prediction was right; they are in
    ``wasteful``, too. ``of_errors`` is ``destructive`` in percent of the images that are wrong at the end, None where
    none is. ``first_right`` [L] is the share first right at each prediction; what is left of 100 never is.
    """

    wasteful: float
    destructive: float
    of_errors: float | None
    first_right: Floats


def overthinking(outcomes: Outcomes) -> Overthinking:
    right = outcomes.right
    ever = np.maximum.accumulate(right)
    before = ever[-2] if len(right) > 1 else np.zeros_like(right[-1])
    destroyed, wrong = int((before & ~right[-1]).sum()), int((~right[-1]).sum())
    return Overthinking(
        wasteful=100 * float(before.mean()),
        destructive=100 * destroyed / len(before),
        of_errors=100 * destroyed / wrong if wrong else None,
        first_right=100 * np.diff(ever.sum(axis=1), prepend=0) / len(before),
    )


def falls(outcomes: Outcomes, by: Sequence[float] = FALLS) -> Floats:
    """The share of images whose true class ever falls by more than d in probability from the highest it had before, for
    each d of ``by`` (conditional monotonicity, Jazbec et al. 2023, arXiv 2306.02652)."""
    true = outcomes.of_truth.astype(np.float64)
    deepest = (np.maximum.accumulate(true) - true).max(axis=0)
    return np.array([100 * float((deepest > d).mean()) for d in by])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rises:
    """Of the error, from a prediction to the next: how many there are, the largest, and their sum, in points."""

    count: int
    largest: float
    total: float


def rises(outcomes: Outcomes) -> Rises:
    """Marginal monotonicity: where more computation makes the network err more often. One prediction has none."""
    steps = np.diff(errors(outcomes), append=-np.inf)
    up = steps[steps > 0]
    return Rises(count=len(up), largest=float(up.max(initial=0)), total=float(up.sum()))
