"""The ledger, seen through a sweep: its tables, and where its trials stand."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import tables
from orchestrator.ledger import Driver, Ledger, Standing
from orchestrator.sweep import Sweep
from orchestrator.trial import Trial, TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStatus:
    trial: Trial
    state: TrialState
    step: int
    attempts: int
    failure: str | None
    kind: str | None = None
    record: TrialRecord | None = None


def read_tables(sweep: Sweep, ledger: Ledger) -> tables.Tables:
    standings, driver = ledger.standings(trial.id for trial in sweep.trials), ledger.driver(sweep.name)
    records = {trial_id: standing.record for trial_id, standing in standings.items() if standing.record}
    return tables.build(sweep, records, {name: standing.under(driver) for name, standing in standings.items()})


def statuses(sweep: Sweep, ledger: Ledger) -> list[TrialStatus]:
    """Each trial of the sweep. One that its present driver has begun is running."""
    standings, driver = ledger.standings(trial.id for trial in sweep.trials), ledger.driver(sweep.name)
    return [_status(trial, standings[trial.id], driver) for trial in sweep.trials]


def _status(trial: Trial, standing: Standing, driver: Driver | None) -> TrialStatus:
    return TrialStatus(
        trial=trial,
        state=standing.under(driver),
        step=standing.step,
        attempts=standing.attempts,
        failure=standing.failure,
        kind=standing.kind or None,
        record=standing.record,
    )
