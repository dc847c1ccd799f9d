"""A sweep whose storage has an MLflow database, and no Ray."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflow import MlflowClient

from anytime_core.result import EpochMetrics
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord
from orchestrator.sweepfile.load import load
from orchestrator.tracking.store import client
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.uris import default_uri

TEXT = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods:
  ann: {}
  opt: {regime: opt, at: [1]}
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
CODE = "0123456789ab"


@dataclass
class Told:
    """A sweep whose storage has an MLflow database."""

    sweep: Sweep
    ledger: Ledger
    uri: str
    said: list[str] = field(default_factory=list)

    def tell(self) -> Tracker:
        """All that the ledger holds."""
        tracker = self.try_to_tell()
        assert (tracker.outage, tracker.behind, tracker.troubles()) == (None, [], [])
        return tracker

    def try_to_tell(self) -> Tracker:
        self.ledger.sweep_folder(self.sweep.name).mkdir(parents=True, exist_ok=True)
        with Tracker(self.uri, self.sweep, self.ledger, self.said.append) as tracker:
            pass
        return tracker

    def train(self, make_record: Callable[..., TrialRecord], epochs: Callable[[int], list[EpochMetrics]]) -> None:
        """Ends all trials, by made up numbers: ``epochs`` gives those of a trial with so many predictions."""
        for trial in self.sweep.trials:
            count = len(trial.config.predicting_units)
            attempt = self.ledger.begin(trial)
            numbers = epochs(count)
            self.ledger.write_epochs(attempt, trial.config.predicting_units, [1] * count, numbers)
            provenance = {
                "code_version": f"{CODE}-dirty.abcdef",
                "data_hash": "17bfb66bf7a7b297",
                "network_hash": f"{hash(numbers[-1].test_error) % 2**64:016x}",
                "first_attempt_began": attempt.first_began,
            }
            record = replace(make_record(trial, numbers[-1].test_error), provenance=provenance)
            self.ledger.finish(attempt, record)

    @property
    def client(self) -> MlflowClient:
        return client(self.uri)

    @property
    def experiment(self) -> str:
        return str(self.client.get_experiment_by_name(self.sweep.name).experiment_id)

    def forget(self) -> None:
        """As if the server had been emptied: what it has is another storage's."""
        experiment = self.experiment
        self.client.rename_experiment(experiment, "another sweep")
        self.client.set_experiment_tag(experiment, "ledger", "another")

    def runs(self) -> dict[str, object]:
        """By trial id."""
        found = self.client.search_runs([self.experiment])
        runs = {run.data.tags["trial_id"]: run for run in found if "trial_id" in run.data.tags}
        assert len(runs) == len(found)
        return runs

    def artifacts(self, trial_id: str) -> Path:
        run = self.runs()[trial_id].info.run_id
        return self.ledger.local / "mlflow" / "artifacts" / self.sweep.name / run / "artifacts"


def made_in(folder: Path, empty: Path, uri: str = "") -> Told:
    """A sweep of two trials, of which none has begun."""
    (folder / "small.yaml").write_text(TEXT)
    storage = folder / "runs"
    ledger = Ledger(storage)
    ledger.make()
    (storage / "mlflow").mkdir()
    shutil.copy(empty, storage / "mlflow" / "mlflow.db")
    return Told(load(folder / "small.yaml"), ledger, uri or default_uri(storage))


def history(told: Told) -> set[tuple[str, str, int, float]]:
    rows = [
        (run.info.run_id, name, metric.step, metric.value)
        for run in told.runs().values()
        for name in run.data.metrics
        for metric in told.client.get_metric_history(run.info.run_id, name)
    ]
    assert len({row[:3] for row in rows}) == len(rows), "a metric has two values for a step"
    return set(rows)
