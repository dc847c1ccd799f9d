"""One experiment of an MLflow server or database, and what is written there. The only module that imports MLflow.

A sweep is an experiment, a trial a run. Writing is idempotent: what a run has already is passed over.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anytime_core.config import to_dict
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics, average_error, milestone_errors
from orchestrator.environment import prepare_mlflow
from orchestrator.errors import TrackingError, UsageError
from orchestrator.storage import Location, local_folder
from orchestrator.sweep import Sweep
from orchestrator.trial import Trial, TrialState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

METRICS_PER_REQUEST = 1000
PROBE = "orchestrate.doctor"
SUMMARY = "summary"
"""The name of the run that holds the tables and figures of a sweep."""
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")

GUIDE = """\
One run for each trial, and one named `summary`, whose artifacts are the tables and figures. Good columns: the params
`network.n`, `network.c`, `data.name`, the tags `method` and `state`, and these metrics, which have one value an epoch:

- `error/at_1.00`, `error/at_0.75`, ...: test error in % of the latest prediction at that fraction of the network's cost
- `error/average`: the mean of the test errors of all predictions (AE)
- `train_error/...`: the same on the training batches of the epoch
- `loss/test_last`, `loss/train_last`: cross-entropy of the last prediction
"""


def default_uri(storage: Location) -> str:
    """A SQLite file in the storage folder; for a bucket on this machine, as a database must be a file."""
    return f"sqlite:///{local_folder(storage).absolute() / 'mlflow' / 'mlflow.db'}"


def check_uri(uri: str) -> str:
    """Raises UsageError for a URI that no MLflow store answers to."""
    try:
        parts = urlsplit(uri)
        scheme, port = parts.scheme.partition("+")[0], parts.port
    except ValueError as error:
        raise UsageError(f"tracking URI {safe_uri(uri)!r}: {error}") from error
    fault = None
    if scheme not in SCHEMES:
        fault = f"must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}"
    elif scheme == "sqlite" and not parts.path.strip("/"):
        fault = "must name a file, such as sqlite:////folder/mlflow.db"
    elif scheme == "sqlite" and set("?%") & set(uri):
        fault = "a path with ? or % cannot be a SQLite store; give another --storage or --tracking-uri"
    elif scheme != "sqlite" and (not parts.hostname or port == 0):
        fault = "must name a host"
    if fault:
        raise UsageError(f"tracking URI {safe_uri(uri)!r}: {fault}")
    return uri


def safe_uri(uri: str) -> str:
    """The URI without its password, fit to be shown and stored."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def epoch_metrics(costs: Sequence[int], epoch: EpochMetrics) -> dict[str, float]:
    """What is shown of an epoch. A name with a slash is a section in MLflow's UI."""
    shown = {
        "epoch": float(epoch.epoch),
        "progress/step": float(epoch.step),
        "progress/learning_rate": epoch.learning_rate,
        "progress/seconds": epoch.seconds,
        "loss/train_last": epoch.train_loss[-1],
        "loss/test_last": epoch.test_loss[-1],
    }
    for kind, errors in (("error", epoch.test_error), ("train_error", epoch.train_error)):
        shown[f"{kind}/average"] = average_error(errors)
        for fraction, error in milestone_errors(costs, errors).items():
            if error is not None:
                shown[f"{kind}/at_{float(fraction):.2f}"] = error
    return {name: value for name, value in shown.items() if math.isfinite(value)}  # databases take no others


def params_of(trial: Trial) -> dict[str, str]:
    """The config with dotted names; MLflow holds strings."""
    return dict(_flattened(to_dict(trial.config)))


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and name != "learning_rate":
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value) if isinstance(value, dict) else str(value)


@dataclass(slots=True)
class _TrackedRun:
    run_id: str
    last_epoch: int
    status: str
    has_params: bool


STATUS = {
    TrialState.PENDING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FINISHED: "FINISHED",
}


class Store:
    """One experiment of an MLflow server or database. Whatever it raises is an outage."""

    def __init__(self, uri: str, sweep: Sweep) -> None:
        _check_listening(uri)
        self._client, self._uri = client(uri), uri
        self._experiment = self._open_experiment(sweep)
        self._runs = {run.data.tags["trial_id"]: _tracked(run) for run in self._existing("tags.trial_id != ''")}
        wanted = {trial.id for trial in sweep.trials}
        for trial_id, run in self._runs.items():
            if trial_id not in wanted and run.status == "RUNNING":  # left by a driver that died, and out of the sweep
                self._client.set_terminated(run.run_id, "KILLED")

    def _open_experiment(self, sweep: Sweep) -> str:
        found = self._client.get_experiment_by_name(sweep.name)
        if found is None:
            root = artifact_root(self._uri)
            location = f"{root}/{sweep.name}" if root else None
            tags = {
                "mlflow.note.content": f"{sweep.description}\n\n{GUIDE}",
                "mlflow.experimentKind": "custom_model_development",  # or the UI takes it for one about language models
            }
            return str(self._client.create_experiment(sweep.name, location, tags))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    @property
    def experiment(self) -> str:
        """Its number."""
        return self._experiment

    @property
    def run_ids(self) -> dict[str, str]:
        """MLflow's id of each trial's run."""
        return {trial_id: run.run_id for trial_id, run in self._runs.items()}

    def _existing(self, condition: str) -> Iterator[Run]:
        page: str | None = ""
        while page is not None:
            found = self._client.search_runs([self._experiment], condition, page_token=page or None)
            yield from found
            page = found.token or None

    def write(self, trial: Trial, state: TrialState, epochs: Iterable[EpochMetrics], tags: Mapping[str, str]) -> None:
        """Brings a trial's run up to date; epochs that it has already are passed over."""
        from mlflow.entities import Param, RunTag

        run = self._runs.get(trial.id) or self._create(trial)
        if not run.has_params:
            self._client.log_batch(run.run_id, params=[Param(*param) for param in params_of(trial).items()])
            run.has_params = True
        status = STATUS[state]
        if run.status != status and status == "RUNNING":
            self._client.update_run(run.run_id, status)
        costs = trial_costs(trial.config)
        for batch, last in _batches(costs, [epoch for epoch in epochs if epoch.epoch > run.last_epoch]):
            self._client.log_batch(run.run_id, metrics=batch)
            run.last_epoch = last
        self._client.log_batch(run.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        if run.status != status and status != "RUNNING":
            self._client.set_terminated(run.run_id, status)
        run.status = status

    def summarise(self, folder: Path, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Makes the summary run of the sweep hold these files, and no others."""
        from mlflow.entities import Metric, RunTag

        existing = next(self._existing(f"tags.kind = '{SUMMARY}'"), None)
        run = existing or self._client.create_run(self._experiment, run_name=SUMMARY, tags={"kind": SUMMARY})
        version, now = int(run.data.tags.get("version", 0)) + 1, int(time.time() * 1000)
        tags = {"mlflow.source.name": "orchestrate", "version": str(version), **tags}
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, version) for name, value in metrics.items() if math.isfinite(value)],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.log_artifacts(run.info.run_id, str(folder))
        self._delete_others(run, folder)
        self._client.set_terminated(run.info.run_id, "FINISHED")

    def _delete_others(self, run: Run, folder: Path) -> None:
        """Artifacts that are not in the folder, such as figures of an older report."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        for path in list(self._artifacts(run.info.run_id)):
            if not (folder / path).exists():  # the client itself cannot delete
                get_artifact_repository(run.info.artifact_uri, tracking_uri=self._uri).delete_artifacts(path)

    def _artifacts(self, run_id: str, below: str | None = None) -> Iterator[str]:
        """The paths of all files."""
        for found in self._client.list_artifacts(run_id, below):
            if found.is_dir:
                yield from self._artifacts(run_id, found.path)
            else:
                yield found.path

    def _create(self, trial: Trial) -> _TrackedRun:
        cell = trial.cell
        tags = {"trial_id": trial.id, "cell": cell.label, "method": cell.method, "mlflow.source.name": "orchestrate"}
        self._runs[trial.id] = _tracked(self._client.create_run(self._experiment, run_name=cell.label, tags=tags))
        return self._runs[trial.id]


def client(uri: str) -> MlflowClient:
    """A client of the server or database; a new SQLite file is made ready, which takes seconds."""
    prepare_mlflow()
    from mlflow import MlflowClient

    database = database_file(uri)
    if database and not database.exists():
        _create(database)
    elif database:
        database.open("rb").close()  # MLflow would try for minutes to open what cannot be
    return MlflowClient(tracking_uri=uri)


def _create(database: Path) -> None:
    """Makes a new SQLite file under another name: one that was left half made could never be used."""
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=database.parent) as folder:
        made = Path(folder) / database.name
        MlflowClient(tracking_uri=f"sqlite:///{made.absolute()}").search_experiments(max_results=1)
        with suppress(FileExistsError):  # another process was first; its file may have runs already
            os.link(made, database)


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_root(uri: str) -> str | None:
    """Beside a SQLite file; a server has a place of its own. MLflow's default would be the working folder."""
    database = database_file(uri)
    return (database.absolute().parent / "artifacts").as_uri() if database else None


def _check_listening(uri: str) -> None:
    """A closed port is told at once, before the seconds that MLflow's import takes."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=5).close()


def experiment_id(uri: str, sweep: str) -> str:
    """The number of a sweep's experiment. Raises TrackingError if there is none, or nobody answers."""
    database = database_file(uri)
    if database and not database.exists():
        raise TrackingError(f"{database}: no runs yet; `orchestrate sweep` makes them")
    try:
        _check_listening(uri)
        found = client(uri).get_experiment_by_name(sweep)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(f"MLflow at {safe_uri(uri)} cannot be reached: {first_line(error)}") from error
    if found is None:
        raise TrackingError(f"MLflow at {safe_uri(uri)} has no runs of a sweep named {sweep}")
    return str(found.experiment_id)


def _tracked(run: Run) -> _TrackedRun:
    """``epoch`` goes with every batch, so its latest value is the last epoch that was written."""
    last_epoch = int(run.data.metrics.get("epoch", 0))
    return _TrackedRun(run.info.run_id, last_epoch, run.info.status, bool(run.data.params))


def _batches(costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> Iterator[tuple[list[Metric], int]]:
    """Whole epochs, as many as one request may hold, and the number of the last of them."""
    from mlflow.entities import Metric

    batch: list[Metric] = []
    last = 0
    for epoch in epochs:
        time_ms = int(epoch.timestamp * 1000)
        metrics = [Metric(name, value, time_ms, epoch.epoch) for name, value in epoch_metrics(costs, epoch).items()]
        if len(batch) + len(metrics) > METRICS_PER_REQUEST:
            yield batch, last
            batch = []
        batch += metrics
        last = epoch.epoch
    if batch:
        yield batch, last


def first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def check_writable(uri: str) -> None:
    """Writes a tag on an experiment and takes it away again. Raises TrackingError where that cannot be done.

    A SQLite file that is not there yet is not made.
    """
    database = database_file(uri)
    if database and not database.exists():
        return
    try:
        _check_listening(uri)
        store = client(uri)
        for experiment in store.search_experiments(max_results=1):
            store.set_experiment_tag(experiment.experiment_id, PROBE, "writable")
            store.delete_experiment_tag(experiment.experiment_id, PROBE)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(first_line(error)) from error
