"""MLflow, for browsing: one experiment a sweep, one run a trial. The only module that imports MLflow.

All of it is a projection of the ledger by one writer, a thread of the driver, in batches. Where MLflow cannot be
reached training goes on, and what is missing is written from the ledger once it can; nothing is ever written twice.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anytime_core.config import to_dict
from anytime_core.cost import trial_costs
from anytime_core.files import write_atomically
from anytime_core.result import EpochMetrics, average_error, milestone_errors
from orchestrator.environment import prepare_mlflow
from orchestrator.errors import TrackingError, UsageError
from orchestrator.ledger import Ledger
from orchestrator.sweep import Sweep
from orchestrator.trial import Trial, TrialState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
RETRY_SECONDS = 10.0
METRICS_PER_REQUEST = 1000
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")

GUIDE = """\
One run for each trial. Good columns: the params `network.n`, `network.c`, `data.name`, the tags `method` and `state`,
and these metrics, which have one value an epoch:

- `error/at_1.00`, `error/at_0.75`, ...: test error in % of the latest prediction at that fraction of the network's cost
- `error/average`: the mean of the test errors of all predictions (AE)
- `train_error/...`: the same on the training batches of the epoch
- `loss/test_last`, `loss/train_last`: cross-entropy of the last prediction
"""


def default_uri(storage: Path) -> str:
    return f"sqlite:///{storage.absolute() / 'mlflow' / 'mlflow.db'}"


def check_uri(uri: str) -> str:
    """Raises UsageError for a URI that no MLflow store answers to."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in SCHEMES:
        raise UsageError(f"tracking URI {uri!r}: must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    return uri


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
    return shown


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


@dataclass(slots=True)
class _News:
    """What has happened to a trial since the last flush."""

    epochs: list[EpochMetrics] = field(default_factory=list)
    state: TrialState = TrialState.RUNNING


class Tracker:
    """Projects a sweep into MLflow, from a thread of its own.

    A context manager: on leaving, everything that the ledger holds is delivered, or ``behind`` says how many trials are
    not, and ``outage`` why. ``say`` is told, from the thread, when an outage begins and ends.
    """

    def __init__(self, uri: str, sweep: Sweep, ledger: Ledger, say: Callable[[str], object]) -> None:
        self.outage: str | None = None
        self.behind: list[str] = []
        self._uri, self._sweep, self._ledger = uri, sweep, ledger
        self._trials = {trial.id: trial for trial in sweep.trials}
        self._say = say
        self._news: dict[str, _News] = {}
        self._live: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._store: _Store | None = None
        self._next_try = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)

    def __enter__(self) -> Tracker:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._thread.join()

    # What the driver says; returns at once

    def started(self, trial_id: str) -> None:
        self._add(trial_id, TrialState.RUNNING)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        self._add(trial_id, TrialState.RUNNING, epochs)

    def ended(self, trial_id: str, state: TrialState) -> None:
        self._add(trial_id, state)

    def _add(self, trial_id: str, state: TrialState, epochs: Sequence[EpochMetrics] = ()) -> None:
        with self._lock:
            self._live.add(trial_id)
            news = self._news.setdefault(trial_id, _News())
            news.epochs.extend(epochs)
            news.state = state

    # The thread

    def _work(self) -> None:
        self._attempt(self._reconcile)
        while not self._closing.wait(FLUSH_SECONDS):
            if time.monotonic() >= self._next_try:
                self._attempt(self._flush)
        self._attempt(self._flush)
        self._live.clear()
        self._attempt(self._reconcile)

    def _attempt(self, delivery: Callable[[], None]) -> None:
        before, self.outage = self.outage, None
        try:
            delivery()
        except Exception as error:  # whatever MLflow raises, training goes on
            log.info("MLflow cannot be reached", exc_info=True)
            self.outage = _first_line(error)
            self._next_try = time.monotonic() + RETRY_SECONDS
        if self.outage and not before:
            self._say(f"MLflow at {safe_uri(self._uri)} cannot be reached: {self.outage}; training goes on without it")
        elif before and not self.outage:
            self._say("MLflow can be reached again")

    def _connected(self) -> _Store:
        if self._store is None:
            self._store = _Store(self._uri, self._sweep)
        return self._store

    def _flush(self) -> None:
        """Writes what the driver said since the last time; what cannot be written waits for the next."""
        store = self._connected()
        with self._lock:
            news, self._news = self._news, {}
        try:
            for trial_id in list(news):
                new = news[trial_id]
                store.write(self._trials[trial_id], new.state, new.epochs, self._tags(trial_id, new.state))
                del news[trial_id]
        finally:
            with self._lock:
                for trial_id, new in news.items():
                    if later := self._news.get(trial_id):
                        new = _News(new.epochs + later.epochs, later.state)
                    self._news[trial_id] = new

    def _reconcile(self) -> None:
        """Makes the run of every trial that is not running now say what the ledger says."""
        marks = _marks(self._ledger, self._sweep)
        delivered = _delivered(self._ledger, self._sweep.name, self._uri)
        self.behind = [trial_id for trial_id, mark in marks.items() if delivered.get(trial_id) != mark]
        try:
            for trial_id in [trial_id for trial_id in self.behind if trial_id not in self._live]:
                state, epochs = self._ledger.state(trial_id), self._ledger.epochs(trial_id)
                self._connected().write(self._trials[trial_id], state, epochs, self._tags(trial_id, state))
                delivered[trial_id] = marks[trial_id]
                self.behind.remove(trial_id)
        finally:
            _remember(self._ledger, self._sweep.name, self._uri, delivered)

    def _tags(self, trial_id: str, state: TrialState) -> dict[str, str]:
        tags = {"state": str(state), "attempts": str(self._ledger.attempts(trial_id))}
        if state is TrialState.FAILED:
            tags["failure"] = (self._ledger.failure(trial_id) or "")[:4000]
        if record := self._ledger.record(trial_id):
            tags |= {name: str(value) for name, value in record.provenance.items()}
            tags["device"] = record.result.device
        return tags


STATUS = {
    TrialState.PENDING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FINISHED: "FINISHED",
}


class _Store:
    """One experiment of an MLflow server or database. Whatever it raises is an outage."""

    def __init__(self, uri: str, sweep: Sweep) -> None:
        _check_listening(uri)
        self._client, self._uri = client(uri), uri
        self._experiment = self._open_experiment(sweep)
        self._runs = {run.data.tags["trial_id"]: _tracked(run) for run in self._existing()}

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

    def _existing(self) -> Iterator[Run]:
        page: str | None = ""
        while page is not None:
            found = self._client.search_runs([self._experiment], "tags.trial_id != ''", page_token=page or None)
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

    def _create(self, trial: Trial) -> _TrackedRun:
        cell = trial.cell
        tags = {"trial_id": trial.id, "cell": cell.label, "method": cell.method, "mlflow.source.name": "orchestrate"}
        self._runs[trial.id] = _tracked(self._client.create_run(self._experiment, run_name=cell.label, tags=tags))
        return self._runs[trial.id]


def client(uri: str) -> MlflowClient:
    """A client of the server or database; a new SQLite file is made ready, which takes seconds."""
    if database := _database(uri):
        database.parent.mkdir(parents=True, exist_ok=True)
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _database(uri: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_root(uri: str) -> str | None:
    """Beside a SQLite file; a server has a place of its own. MLflow's default would be the working folder."""
    database = _database(uri)
    return (database.absolute().parent / "artifacts").as_uri() if database else None


def _check_listening(uri: str) -> None:
    """A closed port is told at once, before the seconds that MLflow's import takes."""
    import socket

    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=5).close()


def experiment_id(uri: str, sweep: str) -> str:
    """The number of a sweep's experiment. Raises TrackingError if there is none, or nobody answers."""
    database = _database(uri)
    if database and not database.exists():
        raise TrackingError(f"{database}: no runs yet; `orchestrate sweep` makes them")
    try:
        _check_listening(uri)
        found = client(uri).get_experiment_by_name(sweep)
    except Exception as error:  # whatever MLflow raises
        raise TrackingError(f"MLflow at {safe_uri(uri)} cannot be reached: {_first_line(error)}") from error
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


# Which trials are delivered, so that a sweep with nothing to do need not ask MLflow.


def _tracked_file(ledger: Ledger, sweep: str) -> Path:
    return ledger.sweep_folder(sweep) / "tracked.json"


def _marks(ledger: Ledger, sweep: Sweep) -> dict[str, str]:
    """What the ledger knows of each trial that began, in a word: it changes when there is something to tell."""
    states = {trial.id: ledger.state(trial.id) for trial in sweep.trials}
    return {
        trial_id: str(state) if state.ended else f"{state} {ledger.attempts(trial_id)} {ledger.step(trial_id)}"
        for trial_id, state in states.items()
        if state is not TrialState.PENDING
    }


def _delivered(ledger: Ledger, sweep: str, uri: str) -> dict[str, str]:
    database = _database(uri)
    if database and not database.exists():  # deleted since
        return {}
    try:
        content = json.loads(_tracked_file(ledger, sweep).read_bytes())
        return dict(content["trials"]) if content["uri"] == safe_uri(uri) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(ledger: Ledger, sweep: str, uri: str, trials: Mapping[str, str]) -> None:
    content = {"uri": safe_uri(uri), "trials": dict(sorted(trials.items()))}
    write_atomically(_tracked_file(ledger, sweep), json.dumps(content, indent=1).encode())


def is_current(ledger: Ledger, sweep: Sweep, uri: str) -> bool:
    """Whether MLflow has been told all that the ledger knows of the sweep."""
    delivered = _delivered(ledger, sweep.name, uri)
    return all(delivered.get(trial_id) == mark for trial_id, mark in _marks(ledger, sweep).items())


def safe_uri(uri: str) -> str:
    """The URI without its password, fit to be shown and stored."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
