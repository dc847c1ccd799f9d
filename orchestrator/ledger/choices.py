"""What a sweep's tuning chooses by the ledger, and which seeds its comparisons need."""

from __future__ import annotations

from collections.abc import Sequence

from anytime_core.result import EpochMetrics
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.halving import Curve
from orchestrator.sweep.trial import TrialRecord, TrialState


def chosen(sweep: Sweep, ledger: Ledger) -> Sweep:
    """The sweep with the trials that its tuning chooses, and its comparisons need, by what has ended. Raises
    StorageError."""
    if not sweep.tuning and not sweep.deciding:
        return sweep
    tried = {trial.id for one in sweep.tuning for trial in one.trials}
    records = ledger.records(tried.union(sweep.candidates) if sweep.deciding else tried)
    halved = {trial.id for one in sweep.tuning if one.rungs for trial in one.trials}
    epochs = ledger.epochs_of(halved) if halved else {}
    lost = {name: ledger.epochs_of_checkpoint(name) for name, own in epochs.items() if not own and name in records}
    return sweep.chosen(records, {name: _curve(own, records.get(name)) for name, own in (epochs | lost).items()})


def stopped(sweep: Sweep, ledger: Ledger) -> frozenset[str]:
    """The trials of points that halving has stopped for good, by their ids. Raises StorageError."""
    if not any(one.rungs for one in sweep.tuning):
        return frozenset()
    now = chosen(sweep, ledger)
    lost = {trial.id for trial in now.trials if trial.pause and trial.pause.lost}
    return frozenset(lost.difference(now.candidates, now.cells.values()))


def _curve(epochs: Sequence[EpochMetrics], record: TrialRecord | None) -> Curve:
    """A trial whose metrics and checkpoints are lost has the errors of its end, which it never runs for again."""
    errors = {epoch.step: epoch.test_error for epoch in epochs if epoch.evaluated and not epoch.diverged}
    state = record.state if record else None
    if record and state is TrialState.FINISHED:
        errors[record.result.steps] = record.result.errors
    return Curve(errors=errors, diverged=state is TrialState.DIVERGED, finished=state is TrialState.FINISHED)
