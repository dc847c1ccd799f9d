"""The ledger, seen through a sweep: its tables, and where its trials stand."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import tables
from orchestrator.ledger import Driver, Ledger
from orchestrator.measurements import Measurements, measure
from orchestrator.sweep import Sweep
from orchestrator.trial import Trial, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStatus:
    trial: Trial
    state: TrialState
    step: int
    attempts: int
    failure: str | None


def read_tables(sweep: Sweep, ledger: Ledger) -> tables.Tables:
    records = {trial.id: record for trial in sweep.trials if (record := ledger.record(trial.id))}
    states = {status.trial.id: status.state for status in statuses(sweep, ledger)}
    return tables.build(sweep, records, states)


def measurements(sweep: Sweep, ledger: Ledger) -> Measurements:
    records = {trial.id: record for trial in sweep.trials if (record := ledger.record(trial.id))}
    states = {status.trial.id: status.state for status in statuses(sweep, ledger)}
    return measure(sweep, records, states)


def statuses(sweep: Sweep, ledger: Ledger) -> list[TrialStatus]:
    """Each trial of the sweep. One that its present driver has begun is running."""
    driver = ledger.driver(sweep.name)
    return [_status(trial, ledger, driver) for trial in sweep.trials]


def _status(trial: Trial, ledger: Ledger, driver: Driver | None) -> TrialStatus:
    state = ledger.state_under(driver, trial.id)
    return TrialStatus(
        trial=trial,
        state=state,
        step=trial.config.steps if state is TrialState.FINISHED else ledger.step(trial.id),
        attempts=ledger.attempts(trial.id),
        failure=ledger.failure(trial.id) if state is TrialState.FAILED else None,
    )
