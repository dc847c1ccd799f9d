"""Tidy rows: one observation each, with its whole place in the sweep, as plots and statistics of one's own want them.

A trial that stands in several cells has rows for each: what a method is called is the sweep's word, not the trial's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from anytime_core.config import TrialConfig, is_here
from anytime_core.cost import trial_costs
from anytime_core.outcomes import Outcomes
from anytime_core.result import OF_THE_MACHINE, EpochMetrics
from orchestrator.analysis.curves import whole_costs
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, TrialRecord

Row = dict[str, Any]
Cells = Mapping[Cell, str]
"""Places in the tables, and the id of the trial of each."""

PLACE = ("method", "network", "dataset", "seed")
PREDICTION = ("prediction", "unit", "fraction", "cost")
ERRORS = (*PLACE, *PREDICTION, "error", "images", "state", "trial")
OF_PREDICTION = ("train_loss", "train_error", "test_loss", "test_error", "probability")
EPOCHS = (*PLACE, "epoch", "step", "learning_rate", *PREDICTION, *OF_PREDICTION, *OF_THE_MACHINE, "trial")
ANSWERS = ("label", "answer", "right", "confidence", "of_truth", "entropy")
OUTCOMES = (*PLACE, "split", "image", *PREDICTION, *ANSWERS, "trial")


def error_rows(sweep: Sweep, records: Mapping[str, TrialRecord], cells: Cells | None = None) -> list[Row]:
    """A row for each prediction of the trials that ended, in the order of the cells.

    ``error`` is in percent, of the ``images`` that the word says, and None of a trial that diverged; ``cost`` are
    multiply-adds of one image, ``fraction`` is their share of the whole network's with all of its predictions, so that
    an optimum's is where the tables have it. ``prediction`` counts from 1, and so does ``unit``.
    """
    configs = {trial.id: trial.config for trial in sweep.trials}
    rows = []
    for cell, trial_id in (sweep.cells if cells is None else cells).items():
        if record := records.get(trial_id):
            result, config = record.result, configs[trial_id]
            images = "validation" if config.data.validated else "test"
            rest = {"images": images, "state": str(record.state), "trial": trial_id}
            errors = result.errors or (None,) * len(result.units)
            predictions = prediction_rows(cell, config, result.units, result.costs)
            rows += [at | {"error": error} | rest for at, error in zip(predictions, errors, strict=True)]
    return rows


def prediction_rows(cell: Cell, config: TrialConfig, units: Sequence[int], costs: Sequence[int]) -> Iterator[Row]:
    """The place of each prediction of a cell's trial."""
    whole = costs if cell.unit is None else whole_costs(cell, config)
    place = {name: getattr(cell, name) for name in PLACE}
    for index, (unit, cost) in enumerate(zip(units, costs, strict=True)):
        fraction = cost / whole[-1] if whole else None
        yield place | {"prediction": index + 1, "unit": unit, "fraction": fraction, "cost": cost}


def epoch_rows(
    sweep: Sweep,
    records: Mapping[str, TrialRecord],
    epochs: Callable[[str], Sequence[EpochMetrics]],
    cells: Cells | None = None,
) -> list[Row]:
    """A row for each epoch so far and prediction, also of trials that have not ended. Losses are means of an epoch,
    errors in percent, ``seconds`` those of the epoch, memory is in bytes."""
    configs = {trial.id: trial.config for trial in sweep.trials}
    rows = []
    for cell, trial_id in (sweep.cells if cells is None else cells).items():
        config, found = configs[trial_id], epochs(trial_id)
        units, costs = _predictions(config, records.get(trial_id)) if found else ((), ())
        places = list(prediction_rows(cell, config, units, costs))
        for epoch in found:
            common = {name: getattr(epoch, name) for name in ("epoch", "step", "learning_rate", *OF_THE_MACHINE)}
            common["trial"] = trial_id
            rows += [at | common | _numbers(epoch, index) for index, at in enumerate(places)]
    return rows


def _predictions(config: TrialConfig, record: TrialRecord | None) -> tuple[Sequence[int], Sequence[int]]:
    """Units and costs; none of a trial that has not ended and whose code is gone."""
    if record:
        return record.result.units, record.result.costs
    return (config.predicting_units, trial_costs(config)) if is_here(config) else ((), ())


def _numbers(epoch: EpochMetrics, index: int) -> Row:
    fields = {name: getattr(epoch, name) for name in OF_PREDICTION[:-1]} | {"probability": epoch.probabilities}
    return {name: values[index] if values else None for name, values in fields.items()}


def outcome_columns(
    cell: Cell, config: TrialConfig, record: TrialRecord, by_split: Mapping[str, Outcomes]
) -> Iterator[dict[str, Any]]:
    """Columns of a row for each prediction and image: a block for each split and prediction. What is the same in all of
    a block is a single value. ``image`` is its number in the split, from 0."""
    places = list(prediction_rows(cell, config, record.result.units, record.result.costs))
    for split, outcomes in by_split.items():
        for index, at in enumerate(places):
            yield at | {
                "trial": record.trial_id,
                "split": split,
                "image": np.arange(len(outcomes.labels)),
                "label": outcomes.labels,
                "answer": outcomes.classes[index].astype(np.int64),
                "right": outcomes.right[index],
                **{name: getattr(outcomes, name)[index].astype(np.float32) for name in ANSWERS[3:]},
            }
