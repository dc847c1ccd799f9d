"""Measures how long it takes from results on disk to Table 6's statistics, and beside it the same from MLflow.

::

    python benchmarks/aggregate.py                                  # 100,000 trials, 5,000 runs: some minutes
    python benchmarks/aggregate.py --trials 1000 --mlflow-runs 100  # to see that it works
    python benchmarks/aggregate.py --outcomes                       # Table 6's 390 trials with what they answer, 1 GB

Trials are made up, and written as a worker would write them. Every measurement is a process of its own, imports
included; the files are in the system's cache. What is compared takes turns. For Linux.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import yaml

from anytime_core.config import to_dict
from anytime_core.cost import trial_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.outcomes import Array, Outcomes, class_type
from anytime_core.result import EpochMetrics, TrialResult
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import layouts
from orchestrator.report.status import read_tables
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState
from orchestrator.sweepfile.load import load
from orchestrator.tracking import store as mlflow_store
from orchestrator.tracking.uris import default_uri

NETWORKS, DATASETS = 13, ("cifar10", "cifar100", "svhn")
METHODS = ("ann", "aann", "milestone", "exp3", "rwm", "avgl")
TEST_IMAGES = 10_000
"""An error is a whole number of them, so that there are ties."""
SHOWN = ("error/at_0.25", "error/at_0.50", "error/at_0.75", "error/at_1.00", "error/average")
"""The metrics of a run that are the columns of the tables."""


# A sweep of made-up results


def write_sweep(folder: Path, trials: int, predictions: int) -> Sweep:
    """Of at least so many trials: seeds are added until there are."""
    seeds = -(-trials // (NETWORKS * len(DATASETS) * len(METHODS)))
    content = {
        "name": "benchmark",
        # A prediction every 3 units of 3n: n of them.
        "networks": [{"n": predictions, "c": 8 * (index + 1), "period": 3} for index in range(NETWORKS)],
        "datasets": list(DATASETS),
        "methods": {name: {"strategy": name} for name in METHODS},
        "seeds": list(range(seeds)),
        "report": {"scope": "seeds"},  # each pair a unit, as the count from MLflow has it
    }
    folder.mkdir(parents=True)
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content))  # which is YAML too
    return load(path)


def made_up(sweep: Sweep, predictions: int) -> Iterator[tuple[Trial, TrialRecord]]:
    """Errors fall from prediction to prediction, and are a little lower for later methods."""
    rng = np.random.default_rng(0)
    trend = np.linspace(60, 10, predictions)
    for trial in sweep.trials:
        noise = rng.normal(-0.2 * METHODS.index(trial.cell.method), 2, predictions)
        errors = np.round((trend + noise).clip(0, 100) / 100 * TEST_IMAGES) * 100 / TEST_IMAGES
        yield trial, _record(trial, tuple(errors.tolist()))


def _record(trial: Trial, errors: tuple[float, ...]) -> TrialRecord:
    result = TrialResult(
        state="finished",
        units=trial.config.predicting_units,
        costs=tuple(trial_costs(trial.config)),
        errors=errors,
        steps=trial.config.steps,
        seconds=3600.0 + trial.cell.seed,
        device="made up",
    )
    provenance = {"code_version": "made up", "host": platform.node(), "ended": f"{trial.cell.seed:09d}", "threads": 1}
    return TrialRecord(
        trial_id=trial.id, config=to_dict(trial.config), result=result, attempts=1, provenance=provenance
    )


def write_ledger(folder: Path, sweep: Sweep, predictions: int) -> None:
    ledger = Ledger(folder)
    ledger.make()
    for trial, record in made_up(sweep, predictions):
        place = ledger.folder(trial.id)
        place.mkdir()
        (place / "result.json").write_text(json.dumps(asdict(record), indent=1))


def write_mlflow(folder: Path, sweep: Sweep, predictions: int) -> None:
    store = mlflow_store.Store(default_uri(folder), sweep, Ledger(folder))
    for trial, record in made_up(sweep, predictions):
        store.write(trial, TrialState.FINISHED, [_epoch(record.result)], {"state": "finished", "attempts": "1"})


def _epoch(result: TrialResult) -> EpochMetrics:
    losses = (1.0,) * len(result.errors)
    return EpochMetrics(
        epoch=1,
        step=result.steps,
        learning_rate=0.1,
        train_loss=losses,
        train_error=result.errors,
        test_loss=losses,
        test_error=result.errors,
        probabilities=(),
        seconds=1.0,
        timestamp=1.7e9,
    )


# Table 6 with outcomes

TABLES_OF_OUTCOMES = ("budgeted", "calibration", "overthinking", "monotonicity", "classes")
TEST_IMAGES_OF = {"svhn": 26_032}


def write_outcomes(folder: Path) -> Sweep:
    """Table 6's trials with made-up outcomes of as many predictions, images and classes as they have."""
    content = yaml.safe_load((Path(__file__).parents[1] / "sweeps" / "table6.yaml").read_text())
    content["report"] = {"baseline": "ann", "tables": ["errors", *TABLES_OF_OUTCOMES]}
    folder.mkdir(parents=True)
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content))
    sweep, rng = load(path), np.random.default_rng(0)
    ledger = Ledger(folder)
    ledger.make()
    for trial in sweep.trials:
        costs = trial_costs(trial.config)
        place = ledger.folder(trial.id)
        place.mkdir()
        record = _record(trial, tuple(np.linspace(60, 10, len(costs)).tolist()))
        (place / "result.json").write_text(json.dumps(asdict(record), indent=1))
        ledger.fill_outcomes(trial.id, {"test": _answers(trial, costs, rng)})
    return sweep


def _answers(trial: Trial, costs: Sequence[int], rng: np.random.Generator) -> Outcomes:
    """Accuracies rise from 40 to 90 %; who is right is the more confident."""
    data = dataset_of(trial.config.data)
    classes, images = len(data.class_names), TEST_IMAGES_OF.get(data.name, TEST_IMAGES)
    labels, shape = rng.integers(classes, size=images), (len(costs), images)
    right = rng.random(shape) < np.linspace(0.4, 0.9, len(costs))[:, None]
    answers: Array = np.where(right, labels, (labels + 1) % classes).astype(class_type(classes))
    confidence = (1 - rng.random(shape) ** np.where(right, 3, 1) * (1 - 1 / classes)).astype(np.float32)
    return Outcomes(
        labels=labels,
        costs=tuple(costs),
        classes=answers,
        confidence=confidence.astype(np.float16),
        of_truth=np.where(right, confidence, (1 - confidence) / 2).astype(np.float16),
        entropy=((1 - confidence) * np.log(classes)).astype(np.float16),
    )


def with_outcomes(folder: Path) -> tuple[Steps, Wins]:
    clock = Clock()
    tables = read_tables(load(folder / "sweep.yaml"), Ledger(folder))
    clock.lap("read the ledger")
    layouts.arrange(tables)
    clock.lap("all tables of outcomes")
    return clock.steps, {}


def benchmark_outcomes(folder: Path, repeats: int) -> dict[str, Any]:
    _say("writing the outcomes of Table 6")
    place = folder / "outcomes"
    trials = len(write_outcomes(place).trials)
    _say(f"{sum(path.stat().st_size for path in place.rglob('outcomes.parquet')) / 1e6:,.0f} MB")
    found = [measured("ledger with outcomes", place) for _ in range(repeats)]
    return {"repeats": repeats, "rows": [_row("ledger with outcomes", trials, found)], "on": _surroundings()}


# What is measured: seconds by step. Both give percentages of wins and Hoeffding's bounds, by method and metric

Steps = dict[str, float]
Wins = dict[str, tuple[float, float]]


def from_ledger(folder: Path) -> tuple[Steps, Wins]:
    clock = Clock()
    sweep = load(folder / "sweep.yaml")
    clock.lap("expand the sweep")
    tables = read_tables(sweep, Ledger(folder))
    clock.lap("read the ledger, all tables and tests")
    wins = {
        f"{row.method} {row.metric}": (row.wins.percent or 0.0, row.p_values["hoeffding"] or 0.0) for row in tables.wins
    }
    return clock.steps, wins


def from_cold_ledger(folder: Path) -> tuple[Steps, Wins]:
    (folder / "index.bin").unlink(missing_ok=True)
    return from_ledger(folder)


def from_mlflow(folder: Path) -> tuple[Steps, Wins]:
    """With what MLflow and pandas offer."""
    clock = Clock()
    import mlflow

    clock.lap("import MLflow")
    mlflow.set_tracking_uri(default_uri(folder))
    runs = mlflow.search_runs(experiment_names=["benchmark"], max_results=50_000)
    clock.lap("search_runs")
    wins = _wins(runs)
    clock.lap("compare")
    return clock.steps, wins


def _wins(runs: Any) -> Wins:
    """Win percentages over ann, and Hoeffding's bound of each, from a data frame of runs."""
    experiment = ["params.data.name", "params.network.n", "params.network.c", "params.seed"]
    wide = runs.pivot(index=experiment, columns="tags.method", values=[f"metrics.{name}" for name in SHOWN])
    found = {}
    for metric, name in zip(METRICS, SHOWN, strict=True):
        errors = wide[f"metrics.{name}"]
        for method in METHODS[1:]:
            pairs = errors[[method, "ann"]].dropna()
            fraction = ((pairs[method] < pairs["ann"]) + (pairs[method] == pairs["ann"]) / 2).mean()
            p_value = np.exp(-2 * len(pairs) * max(fraction - 0.5, 0) ** 2)
            found[f"{method} {metric}"] = 100 * float(fraction), float(p_value)
    return found


class Clock:
    def __init__(self) -> None:
        self.steps: Steps = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.steps[name], self._last = now - self._last, now


MEASURED: dict[str, Callable[[Path], tuple[Steps, Wins]]] = {
    "ledger, no index": from_cold_ledger,
    "ledger": from_ledger,
    "mlflow.search_runs": from_mlflow,
    "ledger with outcomes": with_outcomes,
}


def measure_here(name: str, folder: Path) -> None:
    """In a process of its own: prints what it took."""
    steps, wins = MEASURED[name](folder)
    click.echo(json.dumps({"steps": steps, "wins": wins, "peak_mib": _peak_mib()}))


def _peak_mib() -> float:
    """Of this program alone: what ``getrusage`` tells begins with the memory of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def measured(name: str, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"seconds": time.perf_counter() - began}


# The whole


def benchmark(folder: Path, trials: int, predictions: int, runs: int, repeats: int) -> dict[str, Any]:
    places = {"all": folder / "all", "few": folder / "few"}
    sizes = {}
    for place, count in (("all", trials), ("few", runs)):
        _say(f"writing {count:,} results of {predictions} predictions")
        sweep = write_sweep(places[place], count, predictions)
        write_ledger(places[place], sweep, predictions)
        sizes[place] = len(sweep.trials)
    _say(f"writing {sizes['few']:,} MLflow runs")
    write_mlflow(places["few"], sweep, predictions)
    turns = [("ledger, no index", "all"), ("ledger", "all"), ("ledger", "few"), ("mlflow.search_runs", "few")]
    results: dict[tuple[str, str], list[dict[str, Any]]] = {turn: [] for turn in turns}
    for turn in range(repeats):
        _say(f"measuring, {turn + 1} of {repeats}")
        for name, place in turns:
            results[name, place].append(measured(name, places[place]))
    _check_same(results["ledger", "few"][0]["wins"], results["mlflow.search_runs", "few"][0]["wins"])
    return {
        "predictions": predictions,
        "repeats": repeats,
        "rows": [_row(name, sizes[place], found) for (name, place), found in results.items()],
        "on": _surroundings(),
    }


def _say(text: str) -> None:
    click.echo(text, err=True)


def _check_same(ledger: Wins, mlflow: Wins) -> None:
    if ledger.keys() != mlflow.keys() or not all(np.allclose(ledger[key], mlflow[key]) for key in ledger):
        raise click.ClickException(f"the ledger and MLflow give different tables: {ledger} against {mlflow}")


def _row(name: str, trials: int, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = sorted(one["seconds"] for one in found)
    return {
        "from": name,
        "trials": trials,
        "seconds": median(seconds),
        "least": seconds[0],
        "most": seconds[-1],
        "microseconds_per_trial": 1e6 * median(seconds) / trials,
        "peak_mib": max(one["peak_mib"] for one in found),
        "steps": {step: median(one["steps"][step] for one in found) for step in found[0]["steps"]},
    }


def _surroundings() -> dict[str, str]:
    names = ("anytime-orchestrator", "mlflow", "pandas", "numpy", "pyarrow")
    cores = len(os.sched_getaffinity(0))
    return {
        "machine": f"{cores} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
    } | {name: version(name) for name in names}


def as_text(found: dict[str, Any]) -> str:
    head = f"{'from':<20} {'trials':>8} {'median s':>9} {'least':>7} {'most':>7} {'us/trial':>9} {'peak MiB':>9}  steps"
    surroundings = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    measured_on = f"n = {found['repeats']}, in turns; {surroundings}"
    return "\n".join([head, *map(_line, found["rows"]), *_compared(found), measured_on])


def _compared(found: dict[str, Any]) -> Iterator[str]:
    if len(found["rows"]) > 1:
        _, whole, few, mlflow = (row["microseconds_per_trial"] for row in found["rows"])
        times = f"{mlflow / whole:.1f} times as long as the ledger; {mlflow / few:.1f} times, of as many"
        yield f"a trial of {found['predictions']} predictions takes MLflow {times}"


def _line(row: dict[str, Any]) -> str:
    steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["steps"].items())
    return (
        f"{row['from']:<20} {row['trials']:>8,} {row['seconds']:>9.2f} {row['least']:>7.2f} {row['most']:>7.2f} "
        f"{row['microseconds_per_trial']:>9.1f} {row['peak_mib']:>9.0f}  {steps}"
    )


@click.command()
@click.option("--trials", default=100_000, show_default=True, help="At least; whole seeds of 234 trials.")
@click.option("--predictions", type=click.IntRange(4, 256), default=40, show_default=True, help="Of each trial.")
@click.option("--mlflow-runs", default=5_000, show_default=True, help="At least. About 70 ms to write each.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--outcomes", is_flag=True, help="Table 6's trials with outcomes instead, in all tables of outcomes.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--measure", type=(click.Choice(list(MEASURED)), click.Path(path_type=Path)), hidden=True)
def main(
    trials: int,
    predictions: int,
    mlflow_runs: int,
    repeats: int,
    outcomes: bool,
    form: str,
    measure: tuple[str, Path] | None,
) -> None:
    """From 100,000 results on disk to Table 6 and its statistics: seconds and memory, beside mlflow.search_runs."""
    if measure:
        measure_here(*measure)
        return
    with TemporaryDirectory(prefix="aggregate-") as folder:
        place = Path(folder)
        if outcomes:
            found = benchmark_outcomes(place, repeats)
        else:
            found = benchmark(place, trials, predictions, mlflow_runs, repeats)
    click.echo(json.dumps(found, indent=1) if form == "json" else as_text(found))


if __name__ == "__main__":
    main()
