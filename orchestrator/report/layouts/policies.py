"""Tables of what can be made of the answers of a trained network, for nothing: exit policies, and answers of several
predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anytime_core.result import average_error, milestone_errors
from orchestrator.analysis.answers import Kept, budgeted_images
from orchestrator.analysis.tables import Tables
from orchestrator.report.layouts.outcomes import FRACTIONS, Kinds, Numbers, by_number, images_of, thresholds_from
from orchestrator.stats.outcomes.curves import Curve, accuracy_at, area, errors
from orchestrator.stats.outcomes.exits import MEANINGS, exit_curves
from orchestrator.stats.outcomes.policies import caching
from orchestrator.sweep.metrics import METRICS
from orchestrator.table import Table

ErrorsBy = Mapping[str, tuple[float, ...] | None]
"""Errors of each prediction in percent, by whose answers they are."""
UNCOUNTED = "‡"
"""Marks what takes logits that nobody has kept."""
WHY_UNCOUNTED = (
    "kept before this was counted, which takes logits; `orchestrate outcomes` counts it where a trial's "
    "outcomes.parquet is deleted"
)
ANSWERS = {
    "own": "each prediction's own",
    "caching": "that of the most confident prediction so far (Caching Anytime)",
    "product": "that of the product of all predictions so far (Product Anytime)",
}


# What is taken of one trial


def exit_curves_of(kept: Kept) -> Mapping[str, Curve]:
    """Of the images that leave by the thresholds of ``Kept.budgeted``."""
    return exit_curves(budgeted_images(kept)[0], kept.budgeted)


def errors_by_answer(kept: Kept) -> tuple[tuple[int, ...], ErrorsBy]:
    """With the costs of the predictions."""
    own, images = kept.own, len(kept.own.labels)
    product = own.product_right
    return own.costs, {
        "own": _floats(errors(own)),
        "caching": _floats(errors(caching(own))),
        "product": None if product is None else _floats(100 - 100 * np.array(product) / images),
    }


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


# The tables


def policies(tables: Tables) -> Table:
    """A line for each exit policy, beside chance and the oracle."""
    return by_number(
        tables,
        "policies",
        "Accuracy in % at fractions of the cost, on average over images that leave by each policy",
        [*FRACTIONS, "area"],
        exit_curves_of,
        (
            *images_of(tables, leaving=True),
            *(f"{name}: {meaning}." for name, meaning in MEANINGS.items()),
            f"Thresholds of budgeted: {thresholds_from(tables)}. Confidence, entropy and patience have one setting for "
            "all predictions, which runs through all values on these very images: the most that it can give.",
            "area: the area under accuracy over mean cost, in %.",
        ),
        Kinds(heading="policy", names=[*MEANINGS], numbers=_of_policy),
    )


def _of_policy(curves: Mapping[str, Curve], name: str) -> Numbers:
    if len(curves["anytime"].costs) == 1:
        return (None,) * (len(FRACTIONS) + 1)
    curve = curves[name]
    return (*(accuracy_at(curve, fraction) for fraction in FRACTIONS.values()), area(curve))


def answers(tables: Tables) -> Table:
    """A line for each way to answer at an interruption."""
    return by_number(
        tables,
        "answers",
        "Error in % at fractions of the cost, by what is answered; AE is the mean of all predictions",
        list(METRICS),
        errors_by_answer,
        (*images_of(tables), *(f"{name}: {meaning}." for name, meaning in ANSWERS.items())),
        Kinds(heading="answer", names=[*ANSWERS], numbers=_of_answer, absent=UNCOUNTED, why=WHY_UNCOUNTED),
    )


def _of_answer(taken: tuple[tuple[int, ...], ErrorsBy], name: str) -> Numbers | None:
    costs, found = taken[0], taken[1][name]
    return found and (*milestone_errors(costs, found).values(), average_error(found))
