"""What a sweep's tuning chooses by the ledger."""

from __future__ import annotations

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep


def chosen(sweep: Sweep, ledger: Ledger) -> Sweep:
    """The sweep with the trials that its tuning chooses by what has ended. Raises StorageError."""
    if not sweep.tuning:
        return sweep
    return sweep.chosen(ledger.records(trial.id for one in sweep.tuning for trial in one.trials))
