"""The ledger, seen through a sweep: its tables, and where its trials stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator import tables
from orchestrator.ledger import Driver, Ledger, Standing
from orchestrator.measurements import Measurements, measure
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


def read_tables(sweep: Sweep, ledger: Ledger) -> tables.Tables:
    standings = ledger.standings(trial.id for trial in sweep.trials)
    return tables.build(sweep, *_split(standings, ledger.driver(sweep.name)))


def measurements(sweep: Sweep, ledger: Ledger) -> Measurements:
    standings = ledger.standings(trial.id for trial in sweep.trials)
    return measure(sweep, *_split(standings, ledger.driver(sweep.name)))


def _split(
    standings: Mapping[str, Standing], driver: Driver | None
) -> tuple[dict[str, TrialRecord], dict[str, TrialState]]:
    """The records of the trials that ended, and the states of all."""
    records = {trial_id: standing.record for trial_id, standing in standings.items() if standing.record}
    return records, {trial_id: standing.under(driver) for trial_id, standing in standings.items()}


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
    )
