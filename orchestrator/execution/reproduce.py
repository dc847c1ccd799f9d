"""Trains a trial again, in this process and away from the ledger, to see whether it gives the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from anytime_core.data.own.source import Source
from anytime_core.errors import CheckpointError
from orchestrator.analysis.trace import RerunComparison, TrainingRecord, compare
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.execution.console import tell
from orchestrator.execution.progress import Progress
from orchestrator.execution.worker import Outcome, WorkerContext, run_trial
from orchestrator.extensions.finding import Extension
from orchestrator.ledger.ledger import Ledger
from orchestrator.owndata.formats import images_of
from orchestrator.planning import plan
from orchestrator.sweep.trial import Resources, Trial, TrialRecord
from orchestrator.system.sources import code_version
from orchestrator.text import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproduceSettings:
    """Where the data sets are, those of the user's own by their names, whether files' md5 sums are compared, and the
    extensions of the sweep."""

    data_root: Path
    check_md5: bool = True
    extensions: tuple[Extension, ...] = ()
    own_data: Mapping[str, Source] = field(default_factory=dict)


def reproduce(trial: Trial, ledger: Ledger, settings: ReproduceSettings, console: Console) -> RerunComparison:
    """Trains a trial that ended again, with as many threads and on a device of the same kind, and compares.

    The ledger is only read. Raises UsageError for a trial that has not ended or a GPU that is not there, DataError, and
    OrchestratorError if the rerun fails.
    """
    record = ledger.record(trial.id)
    if record is None:
        raise UsageError(
            f"{trial.cell.label} ({trial.id}) has not finished: it is {ledger.state(trial.id)} in {ledger.storage}; "
            f"only what has ended can be compared with a rerun"
        )
    again = Trial(id=trial.id, config=trial.config, cell=trial.cell, resources=_resources(trial, record))
    # What it lacks is told now.
    images_of(trial.config.data, settings.own_data, settings.data_root, check_md5=settings.check_md5)
    with TemporaryDirectory(prefix="reproduce-") as folder:
        rerun = _rerun(again, Ledger(Path(folder)), settings, console)
    return compare(trial, training_of(record, ledger), rerun)


def _resources(trial: Trial, record: TrialRecord) -> Resources:
    """What the trial was trained with; as many threads as its sweep says where that was not recorded."""
    gpu = record.result.device != "cpu"
    if gpu:
        import torch

        if not torch.cuda.is_available():
            raise UsageError(f"{trial.cell.label} was trained on {record.result.device}; torch finds no GPU here")
    threads = record.provenance.get("threads")
    return Resources(cpus=threads if isinstance(threads, int) else trial.resources.cpus, gpus=1.0 if gpu else 0.0)


def _rerun(trial: Trial, ledger: Ledger, settings: ReproduceSettings, console: Console) -> TrainingRecord:
    ledger.make()
    threads = counted(trial.resources.cpus, "thread")
    device = f"{threads} and a GPU" if trial.resources.gpus else threads
    tell(console, f"training {trial.cell.label} again: {trial.config.steps} steps, {device}")
    outcome = _train(trial, ledger, settings, console)
    if (record := ledger.record(trial.id)) is None:
        raise OrchestratorError(f"{trial.cell.label}: the rerun {outcome.state}: {outcome.error}")
    return training_of(record, ledger)


def _train(trial: Trial, ledger: Ledger, settings: ReproduceSettings, console: Console) -> Outcome:
    where = WorkerContext(
        storage=ledger.storage,
        data_root=settings.data_root.absolute(),
        check_md5=settings.check_md5,
        code_version=code_version(),
        extensions=settings.extensions,
        own_data=settings.own_data,
    )
    with Progress(plan.make([trial], ledger).entries, 0, console) as progress:
        progress.started(trial.id)
        outcome = run_trial(trial, where, lambda epochs: progress.progressed(trial.id, epochs))
        progress.ended(trial.id, outcome)
    return outcome


def training_of(record: TrialRecord, ledger: Ledger) -> TrainingRecord:
    """All that is compared of a training. A record of an older version has no hash of its network, but its checkpoint
    may be there."""
    from anytime_core.trained import network_hash

    digest = str(record.provenance.get("network_hash") or "")
    if not digest:
        with suppress(CheckpointError):
            digest = network_hash(ledger.checkpoints(record.trial_id))
    return TrainingRecord(record=record, epochs=tuple(ledger.epochs(record.trial_id)), network_hash=digest)
