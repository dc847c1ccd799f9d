"""All methods at once: every pair of them, their strengths on one scale, and what a complete table allows.

The unit is a cell, a network on a data set, with its seeds averaged: its seeds share the network and the images, and do
not count as so many experiments. A trial that diverged loses its cell. Optima, trained for one depth at a time, take no
part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.measurements import Measurements
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.stats import pairwise, ranking
from orchestrator.sweep.metrics import METRICS

MOST_METHODS = 16
"""More can be told apart by nobody, and have more pairs than anybody reads."""
FEWEST_METHODS = 3
"""Two need no ranking: a table of wins says all."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Field:
    """Errors in percent, or losses, ``errors[cell, method, seed, metric]``, as ``Measurements`` have them: NaN where
    there is none, infinite where the trial diverged. ``names`` are data set and network of each cell; ``methods`` begin
    with those that are compared, and the ``optima`` come last."""

    names: tuple[tuple[str, str], ...]
    methods: tuple[str, ...]
    optima: tuple[str, ...]
    seeds: tuple[int, ...]
    errors: NDArray[np.float64]
    metrics: tuple[str, ...] = METRICS

    @property
    def compared(self) -> tuple[str, ...]:
        return self.methods[: len(self.methods) - len(self.optima)]

    @property
    def rankable(self) -> bool:
        return FEWEST_METHODS <= len(self.compared) <= MOST_METHODS

    def at(self, metric: str) -> NDArray[np.float64]:
        """The errors [cell, method, seed] of the methods that are compared, of the cells in which one has an error."""
        errors = self.errors[:, : len(self.compared), :, self.metrics.index(metric)]
        return errors[np.isfinite(errors).any(axis=(1, 2))]

    def of(self, method: str, metric: str) -> NDArray[np.float64]:
        """The errors [cell, seed] of a method."""
        return self.errors[:, self.methods.index(method), :, self.metrics.index(metric)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """A method against another one, cell by cell."""

    method: str
    other: str
    metric: str
    pairing: pairwise.Pairing

    @property
    def difference(self) -> float | None:
        """The mean difference of the metric's own numbers, where the pairing's is of losses."""
        losses = self.pairing.difference
        return None if losses is None else QUANTITIES[self.metric].difference(losses)


@dataclass(frozen=True, kw_only=True, slots=True)
class StrengthRow:
    """How strong a method is beside the reference, over ``cells`` in which it has an error: in log odds, with an
    interval of 95 %; and in percent of wins against the reference, ties counting half. None where no chain of
    comparisons leads to the reference."""

    method: str
    reference: str
    metric: str
    strength: float | None
    low: float
    high: float
    percent: float | None
    percent_low: float
    percent_high: float
    cells: int


NOBODY = Field(names=(), methods=(), optima=(), seeds=(), errors=np.empty((0, 0, 0, len(METRICS))))


def field(measured: Measurements) -> Field:
    """The field of a sweep."""
    names = tuple(dict.fromkeys((each.dataset, each.network) for each in measured.experiments))
    seeds = tuple(sorted({each.seed for each in measured.experiments}))
    optima = tuple(name for name in measured.methods if name in measured.optima)
    methods = [*(name for name in measured.methods if name not in optima), *optima]
    columns = [measured.methods.index(name) for name in methods]
    errors = np.full((len(names), len(methods), len(seeds), len(measured.metrics)), np.nan)
    places = {name: index for index, name in enumerate(names)}
    for row, each in enumerate(measured.experiments):
        errors[places[each.dataset, each.network], :, seeds.index(each.seed)] = measured.errors[row, columns]
    return Field(
        names=names, methods=tuple(methods), optima=optima, seeds=seeds, errors=errors, metrics=measured.metrics
    )


@lru_cache(maxsize=8)
def pair_rows(field: Field) -> tuple[PairRow, ...]:
    """Each pair of methods, one way round; nothing of a field that is too large or too small to rank."""
    return tuple(_pair_rows(field)) if field.rankable else ()


def _pair_rows(field: Field) -> Iterator[PairRow]:
    differences = {metric: pairwise.pair_differences(field.at(metric)) for metric in field.metrics}
    for (first, method), (second, other) in combinations(enumerate(field.compared), 2):
        for metric, own in differences.items():
            yield PairRow(method=method, other=other, metric=metric, pairing=pairwise.pairing(own[:, first, second]))


@lru_cache(maxsize=8)
def strength_rows(field: Field, reference: str) -> tuple[StrengthRow, ...]:
    """Each method beside the reference; nothing of a field that is too large or too small to rank."""
    return tuple(_strength_rows(field, reference)) if field.rankable and reference in field.compared else ()


def _strength_rows(field: Field, reference: str) -> Iterator[StrengthRow]:
    differences = [pairwise.pair_differences(field.at(metric)) for metric in field.metrics]
    wins, ties = (np.array(values) for values in zip(*map(ranking.outcomes, differences), strict=True))
    cells = [len(own) for own in differences]
    found = ranking.strengths(wins, ties, cells, field.compared.index(reference))
    for column, method in enumerate(field.compared):
        for row, metric in enumerate(field.metrics):
            strength, score = float(found.strength[row, column]), float(found.score[row, column])
            yield StrengthRow(
                method=method,
                reference=reference,
                metric=metric,
                strength=None if np.isnan(strength) else strength,
                low=float(found.low[row, column]),
                high=float(found.high[row, column]),
                percent=None if np.isnan(score) else 100 * score,
                percent_low=100 * float(found.score_low[row, column]),
                percent_high=100 * float(found.score_high[row, column]),
                cells=_met(differences[row], column),
            )


def _met(differences: NDArray[np.float64], method: int) -> int:
    """The cells in which a method was compared with another one."""
    others = np.delete(differences[:, method], method, axis=1)
    return int((~np.isnan(others)).any(axis=1).sum())


def gaps(field: Field) -> list[str]:
    """Which methods lack a seed of a cell that another method has, by any metric, and of which cell:
    ``rwm (25,32)/3 svhn``."""
    errors = field.errors[:, : len(field.compared)]
    missing: NDArray[np.bool_] = np.isnan(errors)
    lacking = np.any(missing & ~missing.all(axis=1, keepdims=True), axis=-1)
    return [
        f"{method} {network} {dataset}"
        for column, method in enumerate(field.compared)
        for row, (dataset, network) in enumerate(field.names)
        if lacking[row, column].any()
    ]


def mean_ranks(field: Field, metric: str) -> ranking.MeanRanks | None:
    """None where there are too few cells to rank. Raises ValueError for a table with gaps, which ``gaps`` names."""
    errors = field.at(metric)
    there = ~np.isnan(errors).all(axis=1, keepdims=True)  # seeds that no method has yet
    errors = np.where(there, errors, 0).sum(axis=2) / there.sum(axis=2)
    return ranking.mean_ranks(errors) if len(errors) > 1 else None


def increases(field: Field, method: str, reference: str, metric: str) -> NDArray[np.float64]:
    """By how many percent each error is above the reference's of the same seed: [cell, seed], NaN where either lacks,
    infinite where the method diverged."""
    own, other = (field.of(name, metric) for name in (method, reference))
    valid = np.isfinite(other) & (other != 0)
    return np.where(valid, 100 * (own / np.where(valid, other, 1) - 1), np.nan)


def common(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """The cells in which all methods have a score, of their ``scores`` [cell, seed]."""
    present: NDArray[np.bool_] = np.all([~np.isnan(own).all(axis=1) for own in scores], axis=0)
    return present
