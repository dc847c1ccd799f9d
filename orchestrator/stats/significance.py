"""How sure a win is: percentages of wins over a baseline, tests of whether luck explains them, intervals.

All tests are one-sided and paired, experiment by experiment: the alternative is that the method's errors are lower than
the baseline's, and a p-value is the chance of so clear a result if neither is better, or Hoeffding's bound on it. They
take pairs for independent; ``dependence`` says where they are not. None, NaN and infinities stand for a missing error,
which drops its pair and no other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from orchestrator.text import counted

Errors = Sequence[float | None] | NDArray[np.float64]
"""In percent, one for each experiment."""

ROUNDING = 9
"""Decimals, in percentage points, to which differences of errors are taken for equal: one wrong answer in a million
images is 0.0001."""


# Percentages


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
    differences = _differences(method_errors, baseline_errors)
    return WinPercentage(
        wins=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
        n=len(differences),
        dropped=len(method_errors) - len(differences),
    )


def relative_increase(errors: Errors, optimum_errors: Errors) -> RelativeIncrease:
    """The mean of error / optimum's error - 1, in percent (Table 2b).

    An optimum without a single error drops its pair: nothing is a percentage of zero. Raises ValueError if the lengths
    differ.
    """
    own, best = _pairs(errors, optimum_errors)
    own, best = own[best != 0], best[best != 0]
    percent = 100 * float(np.mean(own / best - 1)) if len(own) else None
    return RelativeIncrease(percent=percent, n=len(own), dropped=len(errors) - len(own))


def _differences(own: Errors, other: Errors) -> NDArray[np.float64]:
    """Own error less the other's, of those pairs that have both. Means of equal numbers of wrong answers may differ in
    their last bits, and 5.3 - 5.1 is not 5.2 - 5.0 in floating point: 0 is a tie, and equal sizes are equal."""
    first, second = _pairs(own, other)
    return np.round(first - second, ROUNDING)


def _pairs(own: Errors, other: Errors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Those pairs that have both errors."""
    if len(own) != len(other):
        raise ValueError(f"{len(own)} errors against {len(other)}: they must come in pairs")
    first, second = np.asarray(own, dtype=np.float64), np.asarray(other, dtype=np.float64)  # None becomes NaN
    present = np.isfinite(first) & np.isfinite(second)
    return first[present], second[present]


# Tests


def hoeffding(win_fraction: float, n: int) -> float:
    """Hoeffding's additive bound: Pr(mean >= 1/2 + t) <= exp(-2 n t^2); 1 where no more than half are won.

    Raises ValueError for a fraction outside of [0, 1] or n below 1.
    """
    return _hoeffding("hoeffding", win_fraction, n)


def hoeffding_as_published(win_fraction: float, n: int) -> float:
    """The bound of the paper's footnote 4, exp(-2 n (2X - 1)^2): four times the exponent that Hoeffding's allows."""
    return _hoeffding("hoeffding-as-published", win_fraction, n)


BOUNDS = {"hoeffding": 1, "hoeffding-as-published": 2}
"""By how much each bound stretches the distance from one half."""


def _hoeffding(name: str, win_fraction: float, n: int) -> float:
    if not 0 <= win_fraction <= 1:
        raise ValueError(f"win_fraction is {win_fraction}, must be between 0 and 1")
    if n < 1:
        raise ValueError(f"n is {n}, must be at least 1")
    return math.exp(-2 * n * (BOUNDS[name] * max(win_fraction - 0.5, 0.0)) ** 2)


FEW_FLIPS = 1000


def sign_test(wins: int, losses: int) -> float:
    """The chance of at least so many wins in wins + losses flips of a fair coin, exactly; ties are no flips."""
    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses: neither may be below 0")
    flips = wins + losses
    if flips <= FEW_FLIPS:  # without scipy, whose import takes seconds
        return sum(math.comb(flips, heads) for heads in range(wins, flips + 1)) / (1 << flips)
    from scipy.stats import binomtest

    return float(binomtest(wins, flips, alternative="greater").pvalue)


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    """Wilcoxon's signed-rank test, for which the size of a difference counts too.

    Pairs without a difference are dropped, as Wilcoxon did, and equal sizes share their mean rank. Scipy computes the
    rest exactly for at most 50 pairs without equal sizes, or at most 13 with some; else from the normal distribution.
    """
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, alternative="less").pvalue)


COUNTING: dict[str, Callable[[int, int, int], float]] = {
    "hoeffding": lambda wins, ties, n: hoeffding((wins + ties / 2) / n, n),
    "hoeffding-as-published": lambda wins, ties, n: hoeffding_as_published((wins + ties / 2) / n, n),
    "sign-test": lambda wins, ties, n: sign_test(wins, n - wins - ties),
}
"""Those tests that need no more than wins, ties and n: one knows before the experiments how many wins it takes."""


def _counted(name: str, differences: NDArray[np.float64]) -> float:
    wins, ties = int((differences < 0).sum()), int((differences == 0).sum())
    return COUNTING[name](wins, ties, len(differences))


TESTS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    **{name: partial(_counted, name) for name in COUNTING},
    "wilcoxon": _wilcoxon,
}
"""P-values of one paired difference or more, method's error less baseline's. To add one: a function and a line here."""


def p_value(method_errors: Errors, baseline_errors: Errors, test: str = "hoeffding") -> float | None:
    """How likely so clear a win would be by luck alone, of the pairs that have both errors; None where no pair has.

    Raises ValueError for an unknown test, or if the lengths differ.
    """
    _check_test(test, TESTS)
    differences = _differences(method_errors, baseline_errors)
    return TESTS[test](differences) if len(differences) else None


def _check_test(test: str, allowed: Iterable[str]) -> None:
    if test not in allowed:
        raise ValueError(f"no test here is named {test!r}; allowed: {', '.join(allowed)}")


# Power


def threshold(n: int, test: str = "hoeffding", level: float = 0.05) -> float:
    """The fraction of ``n`` experiments to win for a Hoeffding bound to be exactly ``level``; above 1 where all of them
    do not suffice."""
    _check_level(level)
    _check_test(test, BOUNDS)
    if n < 1:
        raise ValueError(f"n is {n}, must be at least 1")
    return 0.5 + math.sqrt(-math.log(level) / (2 * n)) / BOUNDS[test]


def wins_needed(n: int, test: str = "hoeffding", level: float = 0.05) -> int | None:
    """The least number of wins of ``n`` experiments without ties whose p-value is at most ``level``; None where even
    ``n`` wins do not suffice.

    Raises ValueError for wilcoxon, which depends on the sizes of the differences and not on their number alone.
    """
    _check_level(level)
    _check_test(test, COUNTING)
    if n < 0:
        raise ValueError(f"n is {n}, must be at least 0")
    wins = bisect_left(range(n + 1), True, key=lambda wins: n > 0 and COUNTING[test](wins, 0, n) <= level)
    return wins if wins <= n else None


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, must be between 0 and 1")


# Corrections and intervals


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """P-values adjusted for being several (Holm 1979), in the order given: those of at most 5 % hold together, with a
    chance of at most 5 % that any of them is luck, dependent or not. None, where nothing was tested, does not count.

    Raises ValueError for what is no p-value.
    """
    if wrong := [p for p in p_values if p is not None and not 0 <= p <= 1]:
        raise ValueError(f"{wrong[0]} is no p-value: must be between 0 and 1")
    adjusted: list[float | None] = [None] * len(p_values)
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = adjusted[index] = max(largest, min((len(tested) - rank) * p, 1.0))
    return tuple(adjusted)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """From ``low`` to ``high`` percent; of ``resamples`` bootstrap samples of ``n`` pairs."""

    low: float
    high: float
    level: float
    n: int
    resamples: int


def bootstrap_interval(
    method_errors: Errors,
    baseline_errors: Errors,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
) -> Interval | None:
    """A percentile bootstrap interval of the win percentage, over experiments; None where there is no pair.

    A resample of pairs is known by its numbers of wins, ties and losses, which are multinomial: these are drawn. Raises
    ValueError for a level outside of (0, 1), no resamples, or lengths that differ.
    """
    _check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, must be at least 1")
    sample = win_percentage(method_errors, baseline_errors)
    if not sample.n:
        return None
    shares = np.array([sample.wins, sample.ties, sample.losses]) / sample.n
    counts = rng.multinomial(sample.n, shares, size=resamples)  # [resamples, wins | ties | losses]
    percents = 100 * (counts[:, 0] + counts[:, 1] / 2) / sample.n
    low, high = np.quantile(percents, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, n=sample.n, resamples=resamples)


# What the tests take for granted


def dependence(pairs: Iterable[tuple[str, str, int]]) -> str:
    """Warns, in words, of pairs (data set, network, seed) that are not independent of each other; else empty.

    On one data set they share its images, and of one seed they share its random draws: initial weights and batches.
    """
    pairs = list(pairs)
    datasets, seeds = ({pair[place] for pair in pairs} for place in (0, 2))
    shared = ["images"] if len(datasets) < len(pairs) else []
    shared += ["random draws"] if len(seeds) < len(pairs) else []
    if not shared:
        return ""
    where = f"on {counted(len(datasets), 'data set')} with {counted(len(seeds), 'seed')}"
    return f"{len(pairs)} pairs {where} share {' and '.join(shared)}: the tests take them for independent"
