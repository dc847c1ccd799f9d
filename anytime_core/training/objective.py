"""What is differentiated, and what is answered: the plain cross-entropies and logits, unless an extension says
otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anytime_core.extend import Answers, Objective
from anytime_core.training.evaluate import losses_of


class TrainingObjective:
    """Of a phase with so many ``predictions``. ``state`` are tensors that stay where they are."""

    def __init__(
        self, predictions: int, device: torch.device, objective: Objective | None = None, answers: Answers | None = None
    ) -> None:
        self._objective, self._answers = objective, answers
        start = objective.start(predictions) if objective else {}
        self.state = {name: torch.tensor(value, dtype=torch.float32, device=device) for name, value in start.items()}

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """logits [L,N,K], labels [N] -> the plain losses [L], and what is differentiated [L]"""
        losses = losses_of(logits, labels)
        return losses, self._objective.losses(self.state, logits, labels) if self._objective else losses

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        if self._objective:
            for name, value in self._objective.update(self.state, logits, labels).items():
                self.state[name].copy_(value)

    def answers(self, logits: Tensor) -> Tensor:
        """[L,N,K] -> [L,N,K]"""
        return self._answers.answers(logits) if self._answers else logits

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(saved[name])
