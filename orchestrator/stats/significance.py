"""How sure a win is: tests of whether luck explains it, and what several of them say together.

All tests are paired, and one-sided unless they say otherwise: the alternative is that the method's errors are lower
than the baseline's. A p-value is the chance of so clear a result if neither is better, or Hoeffding's bound on it.
Units are independent of each other; ``scopes`` says what they are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from orchestrator.stats.intervals import check_level
from orchestrator.stats.paired import SCALES, Errors, Floats, clipped, comparable
from orchestrator.stats.resampling import sign_flip
from orchestrator.stats.scopes import Grouping
from orchestrator.text import counted

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


LEVEL = 0.05
"""The chance of a false verdict that is allowed."""
EXACT_RANKS = 300
"""Up to so many differences Wilcoxon's test is exact."""


def wilcoxon(units: Floats) -> float:
    """Wilcoxon's signed-rank test, for which the size of a difference counts too.

    Units without a difference are dropped, as Wilcoxon did, and equal sizes share their mean rank. The distribution is
    that of all signs of these very ranks, exact with equal sizes too; of more than ``EXACT_RANKS`` it is the normal one
    of the same spread.
    """
    given = units[units != 0]
    if not len(given):
        return 1.0
    ranks = _doubled_ranks(np.abs(given))
    positive = int(ranks[given > 0].sum())
    if len(given) <= EXACT_RANKS:
        return float(_rank_sums(ranks)[: positive + 1].sum())
    spread = math.sqrt(float((ranks.astype(np.float64) ** 2).sum())) / 2
    return math.erfc(-(positive + 1 - ranks.sum() / 2) / spread / math.sqrt(2)) / 2


def _doubled_ranks(sizes: Floats) -> NDArray[np.int64]:
    """Twice the mean ranks, which are whole numbers."""
    _, places, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[places], dtype=np.int64)


def _rank_sums(ranks: NDArray[np.int64]) -> Floats:
    """The chance of each sum of the ranks of positive differences, if every sign is a flip of a coin."""
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: len(chances) - rank]
        chances = (chances + shifted) / 2
    return chances


COUNTING: dict[str, Callable[[int, int, int], float]] = {
    "hoeffding": lambda wins, ties, n: hoeffding((wins + ties / 2) / n, n),
    "hoeffding-as-published": lambda wins, ties, n: hoeffding_as_published((wins + ties / 2) / n, n),
    "sign-test": lambda wins, ties, n: sign_test(wins, n - wins - ties),
}
"""Those tests that need no more than wins, ties and n: one knows before the experiments how many wins it takes."""


def _bounded(name: str, scores: Floats) -> float:
    return _hoeffding(name, (1 - float(scores.mean())) / 2, len(scores))


def _signs(scores: Floats) -> float:
    """The exact sign test; where a unit has won some pairs and lost others, the sign-flip test of their balance."""
    if np.isin(scores, (-1, 0, 1)).all():
        return sign_test(int((scores < 0).sum()), int((scores > 0).sum()))
    return sign_flip(scores)


TESTS: dict[str, Callable[[Floats], float]] = {
    **{name: partial(_bounded, name) for name in BOUNDS},
    "sign-test": _signs,
    "wilcoxon": wilcoxon,
    "sign-flip": sign_flip,
}
"""P-values of one unit or more. Those in COUNTING are given the balance of each unit, from -1, all of its pairs won, to
1; the others its mean difference, method's error less baseline's. To add one: a function and a line here."""

UNSOUND = {"hoeffding-as-published": "its exponent is four times Hoeffding's, so that 5 % are 10 % and more"}
"""Tests whose p-values are too low, and why. They are there to be compared with what is printed."""


def p_value(
    method_errors: Errors,
    baseline_errors: Errors,
    test: str = "hoeffding",
    grouping: Grouping | None = None,
    scale: str = "points",
) -> float | None:
    """How likely so clear a win would be by luck alone, of the pairs that have both errors; None where no pair has.

    Each pair is a unit unless ``grouping`` says otherwise; ``scale`` is in what they differ. Raises ValueError for an
    unknown test, or if the lengths differ.
    """
    _check_test(test, TESTS)
    differences = SCALES[scale](method_errors, baseline_errors)
    if not len(differences):
        return None
    values = np.sign(differences) if test in COUNTING else clipped(differences)
    if grouping:
        values = grouping.restricted(comparable(method_errors, baseline_errors)).means(values)
    return TESTS[test](values)


def smallest_p(units: int, test: str) -> float:
    """The least p-value that a test of so many units can give: that of a win of the same size in each of them."""
    return TESTS[test](np.full(units, -1.0))


def two_sided(lower: float, higher: float) -> float:
    """Of the one-sided p-values of both directions."""
    return min(1.0, 2 * min(lower, higher))


def _check_test(test: str, allowed: Iterable[str]) -> None:
    if test not in allowed:
        raise ValueError(f"no test here is named {test!r}; allowed: {', '.join(allowed)}")


# Power


def threshold(n: int, test: str = "hoeffding", level: float = 0.05) -> float:
    """The fraction of ``n`` experiments to win for a Hoeffding bound to be exactly ``level``; above 1 where all of them
    do not suffice."""
    check_level(level)
    _check_test(test, BOUNDS)
    if n < 1:
        raise ValueError(f"n is {n}, must be at least 1")
    return 0.5 + math.sqrt(-math.log(level) / (2 * n)) / BOUNDS[test]


def wins_needed(n: int, test: str = "hoeffding", level: float = 0.05) -> int | None:
    """The least number of wins of ``n`` experiments without ties whose p-value is at most ``level``; None where even
    ``n`` wins do not suffice.

    Raises ValueError for wilcoxon, which depends on the sizes of the differences and not on their number alone.
    """
    check_level(level)
    _check_test(test, COUNTING)
    if n < 0:
        raise ValueError(f"n is {n}, must be at least 0")
    wins = bisect_left(range(n + 1), True, key=lambda wins: n > 0 and COUNTING[test](wins, 0, n) <= level)
    return wins if wins <= n else None


# Corrections


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
