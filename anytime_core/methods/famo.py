"""FAMO: all losses are to fall at the same rate (Liu et al., NeurIPS 2023, arXiv 2306.03792)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, within
from anytime_core.extend import Numbers, Objective, State, ours
from anytime_core.methods.losses import cross_entropies

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-8
MEMORY = (0.9, 0.999)
"""Of Adam's two means."""


@ours("famo", version="1")
@dataclass(frozen=True, kw_only=True)
class Famo(Objective):
    """Minimises sum_i z_i ln l_i / C: the weight of loss i is z_i / (l_i C), C = sum_j z_j / l_j, z = softmax(x), [L].

    x begins at 0 and follows Adam with ``rate`` and ``decay`` (the paper's 0.025 and 0.01) along the softmax's Jacobian
    times ln l_i(before) - ln l_i(after): what fell most weighs less. The losses after a step are those of the next
    batch, so that no batch is computed twice; the paper has the same batch again.
    """

    rate: float = 0.025
    decay: float = 0.01

    def __post_init__(self) -> None:
        refuse(within("rate", self.rate, 0), within("decay", self.decay, 0))

    def start(self, predictions: int) -> Mapping[str, Numbers]:
        zeros = [0.0] * predictions
        return {"x": zeros, "before": zeros, "mean": zeros, "square": zeros, "steps": 0.0}

    def losses(self, state: State, logits: Tensor, labels: Tensor) -> Tensor:
        losses = cross_entropies(logits, labels) + TINY
        z = self._after(state, losses.detach())["x"].softmax(0)
        total = (z / losses.detach()).sum()
        return len(z) * z * losses.log() / total  # L times: base weights of one each come to that sum

    def update(self, state: State, logits: Tensor, labels: Tensor) -> State:
        return self._after(state, cross_entropies(logits, labels) + TINY)

    def _after(self, state: State, losses: Tensor) -> dict[str, Tensor]:
        """The state once these losses are known, which tell what the step before has brought."""
        x, steps = state["x"], state["steps"]
        z, begun = x.softmax(0), steps > 0
        fallen = state["before"].clamp_min(TINY).log() - losses.log()
        slope = z * (fallen - (z * fallen).sum()) + self.decay * x
        mean, square = (
            slope.lerp(state["mean"], MEMORY[0]),
            (slope**2).lerp(state["square"], MEMORY[1]),
        )
        count = steps.clamp_min(1)
        step = mean / (1 - MEMORY[0] ** count) / ((square / (1 - MEMORY[1] ** count)).sqrt() + TINY)
        return {
            "x": (x - self.rate * step).where(begun, x),
            "mean": mean.where(begun, state["mean"]),
            "square": square.where(begun, state["square"]),
            "before": losses,
            "steps": steps + 1,
        }
