"""Whether a probability is what it says: calibration, proper scores, temperatures.

N images, L predictions, K classes, B bins. Shares and errors are in percent, confidences too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes, softmax
from orchestrator.stats.outcomes.curves import fine_confidence
from orchestrator.stats.paired import Floats

BINS = 15
Binning = Literal["width", "mass"]
LEAST = 2.0**-25
"""The largest probability that float16 rounds to 0."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reliability:
    """The points of a reliability diagram: mean ``confidence`` [B] and ``accuracy`` [B], in percent, of the ``images``
    [B] in each bin, from low to high. Both are NaN of an empty bin."""

    confidence: Floats
    accuracy: Floats
    images: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error, sum_b n_b / N |acc_b - conf_b|, in percent (Guo et al. 2017)."""
        filled = self.images > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(gaps @ self.images[filled] / self.images.sum())


def reliability(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS, binning: Binning = "width"
) -> Reliability:
    """Of one prediction's ``confidence`` [N] and whether it is ``right`` [N].

    Bins of equal ``width`` are (b / B, (b + 1) / B] (Guo et al. 2017, arXiv 1706.04599, 15 of them). Bins of equal
    ``mass`` hold N / B images each, but for rounding (Nguyen and O'Connor 2015; Nixon et al. 2019): confident networks
    leave most bins of equal width empty. Images of one confidence that lie in two such bins count in either as right as
    they are on average, so that the order of the images changes nothing.
    """
    scores, hits = confidence.astype(np.float64), right.astype(np.float64)
    if binning == "width":
        places = np.clip(np.ceil(scores * bins).astype(np.int64) - 1, 0, bins - 1)
    else:
        scores, hits = _by_confidence(confidence, hits)
        places = np.arange(len(scores)) * bins // len(scores)
    images = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [100 * np.bincount(places, values, bins) / images for values in (scores, hits)]
    return Reliability(confidence=means[0], accuracy=means[1], images=images)


def _by_confidence(confidence: NDArray[np.floating], hits: Floats) -> tuple[Floats, Floats]:
    """In ascending order of confidence, each with the mean accuracy of those as confident."""
    if confidence.dtype == np.float16:  # whose bits are in the order of the numbers: counting them needs no sort
        bits = confidence.view(np.uint16)
        every = np.bincount(bits)
        there = np.flatnonzero(every)
        values, counts = there.astype(np.uint16).view(np.float16).astype(np.float64), every[there]
        means = np.bincount(bits, hits)[there] / counts
    else:
        values, places, counts = np.unique(confidence, return_inverse=True, return_counts=True)
        means = np.bincount(places, hits) / counts
    return np.repeat(values, counts), np.repeat(means, counts)


def calibration_errors(outcomes: Outcomes, bins: int = BINS, binning: Binning = "width") -> Floats:
    """The expected calibration error of each prediction, in percent: [L]. See ``reliability``."""
    pairs = zip(outcomes.confidence, outcomes.right, strict=True)
    return np.array([reliability(*pair, bins, binning).error for pair in pairs])


# Proper scores


def nll(outcomes: Outcomes) -> Floats:
    """The mean of -ln of the true class's probability at each prediction, in nats: [L].

    A probability that float16 has as 0 was at most 2^-25, and counts as that: 17.3 nats, the least it can have been.
    Of a probability above 0.0001 the loss is off by at most 0.0005 nats, of any other that is not 0 by at most 0.7.
    """
    probabilities = outcomes.of_truth.astype(np.float64)
    return np.asarray(-np.log(np.maximum(probabilities, LEAST)).mean(axis=1))


def nll_of_logits(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The mean cross-entropy of ``logits`` [N, K], exactly."""
    lowered = _lowered(logits)
    return float((np.log(np.exp(lowered).sum(axis=1)) - _of(lowered, labels)).mean())


def brier(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The mean of sum_k (p_k - [k is true])^2 over ``probabilities`` [N, K], from 0 to 2 (Brier 1950)."""
    promoted = probabilities.astype(np.float64)
    return float((1 - 2 * _of(promoted, labels) + (promoted**2).sum(axis=1)).mean())


def confidence_brier(outcomes: Outcomes) -> Floats:
    """The mean of (confidence - [right])^2 at each prediction: [L], from 0 to 1.

    It is the Brier score of the claim to be right, and all that outcomes say exactly of a Brier score: that of all
    classes, ``brier``, takes every probability. ``brier_bounds`` tells between what it lies.
    """
    return np.asarray(((outcomes.confidence.astype(np.float64) - outcomes.right) ** 2).mean(axis=1))


def brier_bounds(outcomes: Outcomes, classes: int) -> tuple[Floats, Floats]:
    """The least and the largest that ``brier`` can be at each prediction, over ``classes`` classes: [L] and [L].

    Known are the largest probability p and that of the true class q. What is left of 1 is spread over all other
    classes, none above p: the sum of squares is least where it is spread evenly, and largest in pieces of p and a rest.
    With two classes both bounds are the score, but for the rounding of float16.
    """
    largest, true = (array.astype(np.float64) for array in (outcomes.confidence, outcomes.of_truth))
    known = np.where(outcomes.right, largest, largest + true)
    others = classes - np.where(outcomes.right, 1, 2)
    left = np.where(others > 0, np.maximum(1 - known, 0), 0)
    pieces = np.floor(left / largest)
    most = pieces * largest**2 + (left - pieces * largest) ** 2
    base = (1 - true) ** 2 + np.where(outcomes.right, 0, largest**2)
    bounds = (base + left**2 / np.maximum(others, 1), base + most)
    return np.asarray(bounds[0].mean(axis=1)), np.asarray(bounds[1].mean(axis=1))


def _of(rows: Floats, labels: NDArray[np.integer]) -> Floats:
    """The entry of each row's label."""
    return np.asarray(rows[np.arange(len(labels)), labels])


def _lowered(logits: NDArray[np.floating]) -> Floats:
    """Less the largest of their row, so that no exponential overflows."""
    promoted = logits.astype(np.float64)
    return np.asarray(promoted - promoted.max(axis=1, keepdims=True))


# Temperatures

COLDEST, HOTTEST = 0.01, 100.0
MOST_STEPS = 200
CLOSE = 1e-12


def temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T at which the softmax of ``logits`` / T fits held-out ``labels`` [N] best: the least mean cross-entropy (Guo
    et al. 2017), of ``logits`` [N, K].

    In b = 1 / T the loss is convex: its slope is the mean of E_b[z] - z_y and its curvature that of Var_b[z], where z
    are the logits and E_b the expectation under softmax(b z). Newton's steps seek where the slope is 0, within an
    interval that shrinks at every step; a step out of it halves it instead. Where all answers are right, or none is
    better than chance, there is no least loss, and T is ``COLDEST`` or ``HOTTEST``.
    """
    lowered = _lowered(logits)
    low, high = 1 / HOTTEST, 1 / COLDEST
    if _slope(lowered, labels, low)[0] >= 0:
        return HOTTEST
    if _slope(lowered, labels, high)[0] <= 0:
        return COLDEST
    found = 1.0
    for _ in range(MOST_STEPS):
        slope, curvature = _slope(lowered, labels, found)
        low, high = (low, found) if slope > 0 else (found, high)
        step = found - slope / curvature if curvature > 0 else np.inf
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - found) <= CLOSE * found:
            break
        found = following
    return 1 / found


def _slope(lowered: Floats, labels: NDArray[np.integer], b: float) -> tuple[float, float]:
    """Of the mean cross-entropy in b, and its curvature."""
    probabilities = softmax(b * lowered)
    mean = (probabilities * lowered).sum(axis=1)
    spread = (probabilities * (lowered - mean[:, None]) ** 2).sum(axis=1)
    return float((mean - _of(lowered, labels)).mean()), float(spread.mean())


def temperatures(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """One for each prediction, of held-out ``logits`` [L, N, K]: [L]."""
    return np.array([temperature(row, labels) for row in logits])


# Failures


def auroc(outcomes: Outcomes) -> Floats:
    """How well the confidence of each prediction tells its right answers from its wrong ones, in percent: [L].

    It is the chance that a right answer is more confident than a wrong one, ties counting half: the area under the
    receiver operating characteristic of failure prediction (Hendrycks and Gimpel 2017). NaN where all are right or all
    are wrong. A calibrated network may tell nothing: say one that always answers with its accuracy. Images are ranked
    by ``fine_confidence``, as the ties of float16 would hide what a confident network can tell.
    """
    return np.array([_auroc(*pair) for pair in zip(fine_confidence(outcomes), outcomes.right, strict=True)])


def _auroc(confidence: Floats, right: NDArray[np.bool_]) -> float:
    _, places = np.unique(confidence, return_inverse=True)
    wins, losses = (np.bincount(places, mask, places.max() + 1) for mask in (right, ~right))
    pairs = wins.sum() * losses.sum()
    below = np.cumsum(losses) - losses / 2
    return 100 * float(wins @ below / pairs) if pairs else float("nan")
