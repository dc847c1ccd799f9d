"""Exit policies: at which prediction each image leaves, at a ladder of settings; and answers of several predictions.

N images, L predictions, K classes. Exits are counted from 0. An image that no rule lets go leaves at the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes, of_probabilities, softmax
from orchestrator.stats.outcomes.curves import Curve, Exits, accuracies, fine_confidence, first, reached, relative_costs
from orchestrator.stats.paired import Floats

STEPS = 40
"""Rungs of a ladder of thresholds."""


def by_confidence(outcomes: Outcomes, threshold: float) -> Exits:
    """Leave once the largest probability is at least ``threshold`` (Huang et al. 2018; Kaya et al. 2019)."""
    return first(outcomes.confidence.astype(np.float64) >= threshold)


def by_entropy(outcomes: Outcomes, threshold: float) -> Exits:
    """Leave once the entropy, in nats, is at most ``threshold`` (BranchyNet, Teerapittayanon et al. 2016)."""
    return first(outcomes.entropy.astype(np.float64) <= threshold)


def by_patience(outcomes: Outcomes, patience: float) -> Exits:
    """Leave once ``patience`` + 1 predictions in a row agree (PABEE, Zhou et al. 2020, arXiv 2006.04152).

    A count of agreements starts at 0, rises by one where a prediction answers as the one before it, and else falls back
    to 0; an image leaves where it reaches ``patience``. 0 is the first prediction, L - 1 the last.
    """
    return first(agreements(outcomes) >= patience)


def agreements(outcomes: Outcomes) -> NDArray[np.int64]:
    """How many predictions in a row, up to each, answered as the one before them: [L, N]."""
    agreeing = np.zeros(outcomes.classes.shape, np.int64)
    for k in range(1, len(agreeing)):
        same = outcomes.classes[k] == outcomes.classes[k - 1]
        agreeing[k] = np.where(same, agreeing[k - 1] + 1, 0)
    return agreeing


def oracle(outcomes: Outcomes) -> Exits:
    """Leave at the first right prediction; where none is right, at the first one, as nothing is gained by a later one.

    No policy that answers with single predictions is more accurate, and none as accurate costs less.
    """
    return np.asarray(outcomes.right.argmax(axis=0))


def _ladder(values: NDArray[np.float16], steps: int) -> Floats:
    """Values that occur, a quantile apart, in ascending order."""
    ordered = np.sort(values.astype(np.float32), axis=None)
    places = np.linspace(0, ordered.size - 1, steps).round().astype(np.int64)
    return np.unique(ordered[places].astype(np.float64))


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """An image leaves at the first prediction whose score [L, N] is at least a setting, or where ``falling``, at most.

    ``ladder`` has settings for these outcomes, in the order of rising cost. Both ends are on it: where all images leave
    at the first prediction, and where all stay to the last.
    """

    scores: Callable[[Outcomes], NDArray[Any]]
    ladder: Callable[[Outcomes], Floats]
    meaning: str
    falling: bool = False


POLICIES = {
    "confidence": Policy(
        scores=lambda outcomes: outcomes.confidence,
        ladder=lambda outcomes: np.append(_ladder(outcomes.confidence, STEPS), np.inf),
        meaning="leave once the largest probability is at least the threshold",
    ),
    "entropy": Policy(
        scores=lambda outcomes: outcomes.entropy,
        ladder=lambda outcomes: np.append(_ladder(outcomes.entropy, STEPS)[::-1], -np.inf),
        meaning="leave once the entropy is at most the threshold",
        falling=True,
    ),
    "patience": Policy(
        scores=agreements,
        ladder=lambda outcomes: np.arange(len(outcomes.costs), dtype=np.float64),
        meaning="leave once so many predictions in a row agreed with the one before",
    ),
}
"""To add one: its scores, a ladder and a line here."""


def policy_curve(outcomes: Outcomes, policy: Policy, settings: Floats | None = None) -> Curve:
    """Mean cost and accuracy at each setting, or on the ladder of the policy."""
    chosen = policy.ladder(outcomes) if settings is None else settings
    sign = -1 if policy.falling else 1
    costs, right = _reached_at(outcomes, sign * policy.scores(outcomes).astype(np.float64), sign * chosen)
    return Curve(settings=chosen, costs=costs, accuracies=right)


def _reached_at(outcomes: Outcomes, scores: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """The mean cost and the accuracy of images that leave at the first of their ``scores`` [L, N] that is at least a
    level, at each of the ``levels`` [S]: [S] and [S].

    An image goes on beyond prediction k at those levels that are above its highest score so far. So it is enough to
    count, for each prediction and level, the images whose highest score reaches no further, and to add what the next
    prediction costs and gains them; ``curves.reached`` says the same of one level at a time.
    """
    order = np.argsort(levels, kind="stable")
    highest = np.maximum.accumulate(scores[:-1])
    passed = np.searchsorted(levels[order], highest.ravel(), side="right")
    images, count = outcomes.labels.size, len(levels)

    def beyond(changes: NDArray[Any]) -> Floats:
        sums = np.bincount(passed, changes.ravel(), count + 1).cumsum()[:count] / images
        return sums[np.argsort(order)]

    costs, right = relative_costs(outcomes), outcomes.right
    dearer = np.broadcast_to(np.diff(costs)[:, None], highest.shape)
    return costs[0] + beyond(dearer), 100 * (right[0].mean() + beyond(np.diff(right.astype(np.int8), axis=0)))


def oracle_point(outcomes: Outcomes) -> tuple[float, float]:
    """The mean cost and accuracy of ``oracle``."""
    return reached(outcomes, oracle(outcomes))


def oracle_curve(outcomes: Outcomes) -> Curve:
    """The most that answers of single predictions reach at each mean cost: no policy's curve lies above.

    At setting k, counted from 0, the images that are first right by prediction k leave there, and all others at the
    first one, as they would be wrong or cost more. One image gains as much as another, so those that cost least come
    first, and straight lines between the settings are as good as can be. The last is ``oracle_point``.
    """
    exits = oracle(outcomes)
    settings = np.arange(len(outcomes.costs))
    points = np.array([reached(outcomes, np.where(exits <= k, exits, 0)) for k in settings])
    return Curve(settings=settings.astype(np.float64), costs=points[:, 0], accuracies=points[:, 1])


def anytime_curve(outcomes: Outcomes) -> Curve:
    """All images leave at the same prediction: what is reached without any policy. The settings count predictions."""
    places = np.arange(len(outcomes.costs), dtype=np.float64)
    return Curve(settings=places, costs=relative_costs(outcomes), accuracies=accuracies(outcomes))


def random_curve(outcomes: Outcomes, shares: Floats) -> Curve:
    """Exits drawn with the chances ``shares`` [S, L], blind to the image: the expected mean cost and accuracy.

    They are sum_k P_k c_k and sum_k P_k acc_k, without a draw. A policy that lies no higher has learnt nothing from
    what it looks at. The settings are the places of the rows.
    """
    return Curve(
        settings=np.arange(len(shares), dtype=np.float64),
        costs=shares @ relative_costs(outcomes),
        accuracies=shares @ accuracies(outcomes),
    )


# Answers of several predictions


def caching(outcomes: Outcomes) -> Outcomes:
    """Caching Anytime: at each prediction the answer of the most confident one so far (Jazbec et al. 2023, arXiv
    2306.02652). A later one that is as confident as an earlier one takes its place, as in the authors' code; of those
    that float16 has as equally confident, that of less entropy is the more confident one."""
    confidence = fine_confidence(outcomes)
    best = np.maximum.accumulate(confidence)
    places = np.arange(len(confidence))[:, None]
    chosen = np.maximum.accumulate(np.where(confidence == best, places, 0))
    return outcomes.mapped(lambda rows: np.take_along_axis(rows, chosen, axis=0))


def product_probabilities(logits: NDArray[np.floating]) -> Floats:
    """Product Anytime (Jazbec et al. 2023, arXiv 2306.02652) of ``logits`` [L, N, K]: probabilities [L, N, K].

    q_i is proportional to the product over j <= i of max(z_j, 0)^(j / L), j counted from 1: a class that one prediction
    rules out stays out. Where all classes are out, it is softmax(z_i). Computed as a sum of logarithms, which neither
    overflows nor underflows.
    """
    scores = np.zeros(logits.shape[1:])
    rows = []
    for j, row in enumerate(logits, start=1):
        positive = np.maximum(row.astype(np.float64), 0)
        with np.errstate(divide="ignore"):
            scores = scores + j / len(logits) * np.log(positive)
        some = np.isfinite(scores).any(axis=1, keepdims=True)
        rows.append(softmax(np.where(some, scores, row)))
    return np.stack(rows)


def product(logits: NDArray[np.floating], outcomes: Outcomes) -> Outcomes:
    """The outcomes of Product Anytime; labels and costs are those of ``outcomes``."""
    return of_probabilities(product_probabilities(logits), outcomes.labels, outcomes.costs)
