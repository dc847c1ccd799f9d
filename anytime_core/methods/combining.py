"""Answers that combine a trained network's predictions, so that they get better with each (Jazbec et al., NeurIPS 2023,
arXiv 2306.02652). Nothing is trained otherwise. logits [L,N,K] -> [L,N,K].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anytime_core.extend import Answers, ours

if TYPE_CHECKING:
    from torch import Tensor

RULED_OUT = -1e30
"""The logit of a class that a prediction rules out."""


@ours("product", version="1")
@dataclass(frozen=True, kw_only=True)
class Product(Answers):
    """Product Anytime: prediction i answers with the softmax of sum_{j<=i} j/L ln max(z_j, 0): a class that one of them
    rules out stays out. Where all classes are out, with that of its own logits."""

    def answers(self, logits: Tensor) -> Tensor:
        answers, scores = logits.clone(), logits.new_zeros(logits.shape[1:])
        for i in range(len(logits)):
            scores = scores + (i + 1) / len(logits) * logits[i].clamp_min(0).log()
            some = scores.isfinite().any(1, keepdim=True)
            answers[i] = scores.clamp_min(RULED_OUT).where(some, logits[i])
        return answers


@ours("caching", version="1")
@dataclass(frozen=True, kw_only=True)
class Caching(Answers):
    """Caching Anytime: prediction i answers as the most confident one so far; a later one that is as confident as an
    earlier one takes its place."""

    def answers(self, logits: Tensor) -> Tensor:
        answers = logits.clone()
        confidence = logits.softmax(2).amax(2)
        best = confidence[0]
        for i in range(1, len(answers)):
            better = confidence[i] >= best
            best = confidence[i].where(better, best)
            answers[i] = answers[i].where(better[:, None], answers[i - 1])
        return answers
