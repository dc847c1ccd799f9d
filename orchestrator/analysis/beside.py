"""A sweep's mean errors beside those of another sweep, and how much of what they differ by seeds alone explain."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.sweep_difference import Errors, Paired
from orchestrator.stats.paired import ROUNDING, differences
from orchestrator.stats.significance import LEVEL
from orchestrator.stats.student import t_quantile
from orchestrator.sweep.metrics import METRICS


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """The mean errors of a cell in both sweeps, in percent, at one metric, over so many ``seeds`` of two trainings.

    ``difference`` is by how many points ours is above the other's, and ``deviation`` the standard deviation of that
    over the seeds: None of fewer than two. ``shared`` seeds are left out, as both sweeps show one training of each;
    where all are shared the means are over these, and differ in nothing. ``diverged`` pairs are left out, as one of
    them has no error.
    """

    dataset: str
    network: str
    method: str
    metric: str
    seeds: int
    ours: float
    other: float
    difference: float
    deviation: float | None
    shared: int = 0
    diverged: int = 0

    @property
    def standard_error(self) -> float | None:
        """Of the difference, in points: what new seeds would change it by."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.seeds)

    @property
    def noise(self) -> float | None:
        """Points that the difference stays within in 95 of 100 such comparisons if the two are equally good, by
        Student's t of the paired differences."""
        error = self.standard_error
        return None if error is None else t_quantile(1 - LEVEL / 2, self.seeds - 1) * error

    @property
    def within(self) -> bool | None:
        """Whether seeds alone explain the difference."""
        return None if self.noise is None else abs(self.difference) <= self.noise


def beside(paired: Paired) -> list[Beside]:
    """For each cell and metric that has an error of the same seed in both; ``a`` of the pairs is ours."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, experiment in enumerate(paired.experiments):
        cells[experiment.dataset, experiment.network].append(row)
    return [
        found
        for (dataset, network), rows in cells.items()
        for column, method in enumerate(paired.methods)
        for index, metric in enumerate(METRICS)
        if (
            found := _beside(
                (dataset, network, method, metric),
                (paired.a[rows, column, index], paired.b[rows, column, index]),
                paired.apart[rows, column],
            )
        )
    ]


def _beside(place: tuple[str, str, str, str], errors: tuple[Errors, Errors], two: NDArray[np.bool_]) -> Beside | None:
    """``errors`` are those of all seeds of ``place``, ours and the other's, and ``two`` says which are of two
    trainings."""
    finite = np.isfinite(errors[0]) & np.isfinite(errors[1])
    if not finite.any():
        return None
    compared = finite & two
    ours, other = (own[compared if compared.any() else finite] for own in errors)
    apart = differences(ours, other)
    return Beside(
        **dict(zip(("dataset", "network", "method", "metric"), place, strict=True)),
        seeds=int(compared.sum()),
        ours=float(ours.mean()),
        other=float(other.mean()),
        difference=round(float(apart.mean()), ROUNDING),
        deviation=float(apart.std(ddof=1)) if compared.sum() > 1 else None,
        shared=int((finite & ~two).sum()),
        diverged=int((np.isinf(errors[0]) | np.isinf(errors[1])).sum()),
    )


def explained(found: Iterable[Beside]) -> float | None:
    """The share, up to 1, of the squared differences that seeds alone account for; None where nothing differs, or no
    cell has two seeds.

    If two sweeps are equally good, the square of a difference is on average that of its standard error. The sum of
    these, over the cells, is an unbiased estimate of what seeds add to the sum of squares, however unlike the cells.
    """
    known = [(it.difference, error) for it in found if (error := it.standard_error) is not None]
    squares = math.fsum(difference**2 for difference, _ in known)
    return min(1.0, math.fsum(error**2 for _, error in known) / squares) if squares else None


def explained_by_metric(found: Iterable[Beside]) -> Mapping[str, float | None]:
    """The same of each metric that there is."""
    by_metric: dict[str, list[Beside]] = defaultdict(list)
    for it in found:
        by_metric[it.metric].append(it)
    return {metric: explained(own) for metric, own in by_metric.items()}
