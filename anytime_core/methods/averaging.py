"""Dynamic weight averaging: losses that fall slowly weigh more (Liu et al., CVPR 2019, arXiv 1803.10704)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, within
from anytime_core.extend import State, Step, Strategy, ours

if TYPE_CHECKING:
    from torch import Tensor

COLDEST, HOTTEST = 1e-3, 1e3
TINY = 1e-12


@ours("dwa", version="1")
@dataclass(frozen=True, kw_only=True)
class Averaging(Strategy):
    """w_i = L softmax_i(r_i / T), r_i = l_i(t - 1) / l_i(t - 2) of the mean losses of the two epochs before: [L].

    All are 1 in the first two epochs. ``temperature`` is T, the paper's 2.
    """

    temperature: float = 2.0

    def __post_init__(self) -> None:
        refuse(within("temperature", self.temperature, COLDEST, HOTTEST))

    def start(self, base: Tensor, milestones: Sequence[int]) -> State:
        vectors = {name: base.new_zeros(len(base)) for name in ("sum", "before")}
        return {**vectors, "ratio": base.new_ones(len(base)), "steps": base.new_zeros(1)}

    def begin(self, state: State, epoch: int) -> State:
        """An epoch without a step, as begun twice, counts for nothing."""
        mean, before = state["sum"] / state["steps"].clamp_min(1), state["before"]
        ratio = (mean / before.clamp_min(TINY)).where(before > 0, state["ratio"])
        gone = state["steps"] > 0
        return {
            "ratio": ratio.where(gone, state["ratio"]),
            "before": mean.where(gone, before),
            "sum": mean.new_zeros(len(mean)),
            "steps": mean.new_zeros(1),
        }

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return base.sum() * (state["ratio"] / self.temperature).softmax(0)

    def update(self, state: State, step: Step) -> State:
        return {"sum": state["sum"] + step.losses, "steps": state["steps"] + 1}
