"""Numbers that sum up a trained network's outcomes, and which way is better.

To add one: a line in METRICS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.budgeted import budgeted_area
from orchestrator.stats.outcomes.calibration import auroc, calibration_errors, confidence_brier, nll
from orchestrator.stats.outcomes.changes import falls, overthinking, rises
from orchestrator.stats.outcomes.curves import anytime_auc, errors
from orchestrator.stats.paired import Floats
from orchestrator.stats.quantities import Quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric(Quantity):
    """``of`` gives one number of outcomes, None where they have none. One ``of_several`` says nothing of a network with
    a single prediction."""

    of: Callable[[Outcomes], float | None]
    of_several: bool = False


def over_predictions(by_prediction: Callable[[Outcomes], Floats], outcomes: Outcomes) -> float | None:
    """The plain mean over the predictions that have one, as AE is of errors (section 4.1)."""
    values = by_prediction(outcomes)
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


METRICS: dict[str, Metric] = {
    "error": Metric(
        of=lambda outcomes: float(errors(outcomes)[-1]),
        lower_is_better=True,
        unit="%",
        meaning="error of the last prediction",
    ),
    "average_error": Metric(
        of=partial(over_predictions, errors),
        lower_is_better=True,
        unit="%",
        meaning="AE, the mean error of all predictions",
    ),
    "auc": Metric(
        of=anytime_auc,
        lower_is_better=False,
        unit="%",
        meaning="mean accuracy of an interruption at any cost, wrong before the first prediction",
        of_several=True,
    ),
    "budgeted_area": Metric(
        of=budgeted_area,
        lower_is_better=False,
        unit="%",
        meaning="area under accuracy over mean cost, images leaving by MSDNet's thresholds, held-out or cross-fitted",
        of_several=True,
    ),
    "ece": Metric(
        of=partial(over_predictions, calibration_errors),
        lower_is_better=True,
        unit="%",
        meaning="calibration error in 15 bins of equal width, mean of all predictions",
    ),
    "ece_mass": Metric(
        of=partial(over_predictions, partial(calibration_errors, binning="mass")),
        lower_is_better=True,
        unit="%",
        meaning="calibration error in 15 bins of as many images each, mean of all predictions",
    ),
    "nll": Metric(
        of=partial(over_predictions, nll),
        lower_is_better=True,
        unit="nats",
        meaning="cross-entropy, mean of all predictions",
    ),
    "confidence_brier": Metric(
        of=partial(over_predictions, confidence_brier),
        lower_is_better=True,
        unit="",
        meaning="mean square of confidence less whether right, mean of all predictions",
    ),
    "auroc": Metric(
        of=partial(over_predictions, auroc),
        lower_is_better=False,
        unit="%",
        meaning="chance that a right answer is more confident than a wrong one, mean of all predictions",
    ),
    "wasteful": Metric(
        of=lambda outcomes: overthinking(outcomes).wasteful,
        lower_is_better=False,
        unit="%",
        meaning="images that are right before the last prediction: what an oracle could stop early",
        of_several=True,
    ),
    "destructive": Metric(
        of=lambda outcomes: overthinking(outcomes).destructive,
        lower_is_better=True,
        unit="%",
        meaning="images that are wrong at the end and were right before",
        of_several=True,
    ),
    "falls": Metric(
        of=lambda outcomes: float(falls(outcomes, [0.1])[0]),
        lower_is_better=True,
        unit="%",
        meaning="images whose true class ever falls by more than 0.1 in probability",
        of_several=True,
    ),
    "rises": Metric(
        of=lambda outcomes: rises(outcomes).total,
        lower_is_better=True,
        unit="points",
        meaning="sum of all rises of the error from a prediction to the next",
        of_several=True,
    ),
}
