"""Boosting: each prediction corrects those before it (Yu et al., AAAI 2023, arXiv 2211.16726, BoostNet).

F_i = z_i + r F_{i-1} is what prediction i answers with, of the logits z [L,N,K]. ``objective: boosting`` trains it and
``answers: boosting`` answers so; both take the same ``share`` r. The paper has gradient equilibrium, too, and weights
of 1: ``flow: equilibrium``, ``weights: {name: constant, normalize: none}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.bounds import refuse, within
from anytime_core.extend import Answers, Numbers, Objective, State, ours
from anytime_core.methods.losses import cross_entropies

if TYPE_CHECKING:
    from torch import Tensor


@ours("boosting", version="1")
@dataclass(frozen=True, kw_only=True)
class Boosting(Objective):
    """Trains z_i to correct the answer before it: the cross-entropy of z_i + r F_{i-1}, whose second part gets no
    gradient. With a ``share`` r of 0 it is ANN; the paper's is 0.5."""

    share: float = 0.5

    def __post_init__(self) -> None:
        refuse(within("share", self.share, 0, 1))

    def start(self, predictions: int) -> Mapping[str, Numbers]:
        """F_{i-1} times r is the sum of r^(i-j) z_j over j < i: one product for all predictions."""
        places = range(predictions)
        return {"powers": [[self.share ** (i - j) if j < i else 0.0 for j in places] for i in places]}

    def losses(self, state: State, logits: Tensor, labels: Tensor) -> Tensor:
        before = state["powers"].to(logits.dtype) @ logits.detach().flatten(1)
        return cross_entropies(logits + before.view_as(logits), labels)


@ours("boosting", version="1")
@dataclass(frozen=True, kw_only=True)
class BoostingAnswers(Answers):
    """F_i = z_i + r F_{i-1}: [L,N,K] -> [L,N,K]."""

    share: float = 0.5

    def __post_init__(self) -> None:
        refuse(within("share", self.share, 0, 1))

    def answers(self, logits: Tensor) -> Tensor:
        boosted = logits.clone()
        for i in range(1, len(boosted)):
            boosted[i] += self.share * boosted[i - 1]
        return boosted
