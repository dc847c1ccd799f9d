"""AdaLoss: each loss weighs as the inverse of its mean (Hu et al., AAAI 2019, version 3 of arXiv 1708.06832)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, whole, within
from anytime_core.extend import State, Step, Strategy, ours

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-8


@ours("adaloss", version="1")
@dataclass(frozen=True, kw_only=True)
class AdaLoss(Strategy):
    """Weights [L] that make all losses contribute alike, whatever their scale.

    A running mean of each loss, a_i <- m a_i + (1 - m) l_i, begins at the first loss. After every u steps w_i =
    1 / (a_i + 1e-8), divided by the largest; the last weight gains e, and all are divided by the largest again; then
    w = (1 - g) w + g, so that none falls below g. All are 1 before. With g = 1 it is ANN with constant weights.

    ``momentum`` is m, ``every`` u, ``last`` e and ``floor`` g. Defaults are the paper's; the authors' scripts have a
    ``momentum`` of 0.99 and a ``last`` of 1.
    """

    momentum: float = 0.9
    every: int = 100
    last: float = 0.0
    floor: float = 0.07

    def __post_init__(self) -> None:
        refuse(
            within("momentum", self.momentum, 0, 1),
            whole("every", self.every, 1),
            within("last", self.last, 0),
            within("floor", self.floor, 0, 1),
        )

    def start(self, base: Tensor, milestones: Sequence[int]) -> State:
        return {"mean": base.new_zeros(len(base)), "weights": base.new_ones(len(base)), "steps": base.new_zeros(1)}

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return state["weights"] * base.mean()

    def update(self, state: State, step: Step) -> State:
        steps = state["steps"] + 1
        mean = step.losses.where(steps == 1, step.losses.lerp(state["mean"], self.momentum))
        due = steps % self.every == 0
        return {"mean": mean, "steps": steps, "weights": self._inverse(mean).where(due, state["weights"])}

    def _inverse(self, mean: Tensor) -> Tensor:
        weights = 1 / (mean + TINY)
        weights = weights / weights.max()
        weights[-1] += self.last
        weights = weights / weights.max()
        return (1 - self.floor) * weights + self.floor
