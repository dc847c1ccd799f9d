"""Runs a sweep: holds its lock, has the scheduler run what the ledger does not hold, and MLflow told.

The same command again is how a sweep goes on after anything: it starts from the ledger each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from anytime_core.data import cache
from anytime_core.errors import DataError
from anytime_core.result import EpochMetrics
from orchestrator import plan as planning
from orchestrator.environment import prepare_ray
from orchestrator.errors import UsageError
from orchestrator.ledger import Ledger
from orchestrator.mlflow_store import safe_uri
from orchestrator.plan import Plan
from orchestrator.progress import Progress
from orchestrator.provenance import code_version
from orchestrator.storage import Location
from orchestrator.sweep import Sweep
from orchestrator.tracking import Tracker, is_current
from orchestrator.trial import Trial, TrialState
from orchestrator.worker import Outcome, Surroundings


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where things are and how much a trial may use: nothing that changes a number."""

    storage: Location
    data_root: Path
    tracking_uri: str
    address: str | None = None
    check_md5: bool = True
    cpus: int | None = None
    gpus: float | None = None


def run(sweep: Sweep, settings: Settings, console: Console) -> list[str]:
    """Runs what is left of a sweep. Returns what went wrong, in words for the user; the ledger holds the rest.

    Raises StorageError, HeldError, UsageError, ClusterError.
    """
    ledger = Ledger(settings.storage)
    ledger.make()
    with ledger.drive(sweep.name) as folder:
        plan = planning.make(_sized(sweep.trials, settings), ledger)
        console.print(
            f"{sweep.name}: {planning.summary(plan)}; storage: {ledger.storage}", highlight=False, soft_wrap=True
        )
        if not plan.to_run and is_current(ledger, sweep, settings.tracking_uri):
            return []
        if plan.to_run:
            _check_data(plan, settings)
        say = partial(console.print, style="yellow", highlight=False, markup=False, soft_wrap=True)
        with Tracker(settings.tracking_uri, sweep, ledger, say) as tracker:
            if plan.to_run:
                _run_round(plan, settings, ledger, tracker, folder, console)
        return [*_troubles(planning.make(sweep.trials, ledger)), *_tracking_troubles(tracker, settings)]


def _sized(trials: Sequence[Trial], settings: Settings) -> list[Trial]:
    """The trials with the resources that the user gave instead of the sweep's."""
    given = {name: value for name in ("cpus", "gpus") if (value := getattr(settings, name)) is not None}
    return [replace(trial, resources=replace(trial.resources, **given)) for trial in trials]


def _check_data(plan: Plan, settings: Settings) -> None:
    """Reads each data set once, which also converts it for the workers. Raises UsageError with all that is wrong."""
    faults = []
    for name in sorted({entry.trial.config.data.name for entry in plan.to_run}):
        try:
            cache.load(name, settings.data_root, check_md5=settings.check_md5)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))


def _run_round(
    plan: Plan, settings: Settings, ledger: Ledger, tracker: Tracker, folder: Path, console: Console
) -> None:
    prepare_ray(own_cluster=settings.address is None)
    from orchestrator import scheduler

    with scheduler.cluster(settings.address, folder / "ray.log"):
        trials = [entry.trial for entry in plan.to_run]
        scheduler.slots(trials[0].resources)
        where = Surroundings(
            storage=ledger.storage,
            data_root=settings.data_root.absolute(),
            check_md5=settings.check_md5,
            code_version=code_version(),
        )
        with Progress(plan.to_run, plan.actions["keep"], console) as progress:
            scheduler.run_round(trials, where, _Listeners(progress, tracker), folder / "tune")


class _Listeners:
    """Tells the terminal and MLflow what happens."""

    def __init__(self, progress: Progress, tracker: Tracker) -> None:
        self._progress, self._tracker = progress, tracker

    def started(self, trial_id: str) -> None:
        self._progress.started(trial_id)
        self._tracker.started(trial_id)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        self._progress.progressed(trial_id, epochs)
        self._tracker.progressed(trial_id, epochs)

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        self._progress.ended(trial_id, outcome)
        self._tracker.ended(trial_id, outcome.state)

    def lost(self, trial_id: str, reason: str, *, for_good: bool) -> None:
        self._progress.lost(trial_id, reason, for_good=for_good)
        self._tracker.ended(trial_id, TrialState.INTERRUPTED)


def _troubles(plan: Plan) -> list[str]:
    """What has not ended, and of the trials that began, why."""
    if not plan.to_run:
        return []
    began = [entry for entry in plan.to_run if entry.action != "run"]
    return [
        f"{len(plan.to_run)} of {len(plan.entries)} trials have not ended; the same command goes on with them",
        *(f"  {entry.trial.cell.label} ({entry.trial.id}): {entry.reason}" for entry in began),
    ]


def _tracking_troubles(tracker: Tracker, settings: Settings) -> list[str]:
    if not tracker.behind and not tracker.outage:
        return []
    uri = safe_uri(settings.tracking_uri)
    return [f"MLflow at {uri} lacks {len(tracker.behind)} trials: {tracker.outage}; the same command delivers them"]
