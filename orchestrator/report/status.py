"""The ledger, seen through a sweep: its tables, and where its trials stand."""

from __future__ import annotations

from dataclasses import dataclass

from anytime_core.config import is_here
from orchestrator.analysis import tables
from orchestrator.analysis.answers import Answers
from orchestrator.ledger import calibrations, live_status, notes
from orchestrator.ledger.ledger import Driver, Ledger, Standing
from orchestrator.ledger.live_status import Running, StatusSnapshot
from orchestrator.planning import added_seeds, estimate
from orchestrator.planning import plan as planning
from orchestrator.planning.added_seeds import AddedSeeds
from orchestrator.report import layouts
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState

STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStatus:
    trial: Trial
    state: TrialState
    step: int
    attempts: int
    failure: str | None
    kind: str | None = None
    record: TrialRecord | None = None
    place: str | None = None
    """Where it runs: node and device."""

    @property
    def rests(self) -> str | None:
        """Why its tuning has it stand still: for good, or until others are as far."""
        return (self.trial.pause.rests or None) if self.trial.pause and not self.state.ended else None

    @property
    def standing(self) -> str:
        """The state in a word, which tells a trial that its tuning has stopped for good from one that waits."""
        return STOPPED if self.rests and self.trial.pause and self.trial.pause.lost else str(self.state)


def read_tables(sweep: Sweep, ledger: Ledger, answers: Answers | None = None, *, over: bool = False) -> tables.Tables:
    """``answers`` may have been read for figures, too. ``over``: the sweep's driver, which asks, trains no more."""
    standings = ledger.standings(trial.id for trial in sweep.trials)
    driver = None if over else ledger.driver(sweep.name)
    records = {trial_id: standing.record for trial_id, standing in standings.items() if standing.record}
    states = {name: standing.under(driver) for name, standing in standings.items()}
    answers = answers or Answers(sweep, ledger.outcomes, layouts.taken(sweep))
    return tables.build(sweep, records, states, answers, ledger.epochs)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStatus:
    """``told`` is its driver's last word; one without a driver is that of a driver that died. ``seconds_left`` are as
    the driver last said, or where none runs as the finished trials of the sweep took; None where that is not known."""

    sweep: Sweep
    trials: tuple[TrialStatus, ...]
    driver: Driver | None = None
    told: StatusSnapshot | None = None
    seconds_left: float | None = None
    added: AddedSeeds | None = None
    """What is expected to be added to decide its comparisons."""
    notes: int = 0
    """How many there are, of the sweep and its trials."""


def statuses(sweep: Sweep, ledger: Ledger, *, over: bool = False) -> tuple[TrialStatus, ...]:
    """Each trial of the sweep; ``over`` as in ``read_tables``."""
    return status(sweep, ledger, over=over).trials


def status(sweep: Sweep, ledger: Ledger, *, over: bool = False) -> SweepStatus:
    """Where a sweep stands. A trial that its present driver has begun is running, unless that trains no more."""
    standings = ledger.standings(trial.id for trial in sweep.trials)
    driver = None if over else ledger.driver(sweep.name)
    said = live_status.last_snapshot(ledger, sweep.name)
    running = {each.trial_id: each for each in said.running} if said and driver else {}
    trials = [_status(trial, standings[trial.id], driver, ledger, running.get(trial.id)) for trial in sweep.trials]
    if said and driver:
        left = None if said.seconds_left is None else max(said.seconds_left - said.age, 0.0)
    else:
        left = None if driver else _seconds_left(sweep, ledger, standings)
    return SweepStatus(
        sweep=sweep,
        trials=tuple(trials),
        driver=driver,
        told=said,
        seconds_left=left,
        added=added_seeds.expected(sweep, {name: it.record for name, it in standings.items() if it.record}),
        notes=len(notes.seen_of_sweep(sweep, ledger)),
    )


def _seconds_left(sweep: Sweep, ledger: Ledger, standings: dict[str, Standing]) -> float | None:
    """On this machine, as far as trials of the sweep have been trained on it; None where their code is gone."""
    if not all(is_here(trial.config) for trial in sweep.trials):
        return None
    plan = planning.of_standings(sweep.trials, standings)
    records = [standing.record for standing in standings.values() if standing.record]
    if not records or not plan.to_come:
        return None if plan.to_come else 0.0
    here = estimate.here(entry.trial for entry in plan.to_come)
    speeds = estimate.Speeds.from_records(records, calibrations.read(ledger))
    return estimate.outlook(plan, ledger, [here], speeds).makespan


def _status(
    trial: Trial, standing: Standing, driver: Driver | None, ledger: Ledger, running: Running | None
) -> TrialStatus:
    """Its driver may know a later step than the checkpoints."""
    state = standing.under(driver)
    attempt = ledger.attempt(trial.id) if state is TrialState.RUNNING else None
    return TrialStatus(
        trial=trial,
        state=state,
        step=max(standing.step, running.step if running and state is TrialState.RUNNING else 0),
        place=attempt.place if attempt else None,
        attempts=standing.attempts,
        failure=standing.failure,
        kind=standing.kind or None,
        record=standing.record,
    )
