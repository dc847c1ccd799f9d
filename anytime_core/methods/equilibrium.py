"""Gradient equilibrium: what comes back to a unit does not grow with the predictions behind it (Li et al., ICCV 2019,
arXiv 1908.06294, IMTA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anytime_core.extend import GradientFlow, ours


@ours("equilibrium", version="1")
@dataclass(frozen=True, kw_only=True)
class Equilibrium(GradientFlow):
    """The trunk before prediction k of L receives (g_k + (L - k) g_rest) / (L - k + 1): each unit sees the mean of the
    gradients of the predictions behind it. Those of the heads are as ever.

    Each loss is meant to have weight 1: ``weights: {name: constant, normalize: none}``. With a sum of one gradients are
    divided by L twice.
    """

    def factors(self, costs: Sequence[float]) -> Sequence[tuple[float, float]]:
        behind = range(len(costs) - 1, -1, -1)
        return [(1 / (rest + 1), rest / (rest + 1)) for rest in behind]
