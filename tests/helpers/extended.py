"""One part of each kind, as an extension would write it: methods of the field that have a closed form to test against.

Shapes: N images, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from anytime_core.config import KINDS, Joint, Part
from anytime_core.extend import Answers, GradientFlow, Objective, Progress, Regime, Step, Strategy, Weighting, register
from anytime_core.training.regimes import Phase


@dataclass(frozen=True, kw_only=True)
class Ramp(Weighting):
    """Weights rise to the cost of each prediction as training proceeds."""

    power: float = 1.0

    def weights(self, costs: Sequence[float], progress: Progress) -> Sequence[float]:
        return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]


@dataclass(frozen=True, kw_only=True)
class Inverse(Strategy):
    """Weights are the inverse of running means of the losses, anew every ``every`` steps; 1 before the first time."""

    momentum: float = 0.9
    every: int = 2
    floor: float = 0.07

    def start(self, base: Tensor, milestones: Sequence[int]) -> dict[str, Tensor]:
        return {"mean": torch.zeros_like(base), "weights": torch.ones_like(base), "steps": torch.zeros_like(base[:1])}

    def weights(self, state, base, chosen, noise):
        return state["weights"]

    def update(self, state, step: Step) -> dict[str, Tensor]:
        steps = state["steps"] + 1
        mean = torch.where(steps == 1, step.losses, torch.lerp(step.losses, state["mean"], self.momentum))
        inverse = 1 / (mean + 1e-8)
        fresh = (1 - self.floor) * inverse / inverse.max() + self.floor
        return {"mean": mean, "steps": steps, "weights": torch.where(steps % self.every == 0, fresh, state["weights"])}


@dataclass(frozen=True, kw_only=True)
class Noisy(Strategy):
    """Random weights: the softmax of normal noise, anew in each step."""

    noise: ClassVar[bool] = True

    def weights(self, state, base, chosen, noise):
        return softmax(noise, 0)


@dataclass(frozen=True, kw_only=True)
class Drawn(Strategy):
    """Draws a loss, and halves the others: for what a draw gives."""

    def probabilities(self, state):
        return state["p"]

    def start(self, base, milestones):
        return {"p": base / base.sum()}

    def weights(self, state, base, chosen, noise):
        return base * (0.5 + 0.5 * chosen)

    def update(self, state, step: Step):
        p = torch.lerp(state["p"], step.chosen, 0.25)
        return {"p": p / p.sum()}


@dataclass(frozen=True, kw_only=True)
class Distil(Objective):
    """Predictions learn from the last one too, whose temperature grows in steps at which it is sure."""

    share: float = 0.5

    def start(self, predictions: int) -> dict[str, float]:
        return {"temperature": 1.0}

    def losses(self, state, logits, labels):
        t = state["temperature"]
        teacher = softmax(logits[-1].detach() / t, 1)
        plain = torch.stack([cross_entropy(own, labels) for own in logits])
        other = [kl_div(log_softmax(own / t, 1), teacher, reduction="batchmean") for own in logits]
        mixed = (1 - self.share) * plain + self.share * t * t * torch.stack(other)
        return torch.cat([mixed[:-1], plain[-1:]])

    def update(self, state, logits, labels):
        sure = softmax(logits[-1] / state["temperature"], 1).max(1).values.mean() > 0.2
        return {"temperature": torch.where(sure, state["temperature"] * 1.05, state["temperature"])}


@dataclass(frozen=True, kw_only=True)
class Boost(Answers):
    """Each prediction adds to the one before: F_i = z_i + r F_{i-1}."""

    share: float = 0.5

    def answers(self, logits: Tensor) -> Tensor:
        places = torch.arange(len(logits), device=logits.device)
        powers = torch.tril(self.share ** (places[:, None] - places).clamp_min(0).to(logits.dtype))
        return torch.einsum("ij,jnk->ink", powers, logits)


@dataclass(frozen=True, kw_only=True)
class Balanced(GradientFlow):
    """Each unit sees the mean of the gradients of the predictions behind it."""

    def factors(self, costs):
        behind = range(len(costs) - 1, -1, -1)
        return [(1 / (rest + 1), rest / (rest + 1)) for rest in behind]


@dataclass(frozen=True, kw_only=True)
class Twice(Regime):
    """The last prediction alone, then all of them."""

    def count(self, predictions: int) -> int:
        return 2

    def phases(self, network):
        names, units = frozenset(name for name, _ in network.named_parameters()), network.predicting_units
        last = (*[0.0] * (len(units) - 1), 1.0)
        return [Phase(last, names, units[-1]), Phase((1.0,) * len(units), names, units[-1])]


PARTS: tuple[type[Part], ...] = (Ramp, Inverse, Noisy, Drawn, Distil, Boost, Balanced, Twice)


@contextmanager
def registered(*parts: type[Part]) -> Iterator[None]:
    """Known by their names in small letters in the block."""
    before = {kind: dict(known) for kind, known in KINDS.items()}
    for part in parts or PARTS:
        register(part.__name__.lower())(part)
    try:
        yield
    finally:
        for kind, known in KINDS.items():
            known.clear()
            known |= before[kind]


def regime_of(part: Part) -> Joint | Part:
    return part if isinstance(part, Regime) else Joint(**{part.kind: part})
