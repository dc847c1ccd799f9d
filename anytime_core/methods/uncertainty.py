"""Uncertainty weighting: weights that are learned beside the network (Kendall et al., CVPR 2018, arXiv 1705.07115)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.extend import State, Step, Strategy, ours

if TYPE_CHECKING:
    from torch import Tensor


@ours("uncertainty", version="1")
@dataclass(frozen=True, kw_only=True)
class Uncertainty(Strategy):
    """Minimises sum_i (exp(-s_i) l_i + s_i) / 2 over the network and s [L], the logarithms of variances.

    So w_i = exp(-s_i) / 2, and s_i <- s_i - rate (1 - exp(-s_i) l_i) / 2 in each step, with the network's learning rate
    and without its momentum. s begins at 0.
    """

    def start(self, base: Tensor, milestones: Sequence[int]) -> State:
        return {"logarithms": base.new_zeros(len(base))}

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return base.mean() * (-state["logarithms"]).exp() / 2

    def update(self, state: State, step: Step) -> State:
        s = state["logarithms"]
        return {"logarithms": s - step.rate * (1 - (-s).exp() * step.losses) / 2}
