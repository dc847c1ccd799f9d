"""What of a trial is shown for browsing: names, params, tags and metrics, and the view that MLflow's UI opens with.
Imports no MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anytime_core.config import TrialConfig, to_dict
from anytime_core.cost import trial_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.result import EpochMetrics, average_error, milestone_errors
from anytime_core.training.epochs import number_of_epochs, steps_of_epoch
from orchestrator.analysis.expense import expense, numbers
from orchestrator.ledger.notes import Note
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord

PREDICTION_EPOCHS = 20
"""For so many epochs of a trial, and its last, the errors of all predictions are shown; for the others those at
fractions of the cost. ``metrics.parquet``, among the run's artifacts, has them all."""
MOST_PREDICTIONS = 900
"""Of an epoch, which must fit into one request."""
EPOCH = "epoch"
OUTCOMES = "outcomes/"
OF_OUTCOMES = ("auc", "budgeted_area", "ece", "nll", "auroc", "destructive")
"""Metrics of a trial's answers to single images, as ``stats.outcomes.metrics`` names them."""
LONGEST_PARAM = 5900
"""MLflow takes 6,000 characters."""
IDENTITY = ("first_attempt_began", "network_hash")
"""What tells one training of a trial from another, as tags: when it began, and the network that came of it."""
NOTES = "notes"
"""Of a run: what people have noted of its trial or, on the summary, of the sweep. ``mlflow.note.content`` is for what
people write in MLflow."""
PASSING = ("failure", NOTES)
"""Tags that go when there is no more reason for them."""
LONGEST_NOTES = 4000
FIRST, AFTER_ALL = "0", "~ "
"""The ``place`` of the summary run is before all trials, that of trials which are out of the sweep after them."""
GUIDE = """\
One run for each trial, and one named `summary`, whose artifacts are the tables and figures. Those of a trial are its
curves, its metrics of all epochs and predictions (`metrics.parquet`), what it printed (`log.txt`) and, unless it is
large, the trained network (`model`, which `mlflow.pyfunc.load_model` loads). Metrics, one value an epoch:

- `error/at_1.00`, `error/at_0.75`, ...: test error in % of the latest prediction at that fraction of the network's cost
- `error/average`: the mean of the test errors of all predictions (AE)
- `train_error/...`: the same on the training batches of the epoch
- `loss/test_last`, `loss/train_last`: cross-entropy of the last prediction
- `test_error/prediction_01`, ...: test error in % of each prediction, first to last, for about 20 epochs of the trial
- `outcomes/auc`, ...: what the trained network's answers to single images come to, such as how sure it is
- `system/images_per_second`: training images, by the time of the epoch with its evaluation
- `system/cpu_percent`, `system/memory_megabytes`: of the trial's process at the end of the epoch; 100 % is one core
- `system/gpu_percent`, `system/gpu_memory_megabytes`: how busy its GPU is, for whomever; what the trial holds of it
- `system/cpu_joules`, `system/gpu_joules`: energy of the epoch, the process's part of it and all of its GPU's

The tags `kwh`, `co2_grams` and `cost_EUR` say what a trial took, as far as it was measured and the sweep file states an
intensity and a price.
"""


def run_name(trial: Trial) -> str:
    """Short: the UI cuts it off after some 25 letters."""
    cell = trial.cell
    unit = "" if cell.unit is None else f" u{cell.unit}"
    return f"{cell.method} {cell.network} {cell.dataset}{unit} s{cell.seed}"


def place_tags(trial: Trial) -> dict[str, str]:
    """Where a trial stands in the sweep; a sweep file may give it another place later. ``place`` sorts: the methods of
    one network and seed side by side, ResNets in order of size, those of extensions after them, optima last."""
    cell = trial.cell
    kind = "joint" if cell.unit is None else "opt"
    size = f"own {cell.network}" if cell.own else f"{cell.n:04}.{cell.c:04}.{cell.period:03}.{cell.transition}"
    sorts = f"{size} {cell.seed:06} {cell.method} {cell.unit or 0:04}"
    return {
        "cell": cell.label,
        "method": cell.method,
        "network": cell.network,
        "dataset": cell.dataset,
        "place": f"{kind} {cell.dataset} {sorts}",
        CURRENT: "yes",
    }


DROPPED = "dropped: "
"""Before the name of a run whose trial the sweep file names no more."""
CURRENT = "current"
"""Of a run: whether the sweep file names its trial."""


def dropped_tags(place: str) -> dict[str, str]:
    """Of a run that the sweep file names no more: it comes after all others, by what was its ``place``."""
    return {CURRENT: "no", "place": f"{AFTER_ALL}{place.removeprefix(AFTER_ALL)}"}


def params_of(trial: Trial) -> dict[str, str]:
    """The config with dotted names; MLflow holds strings."""
    return dict(_flattened(to_dict(trial.config)))


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and name != "learning_rate":
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _shortened(json.dumps(value) if isinstance(value, dict) else str(value))


def _shortened(value: str) -> str:
    """A thousand names of classes are more than MLflow takes."""
    return value if len(value) <= LONGEST_PARAM else f"{value[:LONGEST_PARAM]}..."


def record_tags(record: TrialRecord) -> dict[str, str]:
    """Where the result of a trial comes from; the commit also as MLflow knows it."""
    tags = {name: str(value) for name, value in record.provenance.items()} | {"device": record.result.device}
    if commit := re.fullmatch(r"([0-9a-f]{7,40})(-dirty.*)?", tags.get("code_version", "")):
        tags["mlflow.source.git.commit"] = commit[1]
    return tags


def expense_tags(sweep: Sweep, record: TrialRecord) -> dict[str, str]:
    """Such as ``kwh``; what was not measured has no tag."""
    found = numbers(sweep, expense(record))
    return {name: f"{value:.6g}" for name, value in found.items() if value is not None}


def note_tags(notes: Sequence[Note]) -> dict[str, str]:
    """The newest come first, as long a text may be cut off."""
    lines = (f"{note.time} {note.who}: {note.text}" for note in reversed(notes))
    return {NOTES: "\n".join(lines)[:LONGEST_NOTES]} if notes else {}


# Metrics. A name with a slash is a section in MLflow's UI


def epoch_metrics(config: TrialConfig, epoch: EpochMetrics) -> dict[str, float]:
    """What is shown of an epoch; what comes first, the UI compares runs by."""
    shown = _tested(config, epoch) if epoch.evaluated else {}
    shown |= {f"train_error/{name}": value for name, value in _summary(config, epoch.train_error).items()}
    shown |= {
        EPOCH: float(epoch.epoch),
        "progress/step": float(epoch.step),
        "progress/learning_rate": epoch.learning_rate,
        "progress/seconds": epoch.seconds,
        "loss/train_last": epoch.train_loss[-1],
    }
    if epoch.seconds > 0:
        shown["system/images_per_second"] = _images(config, epoch) / epoch.seconds
    shown |= _usage(epoch)
    return {name: value for name, value in shown.items() if math.isfinite(value)}  # databases take no others


def _tested(config: TrialConfig, epoch: EpochMetrics) -> dict[str, float]:
    shown = {f"error/{name}": value for name, value in _summary(config, epoch.test_error).items()}
    each = _each("test_error", epoch.test_error) if _is_detailed(config, epoch) else {}
    return shown | {"loss/test_last": epoch.test_loss[-1]} | each


def _usage(epoch: EpochMetrics) -> dict[str, float]:
    """As MLflow calls what its own monitor finds: in units of a million bytes."""
    usage = {
        "cpu_percent": epoch.cpu_percent,
        "gpu_percent": epoch.gpu_percent,
        "memory_megabytes": epoch.memory and epoch.memory / 1e6,
        "gpu_memory_megabytes": epoch.gpu_memory and epoch.gpu_memory / 1e6,
        "cpu_joules": epoch.cpu_joules,
        "gpu_joules": epoch.gpu_joules,
    }
    return {f"system/{name}": value for name, value in usage.items() if value is not None}


def _summary(config: TrialConfig, errors: Sequence[float]) -> dict[str, float]:
    by_fraction = milestone_errors(trial_costs(config), errors)
    at = {f"at_{float(fraction):.2f}": error for fraction, error in by_fraction.items() if error is not None}
    return {"average": average_error(errors), **at}


def _each(section: str, errors: Sequence[float]) -> dict[str, float]:
    digits = max(2, len(str(len(errors))))
    shown = list(errors[:MOST_PREDICTIONS]) if len(errors) > 1 else []  # a single one is ``error/at_1.00``
    return {f"{section}/prediction_{number:0{digits}}": error for number, error in enumerate(shown, 1)}


def _is_detailed(config: TrialConfig, epoch: EpochMetrics) -> bool:
    """Some of the epochs that are evaluated. Depends on nothing but the epoch's number, so that an epoch is shown alike
    however often it is told."""
    epochs = number_of_epochs(config.phase_steps, steps_of_epoch(config))
    evaluations = min(config.training.evaluations or epochs, epochs)
    number = epoch.epoch * evaluations // epochs
    return number == evaluations or number % math.ceil(evaluations / PREDICTION_EPOCHS) == 0


def train_images(config: TrialConfig) -> int:
    return dataset_of(config.data).train_images - config.data.validation


def _images(config: TrialConfig, epoch: EpochMetrics) -> int:
    """How many were trained on; the last epoch of a phase may be a part of one."""
    whole = steps_of_epoch(config)
    _, before = config.place_at(epoch.step - 1)
    steps = (before + 1) % whole or whole
    return steps * config.training.batch_size


# Views


UNFOLDED = ("error", "loss")
FOLDED = ("train_error", "test_error", "outcomes", "progress", "Model metrics", "System metrics")
"""Sections of the charts, from top to bottom. MLflow's own are the last two."""
OF_SUMMARY = ("wins", "increase", "trials")
COLUMNS = (
    "metrics.`error/at_0.25`",
    "metrics.`error/at_0.50`",
    "metrics.`error/at_0.75`",
    "metrics.`error/at_1.00`",
    "metrics.`error/average`",
    "tags.`state`",
    "tags.`method`",
    "tags.`network`",
    "tags.`dataset`",
    "params.`seed`",
    "attributes.`Models`",
)
"""Those that a run's name says already come last."""
LIST, CHARTS = "errors", "curves"
FILTERS = {LIST: "", CHARTS: "tags.trial_id != ''"}
"""What each view shows; the summary has no curves."""


def views() -> dict[str, str]:
    """By name, as the UI keeps the views that its menu offers: the first runs, of which it draws curves, are all
    methods on one network."""
    return {
        name: json.dumps(
            {"name": name, "createdAt": number, "updatedAt": number, "state": json.dumps(_state(condition))}
        )
        for number, (name, condition) in enumerate(FILTERS.items(), 1)
    }


def _state(condition: str) -> dict[str, Any]:
    sections = (*UNFOLDED, *FOLDED, *(() if condition else OF_SUMMARY))
    return {
        "searchFilter": condition,
        "orderByKey": "tags.`place`",
        "orderByAsc": True,
        "selectedColumns": COLUMNS,
        "columnOrder": COLUMNS,
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": name, "name": name, "display": name in UNFOLDED, "isReordered": False, "deleted": False}
            for name in sections
        ],
        "isAccordionReordered": True,
    }
