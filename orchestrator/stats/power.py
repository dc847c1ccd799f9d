"""What an experiment can show: before it is made, and how much more of it an open question needs.

Two things vary between two methods: their difference in a cell from seed to seed, and its mean from cell to cell. Of C
cells with S seeds the mean difference has the standard error seeds / sqrt(C S) for *these cells with new seeds*, and
sqrt(cells^2 / C + seeds^2 / (C S)) for *new cells of this kind*. A difference of (t of the level + t of the power)
standard errors is found with that power (Bloom 1995): exactly so with many degrees of freedom, nearly with a few.
Standard library only: ``orchestrate plan`` asks, and scipy takes seconds to import.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.stats.significance import wins_needed
from orchestrator.stats.student import t_quantile

LEVEL = 0.05
"""Two-sided, of a difference."""
POWER = 0.8
MOST = 10_000
"""Seeds or cells; nobody runs more."""
PAPER: Mapping[str, float] = {"1/4": 2.313, "1/2": 1.303, "3/4": 0.922, "1": 0.454, "AE": 1.099}
"""From cell to cell, the standard deviation of a method's difference from ANN, in points, one seed each: that of the
five methods of Table 6 together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Standard deviations of the difference of two methods, in points: from seed to seed of a cell, None where no cell
    has two, and from cell to cell, None where there is one cell. Without the first, the second holds both, of one
    seed."""

    seeds: float | None
    cells: float | None


def of_new_seeds(spread: Spread, cells: int, seeds: int) -> float | None:
    """The smallest mean difference that ``cells`` with ``seeds`` each show for these cells; None where they show
    none."""
    if spread.seeds is None:
        return None
    return _shown(spread.seeds / math.sqrt(cells * seeds), cells * (seeds - 1))


def of_new_cells(spread: Spread, cells: int, seeds: int) -> float | None:
    """The smallest mean difference that ``cells`` with ``seeds`` each show for cells of this kind; None where they show
    none."""
    if spread.cells is None:
        return None
    return _shown(math.hypot(spread.cells, (spread.seeds or 0.0) / math.sqrt(seeds)) / math.sqrt(cells), cells - 1)


def _shown(standard_error: float, freedom: int) -> float | None:
    return standard_error * errors_apart(freedom) if freedom > 0 else None


def errors_apart(freedom: int) -> float:
    """How many standard errors a true difference must be from 0 to be found with ``POWER`` at ``LEVEL``."""
    return t_quantile(1 - LEVEL / 2, freedom) + t_quantile(POWER, freedom)


def seeds_needed(difference: float, spread: Spread, cells: int) -> int | None:
    """The fewest seeds of each of these cells that show such a difference; None where ``MOST`` do not."""
    return _fewest(difference, lambda seeds: of_new_seeds(spread, cells, seeds))


def cells_needed(difference: float, spread: Spread, seeds: int) -> int | None:
    """The fewest cells with ``seeds`` each that show such a difference for cells of this kind."""
    return _fewest(difference, lambda cells: of_new_cells(spread, cells, seeds))


def _fewest(difference: float, shown: Callable[[int], float | None]) -> int | None:
    """The least number of at least two from which on the difference is shown: more show smaller ones."""

    def suffices(count: int) -> bool:
        least = shown(count)
        return least is not None and least <= abs(difference)

    counts = range(2, MOST + 1)
    place = bisect_left(counts, True, key=suffices)
    return counts[place] if place < len(counts) else None


# Wins


def chance_needed(n: int, test: str) -> float | None:
    """How likely a method must win an experiment for ``n`` of them to be enough wins with ``POWER``; None where all are
    not. Ties aside."""
    wins = wins_needed(n, test, LEVEL)
    if wins is None:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if at_least(wins, n, middle) >= POWER else (middle, high)
    return high


def at_least(wins: int, n: int, chance: float) -> float:
    """The chance of so many wins of ``n`` or more."""
    if not 0 < chance < 1:
        return float(chance >= 1 or wins <= 0)
    logarithms = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(chance)
        + (n - k) * math.log1p(-chance)
        for k in range(wins, n + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logarithms))
