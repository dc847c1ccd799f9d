"""The metrics of the paper's tables, and what a trial's record says of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from anytime_core.config import MILESTONES
from anytime_core.cost import milestone_index
from anytime_core.result import average_error
from orchestrator.sweep.trial import Cell, TrialRecord

AVERAGE = "AE"
METRICS: tuple[str, ...] = (*map(str, MILESTONES), AVERAGE)
"""The columns of the paper's tables: error at 1/4, 1/2, 3/4 and all of the cost, and the mean of all (section 4.1)."""


def errors_of(cell: Cell, record: TrialRecord) -> dict[str, float]:
    """The errors in percent that a finished trial has by itself, by metric; those it does not reach are left out."""
    return errors_at(cell, record.result.costs, record.result.errors)


def errors_at(cell: Cell, costs: tuple[int, ...], errors: Sequence[float]) -> dict[str, float]:
    """The same of the errors of all predictions, as after any epoch; ``costs`` are those of the predictions."""
    if cell.unit is not None:  # an optimum stands for each fraction of the cost that rounds to its depth
        return dict.fromkeys(cell.fractions, errors[-1])
    return {metric: errors[index] for metric, index in milestones(costs)} | {AVERAGE: average_error(errors)}


@lru_cache(maxsize=1024)
def milestones(costs: tuple[int, ...]) -> list[tuple[str, int]]:
    """The predictions at the fractions of the cost that one reaches: the same for all trials of a network."""
    indices = ((str(fraction), milestone_index(costs, fraction)) for fraction in MILESTONES)
    return [(metric, index) for metric, index in indices if index is not None]
