"""Which trial a row of a plan or a status is about, for machines."""

from __future__ import annotations

from orchestrator.report.views.render import Row
from orchestrator.sweep.trial import Trial


def cell_row(trial: Trial) -> Row:
    """Which trial a row is about."""
    cell = trial.cell
    return {
        "id": trial.id,
        "dataset": cell.dataset,
        "network": cell.network,
        "n": None if cell.own else cell.n,
        "c": None if cell.own else cell.c,
        "period": None if cell.own else cell.period,
        "method": cell.method,
        "unit": cell.unit,
        "seed": cell.seed,
    }
