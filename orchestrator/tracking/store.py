"""One experiment of an MLflow server or database, and what is written there.

A sweep is an experiment, a trial a run. Writing is idempotent: what a run has already is passed over.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from anytime_core.config import TrialConfig
from anytime_core.data.catalog import dataset_of
from anytime_core.result import EpochMetrics
from orchestrator.errors import TrackingError, UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import Location
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.system.environment import prepare_mlflow
from orchestrator.system.provenance import user
from orchestrator.text import named
from orchestrator.tracking import database as sqlite_file
from orchestrator.tracking import logged_model, run_files
from orchestrator.tracking import views as browsing
from orchestrator.tracking.artifacts import Artifacts, refusal
from orchestrator.tracking.refusals import OF_ONE_RUN, Refusal, RefusedError, cause, status
from orchestrator.tracking.tracked_run import (
    TRAINING,
    History,
    TrackedRun,
    end_of,
    fullness,
    mark_of,
    next_epochs,
    shows,
    start_of,
)
from orchestrator.tracking.uris import (
    artifact_root,
    check_listening,
    database_file,
    is_server,
    safe_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run

ENTITIES_PER_REQUEST = 1000
SUMMARY = "summary"
"""The name of the run that holds the tables and figures of a sweep."""
VIEW_TAG = "mlflow.sharedViewState."
STORAGE_TAG = "storage"
"""Of a run: which copy of the ledger's storage made it."""
LEDGER_TAG, SWEEP_TAG = "ledger", "sweep"
"""Of an experiment: whose it is, and of which sweep. Its name is the user's to change."""

REFUSED = "refused"
"""Of a run: which of its files were refused, and why."""

Fill = Callable[[Path], object]
"""Fills a folder with the files of a run."""
Numbers = Callable[[], Mapping[str, float]]
"""Works numbers out, where they are not there yet."""


STATUS = {
    TrialState.PENDING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.PAUSED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FINISHED: "FINISHED",
}


class Store:
    """One experiment of an MLflow server or database. Whatever it raises is an outage, but for RefusedError."""

    def __init__(self, uri: str, sweep: Sweep, ledger: Ledger, say: Callable[[str], object] = str) -> None:
        """``say`` is told where the storage was moved, and the database with it."""
        check_listening(uri)
        self._client, self._uri, self._source, self._copy = client(uri), uri, str(sweep.path), ledger.copy
        if database := database_file(uri):
            sqlite_file.share(database)
            sqlite_file.check_writable(database)
            if moved := sqlite_file.adopt(database):
                say(moved)
        experiment = self._open_experiment(sweep, ledger.id)
        self.experiment = str(experiment.experiment_id)
        """Its number."""
        self.created = str(experiment.creation_time)
        """When it was made: another time tells that the server was emptied since."""
        self._runs = self._one_for_each("trial_id")
        for trial in sweep.trials:
            if run := self._runs.get(trial.id):
                self._place(run, trial)
        wanted = {trial.id for trial in sweep.trials}
        may_come = sweep.deciding or any(trial.awaits for trial in sweep.trials)
        not_chosen_yet = sweep.candidates if may_come else ()
        for trial_id, run in self._runs.items():
            if trial_id not in wanted and trial_id not in not_chosen_yet:
                self._drop(run)

    def _open_experiment(self, sweep: Sweep, ledger_id: str) -> Experiment:
        experiment = _experiment(self._client, sweep.name, ledger_id)
        if experiment is None:
            name = _free_name(self._client, sweep.name)
            root = artifact_root(self._uri)
            tags = {
                "mlflow.note.content": f"{sweep.description}\n\n{browsing.GUIDE}",
                "mlflow.experimentKind": "custom_model_development",  # or the UI takes it for one about language models
                LEDGER_TAG: ledger_id,
                SWEEP_TAG: sweep.name,
            }
            made = self._client.create_experiment(name, f"{root}/{name}" if root else None, tags)
            experiment = self._client.get_experiment(made)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        if SWEEP_TAG not in experiment.tags:
            self._client.set_experiment_tag(experiment.experiment_id, SWEEP_TAG, sweep.name)
        for name, content in browsing.views().items():
            if experiment.tags.get(VIEW_TAG + name) != content:
                self._client.set_experiment_tag(experiment.experiment_id, VIEW_TAG + name, content)
        return experiment

    @property
    def run_ids(self) -> dict[str, str]:
        """MLflow's id of each trial's run."""
        return {trial_id: run.run_id for trial_id, run in self._runs.items()}

    def _one_for_each(self, tag: str) -> dict[str, TrackedRun]:
        """The runs by that tag. Of two, as a server leaves them that makes a run when nobody waits for it any more and
        it is asked for again, the emptier is deleted."""
        by_value: dict[str, TrackedRun] = {}
        for run in self._existing(f"tags.{tag} != ''"):
            runs = sorted([_tracked(run), *filter(None, [by_value.get(run.data.tags[tag])])], key=fullness)
            by_value[run.data.tags[tag]] = runs.pop()
            for emptier in runs:
                self._client.delete_run(emptier.run_id)
        return by_value

    def _existing(self, condition: str) -> Iterator[Run]:
        return _search(self._client, [self.experiment], condition)

    def write(
        self,
        trial: Trial,
        state: TrialState,
        epochs: Iterable[EpochMetrics],
        tags: Mapping[str, str],
        history: History | None = None,
        outcomes: Numbers = dict,
    ) -> None:
        """Brings a trial's run up to date, but for its files. Epochs that it has already are passed over; where some
        are missing before the first, all wait for a later call. A run of another training of the trial is replaced;
        ``history`` tells that of a run without the tag for it, and ``outcomes`` what a finished trial's answers come
        to. Raises RefusedError for what the server refuses."""
        try:
            self._write(trial, state, list(epochs), tags, history, outcomes)
        except Exception as error:
            if is_server(self._uri) and status(error) in OF_ONE_RUN:
                raise RefusedError(refusal(_run_of(trial), error, 0, self._uri)) from error
            raise

    def _write(
        self,
        trial: Trial,
        state: TrialState,
        epochs: Sequence[EpochMetrics],
        tags: Mapping[str, str],
        history: History | None,
        outcomes: Numbers,
    ) -> None:
        run = self._run(trial, epochs, tags, history)
        status = STATUS[state]
        if run.status != status and status == "RUNNING":
            self._client.update_run(run.run_id, status)
        self._log(run, trial, epochs, tags)
        for name in browsing.PASSING:
            if name not in tags:
                self._untag(run, name)
        if state.ended:
            self._log_data(run, trial.config, tags)
        if state is TrialState.FINISHED:
            self._log_outcomes(run, outcomes, end_of(epochs))
        if run.status != status and status != "RUNNING":
            self._client.set_terminated(run.run_id, status, end_of(epochs))
        run.status = status

    def _run(
        self, trial: Trial, epochs: Sequence[EpochMetrics], tags: Mapping[str, str], history: History | None
    ) -> TrackedRun:
        """The run of this training. One of another is deleted, which MLflow can undo: numbers, files and model of two
        trainings in one run would be those of neither."""
        run, mark = self._runs.get(trial.id), mark_of(tags)
        same = True if run is None else shows(run, trial.config, tags, history)
        if run and same is False:
            self._client.delete_run(run.run_id)
            del self._runs[trial.id]
            run = None
        run = run or self._create(trial, epochs, {TRAINING: mark} if mark else {})
        if mark and same is not None and TRAINING not in run.tags:
            self._log_batch(run, {TRAINING: mark})
        return run

    def _log(self, run: TrackedRun, trial: Trial, epochs: Iterable[EpochMetrics], tags: Mapping[str, str]) -> None:
        """In as few requests as hold it: each is a transaction."""
        from mlflow.entities import Param

        params = [] if run.has_params else [Param(*param) for param in browsing.params_of(trial).items()]
        batches = list(_batches(trial.config, next_epochs(epochs, run.last_epoch)))
        fits = batches and len(batches[0][0]) + len(params) + len(tags) <= ENTITIES_PER_REQUEST
        first, last = batches.pop(0) if fits else ([], run.last_epoch)
        self._log_batch(run, tags, metrics=first, params=params)
        run.has_params, run.last_epoch = True, last
        for batch, last in batches:
            self._client.log_batch(run.run_id, metrics=batch)
            run.last_epoch = last

    def _log_batch(self, run: TrackedRun, tags: Mapping[str, str], **more: Sequence[Any]) -> None:
        """Sets those tags that differ."""
        from mlflow.entities import RunTag

        new = {name: value for name, value in tags.items() if run.tags.get(name) != value}
        if new or any(more.values()):
            self._client.log_batch(run.run_id, tags=[RunTag(name, value) for name, value in new.items()], **more)
            run.tags |= new

    def _untag(self, run: TrackedRun, name: str) -> None:
        if run.tags.pop(name, None) is not None:
            self._client.delete_tag(run.run_id, name)

    def _place(self, run: TrackedRun, trial: Trial) -> None:
        """A sweep file that was changed may give a trial another place and name."""
        self._log_batch(run, browsing.place_tags(trial))
        if run.name != (name := browsing.run_name(trial)):
            self._client.update_run(run.run_id, name=name)
            run.name = name

    def _drop(self, run: TrackedRun) -> None:
        """The run of a trial that is out of the sweep, whose result stays: nobody is to take it for one of those that
        the sweep has now. One that a driver left which died is ended."""
        self._log_batch(run, browsing.dropped_tags(run.tags.get("place", "")))
        if not run.name.startswith(browsing.DROPPED):
            run.name = f"{browsing.DROPPED}{run.name}"
            self._client.update_run(run.run_id, name=run.name)
        if run.status == "RUNNING":
            self._client.set_terminated(run.run_id, "KILLED")

    def _create(self, trial: Trial, epochs: Sequence[EpochMetrics], tags: Mapping[str, str]) -> TrackedRun:
        tags = {"trial_id": trial.id, STORAGE_TAG: self._copy, **browsing.place_tags(trial), **self._origin(), **tags}
        name, start = browsing.run_name(trial), start_of(epochs)
        made = self._client.create_run(self.experiment, start_time=start, run_name=name, tags=tags)
        self._runs[trial.id] = _tracked(made, has_files=False)
        return self._runs[trial.id]

    def _origin(self) -> dict[str, str]:
        """Who runs what, as MLflow knows it."""
        return {"mlflow.source.name": self._source, "mlflow.source.type": "LOCAL", "mlflow.user": user()}

    def _log_data(self, run: TrackedRun, config: TrialConfig, tags: Mapping[str, str]) -> None:
        if run.has_data or not (digest := tags.get("data_hash")):
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, spec = config.data.name, dataset_of(config.data)
        profile = {"num_rows": browsing.train_images(config), "test_rows": spec.test_images, "classes": spec.classes}
        source = json.dumps({"uri": name})
        dataset = Dataset(name, digest[:36], "local", source, _schema(config), json.dumps(profile))
        self._client.log_inputs(run.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        run.has_data = True

    def _log_outcomes(self, run: TrackedRun, outcomes: Numbers, ended: int | None) -> None:
        """Once: what answers come to is not read again for a run that says it."""
        if any(name.startswith(browsing.OUTCOMES) for name in run.metrics):
            return
        from mlflow.entities import Metric

        found = {browsing.OUTCOMES + name: value for name, value in outcomes().items()}
        time_ms = int(time.time() * 1000) if ended is None else ended
        self._log_batch(
            run, {}, metrics=[Metric(name, value, time_ms, run.last_epoch) for name, value in found.items()]
        )
        run.metrics |= found

    def write_files(self, trial: Trial, fill: Fill) -> list[Refusal]:
        """Fills in the files of a trial that has ended, unless they are there. Returns what was refused, and leaves a
        tag that says so; the other files are written."""
        run = self._runs[trial.id]
        files = Artifacts(run.place, self._uri, self._answers)
        try:
            there = files.top() if run.has_files is None else set()
        except Exception as error:  # whatever MLflow raises, or the client of a bucket
            return [files.refused(error, f"the list of files of {_run_of(trial)}")]
        run.has_files = run.has_files or (run_files.METRICS in there and REFUSED not in run.tags)
        if run.has_files:
            return []
        with TemporaryDirectory() as name:
            fill(Path(name))
            refused = self._log_files(run, files, trial, Path(name), there if REFUSED in run.tags else set())
        if not refused:
            self._untag(run, REFUSED)
            run.has_files = True
        return refused

    def write_log(self, trial: Trial, fill: Fill) -> list[Refusal]:
        """Puts the log of a trial that failed in the place of an earlier one. Returns what was refused."""
        run = self._runs[trial.id]
        with TemporaryDirectory() as name:
            fill(Path(name))
            path = Path(name) / run_files.SAID
            files = Artifacts(run.place, self._uri, self._answers)
            return files.put(path, f"{run_files.SAID} of {_run_of(trial)}") if path.exists() else []

    def _log_files(
        self, run: TrackedRun, files: Artifacts, trial: Trial, folder: Path, there: Collection[str]
    ) -> list[Refusal]:
        """The metrics come last, so where they are, all are that the tag does not name."""
        refused: list[Refusal] = []
        if (folder / run_files.MODEL).exists():
            refused += self._log_model(run, files, trial, folder / run_files.MODEL)
        for name in (run_files.CURVES, run_files.SAID, run_files.METRICS):
            if refused and not refused[-1].too_large:
                break
            if refused:
                self._log_batch(run, {REFUSED: "; ".join(f"{item.what}: {item.reason}" for item in refused)[:4000]})
            if (folder / name).exists() and name not in there:
                refused += files.put(folder / name, f"{name} of {_run_of(trial)}")
        return refused

    def _log_model(self, run: TrackedRun, files: Artifacts, trial: Trial, folder: Path) -> list[Refusal]:
        """The network comes first: without it, what describes it is of no use."""
        model = logged_model.save(folder, run, trial.config)
        paths = sorted(folder.rglob("*"), key=lambda path: (path.parent == folder, path.name))
        for path in paths:
            below = path.parent.relative_to(folder.parent).as_posix()
            if path.is_file() and (refused := files.put(path, f"the network of {_run_of(trial)}", below)):
                return [replace(refused[0], weights=run_files.size_of(trial.config) or 0)]
        self._log_batch(run, {"mlflow.log-model.history": json.dumps([model.get_tags_dict()])})
        return []

    def _answers(self) -> bool:
        """Whether MLflow itself is there, and so only the place of the files is not."""
        with suppress(Exception):
            self._client.get_experiment(self.experiment)
            return True
        return False

    def summary(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> Artifacts:
        """Brings the summary run of the sweep up to date, and returns the place of its files."""
        from mlflow.entities import Metric, RunTag

        self._one_for_each("kind")
        existing = next(self._existing(f"tags.kind = '{SUMMARY}'"), None)
        run = existing or self._client.create_run(self.experiment, run_name=SUMMARY, tags={"kind": SUMMARY})
        version, now = int(run.data.tags.get("version", 0)) + 1, int(time.time() * 1000)
        if browsing.NOTES in run.data.tags and browsing.NOTES not in tags:
            self._client.delete_tag(run.info.run_id, browsing.NOTES)
        tags = {**self._origin(), "version": str(version), "place": browsing.FIRST, **tags}
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, version) for name, value in metrics.items() if math.isfinite(value)],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.set_terminated(run.info.run_id, "FINISHED")
        return Artifacts(str(run.info.artifact_uri), self._uri, self._answers)


def trial_of(run_id: str, uri: str) -> str:
    """The id of the trial that a run is of. Raises UsageError where there is no such run, or it is of none."""
    database = database_file(uri)
    if database and not database.exists():
        raise UsageError(f"run {run_id}: there is no MLflow database {database}")
    check_listening(uri)
    store = client(uri)
    from mlflow.exceptions import MlflowException

    try:
        trial_id = store.get_run(run_id).data.tags.get("trial_id")
    except MlflowException as error:
        raise UsageError(f"MLflow at {named(uri, shown=safe_uri(uri))}: {cause(error)}") from error
    if not trial_id:
        raise UsageError(f"MLflow at {named(uri, shown=safe_uri(uri))}: run {run_id} is of no trial")
    return str(trial_id)


def runs_of(store: MlflowClient, ledger_id: str) -> Iterator[Run]:
    """The runs of all trials of a ledger, whatever sweep they are of."""
    experiments = store.search_experiments(filter_string=f"tags.{LEDGER_TAG} = '{ledger_id}'")
    return _search(store, [it.experiment_id for it in experiments], "tags.trial_id != ''") if experiments else iter(())


def _search(store: MlflowClient, experiments: list[str], condition: str) -> Iterator[Run]:
    page: str | None = ""
    while page is not None:
        runs = store.search_runs(experiments, condition, page_token=page or None)
        yield from runs
        page = runs.token or None


def client(uri: str) -> MlflowClient:
    """A client of the server or database; a new SQLite file is made ready, which takes seconds."""
    prepare_mlflow()
    from mlflow import MlflowClient

    if database := database_file(uri):
        sqlite_file.refuse_links(database)
    if database and not database.exists():
        sqlite_file.create(database, lambda made: MlflowClient(tracking_uri=made).search_experiments(max_results=1))
    elif database:
        sqlite_file.check_plain(database)
    return MlflowClient(tracking_uri=uri)


def pages(uri: str, sweep: str, storage: Location, say: Callable[[str], object] = str) -> dict[str, str]:
    """Where a ledger's runs of a sweep are in MLflow's UI, below its address: their ``errors``, ``curves`` and
    ``report``. ``say`` is told where the storage was moved, and the database with it.

    Raises TrackingError if there are none, or nobody answers.
    """
    database = database_file(uri)
    if database and not database.exists():
        raise TrackingError(f"{database}: no runs yet; `orchestrate sweep` makes them")
    ledger_id = Ledger(storage).id
    try:
        check_listening(uri)
        store = client(uri)
        if database:
            with suppress(sqlite3.OperationalError):  # it may be there to be read alone
                if moved := sqlite_file.adopt(database):
                    say(moved)
        experiment, summary = _experiment_and_summary(store, sweep, ledger_id)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(f"MLflow at {named(uri, shown=safe_uri(uri))} cannot be reached: {cause(error)}") from error
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
    """That of the ledger's sweep, deleted and renamed ones too; without a ledger, by name alone. On a server of many
    people others may have one of the same name, which is theirs."""
    from mlflow.entities import ViewType

    for experiment in store.search_experiments(ViewType.ALL, filter_string=f"tags.{LEDGER_TAG} = '{ledger_id}'"):
        by_name = experiment.name == sweep or experiment.name.startswith(f"{sweep} (")  # as older versions knew it
        if experiment.tags.get(SWEEP_TAG, sweep if by_name else "") == sweep:
            return experiment
    return None if ledger_id else store.get_experiment_by_name(sweep)


def _free_name(store: MlflowClient, sweep: str) -> str:
    """The sweep's name, or where another has that, with the user's, and a number where need be."""
    names = chain([sweep, f"{sweep} ({user()})"], (f"{sweep} ({user()} {number})" for number in count(2)))
    return next(name for name in names if store.get_experiment_by_name(name) is None)


def _experiment_and_summary(store: MlflowClient, sweep: str, ledger_id: str) -> tuple[Experiment | None, str | None]:
    """A sweep's experiment, and the id of its summary run."""
    experiment = _experiment(store, sweep, ledger_id)
    runs = store.search_runs([experiment.experiment_id], f"tags.kind = '{SUMMARY}'") if experiment else []
    return experiment, runs[0].info.run_id if runs else None


def _tracked(run: Run, *, has_files: bool | None = None) -> TrackedRun:
    """``epoch`` goes with every batch, so its latest value is the last epoch that was written."""
    return TrackedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        place=str(run.info.artifact_uri),
        last_epoch=int(run.data.metrics.get(browsing.EPOCH, 0)),
        status=run.info.status,
        has_params=bool(run.data.params),
        has_data=bool(run.inputs and run.inputs.dataset_inputs),
        has_files=has_files,
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
    )


def _run_of(trial: Trial) -> str:
    return f"{trial.cell.label} ({trial.id})"


def _schema(config: TrialConfig) -> str:
    spec = dataset_of(config.data)
    images = {"dtype": "uint8", "shape": [-1, spec.channels, spec.size, spec.size]}
    labels = {"dtype": "int64", "shape": [-1]}
    features, targets = ([{"type": "tensor", "tensor-spec": part}] for part in (images, labels))
    return json.dumps({"mlflow_tensorspec": {"features": json.dumps(features), "targets": json.dumps(targets)}})


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
