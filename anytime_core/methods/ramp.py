"""The weights of shallow-deep networks, which rise as training proceeds (Kaya et al., ICML 2019, arXiv 1810.07052)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anytime_core.bounds import refuse, within
from anytime_core.extend import Progress, Weighting, ours


@ours("sdn_ramp", version="1")
@dataclass(frozen=True, kw_only=True)
class SdnRamp(Weighting):
    """B_i = min(C_i, first + t C_i): C_i is the cost up to prediction i, t how far training is, both from 0 to 1. The
    last weight is 1. ``first`` is the paper's 0.01."""

    first: float = 0.01

    def __post_init__(self) -> None:
        refuse(within("first", self.first, 0, 1))

    def weights(self, costs: Sequence[float], progress: Progress) -> Sequence[float]:
        return [*(min(cost, self.first + progress.fraction * cost) for cost in costs[:-1]), 1.0]
