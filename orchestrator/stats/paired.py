"""Errors of two methods, pair by pair: differences, percentages of wins, increases.

A pair is one experiment that both methods have run: a network, a data set and a seed. None and NaN stand for a missing
error, which drops its pair and no other. An infinite error is that of a trial that diverged: it is worse than every
number, and as bad as another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
"""A number for each pair or cell, the same for those that belong together."""
Errors = Sequence[float | None] | Floats
"""In percent, one for each experiment."""

ROUNDING = 9
"""Decimals, in percentage points, to which differences of errors are taken for equal: one wrong answer in a million
images is 0.0001."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WinPercentage:
    """``n`` pairs were compared; ``dropped`` ones lack an error on either side. ``percent`` counts a tie as half a win,
    and is None where nothing could be compared."""

    wins: int
    ties: int
    n: int
    dropped: int

    @property
    def losses(self) -> int:
        return self.n - self.wins - self.ties

    @property
    def fraction(self) -> float | None:
        return (self.wins + self.ties / 2) / self.n if self.n else None

    @property
    def percent(self) -> float | None:
        return None if self.fraction is None else 100 * self.fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class RelativeIncrease:
    """The mean over ``n`` pairs, None where there is none; ``dropped`` ones lack an error, or one to divide by."""

    percent: float | None
    n: int
    dropped: int


def win_percentage(method_errors: Errors, baseline_errors: Errors) -> WinPercentage:
    """Compares the errors of two methods, experiment by experiment (section 4.4); a lower error wins.

    Raises ValueError if the lengths differ.
    """
    compared = differences(method_errors, baseline_errors)
    return WinPercentage(
        wins=int((compared < 0).sum()),
        ties=int((compared == 0).sum()),
        n=len(compared),
        dropped=len(method_errors) - len(compared),
    )


def relative_increase(errors: Errors, optimum_errors: Errors) -> RelativeIncrease:
    """The mean of error / optimum's error - 1, in percent (Table 2b).

    An optimum without a single error drops its pair: nothing is a percentage of zero. So does a trial that diverged.
    Raises ValueError if the lengths differ.
    """
    own, best = _both(errors, optimum_errors)
    usable = (best != 0) & np.isfinite(own) & np.isfinite(best)
    percent = 100 * float(np.mean(own[usable] / best[usable] - 1)) if usable.any() else None
    return RelativeIncrease(percent=percent, n=int(usable.sum()), dropped=len(errors) - int(usable.sum()))


def comparable(own: Errors, other: Errors) -> NDArray[np.bool_]:
    """Which pairs have both errors. Raises ValueError if the lengths differ."""
    if len(own) != len(other):
        raise ValueError(f"{len(own)} errors against {len(other)}: they must come in pairs")
    first, second = (np.asarray(errors, dtype=np.float64) for errors in (own, other))  # None becomes NaN
    return ~(np.isnan(first) | np.isnan(second))


def differences(own: Errors, other: Errors) -> Floats:
    """Own error less the other's, in points, of the pairs that have both; minus and plus infinity where only one of the
    two diverged.

    Means of equal numbers of wrong answers may differ in their last bits, and 5.3 - 5.1 is not 5.2 - 5.0 in floating
    point. Rounding makes 0 a tie, and equal sizes equal.
    """
    return _less(*_both(own, other))


def log_ratios(own: Errors, other: Errors) -> Floats:
    """The logarithm of own error / the other's, in which a data set of large errors weighs no more than another.

    An error of exactly 0 against one above gives minus infinity: nothing is a multiple of zero.
    """
    first, second = _both(own, other)
    with np.errstate(divide="ignore"):
        return _less(np.log(first), np.log(second))


def _less(first: Floats, second: Floats) -> Floats:
    same = first == second  # two infinities too
    return np.asarray(np.round(np.where(same, 0.0, first - np.where(same, 0.0, second)), ROUNDING), np.float64)


def _both(own: Errors, other: Errors) -> tuple[Floats, Floats]:
    present = comparable(own, other)
    first, second = (np.asarray(errors, dtype=np.float64) for errors in (own, other))
    return first[present], second[present]


SCALES = {"points": differences, "ratios": log_ratios}
"""In what a pair may differ: see ``differences`` and ``log_ratios``."""


def clipped(compared: Floats) -> Floats:
    """Infinite differences become as large as the largest finite one, or 1 where there is none: a trial that diverged
    counts as much as the clearest loss, and no more. Which one lost changes no size, so that no test is biased."""
    sizes = np.abs(compared[np.isfinite(compared)])
    most = float(sizes.max()) if len(sizes) and sizes.max() > 0 else 1.0
    return np.clip(compared, -most, most)


def grouped_means(values: Floats, labels: Labels) -> Floats:
    """The mean of the values of each label, in the order of the labels."""
    if not len(values):
        return values
    _, places = np.unique(labels, return_inverse=True)
    return np.asarray(np.round(np.bincount(places, values) / np.bincount(places), ROUNDING), np.float64)
