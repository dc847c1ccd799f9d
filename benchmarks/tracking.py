"""Measures what tracking costs a sweep of short trials: ours, none, and Tune's stock MLflow callback.

::

    python benchmarks/tracking.py                           # some minutes
    python benchmarks/tracking.py --trials 8 --repeats 1    # to see that it works

Each is a process of its own that trains the same trials by the same scheduler, and they take turns. The clock runs from
the first trial on until MLflow holds everything; Ray's start and that of MLflow's database are left out. The stock
callback is called as Tune calls it, in the loop that hands out trials, with the metrics that we write too. The database
is SQLite's. For Linux.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from anytime_core.files import LocalFolder
from anytime_core.result import EpochMetrics
from orchestrator.execution.worker import Outcome, WorkerContext
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.retries import FailureKind, Holds
from orchestrator.sweep.trial import Trial
from orchestrator.sweepfile.load import load
from orchestrator.tracking.store import Store
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.uris import default_uri
from orchestrator.tracking.views import epoch_metrics, params_of

NETWORKS = 4


def write_sweep(folder: Path, trials: int, epochs: int) -> Sweep:
    """Of at least so many trials."""
    content = {
        "name": "tracking",
        "networks": [{"n": 1, "c": 2 + index} for index in range(NETWORKS)],
        "datasets": ["digits"],
        "methods": {"ann": {}},
        "seeds": list(range(-(-trials // NETWORKS))),
        "keep": {"outcomes": False},  # of which Tune's callback tells nothing
        "training": {"steps": 22 * epochs, "batch_size": 64, "learning_rate": {"0": 0.1}},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content))  # which is YAML too
    return load(path)


# What listens to the scheduler


class Silent:
    """Tracks nothing."""

    holds, overdue = Holds(), False

    def started(self, trial_id: str) -> None:
        pass

    def placed(self, trial_id: str) -> None:
        pass

    def reached(self, trial_id: str, step: int) -> None:
        pass

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        pass

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        pass

    def lost(self, trial_id: str, reason: str, kind: FailureKind) -> None:
        raise RuntimeError(f"{trial_id}: {reason}")

    def waits(self, reason: str) -> None:
        pass


class Ours(Silent):
    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.started, self.progressed = tracker.started, tracker.progressed  # type: ignore[method-assign]

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        self._tracker.ended(trial_id, outcome.state)


class Stock(Silent):
    """Tune's callback, of one run a trial, with our metrics."""

    def __init__(self, callback: Any, sweep: Sweep) -> None:
        self._callback = callback
        self._trials = {trial.id: StockTrial(trial) for trial in sweep.trials}

    def started(self, trial_id: str) -> None:
        self._callback.log_trial_start(self._trials[trial_id])

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        trial = self._trials[trial_id]
        for epoch in epochs:
            result = epoch_metrics(trial.of, epoch) | {"training_iteration": epoch.epoch}
            self._callback.log_trial_result(epoch.epoch, trial, result)

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        self._callback.log_trial_end(self._trials[trial_id], failed=False)


class StockTrial:
    """As much of a trial of Tune's as the callback looks at."""

    def __init__(self, trial: Trial) -> None:
        self.trial_id, self.of = trial.id, trial.config
        self.config = params_of(trial)

    def __str__(self) -> str:
        return self.trial_id


@contextmanager
def silent(sweep: Sweep, storage: Path) -> Iterator[Silent]:
    yield Silent()


@contextmanager
def ours(sweep: Sweep, storage: Path) -> Iterator[Silent]:
    uri = default_uri(storage)
    Store(uri, sweep, Ledger(storage))
    with Tracker(uri, sweep, Ledger(storage), print) as tracker:
        yield Ours(tracker)
    if tracker.outage or tracker.behind:
        raise click.ClickException(f"MLflow lacks {len(tracker.behind)} trials: {tracker.outage}")


@contextmanager
def stock(sweep: Sweep, storage: Path) -> Iterator[Silent]:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    uri = default_uri(storage)
    Store(uri, sweep, Ledger(storage))
    callback = MLflowLoggerCallback(tracking_uri=uri, experiment_name=sweep.name)
    callback.setup()
    yield Stock(callback, sweep)


VARIANTS: dict[str, Callable[[Sweep, Path], Any]] = {"none": silent, "ours": ours, "Tune's callback": stock}


def measure_here(name: str, folder: Path, sweep_file: Path) -> None:
    """In a process of its own: prints what it took."""
    from orchestrator.system.environment import prepare_mlflow, prepare_ray

    prepare_ray(own_cluster=True)
    prepare_mlflow()
    from orchestrator.cluster.session import cluster
    from orchestrator.execution import scheduler

    sweep, storage = load(sweep_file), folder / "runs"
    ledger = Ledger(storage)
    ledger.make()
    where = WorkerContext(storage=storage, data_root=storage / "data")
    with ledger.drive(sweep.name), cluster(None, LocalFolder(folder)):
        with VARIANTS[name](sweep, storage) as listener:
            began = time.perf_counter()
            scheduler.run_round(sweep.trials, where, listener, folder / "tune", stalled_after=900)
            trained = time.perf_counter() - began
        seconds = time.perf_counter() - began
    if len(ledger.records(trial.id for trial in sweep.trials)) != len(sweep.trials):
        raise click.ClickException("some trials have not ended")
    click.echo(json.dumps({"seconds": seconds, "trained": trained, "metrics": _metrics(storage)}))


def _metrics(storage: Path) -> int:
    """How many MLflow holds."""
    import sqlite3

    path = storage / "mlflow" / "mlflow.db"
    if not path.exists():
        return 0
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(source.execute("SELECT count(*) FROM metrics").fetchone()[0])
    finally:
        source.close()


# The whole


def benchmark(folder: Path, trials: int, epochs: int, repeats: int) -> dict[str, Any]:
    sweep = write_sweep(folder, trials, epochs)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for turn in range(repeats):
        for name in VARIANTS:
            click.echo(f"{name}, {turn + 1} of {repeats}", err=True)
            place = folder / f"{turn}-{len(found[name])}-{name.split()[0]}"
            place.mkdir()
            command = [sys.executable, "-W", "ignore", __file__, "--measure", name, str(place), str(sweep.path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_environment(place))
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    without = median(one["seconds"] for one in found["none"])
    names = ("anytime-orchestrator", "torch", "ray", "mlflow")
    return {
        "trials": len(sweep.trials),
        "epochs": epochs,
        "repeats": repeats,
        "rows": [_row(name, without, measured) for name, measured in found.items()],
        "load": os.getloadavg()[0],
        "on": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
        | {name: version(name) for name in names},
    }


def _row(name: str, without: float, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = sorted(one["seconds"] for one in found)
    return {
        "tracking": name,
        "seconds": median(seconds),
        "least": seconds[0],
        "most": seconds[-1],
        "trained": median(one["trained"] for one in found),
        "ratio": median(seconds) / without,
        "metrics": found[0]["metrics"],
    }


def _environment(folder: Path) -> dict[str, str]:
    foreign = ("RAY_", "MLFLOW_", "ORCHESTRATE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {"HOME": str(folder)}


def as_text(found: dict[str, Any]) -> str:
    lines = [f"{'tracking':<17}{'median s':>9}{'least':>8}{'most':>8}{'trained after':>14}{'ratio':>7}{'metrics':>9}"]
    lines += [
        f"{row['tracking']:<17}{row['seconds']:>9.2f}{row['least']:>8.2f}{row['most']:>8.2f}{row['trained']:>14.2f}"
        f"{row['ratio']:>7.2f}{row['metrics']:>9,}"
        for row in found["rows"]
    ]
    on = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    sizes = f"{found['trials']} trials of {found['epochs']} epochs; n = {found['repeats']}, in turns"
    return "\n".join([*lines, f"{sizes}; load {found['load']:.1f}; {on}"])


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=32, show_default=True, help="At least; a multiple of 4.")
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True, help="Of each, of 22 steps.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--measure",
    type=(click.Choice(list(VARIANTS)), click.Path(path_type=Path), click.Path(path_type=Path)),
    hidden=True,
)
def main(trials: int, epochs: int, repeats: int, form: str, measure: tuple[str, Path, Path] | None) -> None:
    """A sweep of short trials with our tracking, with none and with Tune's stock MLflow callback: seconds and ratio."""
    if measure:
        measure_here(*measure)
        return
    with TemporaryDirectory(prefix="tracking-", ignore_cleanup_errors=True) as folder:
        found = benchmark(Path(folder), trials, epochs, repeats)
    click.echo(json.dumps(found, indent=1) if form == "json" else as_text(found))


if __name__ == "__main__":
    main()
