"""The ledger, seen through a sweep: its tables, and where its trials stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator import tables
from orchestrator.ledger import Ledger, Standing
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
    standings = ledger.standings(trial.id for trial in sweep.trials)
    records = {trial_id: standing.record for trial_id, standing in standings.items() if standing.record}
    states = {status.trial.id: status.state for status in _statuses(sweep, ledger, standings)}
    return tables.build(sweep, records, states)


def statuses(sweep: Sweep, ledger: Ledger) -> list[TrialStatus]:
    """Each trial of the sweep. One that its present driver has begun is running."""
    return _statuses(sweep, ledger, ledger.standings(trial.id for trial in sweep.trials))


def _statuses(sweep: Sweep, ledger: Ledger, standings: Mapping[str, Standing]) -> list[TrialStatus]:
    driver = ledger.driver(sweep.name)
    return [_status(trial, standings[trial.id], driver.since if driver else None) for trial in sweep.trials]


def _status(trial: Trial, standing: Standing, driven_since: str | None) -> TrialStatus:
    state = standing.state
    if state is TrialState.INTERRUPTED and driven_since and standing.began and standing.began >= driven_since:
        state = TrialState.RUNNING
    return TrialStatus(
        trial=trial, state=state, step=standing.step, attempts=standing.attempts, failure=standing.failure
    )
