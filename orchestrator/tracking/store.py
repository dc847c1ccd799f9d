"""One experiment of an MLflow server or database, and what is written there. The only module that imports MLflow.

A sweep is an experiment, a trial a run. Writing is idempotent: what a run has already is passed over.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anytime_core.config import TrialConfig
from anytime_core.data.catalog import DATASETS
from anytime_core.result import EpochMetrics
from orchestrator.errors import TrackingError, UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import Location, local_folder
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.system.environment import prepare_mlflow
from orchestrator.text import FromEnvironment, named
from orchestrator.tracking import pyfunc, run_files
from orchestrator.tracking import views as browsing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run
    from mlflow.models import Model, ModelSignature

ENTITIES_PER_REQUEST = 1000
PROBE = "orchestrate.doctor"
SUMMARY = "summary"
"""The name of the run that holds the tables and figures of a sweep."""
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
VIEW_TAG = "mlflow.sharedViewState."
LEDGER_TAG = "ledger"
"""Of an experiment: whose it is."""
STALE = 3600.0
"""In seconds: a database that is still half made then has no maker any more."""

Fill = Callable[[Path], object]
"""Fills a folder with the files of a run."""


def default_uri(storage: Location) -> str:
    """A SQLite file in the storage folder; for a bucket on this machine, as a database must be a file."""
    return f"sqlite:///{local_folder(storage).absolute() / 'mlflow' / 'mlflow.db'}"


def check_uri(uri: str) -> str:
    """Raises UsageError for a URI that no MLflow store answers to."""
    try:
        parts = urlsplit(uri)
        scheme, port = parts.scheme.partition("+")[0], parts.port
    except ValueError as error:
        raise UsageError(f"{_named(uri)}: {error}") from error
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
        raise UsageError(f"{_named(uri)}: {fault}")
    return uri


def _named(uri: str) -> str:
    return named(uri, "tracking URI", safe_uri(uri) if isinstance(uri, FromEnvironment) else repr(safe_uri(uri)))


def safe_uri(text: str) -> str:
    """A URI, or a text that holds some, without its passwords and tokens: fit to be shown and stored."""
    text = re.sub(r"(://[^:/@\s]*:)[^/\s]*@", r"\1***@", text)
    text = re.sub(r"(https?://)[^:/@\s]+@", r"\1***@", text)  # a user of a database is no secret
    return re.sub(r"([?&](?:password|passwd|pwd)=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)


@dataclass(slots=True)
class _TrackedRun:
    """What a run holds already."""

    run_id: str
    name: str
    last_epoch: int
    status: str
    has_params: bool
    has_data: bool
    has_files: bool | None
    """None where that is not known."""
    tags: dict[str, str] = field(default_factory=dict)


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

    def __init__(self, uri: str, sweep: Sweep, ledger_id: str) -> None:
        _check_listening(uri)
        self._client, self._uri, self._source = client(uri), uri, str(sweep.path)
        experiment = self._open_experiment(sweep, ledger_id)
        self.experiment = str(experiment.experiment_id)
        """Its number."""
        self.created = str(experiment.creation_time)
        """When it was made: another time tells that the server was emptied since."""
        self._runs = self._one_for_each("trial_id")
        for trial in sweep.trials:
            if run := self._runs.get(trial.id):
                self._place(run, trial)
        wanted = {trial.id for trial in sweep.trials}
        for trial_id, run in self._runs.items():
            if trial_id not in wanted and run.status == "RUNNING":  # left by a driver that died, and out of the sweep
                self._client.set_terminated(run.run_id, "KILLED")

    def _open_experiment(self, sweep: Sweep, ledger_id: str) -> Experiment:
        experiment = _experiment(self._client, sweep.name, ledger_id)
        if experiment is None:
            name = _free_name(self._client, sweep.name)
            root = artifact_root(self._uri)
            tags = {
                "mlflow.note.content": f"{sweep.description}\n\n{browsing.GUIDE}",
                "mlflow.experimentKind": "custom_model_development",  # or the UI takes it for one about language models
                LEDGER_TAG: ledger_id,
            }
            made = self._client.create_experiment(name, f"{root}/{name}" if root else None, tags)
            experiment = self._client.get_experiment(made)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        if LEDGER_TAG not in experiment.tags:
            self._client.set_experiment_tag(experiment.experiment_id, LEDGER_TAG, ledger_id)
        for name, content in browsing.views().items():
            if experiment.tags.get(VIEW_TAG + name) != content:
                self._client.set_experiment_tag(experiment.experiment_id, VIEW_TAG + name, content)
        return experiment

    @property
    def run_ids(self) -> dict[str, str]:
        """MLflow's id of each trial's run."""
        return {trial_id: run.run_id for trial_id, run in self._runs.items()}

    def _one_for_each(self, tag: str) -> dict[str, _TrackedRun]:
        """The runs by that tag. Of two, as a server leaves them that makes a run when nobody waits for it any more and
        it is asked for again, the emptier is deleted."""
        by_value: dict[str, _TrackedRun] = {}
        for run in self._existing(f"tags.{tag} != ''"):
            runs = sorted([_tracked(run), *filter(None, [by_value.get(run.data.tags[tag])])], key=_fullness)
            by_value[run.data.tags[tag]] = runs.pop()
            for emptier in runs:
                self._client.delete_run(emptier.run_id)
        return by_value

    def _existing(self, condition: str) -> Iterator[Run]:
        page: str | None = ""
        while page is not None:
            runs = self._client.search_runs([self.experiment], condition, page_token=page or None)
            yield from runs
            page = runs.token or None

    def write(
        self,
        trial: Trial,
        state: TrialState,
        epochs: Iterable[EpochMetrics],
        tags: Mapping[str, str],
        fill: Fill | None = None,
    ) -> None:
        """Brings a trial's run up to date. Epochs that it has already are passed over; where some are missing before
        the first, all wait for a later call. Files are filled in once the trial has ended, unless they are there."""
        epochs = list(epochs)
        run = self._runs.get(trial.id) or self._create(trial, epochs)
        status = STATUS[state]
        if run.status != status and status == "RUNNING":
            self._client.update_run(run.run_id, status)
        self._log(run, trial, epochs, tags)
        if "failure" not in tags:
            self._untag(run, "failure")
        if state.ended:
            self._log_data(run, trial.config, tags)
            self._log_files(run, trial.config, fill)
        if run.status != status and status != "RUNNING":
            self._client.set_terminated(run.run_id, status, _end(epochs))
        run.status = status

    def _log(self, run: _TrackedRun, trial: Trial, epochs: Iterable[EpochMetrics], tags: Mapping[str, str]) -> None:
        """In as few requests as hold it: each is a transaction."""
        from mlflow.entities import Param

        params = [] if run.has_params else [Param(*param) for param in browsing.params_of(trial).items()]
        batches = list(_batches(trial.config, _next(epochs, run.last_epoch)))
        fits = batches and len(batches[0][0]) + len(params) + len(tags) <= ENTITIES_PER_REQUEST
        first, last = batches.pop(0) if fits else ([], run.last_epoch)
        self._log_batch(run, tags, metrics=first, params=params)
        run.has_params, run.last_epoch = True, last
        for batch, last in batches:
            self._client.log_batch(run.run_id, metrics=batch)
            run.last_epoch = last

    def _log_batch(self, run: _TrackedRun, tags: Mapping[str, str], **more: Sequence[Any]) -> None:
        """Sets those tags that differ."""
        from mlflow.entities import RunTag

        new = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        if new or any(more.values()):
            self._client.log_batch(run.run_id, tags=[RunTag(name, value) for name, value in new.items()], **more)
            run.tags |= new

    def _untag(self, run: _TrackedRun, name: str) -> None:
        if run.tags.pop(name, None) is not None:
            self._client.delete_tag(run.run_id, name)

    def _place(self, run: _TrackedRun, trial: Trial) -> None:
        """A sweep file that was changed may give a trial another place and name."""
        self._log_batch(run, browsing.place_tags(trial))
        if run.name != (name := browsing.run_name(trial)):
            self._client.update_run(run.run_id, name=name)
            run.name = name

    def _create(self, trial: Trial, epochs: Sequence[EpochMetrics]) -> _TrackedRun:
        tags = {"trial_id": trial.id, **browsing.place_tags(trial), **self._origin()}
        name, start = browsing.run_name(trial), _start(epochs)
        made = self._client.create_run(self.experiment, start_time=start, run_name=name, tags=tags)
        self._runs[trial.id] = _tracked(made, has_files=False)
        return self._runs[trial.id]

    def _origin(self) -> dict[str, str]:
        """Who runs what, as MLflow knows it."""
        return {"mlflow.source.name": self._source, "mlflow.source.type": "LOCAL", "mlflow.user": _user()}

    def _log_data(self, run: _TrackedRun, config: TrialConfig, tags: Mapping[str, str]) -> None:
        if run.has_data or not (digest := tags.get("data_hash")):
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, spec = config.data.name, DATASETS[config.data.name]
        profile = {"num_rows": browsing.train_images(config), "test_rows": spec.test_images, "classes": spec.classes}
        source = json.dumps({"uri": name})
        dataset = Dataset(name, digest[:36], "local", source, _schema(config), json.dumps(profile))
        self._client.log_inputs(run.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        run.has_data = True

    def _log_files(self, run: _TrackedRun, config: TrialConfig, fill: Fill | None) -> None:
        """The metrics come last, so where they are, all are."""
        if run.has_files is None:
            files = self._client.list_artifacts(run.run_id)
            run.has_files = any(file.path == run_files.METRICS for file in files)
        if not fill or run.has_files:
            return
        with TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder)
            if (folder / run_files.MODEL).exists():
                model = _model(run, config)
                _save(model, folder / run_files.MODEL, run.tags)
                self._log_batch(run, {"mlflow.log-model.history": json.dumps([model.get_tags_dict()])})
            for path in sorted(folder.iterdir(), key=lambda path: path.name == run_files.METRICS):
                if path.is_dir():
                    self._client.log_artifacts(run.run_id, str(path), path.name)
                else:
                    self._client.log_artifact(run.run_id, str(path))
            run.has_files = True

    def summarise(self, folder: Path, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Makes the summary run of the sweep hold these files, and no others."""
        from mlflow.entities import Metric, RunTag

        self._one_for_each("kind")
        existing = next(self._existing(f"tags.kind = '{SUMMARY}'"), None)
        run = existing or self._client.create_run(self.experiment, run_name=SUMMARY, tags={"kind": SUMMARY})
        version, now = int(run.data.tags.get("version", 0)) + 1, int(time.time() * 1000)
        tags = {**self._origin(), "version": str(version), "place": browsing.FIRST, **tags}
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
        for artifact in self._client.list_artifacts(run_id, below):
            if artifact.is_dir:
                yield from self._artifacts(run_id, artifact.path)
            else:
                yield artifact.path


def trial_of(run_id: str, uri: str) -> str:
    """The id of the trial that a run is of. Raises UsageError where there is no such run, or it is of none."""
    database = database_file(uri)
    if database and not database.exists():
        raise UsageError(f"run {run_id}: there is no MLflow database {database}")
    _check_listening(uri)
    store = client(uri)
    from mlflow.exceptions import MlflowException

    try:
        trial_id = store.get_run(run_id).data.tags.get("trial_id")
    except MlflowException as error:
        raise UsageError(f"MLflow at {named(uri, shown=safe_uri(uri))}: {first_line(error)}") from error
    if not trial_id:
        raise UsageError(f"MLflow at {named(uri, shown=safe_uri(uri))}: run {run_id} is of no trial")
    return str(trial_id)


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
    _tidy(database.parent)
    with TemporaryDirectory(prefix=".new-", dir=database.parent) as folder:
        made = Path(folder) / database.name
        MlflowClient(tracking_uri=f"sqlite:///{made.absolute()}").search_experiments(max_results=1)
        _put_in_place(made, database)


def _tidy(folder: Path) -> None:
    """Takes away what processes that were killed left long ago."""
    for left in folder.glob(".new-*"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - STALE:
                shutil.rmtree(left, ignore_errors=True)


def _put_in_place(made: Path, database: Path) -> None:
    """Unless another process was first: its file may have runs already."""
    try:
        os.link(made, database)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not database.exists():
            os.replace(made, database)


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


def pages(uri: str, sweep: str, storage: Location) -> dict[str, str]:
    """Where a ledger's runs of a sweep are in MLflow's UI, below its address: their ``errors``, ``curves`` and
    ``report``.

    Raises TrackingError if there are none, or nobody answers.
    """
    database = database_file(uri)
    if database and not database.exists():
        raise TrackingError(f"{database}: no runs yet; `orchestrate sweep` makes them")
    ledger_id = Ledger(storage).id
    try:
        _check_listening(uri)
        experiment, summary = _experiment_and_summary(client(uri), sweep, ledger_id)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(
            f"MLflow at {named(uri, shown=safe_uri(uri))} cannot be reached: {first_line(error)}"
        ) from error
    if experiment is None:
        raise TrackingError(f"MLflow at {named(uri, shown=safe_uri(uri))} has no runs of a sweep named {sweep}")
    page, options = f"#/experiments/{experiment.experiment_id}/runs", "workflowType=machine_learning"
    views = {
        name: f"&viewStateShareKey={name}" if VIEW_TAG + name in experiment.tags else "" for name in browsing.FILTERS
    }
    where = {
        browsing.LIST: f"{page}?{options}{views[browsing.LIST]}",
        browsing.CHARTS: f"{page}?{options}{views[browsing.CHARTS]}&compareRunsMode=CHART",
    }
    return where | ({"report": f"{page}/{summary}/artifacts/report.html?{options}"} if summary else {})


def _experiment(store: MlflowClient, sweep: str, ledger_id: str) -> Experiment | None:
    """That of the ledger's sweep, deleted ones too; without a ledger, by name alone. On a server of many people others
    may have one of the same name; one that is nobody's was made before they were told apart."""
    from mlflow.entities import ViewType

    for experiment in store.search_experiments(ViewType.ALL, filter_string=f"tags.{LEDGER_TAG} = '{ledger_id}'"):
        if experiment.name == sweep or experiment.name.startswith(f"{sweep} ("):
            return experiment
    named = store.get_experiment_by_name(sweep)
    return named if named and (not ledger_id or LEDGER_TAG not in named.tags) else None


def _free_name(store: MlflowClient, sweep: str) -> str:
    """The sweep's name, or where another has that, with the user's, and a number where need be."""
    names = chain([sweep, f"{sweep} ({_user()})"], (f"{sweep} ({_user()} {number})" for number in count(2)))
    return next(name for name in names if store.get_experiment_by_name(name) is None)


def _experiment_and_summary(store: MlflowClient, sweep: str, ledger_id: str) -> tuple[Experiment | None, str | None]:
    """A sweep's experiment, and the id of its summary run."""
    experiment = _experiment(store, sweep, ledger_id)
    runs = store.search_runs([experiment.experiment_id], f"tags.kind = '{SUMMARY}'") if experiment else []
    return experiment, runs[0].info.run_id if runs else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _tracked(run: Run, *, has_files: bool | None = None) -> _TrackedRun:
    """``epoch`` goes with every batch, so its latest value is the last epoch that was written."""
    return _TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        last_epoch=int(run.data.metrics.get(browsing.EPOCH, 0)),
        status=run.info.status,
        has_params=bool(run.data.params),
        has_data=bool(run.inputs and run.inputs.dataset_inputs),
        has_files=has_files,
        tags=dict(run.data.tags),
    )


def _fullness(run: _TrackedRun) -> tuple[int, bool, bool]:
    return run.last_epoch, run.status != "RUNNING", run.has_params


def _start(epochs: Sequence[EpochMetrics]) -> int | None:
    """In milliseconds; None is now."""
    return int((epochs[0].timestamp - epochs[0].seconds) * 1000) if epochs else None


def _end(epochs: Sequence[EpochMetrics]) -> int | None:
    return int(epochs[-1].timestamp * 1000) if epochs else None


def _next(epochs: Iterable[EpochMetrics], last: int) -> list[EpochMetrics]:
    """Those that follow on the last one; none where there is a gap, as after a run was made anew in training."""
    new = [epoch for epoch in epochs if epoch.epoch > last]
    return new if new and new[0].epoch == last + 1 else []


def _schema(config: TrialConfig) -> str:
    spec = DATASETS[config.data.name]
    images = {"dtype": "uint8", "shape": [-1, spec.channels, spec.size, spec.size]}
    labels = {"dtype": "int64", "shape": [-1]}
    features, targets = ([{"type": "tensor", "tensor-spec": part}] for part in (images, labels))
    return json.dumps({"mlflow_tensorspec": {"features": json.dumps(features), "targets": json.dumps(targets)}})


def _model(run: _TrackedRun, config: TrialConfig) -> Model:
    """What MLflow has to know of a trained network to load it; the same for the same run."""
    from mlflow.models import Model

    model = Model(
        artifact_path=run_files.MODEL,
        run_id=run.run_id,
        utc_time_created=run.tags.get("ended"),
        signature=_signature(config),
        model_uuid=run.run_id,
    )
    model.add_flavor(
        "python_function",
        loader_module=pyfunc.__name__,
        data=run_files.NETWORK,
        python_version=run.tags.get("python"),
    )
    return model


def _signature(config: TrialConfig) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    spec = DATASETS[config.data.name]
    images = TensorSpec(np.dtype(np.uint8), (-1, spec.channels, spec.size, spec.size))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, spec.classes))
    kinds = {float: "double", bool: "boolean"}
    params = [ParamSpec(name, kinds[type(default)], default) for name, default in pyfunc.PARAMS.items()]
    return ModelSignature(Schema([images]), Schema([probabilities]), ParamSchema(params))


def _save(model: Model, folder: Path, tags: Mapping[str, str]) -> None:
    model.save(str(folder / "MLmodel"))
    versions = (f"{name}=={tags[name]}" for name in ("torch", "numpy") if name in tags)
    (folder / "requirements.txt").write_text("\n".join(["anytime-orchestrator", *versions]) + "\n")


def _batches(config: TrialConfig, epochs: Sequence[EpochMetrics]) -> Iterator[tuple[list[Metric], int]]:
    """Whole epochs, as many as one request may hold, and the number of the last of them."""
    from mlflow.entities import Metric

    batch: list[Metric] = []
    last = 0
    for epoch in epochs:
        time_ms = int(epoch.timestamp * 1000)
        metrics = [Metric(n, value, time_ms, epoch.epoch) for n, value in browsing.epoch_metrics(config, epoch).items()]
        if len(batch) + len(metrics) > ENTITIES_PER_REQUEST:
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
