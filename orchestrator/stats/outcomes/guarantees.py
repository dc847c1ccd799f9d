"""Answers with a guarantee: the lowest confidence to leave with at which the risk is bounded.

Found on N held-out images that training has not seen, for new images like them (exchangeable with them). As in Jazbec
et al. (2024, arXiv 2405.20915), with the losses below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.paired import Floats

NEVER = float(np.nextafter(np.float16(1), np.float16(2)))
"""A threshold that no confidence reaches: every image stays to the last prediction."""

LOSSES: dict[str, Callable[[Outcomes], NDArray[np.bool_]]] = {
    "lost": lambda outcomes: outcomes.right[-1] & ~outcomes.right,
    "error": lambda outcomes: ~outcomes.right,
    "differs": lambda outcomes: outcomes.classes != outcomes.classes[-1],
}
"""What counts as a loss of leaving at each prediction: [L, N].

``lost``: the answer is wrong where the last prediction's is right, which is what leaving early costs. It is 0 at the
last prediction, so that some threshold is always safe. ``error``: the answer is wrong; no threshold may be safe.
``differs``: the answer is another than the last prediction's; labels are not looked at.
"""

SAFE_AT_LAST = ("lost", "differs")
"""Losses that no image can have at the last prediction."""
WHY_DELTA = "an image may have one at the last prediction too, so no bound holds on average over held-out sets"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """Leave at the first prediction whose confidence, rounded as in ``Outcomes``, is at least ``threshold``.

    Without ``delta``: a new image's ``loss`` is expected to be at most ``risk``, on average over held-out sets. With
    it: but for a chance of ``delta``, the held-out set was one of those by which at most a share of ``risk`` of all new
    images has a loss. ``losses`` of the ``n`` held-out images had one, of ``allowed``.
    """

    threshold: float
    loss: str
    risk: float
    delta: float | None
    losses: int
    allowed: int
    n: int

    @property
    def leaving_from(self) -> str:
        """The threshold for people; ``never`` where every image stays to the last prediction."""
        return "never" if self.threshold == NEVER else f"{self.threshold:.5g}"


def allowed_losses(n: int, risk: float, delta: float | None = None) -> int:
    """Of how many of ``n`` held-out images a loss is compatible with the bound; -1 where n is too small for any.

    Without ``delta`` it is conformal risk control (Angelopoulos et al. 2024, arXiv 2208.02814): (losses + 1) / (n + 1)
    is at most the risk. With it, upper confidence bounds (Bates et al. 2021, arXiv 2101.02703): Clopper and Pearson's
    bound is at most the risk, which is where a binomial of that risk has so few losses with a chance of at most
    ``delta``. For losses of 0 and 1 this is exact; the bound of Hoeffding and Bentkus is above it.
    """
    for name, value in (("risk", risk), ("delta", delta)):
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} is {value}, must be between 0 and 1")
    if delta is None:
        return math.floor(risk * (n + 1) + 1e-9) - 1
    from scipy.special import bdtr  # takes a while to import

    return int((bdtr(np.arange(n), n, risk) <= delta).sum()) - 1


def images_needed(risk: float, delta: float | None = None) -> int:
    """With how many held-out images, of which none has a loss, the bound is at most ``risk``."""
    exact = 1 / risk - 1 if delta is None else math.log(delta) / math.log1p(-risk)
    return max(math.ceil(exact - 1e-9), 1)


def least_risk(held_out: Outcomes, delta: float, loss: str = "error") -> float:
    """The bound where all images stay to the last prediction: no risk below it can be had. 1 where all have a loss."""
    n, at_last = held_out.labels.size, int(LOSSES[loss](held_out)[-1].sum())
    if at_last == n:
        return 1.0
    from scipy.special import betaincinv  # takes a while to import

    return float(betaincinv(at_last + 1, n - at_last, 1 - delta))


def guaranteed(held_out: Outcomes, risk: float, delta: float | None = None, loss: str = "lost") -> Guarantee | None:
    """The lowest threshold whose bound on the risk is at most ``risk``; None where none has one.

    Without ``delta`` some threshold must be safe, whatever the held-out set: conformal risk control bounds an average
    over all of these sets, and not over those on which a threshold is found. So ``error`` needs a ``delta``.

    Both methods ask of each image for a loss that never rises with the threshold. An answer may be right, then wrong,
    then right again. So an image counts as lost at a threshold if it would be lost there or at any higher one, which is
    never less than its loss.
    """
    if loss not in LOSSES:
        raise ValueError(f"no loss here is named {loss!r}; allowed: {', '.join(LOSSES)}")
    if delta is None and loss not in SAFE_AT_LAST:
        raise ValueError(f"loss {loss} needs a delta: {WHY_DELTA}")
    n = held_out.labels.size
    allowed = allowed_losses(n, risk, delta)
    critical = critical_thresholds(held_out, LOSSES[loss](held_out))
    threshold = _lowest(critical, allowed)
    if threshold == np.inf and loss not in SAFE_AT_LAST:
        return None
    threshold = min(threshold, NEVER)
    losses = int((critical >= threshold).sum())
    return Guarantee(threshold=threshold, loss=loss, risk=risk, delta=delta, losses=losses, allowed=allowed, n=n)


def critical_thresholds(outcomes: Outcomes, losses: NDArray[np.bool_]) -> Floats:
    """The highest threshold at which each image has a loss, of ``losses`` [L, N]: [N].

    Raising the threshold, an image leaves in turn at those predictions that are more confident than all before, and at
    last at the last one. Infinite where it has a loss there, minus infinity where it has none anywhere on its way.
    """
    confidence = outcomes.confidence.astype(np.float64)
    before = np.maximum.accumulate(confidence)[:-1]
    on_its_way = np.concatenate([np.ones_like(losses[:1]), confidence[1:] > before])
    reached = np.where(on_its_way & losses, confidence, -np.inf)
    reached[-1] = np.where(losses[-1], np.inf, -np.inf)
    return np.asarray(reached.max(axis=0))


def _lowest(critical: Floats, allowed: int) -> float:
    """The lowest threshold at which at most so many images have a loss; infinite where there is none.

    It is the next float16 above the critical threshold of the first image too many: confidences are float16.
    """
    if allowed < 0:
        return np.inf
    if allowed >= len(critical):
        return 0.0
    first_too_many = np.sort(critical)[len(critical) - 1 - allowed]
    if np.isinf(first_too_many):
        return float(max(first_too_many, 0.0))
    return float(np.nextafter(np.float16(first_too_many), np.float16(np.inf)))
