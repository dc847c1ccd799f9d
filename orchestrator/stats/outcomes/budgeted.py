"""Budgeted batch classification: a mean cost for many images, of which the network spends more on the difficult ones.

The protocol is that of MSDNet (Huang et al. 2018, arXiv 1703.09844, section 3 and the authors' published code). N
images, L predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.curves import (
    Curve,
    Exits,
    accuracies,
    area,
    fine_confidence,
    reached,
    relative_costs,
)
from orchestrator.stats.paired import Floats

TWENTIETHS = tuple(range(1, 40))
"""The ratio q of the images that leave at one prediction to those that leave at the one before, in twentieths."""
FOLDS = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Budgeted:
    """The curve over the settings q, and where its thresholds come from: ``held_out`` images of the validation set, or
    as many of the test images as are not in a fold."""

    curve: Curve
    source: Literal["validation", "cross-fitted"]
    held_out: int


def weights(twentieths: int, predictions: int) -> list[int]:
    """Whole numbers in the ratio q, q^2, ..., q^L for q = ``twentieths`` / 20."""
    return [twentieths**k * 20 ** (predictions - k) for k in range(1, predictions + 1)]


def leaving(images: int, twentieths: int, predictions: int) -> list[int]:
    """How many of N held-out images are to leave at each prediction: floor(N P_k), P_k = q^k / (q + ... + q^L).

    In whole numbers, as N P_k in floating point may lie just below a whole number that it is.
    """
    parts = weights(twentieths, predictions)
    return [images * part // sum(parts) for part in parts]


def shares(predictions: int) -> Floats:
    """P_k of each q: [39, L]. What exits drawn with these chances reach, ``policies.random_curve`` says."""
    rows = [weights(twentieths, predictions) for twentieths in TWENTIETHS]
    return np.array([[part / sum(row) for part in row] for row in rows])


def thresholds(confidence: NDArray[np.floating], counts: list[int]) -> Floats:
    """The confidence [L] from which an image leaves at each prediction, of held-out ``confidence`` [L, N].

    Of the images that have not left before, T_k is the ``counts[k]``-th highest confidence, and all that have at least
    this one leave: those that tie with it, too. Where none is to leave, or fewer are left than are to leave, none does
    (T_k is infinite). At the last prediction all do.
    """
    found = np.full(len(confidence), np.inf)
    found[-1] = -np.inf
    staying = np.arange(confidence.shape[1])
    for k, count in enumerate(counts[:-1]):
        if 1 <= count <= len(staying):
            scores = confidence[k].take(staying)
            found[k] = np.partition(scores, len(scores) - count)[len(scores) - count]
            staying = staying[scores < found[k]]
    return found


def exits_at(confidence: NDArray[np.floating], limits: Floats) -> Exits:
    """Each image leaves at the first prediction whose confidence is at least its limit; ``limits`` are [L]."""
    exits = np.full(confidence.shape[1], len(confidence) - 1)
    for k in reversed(np.flatnonzero(limits < np.inf)):
        np.copyto(exits, k, where=confidence[k] >= limits[k])
    return exits


def budgeted(test: Outcomes, validation: Outcomes | None = None, folds: int = FOLDS) -> Budgeted:
    """Mean cost and accuracy on the test images for each q = p / 20, p = 1, ..., 39.

    The authors find thresholds on 5,000 held-out training images. Without such, they are found on the test images by
    cross-fitting: image i is in fold i mod ``folds``, which spreads images that are sorted by class, and leaves by the
    thresholds of all other folds. No label is looked at to find a threshold.

    Images are ranked by ``fine_confidence``: of those that float16 has as equally confident too many would leave at
    once. Without another image there is no threshold, and one stays to the last. Raises ValueError for less than two
    folds.
    """
    curve = _curve(test, exits_by_ratio(test, validation, folds))
    if validation is not None:
        return Budgeted(curve=curve, source="validation", held_out=validation.labels.size)
    images = test.labels.size
    return Budgeted(curve=curve, source="cross-fitted", held_out=images - images // folds)


def exits_by_ratio(test: Outcomes, validation: Outcomes | None = None, folds: int = FOLDS) -> NDArray[np.int64]:
    """Where each test image leaves at each q, as ``budgeted`` has it, which says what is raised: [Q, N]."""
    if validation is not None:
        return _exits(fine_confidence(validation), fine_confidence(test))
    return _cross_fitted(test, folds)


def with_ends(exits: NDArray[np.int64], predictions: int) -> NDArray[np.int64]:
    """Exits at each q [Q, N], and at their limits: all at the first prediction, or at the last. [Q + 2, N]"""
    return np.pad(exits, ((1, 1), (0, 0)), constant_values=((0, predictions - 1), (0, 0)))


def _curve(test: Outcomes, exits: NDArray[np.int64]) -> Curve:
    points = np.array([reached(test, row) for row in exits])
    return Curve(settings=np.array(TWENTIETHS) / 20, costs=points[:, 0], accuracies=points[:, 1])


def _exits(held_out: Floats, test: Floats) -> NDArray[np.int64]:
    """At each q the exits of the test images: [Q, N]."""
    predictions, images = held_out.shape
    counts = (leaving(images, twentieths, predictions) for twentieths in TWENTIETHS)
    return np.stack([exits_at(test, thresholds(held_out, count)) for count in counts])


def _cross_fitted(test: Outcomes, folds: int) -> NDArray[np.int64]:
    images = test.labels.size
    if folds < 2:
        raise ValueError(f"{folds} folds: must be at least 2")
    fold = np.arange(images) % folds
    scores = fine_confidence(test)
    exits = np.empty((len(TWENTIETHS), images), np.int64)
    for own in range(folds):
        inside = fold == own
        exits[:, inside] = _exits(scores[:, ~inside], scores[:, inside])
    return exits


def whole_curve(test: Outcomes, validation: Outcomes | None = None) -> Curve:
    """``budgeted``, and its ends: all images leave at the first prediction, or at the last."""
    return curve_of_exits(test, exits_by_ratio(test, validation))


def curve_of_exits(test: Outcomes, exits: NDArray[np.int64]) -> Curve:
    """``whole_curve`` of what ``exits_by_ratio`` has found."""
    inner, ends = _curve(test, exits), [0, -1]
    return Curve(
        settings=np.concatenate([[0.0], inner.settings, [np.inf]]),
        costs=np.insert(relative_costs(test)[ends], 1, inner.costs),
        accuracies=np.insert(accuracies(test)[ends], 1, inner.accuracies),
    )


def budgeted_area(test: Outcomes, validation: Outcomes | None = None) -> float:
    """The area under accuracy over mean cost: what ``curves.area`` says, of the 39 settings and both their ends.

    The ends are the limits of q: all images leave at the first prediction (q = 0), or at the last. So the area runs
    from the cost of the first prediction to the whole cost, whatever costs the settings in between come to, and areas
    of several methods on one network are of the same width. In percent; less ``curves.anytime_auc`` it is what
    choosing by confidence gains, with straight lines in place of steps.
    """
    return area(whole_curve(test, validation))
