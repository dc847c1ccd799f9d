"""The files of a trial's run in MLflow: its curves, all of its metrics, and its trained network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core import checkpoint
from anytime_core.catalog import DATASETS
from anytime_core.checkpoint import Checkpoint
from anytime_core.config import MILESTONES, TrialConfig
from anytime_core.cost import costs_at, trial_costs
from anytime_core.files import write_atomically
from anytime_core.result import EpochMetrics, milestone_errors
from orchestrator import metrics
from orchestrator.ledger import Ledger
from orchestrator.trial import Trial, TrialState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES, METRICS, MODEL = "curves.png", "metrics.parquet", "model"
BYTES = 4
"""Of a weight."""
NETWORK = "network"
"""The folder of a model that holds its checkpoint."""
SIZE = (9.0, 3.6)
"""Of the curves, in inches."""
NEEDED = ("network/", "normalisation/")
"""The arrays of a checkpoint that the trained network consists of; the others, half of it, serve training alone."""


def write(trial: Trial, state: TrialState, ledger: Ledger, folder: Path, *, largest: float) -> None:
    """Fills the folder with what there is, without networks of more than ``largest`` bytes. Raises StorageError or
    OSError where something cannot be read now."""
    costs, epochs = trial_costs(trial.config), ledger.epochs(trial.id)
    if epochs:
        packed = metrics.pack(trial.id, trial.config.predicting_units, costs, epochs)
        write_atomically(folder / METRICS, packed)
        write_atomically(folder / CURVES, curves(trial.cell.label, costs, epochs))
    if state is TrialState.FINISHED and size_of(trial.config) <= largest:
        _write_network(trial.id, ledger, folder / MODEL / NETWORK)


def size_of(config: TrialConfig) -> int:
    """Bytes of a trial's network, but for its biases and normalisations, which are few: on an image of one pixel each
    weight is one multiply-add."""
    spec, network = DATASETS[config.data.name], config.network
    weights = costs_at(
        network.n,
        network.c,
        config.predicting_units,
        num_classes=spec.classes,
        in_channels=spec.channels,
        image_size=1,
        transition=network.transition,
    )
    return BYTES * weights[-1]


def _write_network(trial_id: str, ledger: Ledger, folder: Path) -> None:
    saved = checkpoint.latest(ledger.checkpoints(trial_id))
    if saved is None:  # deleted or damaged since
        return
    arrays = {name: array for name, array in saved.arrays.items() if name.startswith(NEEDED)}
    history = saved.meta["history"][-1:]
    folder.mkdir(parents=True)
    checkpoint.save(folder, history[0]["step"], Checkpoint(arrays, {**saved.meta, "history": history}))


def curves(title: str, costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> bytes:
    """A PNG: errors of the last epoch by cost, and those at fractions of the cost by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    figure.suptitle(title, fontsize=10)
    if len(costs) > 1:
        by_cost, by_epoch = figure.subplots(1, 2)
        _draw_by_cost(by_cost, costs, epochs[-1])
        _draw_by_epoch(by_epoch, costs, epochs)
    else:
        _draw_alone(figure.subplots(), epochs)
    for axes in figure.axes:
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _draw_by_cost(axes: Axes, costs: Sequence[int], last: EpochMetrics) -> None:
    relative = [cost / costs[-1] for cost in costs]
    axes.plot(relative, last.test_error, color="#0072B2", marker="o", markersize=3, label="test")
    axes.plot(relative, last.train_error, color="#777777", linestyle="--", label="train")
    axes.set_xlabel(f"cost / full cost (1 is {costs[-1]:.3g} multiply-adds)", fontsize=8)
    axes.set_ylabel(f"error in % after epoch {last.epoch}", fontsize=8)


def _draw_by_epoch(axes: Axes, costs: Sequence[int], epochs: Sequence[EpochMetrics]) -> None:
    """Early budgets are light, the whole cost is dark."""
    shown = [milestone_errors(costs, epoch.test_error) for epoch in epochs]
    for fraction, colour in zip(MILESTONES, ("#bbd7ea", "#6aaed6", "#2878b5", "#08306b"), strict=True):
        errors = [error for found in shown if (error := found[fraction]) is not None]
        if errors:
            numbers = [epoch.epoch for epoch in epochs]
            axes.plot(numbers, errors, color=colour, label=f"at {fraction} of the cost")
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("test error in %", fontsize=8)


def _draw_alone(axes: Axes, epochs: Sequence[EpochMetrics]) -> None:
    """Of a network with one prediction."""
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, [epoch.test_error[0] for epoch in epochs], color="#0072B2", label="test")
    axes.plot(numbers, [epoch.train_error[0] for epoch in epochs], color="#777777", linestyle="--", label="train")
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("error in %", fontsize=8)
