"""Images to answers that refine themselves, as rows for people and machines."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anytime_core.data.catalog import DATASETS
from anytime_core.errors import TooEarlyError
from orchestrator.errors import UsageError
from orchestrator.inference.images import Picture
from orchestrator.inference.lookup import TrainedTrial

if TYPE_CHECKING:
    from anytime_core.predictor import ExponentialSequence

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
COLUMNS = f"{'prediction':>11} {'unit':>5} {'cost %':>7} {'ms':>9}  {'probability':>11}  answer"

Row = dict[str, Any]


def seconds(text: str) -> float:
    """Of ``5ms``, ``0.1s`` or ``250us``. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s)", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f"deadline {text!r}: must be a time such as 5ms, 0.1s or 250us")
    return float(found[1]) * UNITS[found[2]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """As those of ``AnytimePredictor.refine``."""

    deadline: float | None = None
    budget: float | None = None
    confidence: float | None = None
    stop: threading.Event | None = None

    def as_arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def prepare(predictor: ExponentialSequence, picture: Picture) -> None:
    """The first call of a network takes longer than any other: it is not the one that counts."""
    predictor.predict(picture.pixels)


def rows(
    predictor: ExponentialSequence, members: Sequence[TrainedTrial], picture: Picture, limits: Limits
) -> Iterator[Row]:
    """A row for each prediction, as soon as it is there. Raises UsageError for limits that cannot be, TooEarlyError
    where there is none."""
    dataset, found = members[0].config.data.name, False
    names, costs = DATASETS[dataset].class_names, predictor.costs(DATASETS[dataset].size)
    try:
        for answer in predictor.refine(picture.pixels, **limits.as_arguments()):
            found = True
            yield {
                "prediction": answer.index + 1,
                "network": members[answer.member].label,
                "unit": answer.unit,
                "cost": answer.cost,
                "relative": answer.cost / costs[-1],
                "seconds": answer.seconds,
                "class": int(answer.classes[0]),
                "answer": names[int(answer.classes[0])],
                "probability": answer.confidence,
            }
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not found:
        raise TooEarlyError(f"{picture.name}: {_too_early(costs, limits)}")


def _too_early(costs: Sequence[int], limits: Limits) -> str:
    if limits.budget is not None and (limits.budget if limits.budget > 1 else limits.budget * costs[-1]) < costs[0]:
        least = math.ceil(1e4 * costs[0] / costs[-1]) / 1e4
        return f"budget is {limits.budget:g}; the first prediction costs {least:g} of all, {costs[0]:,} multiply-adds"
    return "the deadline passed before the first prediction was there"


def line(row: Row, several: bool) -> str:
    """Below COLUMNS."""
    network = f"  ({row['network']})" if several else ""
    return (
        f"{row['prediction']:>11} {row['unit']:>5} {100 * row['relative']:>7.2f} {1000 * row['seconds']:>9.3f}  "
        f"{row['probability']:>11.4f}  {row['answer']}{network}"
    )
