"""The files of a trial's run in MLflow: its curves, all of its metrics, its log, and its trained network."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from anytime_core.config import MILESTONES, NetworkConfig, TrialConfig
from anytime_core.cost import resnet_costs, trial_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.files import write_atomically
from anytime_core.result import EpochMetrics, milestone_errors
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.errors import StorageError
from orchestrator.ledger import epochs_file
from orchestrator.ledger.ledger import Ledger
from orchestrator.redaction import redacted
from orchestrator.sweep.trial import Trial, TrialState, place_words
from orchestrator.tracking.line_chart import ChartLine, ChartPanel, svg

log = logging.getLogger(__name__)

CURVES, METRICS, MODEL, SAID = "curves.svg", "metrics.parquet", "model", "log.txt"
NAMES = (CURVES, METRICS, MODEL, SAID)
"""At the top of a run."""
BYTES = 4
"""Of a weight."""
NETWORK = "network"
"""The folder of a model that holds its checkpoint."""
TEST, TRAIN = "#0072B2", "#777777"
LIGHT_TO_DARK = ("#bbd7ea", "#6aaed6", "#2878b5", "#08306b")
"""Early budgets are light, the whole cost is dark."""
NEEDED = ("network/", "normalisation/")
"""The arrays of a checkpoint that the trained network consists of; the others, half of it, serve training alone."""


def write(trial: Trial, state: TrialState, ledger: Ledger, folder: Path, *, largest: float) -> None:
    """Fills the folder with what there is, without networks of more than ``largest`` bytes. Raises StorageError or
    OSError where something cannot be read now."""
    costs, epochs = trial_costs(trial.config), ledger.epochs(trial.id)
    if epochs:
        about = place_words(trial.config)
        packed = epochs_file.pack(trial.id, trial.config.predicting_units, costs, epochs, about)
        write_atomically(folder / METRICS, packed)
        if any(epoch.evaluated for epoch in epochs):
            write_atomically(folder / CURVES, curves(trial.cell.label, costs, epochs).encode())
    write_log(trial, ledger, folder)
    size = size_of(trial.config)
    if state is TrialState.FINISHED and (size is None or size <= largest):
        _write_network(trial.id, ledger, folder / MODEL / NETWORK, math.inf if size else largest)


def write_log(trial: Trial, ledger: Ledger, folder: Path) -> None:
    """Puts what a trial said there, if it said anything; one that cannot be read costs nothing else. Raises OSError."""
    try:
        said = ledger.log(trial.id)
    except StorageError as error:
        log.warning("MLflow lacks what %s said: %s", trial.cell.label, error)
        return
    if said:
        write_atomically(folder / SAID, redacted(said).encode())


def size_of(config: TrialConfig) -> int | None:
    """Bytes of a trial's network, but for its biases and normalisations, which are few: on an image of one pixel each
    weight is one multiply-add. None of an extension's, whose size its checkpoint tells."""
    spec, network = dataset_of(config.data), config.network
    if not isinstance(network, NetworkConfig):
        return None
    return BYTES * resnet_costs(network, config.predicting_units, spec.classes, spec.channels, 1)[-1]


def file_size(network: int) -> int:
    """About as large as the file of a network of that size is: a little more, for its biases, normalisations and the
    names of its arrays."""
    return network + network // 10 + 2**16


def _write_network(trial_id: str, ledger: Ledger, folder: Path, largest: float) -> None:
    saved = checkpoint.latest(ledger.checkpoints(trial_id))
    if saved is None:  # deleted or damaged since
        return
    arrays = {name: array for name, array in saved.arrays.items() if name.startswith(NEEDED)}
    if sum(array.nbytes for array in arrays.values()) > largest:
        return
    try:
        last = EpochMetrics.of(saved.meta["history"][-1])
    except (LookupError, TypeError, ValueError) as error:
        log.warning("the network of %s does not go to MLflow: its checkpoint has no history: %r", trial_id, error)
        return
    folder.mkdir(parents=True)
    meta = {**saved.meta, "history": saved.meta["history"][-1:]}
    checkpoint.save(folder, last.step, Checkpoint(arrays, meta))


def curves(title: str, costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> str:
    """An SVG of epochs of which some were evaluated: errors of the last of these by cost, and those at fractions of the
    cost by epoch."""
    evaluated = [epoch for epoch in epochs if epoch.evaluated]
    if len(costs) == 1:
        return svg(title, [_alone(evaluated)])
    return svg(title, [_by_cost(costs, evaluated[-1]), _by_epoch(costs, evaluated)])


def _by_cost(costs: Sequence[int], last: EpochMetrics) -> ChartPanel:
    relative = [cost / costs[-1] for cost in costs]
    return ChartPanel(
        x_label=f"cost / full cost (1 is {costs[-1]:.3g} multiply-adds)",
        y_label=f"error in % after epoch {last.epoch}",
        lines=[
            ChartLine(label="test", x=relative, y=last.test_error, colour=TEST, marked=True),
            ChartLine(label="train", x=relative, y=last.train_error, colour=TRAIN, dashed=True),
        ],
    )


def _by_epoch(costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> ChartPanel:
    numbers = [epoch.epoch for epoch in epochs]
    shown = [milestone_errors(costs, epoch.test_error) for epoch in epochs]
    lines = []
    for fraction, colour in zip(MILESTONES, LIGHT_TO_DARK, strict=True):
        errors = [error for by_fraction in shown if (error := by_fraction[fraction]) is not None]
        if errors:
            lines.append(ChartLine(label=f"at {fraction}", x=numbers, y=errors, colour=colour))
    return ChartPanel(x_label="epoch", y_label="test error in % at fractions of the cost", lines=lines)


def _alone(epochs: Sequence[EpochMetrics]) -> ChartPanel:
    """Of a network with one prediction."""
    numbers = [epoch.epoch for epoch in epochs]
    return ChartPanel(
        x_label="epoch",
        y_label="error in %",
        lines=[
            ChartLine(label="test", x=numbers, y=[epoch.test_error[0] for epoch in epochs], colour=TEST),
            ChartLine(
                label="train", x=numbers, y=[epoch.train_error[0] for epoch in epochs], colour=TRAIN, dashed=True
            ),
        ],
    )
