"""What a sweep's tuning chooses by the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.halving import Curve
from orchestrator.sweep.trial import TrialRecord, TrialState


def chosen(sweep: Sweep, ledger: Ledger) -> Sweep:
    """The sweep with the trials that its tuning chooses by what has ended. Raises StorageError."""
    if not sweep.tuning:
        return sweep
    records = ledger.records(trial.id for one in sweep.tuning for trial in one.trials)
    halved = {trial.id for one in sweep.tuning if one.rungs for trial in one.trials}
    return sweep.chosen(records, _curves(halved, records, ledger))


def _curves(trial_ids: Iterable[str], records: Mapping[str, TrialRecord], ledger: Ledger) -> dict[str, Curve]:
    """Of those of the trials that began."""
    begun = ledger.begun().intersection(trial_ids)
    return {trial_id: _curve(trial_id, records.get(trial_id), ledger) for trial_id in begun}


def _curve(trial_id: str, record: TrialRecord | None, ledger: Ledger) -> Curve:
    """A trial whose metrics are lost has the errors of its end, which it never runs for again."""
    errors = {epoch.step: epoch.test_error for epoch in ledger.epochs(trial_id) if not epoch.diverged}
    if record and record.state is TrialState.FINISHED:
        errors[record.result.steps] = record.result.errors
    return Curve(errors=errors, diverged=bool(record and record.state is TrialState.DIVERGED))
