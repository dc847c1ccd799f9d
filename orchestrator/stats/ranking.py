"""All methods on one scale: strengths after Bradley and Terry, with ties as Davidson (1970) has them, and mean ranks.

Strengths need no complete table: a method is placed by those that it met. K methods, B problems solved at once.

In a cell the pairs of M methods are no independent comparisons, as a method's one error is in M - 1 of them: of pairs
that were, the sum of a method's M - 1 results would vary (M - 1) / 4 by chance alone, but ranks vary (M^2 - 1) / 12.
Hence each pair counts for 3 / (M + 1) of a comparison, and intervals are those of so many. Of two methods it is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.stats.paired import ROUNDING
from orchestrator.stats.pairwise import Numbers
from orchestrator.stats.student import t_quantile

RIDGE = 1e-6
"""Holds back what would be infinite, far beyond where it matters."""
FAR = 30.0
"""A difference of strengths that no table of experiments could tell from an infinite one."""
HALVINGS = 22
MOST_NEWTON_STEPS = 200
LONGEST_STEP = 2.0
CONVERGED = 1e-7


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Strengths:
    """By how much each method is stronger than the reference, [B, K] in log odds, with a profile-likelihood interval
    from ``low`` to ``high``. Infinite: it won all, or lost all, that would place it; then the interval ends on one side
    only. NaN: nothing links it to the reference. ``scores`` and their ends are how often it would win against the
    reference, a tie counting half, from 0 to 1."""

    strength: Numbers
    low: Numbers
    high: Numbers
    score: Numbers
    score_low: Numbers
    score_high: Numbers


def outcomes(differences: Numbers) -> tuple[Numbers, Numbers]:
    """How often, [K, K], the first has won against the second, and how often neither has, of differences [C, K, K] in
    which NaN is no comparison; weighted as the module says."""
    there = ~np.isnan(differences)
    methods = there.any(axis=2, where=~np.eye(differences.shape[1], dtype=bool)).sum(axis=1)
    weights = (3 / (methods + 1))[:, None, None]
    ties = ((differences == 0) * weights).sum(axis=0)
    np.fill_diagonal(ties, 0)
    return ((differences < 0) * weights).sum(axis=0), ties


def strengths(wins: Numbers, ties: Numbers, cells: Sequence[int], reference: int, *, level: float = 0.95) -> Strengths:
    """Maximum-likelihood strengths of ``wins`` and ``ties`` [B, K, K] relative to one method, and how sure they are.

    A tie of two strengths a and b has the chance nu sqrt(a b) / (a + b + nu sqrt(a b)); nu is estimated too. Of few
    ``cells`` [B] an interval reaches as far as Student's t says: 5 wins of 5 are not yet sure, as of a sign test.
    """
    fixed = np.zeros((len(wins), wins.shape[1] + 1), dtype=bool)
    fixed[:, reference] = True
    best, likelihood = _fitted(wins, ties, fixed, np.zeros(fixed.shape))
    strength = _placed(best[:, :-1], wins + ties, reference)
    least = likelihood - [t_quantile((1 + level) / 2, count - 1) ** 2 / 2 for count in cells]
    (low, score_low), (high, score_high) = (_end(wins, ties, fixed, best, least, sign) for sign in (-1.0, 1.0))
    unknown = np.isnan(strength)
    unbounded_below, unbounded_above = (unknown | (strength == end) for end in (-np.inf, np.inf))
    return Strengths(
        strength=strength,
        low=np.where(unbounded_below, -np.inf, low),
        high=np.where(unbounded_above, np.inf, high),
        score=_score(strength, best[:, -1:]),
        score_low=np.where(unbounded_below, 0.0, score_low),
        score_high=np.where(unbounded_above, 1.0, score_high),
    )


def _placed(methods: Numbers, met: Numbers, reference: int) -> Numbers:
    """The fitted strengths, but infinite where no defeat, or no win, ties a method to the reference: not even through
    others, of whom each has won against the next, or neither has."""
    reaches = (met > 0) | np.eye(met.shape[1], dtype=bool)
    for _ in range(int(met.shape[1]).bit_length()):
        reaches = reaches @ reaches
    down, up = reaches[:, :, reference], reaches[:, reference]
    placed: Numbers = np.select([down & up, down, up], [methods, np.inf, -np.inf], np.nan)
    return placed


def _end(
    wins: Numbers, ties: Numbers, fixed: NDArray[np.bool_], best: Numbers, least: Numbers, sign: float
) -> tuple[Numbers, Numbers]:
    """How far each method's strength can go to one side before the likelihood, all else fitted anew, falls to
    ``least``: [B, K], and the score there."""
    problems, methods = wins.shape[:2]
    own = np.tile(np.arange(methods), problems)
    wins, ties, least = (np.repeat(values, methods, axis=0) for values in (wins, ties, least))
    held, values = np.repeat(fixed, methods, axis=0), np.repeat(best, methods, axis=0)
    rows = np.arange(len(own))
    moves, start = ~held[rows, own], values[rows, own]
    held[rows, own] = True
    inside, outside = np.zeros(len(own)), np.where(moves, FAR, 0.0)
    for step in range(HALVINGS):
        tried = outside if step == 0 else (inside + outside) / 2
        values[rows, own] = start + sign * tried
        values, likelihood = _fitted(wins, ties, held, values)
        far = likelihood >= least
        inside, outside = np.where(far, tried, inside), np.where(far, outside, tried)
    ends = start + sign * np.where(inside >= FAR, np.inf, inside)
    shape = problems, methods
    return ends.reshape(shape), _score(ends, values[:, -1]).reshape(shape)


def _score(strength: Numbers, tie: Numbers) -> Numbers:
    """The chance to win against the reference, and half of that of a tie; ``tie`` is log nu."""
    half = strength / 2
    with np.errstate(over="ignore"):  # of one that is far below, the chance is 0
        up, down = np.exp(half), np.exp(-half)
        score: Numbers = 1 / (1 + (down + np.exp(tie) / 2) / (up + np.exp(tie) / 2))
    return np.select([strength == np.inf, strength == -np.inf], [1.0, 0.0], score)


def _fitted(wins: Numbers, ties: Numbers, fixed: NDArray[np.bool_], start: Numbers) -> tuple[Numbers, Numbers]:
    """The strengths and log nu, [B, K + 1], at which the likelihood is greatest, and its logarithm, by Newton's method;
    what is ``fixed`` stays as in ``start``. A step that makes it worse is tried again, shorter."""
    values, likelihood = start.copy(), _log_likelihood(wins, ties, start)
    active, shares = np.arange(len(values)), np.ones(len(values))
    for _ in range(MOST_NEWTON_STEPS):
        step = _newton_step(wins[active], ties[active], values[active], fixed[active])
        longest = np.abs(step).max(axis=1)
        tried = values[active] + step * (shares[active] * np.minimum(1, LONGEST_STEP / (longest + CONVERGED)))[:, None]
        reached = _log_likelihood(wins[active], ties[active], tried)
        better = reached >= likelihood[active] - CONVERGED
        values[active[better]], likelihood[active[better]] = tried[better], reached[better]
        shares[active] = np.where(better, 1.0, shares[active] / 4)
        active = active[longest > CONVERGED]
        if not len(active):
            return values, likelihood
    raise ArithmeticError(f"{len(active)} of {len(values)} rankings have no maximum after {MOST_NEWTON_STEPS} steps")


def _newton_step(wins: Numbers, ties: Numbers, values: Numbers, fixed: NDArray[np.bool_]) -> Numbers:
    gradient, information = _derivatives(wins, ties, values)
    gradient[fixed] = 0
    information[fixed[:, :, None] | fixed[:, None, :]] = 0
    information[:, range(fixed.shape[1]), range(fixed.shape[1])] += fixed
    return np.asarray(np.linalg.solve(information, gradient[..., None])[..., 0], np.float64)


def _chances(values: Numbers) -> tuple[Numbers, Numbers]:
    """That the first wins, and that neither does: [B, K, K]."""
    half, tie = values[:, :-1] / 2, values[:, -1, None, None]
    ratio = half[:, :, None] - half[:, None, :]
    weights = np.exp(ratio), np.exp(-ratio), np.exp(tie)
    total = weights[0] + weights[1] + weights[2]
    return weights[0] / total, weights[2] / total


def _log_likelihood(wins: Numbers, ties: Numbers, values: Numbers) -> Numbers:
    """With the ridge; ``ties`` count each pair twice."""
    win, tie = _chances(values)
    pairs: Numbers = (wins * np.log(win) + ties * np.log(tie) / 2).sum(axis=(1, 2))
    ridge: Numbers = RIDGE / 2 * (values**2).sum(axis=1)
    return pairs - ridge


def _derivatives(wins: Numbers, ties: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The gradient [B, K + 1] of the log likelihood, and its negated second derivatives."""
    win, tie = _chances(values)
    met = wins + wins.swapaxes(1, 2) + ties
    score = win + tie / 2
    size = values.shape[1]
    gradient = np.empty(values.shape)
    gradient[:, :-1] = (wins + ties / 2 - met * score).sum(axis=2)
    gradient[:, -1] = (ties - met * tie).sum(axis=(1, 2)) / 2
    information = np.empty((*values.shape, size))
    varies = met * (win + tie / 4 - score**2)
    information[:, :-1, :-1] = -varies
    information[:, range(size - 1), range(size - 1)] += varies.sum(axis=2)
    information[:, :-1, -1] = information[:, -1, :-1] = (met * tie * (0.5 - score)).sum(axis=2)
    information[:, -1, -1] = (met * tie * (1 - tie)).sum(axis=(1, 2)) / 2
    information[:, range(size), range(size)] += RIDGE
    return gradient - RIDGE * values, information


# Mean ranks, of complete tables


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanRanks:
    """The mean rank of each method, 1 the best, over ``n`` cells, and how far apart two must be to differ at ``level``
    by Nemenyi's test. ``p_value``, of Friedman's test, is that of methods that are all alike."""

    ranks: Numbers
    critical_difference: float
    p_value: float
    n: int
    level: float


def mean_ranks(errors: Numbers, *, level: float = 0.05) -> MeanRanks:
    """Ranks errors [C, K] in each cell, equal ones sharing their mean rank; infinite ones come last.

    Raises ValueError unless the table is complete, with two cells and three methods or more.
    """
    cells, methods = errors.shape
    if np.isnan(errors).any() or cells < 2 or methods < 3:
        raise ValueError(f"{cells} cells of {methods} methods: must be complete, with at least 2 cells and 3 methods")
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    rounded = np.round(errors, ROUNDING)
    ranks = rankdata(rounded, axis=1)
    alike = bool((ranks == ranks[:, :1]).all())
    spread = float(studentized_range.ppf(1 - level, methods, np.inf)) / np.sqrt(2)
    return MeanRanks(
        ranks=ranks.mean(axis=0),
        critical_difference=float(spread * np.sqrt(methods * (methods + 1) / (6 * cells))),
        p_value=1.0 if alike else float(friedmanchisquare(*ranks.T).pvalue),
        n=cells,
        level=level,
    )


def groups(ranks: Numbers, critical_difference: float) -> list[tuple[int, ...]]:
    """The largest groups of methods, of two or more, whose mean ranks are no further apart than the critical
    difference; best first."""
    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    last = np.searchsorted(ordered, ordered + critical_difference, side="right")
    starts = [first for first in range(len(order)) if first == 0 or last[first] > last[first - 1]]
    return [tuple(map(int, order[first : last[first]])) for first in starts if last[first] - first > 1]
