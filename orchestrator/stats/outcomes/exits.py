"""Every exit policy on one network's outcomes, beside what it is held against: for tables and figures.

Costs are mean costs of an image as fractions of the whole, accuracies in percent.
"""

from __future__ import annotations

import numpy as np

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.budgeted import shares
from orchestrator.stats.outcomes.curves import Curve
from orchestrator.stats.outcomes.policies import POLICIES, anytime_curve, oracle_curve, policy_curve, random_curve

MEANINGS = {
    "budgeted": "MSDNet's thresholds of the confidence, one for each prediction",
    **{name: policy.meaning for name, policy in POLICIES.items()},
    "random": "leave by chance, blind to the image, in MSDNet's shares",
    "anytime": "all images leave at the same prediction",
    "oracle": "leave where first right, as many as the cost allows: no policy can do better",
}
"""By the name of a curve."""


def exit_curves(outcomes: Outcomes, budgeted: Curve) -> dict[str, Curve]:
    """By the names in MEANINGS, in their order. All begin where each image leaves at the first prediction.

    ``budgeted`` is ``budgeted.whole_curve`` of the same images. The thresholds of a policy are values that occur among
    them, looked at without their labels.
    """
    return {
        "budgeted": budgeted,
        **{name: policy_curve(outcomes, policy) for name, policy in POLICIES.items()},
        "random": random_curve(outcomes, _whole_shares(len(outcomes.costs))),
        "anytime": anytime_curve(outcomes),
        "oracle": oracle_curve(outcomes),
    }


def _whole_shares(predictions: int) -> np.ndarray:
    """``budgeted.shares`` between their limits, all images at the first prediction and all at the last: [41, L]."""
    first, last = np.eye(predictions)[[0, -1]]
    return np.vstack([first, shares(predictions), last])
