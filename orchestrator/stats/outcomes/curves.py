"""Accuracy over cost, and the area below it.

N images, L predictions. Costs are fractions of the network's whole cost, accuracies in percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.paired import Floats

Exits = NDArray[np.int64]
"""For each image the prediction, counted from 0, with which it leaves the network: [N]."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """What is reached at each of S settings: the mean ``costs`` [S] of an image and the ``accuracies`` [S].

    ``settings`` [S] are those of an exit policy, such as thresholds.
    """

    settings: Floats
    costs: Floats
    accuracies: Floats


def relative_costs(outcomes: Outcomes) -> Floats:
    """Of an image up to each prediction, as fractions of the whole: [L]."""
    return np.array(outcomes.costs, np.float64) / outcomes.costs[-1]


def accuracies(outcomes: Outcomes) -> Floats:
    """Of each prediction on all images: [L]."""
    return np.asarray(100 * outcomes.right.mean(axis=1))


def errors(outcomes: Outcomes) -> Floats:
    """Of each prediction, in percent: [L]."""
    return np.asarray(100 * (~outcomes.right).mean(axis=1))


def anytime_auc(outcomes: Outcomes) -> float:
    """The area under the anytime curve: sum_i acc_i (c_{i+1} - c_i), where c_{L+1} = 1.

    It is the mean accuracy of an interruption that comes at any cost with the same chance, an answer being that of the
    latest prediction and wrong before the first. What an error weighs depends on how long it stands, and not, as in the
    mean of all predictions (AE), on how many predictions there are: networks of other periods can be compared. The last
    prediction stands for no time at all, so that a perfect network reaches 1 - c_1.
    """
    return float(image_aucs(outcomes).mean())


def image_aucs(outcomes: Outcomes) -> Floats:
    """The area of each image alone, in percent: [N]. ``anytime_auc`` is their mean."""
    lasting = np.diff(relative_costs(outcomes), append=1.0)
    return np.asarray(100 * (lasting @ outcomes.right))


def area(curve: Curve) -> float:
    """The area under straight lines between the points of a curve, in the order of their costs.

    A mean cost between two settings is had by giving each of them to some of the images at random, and then the mean
    accuracy lies on the line between theirs. Below the least cost there is no answer and nothing is added; beyond the
    largest the accuracy stays. Points of one cost follow each other in the order of the curve, and what lies between
    them has no area.
    """
    order = np.argsort(curve.costs, kind="stable")
    costs = np.append(curve.costs[order], 1.0)
    heights = curve.accuracies[order]
    return float(np.trapezoid(np.append(heights, heights[-1]), costs))


def accuracy_at(curve: Curve, cost: float) -> float | None:
    """The accuracy where the mean cost of an image is this fraction, on the lines that ``area`` is below; None where no
    setting is so cheap."""
    return float(accuracies_at(curve, np.array([cost]))[0]) if cost >= curve.costs.min() else None


def accuracies_at(curve: Curve, costs: Floats) -> Floats:
    """The same at several ``costs`` [C], of which those below all settings have the accuracy of the cheapest: [C]."""
    order = np.argsort(curve.costs, kind="stable")
    return np.asarray(np.interp(costs, curve.costs[order], curve.accuracies[order]))


FINER = 2.0**-24
"""Of an entropy, what is less than the distance between two confidences in float16 of 0.001 and more."""


def fine_confidence(outcomes: Outcomes) -> Floats:
    """The confidence [L, N] to rank images by: of images as confident as each other the one of less entropy is ahead.

    float16 has every probability above 0.99976 as 1, which of a confident network may be most of them, but entropies
    near 0 to eight decimals: there they put images in the order that their probabilities had. Images of the same
    probabilities stay equal.
    """
    return np.asarray(outcomes.confidence.astype(np.float64) - FINER * outcomes.entropy.astype(np.float64))


def first(leaving: NDArray[np.bool_]) -> Exits:
    """The first prediction at which each image may leave [L, N], or the last one."""
    return np.where(leaving.any(axis=0), leaving.argmax(axis=0), len(leaving) - 1)


def reached(outcomes: Outcomes, exits: Exits) -> tuple[float, float]:
    """The mean cost and the accuracy of images that leave at ``exits``."""
    right = outcomes.classes[exits, np.arange(len(exits))] == outcomes.labels
    return float(relative_costs(outcomes)[exits].mean()), 100 * float(right.mean())
