"""How much a sweep's own differences vary, and what that says of the comparisons that it leaves open."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.ranking import Field
from orchestrator.stats import power
from orchestrator.stats.power import Spread
from orchestrator.stats.student import t_quantile

Numbers = NDArray[np.float64]
Decision = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a comparison says of new seeds, or of new cells: an interval of 95 % of the mean difference of losses, and
    how many ``more`` seeds of each cell, or cells, would show the difference that was seen, if that is the true one.
    None where too little is known, and ``more`` also where nothing more is needed."""

    low: float | None = None
    high: float | None = None
    more: int | None = None

    @property
    def decision(self) -> Decision | None:
        if self.low is None or self.high is None:
            return None
        return "better" if self.high < 0 else "worse" if self.low > 0 else "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerRow:
    """A method against the baseline, over ``cells`` with at least ``seeds`` each; ``diverged`` cells have no
    difference and are not among them."""

    method: str
    baseline: str
    metric: str
    difference: float | None
    cells: int
    seeds: int
    diverged: int
    new_seeds: Answer
    new_cells: Answer


def differences(field: Field, method: str, baseline: str, metric: str) -> Numbers:
    """Error of the method less the baseline's of the same seed, [cell, seed]; NaN where either lacks, infinite where
    one diverged."""
    own, other = (field.of(name, metric) for name in (method, baseline))
    both = np.isinf(own) & np.isinf(other)
    return np.where(both, np.nan, np.where(both, 0, own) - np.where(both, 0, other))


def spread(tables: Sequence[Numbers]) -> Spread:
    """The spread of differences [cell, seed], of several methods together."""
    within, between = _Pooled(), _Pooled()
    seeds: list[int] = []
    for table in tables:
        cells = [cell[np.isfinite(cell)] for cell in table if np.isfinite(cell).any() and not np.isinf(cell).any()]
        for cell in cells:
            within.add(cell)
        between.add(np.array([cell.mean() for cell in cells]))
        seeds += map(len, cells)
    of_seeds, of_cells = within.variance, between.variance
    if of_cells is not None and of_seeds is not None:
        of_cells = max(0.0, of_cells - of_seeds * math.fsum(1 / count for count in seeds) / len(seeds))
    return Spread(seeds=_root(of_seeds), cells=_root(of_cells))


class _Pooled:
    """Sums squares about the means of groups."""

    def __init__(self) -> None:
        self.squares, self.freedom = 0.0, 0

    def add(self, values: Numbers) -> None:
        if len(values) > 1:
            self.squares += float(((values - values.mean()) ** 2).sum())
            self.freedom += len(values) - 1

    @property
    def variance(self) -> float | None:
        return self.squares / self.freedom if self.freedom else None


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)


def power_rows(field: Field, baseline: str) -> Iterator[PowerRow]:
    """Each method against the baseline, by metric."""
    for method in field.compared if baseline in field.methods else ():
        for metric in field.metrics if method != baseline else ():
            yield _row(method, baseline, metric, differences(field, method, baseline, metric))


def _row(method: str, baseline: str, metric: str, table: Numbers) -> PowerRow:
    lost = np.isinf(table).any(axis=1)
    cells = [cell[np.isfinite(cell)] for cell in table[~lost] if np.isfinite(cell).any()]
    means = np.array([cell.mean() for cell in cells])
    difference, own = (float(means.mean()) if len(means) else None), spread([table])
    counts = [len(cell) for cell in cells]
    return PowerRow(
        method=method,
        baseline=baseline,
        metric=metric,
        difference=difference,
        cells=len(cells),
        seeds=min(counts, default=0),
        diverged=int(lost.sum()),
        new_seeds=_of_seeds(difference, own, counts),
        new_cells=_of_cells(difference, own, means, counts),
    )


def _of_seeds(difference: float | None, own: Spread, counts: Sequence[int]) -> Answer:
    if difference is None or own.seeds is None:
        return Answer()
    error = own.seeds * math.sqrt(math.fsum(1 / count for count in counts)) / len(counts)
    needed = power.seeds_needed(difference, own, len(counts))
    return _answer(difference, error, sum(counts) - len(counts), needed, min(counts))


def _of_cells(difference: float | None, own: Spread, means: Numbers, counts: Sequence[int]) -> Answer:
    if difference is None or len(means) < 2:
        return Answer()
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    needed = power.cells_needed(difference, own, min(counts))
    return _answer(difference, error, len(means) - 1, needed, len(means))


def _answer(difference: float, error: float, freedom: int, needed: int | None, present: int) -> Answer:
    reach = error * t_quantile(1 - power.LEVEL / 2, freedom)
    found = Answer(low=difference - reach, high=difference + reach)
    if found.decision != "undecided" or needed is None:
        return found
    return Answer(low=found.low, high=found.high, more=max(1, needed - present))
