"""Images to answers that refine themselves, as rows for people and machines."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anytime_core.data.catalog import dataset_of
from anytime_core.errors import TooEarlyError
from anytime_core.inputs import late, limits_of, seconds_late
from orchestrator.errors import UsageError
from orchestrator.inference.images import Picture
from orchestrator.inference.lookup import TrainedTrial

if TYPE_CHECKING:
    from anytime_core.predictor import ExponentialSequence

COLUMNS = f"{'prediction':>11} {'unit':>5} {'cost %':>7} {'ms':>9}  {'probability':>11}  answer"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """As those of ``AnytimePredictor.refine``."""

    deadline: float | None = None
    budget: float | None = None
    confidence: float | None = None
    threshold: float | None = None
    stop: threading.Event | None = None

    @classmethod
    def of(cls, deadline: str | None, budget: float | None, confidence: float | None) -> Limits:
        """Takes limits as a user types them, ``deadline`` such as ``5ms``. Raises UsageError with every fault."""
        try:
            limits = limits_of(deadline, budget, confidence)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return cls(deadline=limits["deadline"], budget=limits["budget"], confidence=limits["confidence"])

    def as_arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def answer(
    predictor: ExponentialSequence,
    members: Sequence[TrainedTrial],
    picture: Picture,
    limits: Limits,
    say: Callable[[str], object] = str,
) -> dict[str, Any]:
    """Classifies one image: ``say`` gets each line for people as soon as it is known, the result holds all of them for
    machines. Raises what ``rows`` raises."""
    names = [member.label for member in members]
    say(f"{picture.name}: {', then '.join(names)}" + "".join(f"; {note}" for note in picture.notes))
    say(COLUMNS)
    predictions = []
    for row in rows(predictor, members, picture, limits):
        say(line(row, len(members) > 1))
        predictions.append(row)
    last = predictions[-1]
    count = f"prediction {len(predictions)} of {len(predictor.units)}"
    missed = late(last["seconds"], limits.deadline)
    taken = f", {1000 * last['seconds']:.1f} ms, {missed}" if missed else ""
    say(f"answer: {last['answer']} ({last['probability']:.4f}), {count}{taken}\n")
    return {
        "image": picture.name,
        "networks": names,
        "notes": list(picture.notes),
        "answer": last,
        "seconds_late": seconds_late(last["seconds"], limits.deadline),
        "predictions": predictions,
    }


def rows(
    predictor: ExponentialSequence, members: Sequence[TrainedTrial], picture: Picture, limits: Limits
) -> Iterator[Row]:
    """A row for each prediction, as soon as it is there. Raises UsageError for limits that cannot be, TooEarlyError
    where there is none."""
    dataset, answered = dataset_of(members[0].config.data), False
    names, costs = dataset.class_names, predictor.costs(dataset.size)
    started = time.perf_counter()
    try:
        # `images.read` has checked and scaled the pixels: with `brightest`, dark ones are not refused here.
        for prediction in predictor.refine(picture.pixels, brightest=dataset.brightest, **limits.as_arguments()):
            answered = True
            yield {
                "prediction": prediction.index + 1,
                "network": members[prediction.member].label,
                "unit": prediction.unit,
                "cost": prediction.cost,
                "relative": prediction.cost / costs[-1],
                "seconds": prediction.seconds,
                "class": int(prediction.classes[0]),
                "answer": names[int(prediction.classes[0])],
                "probability": prediction.confidence,
            }
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not answered:
        raise TooEarlyError(f"{picture.name}: {_too_early(costs, limits, time.perf_counter() - started)}")


def _too_early(costs: Sequence[int], limits: Limits, taken: float) -> str:
    """``taken`` are the seconds until the network was interrupted."""
    if limits.budget is not None and (limits.budget if limits.budget > 1 else limits.budget * costs[-1]) < costs[0]:
        least = math.ceil(1e4 * costs[0] / costs[-1]) / 1e4
        return f"budget is {limits.budget:g}; the first prediction costs {least:g} of all, {costs[0]:,} multiply-adds"
    return f"the deadline passed before the first prediction was there, after {1000 * taken:.1f} ms"


def line(row: Row, several: bool) -> str:
    """Below COLUMNS."""
    network = f"  ({row['network']})" if several else ""
    return (
        f"{row['prediction']:>11} {row['unit']:>5} {100 * row['relative']:>7.2f} {1000 * row['seconds']:>9.3f}  "
        f"{row['probability']:>11.4f}  {row['answer']}{network}"
    )
