"""What is differentiated, and what is answered: the plain cross-entropies and logits, unless an extension says
otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anytime_core.errors import ConfigError
from anytime_core.extend import Answers, Objective
from anytime_core.training import checked
from anytime_core.training.evaluate import losses_of


class TrainingObjective:
    """Of a phase with so many ``predictions``. ``state`` are tensors that stay where they are."""

    def __init__(
        self, predictions: int, device: torch.device, objective: Objective | None = None, answers: Answers | None = None
    ) -> None:
        self._objective, self._answers = objective, answers
        self.state = _started(objective, predictions, device) if objective else {}

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """logits [L,N,K], labels [N] -> the plain losses [L], and what is differentiated [L]"""
        losses = losses_of(logits, labels)
        if self._objective is None:
            return losses, losses
        given = self._objective.losses(self.state, logits, labels)
        return losses, checked.shaped(self._objective, "losses", given, losses.shape)

    def learn(self, logits: Tensor, labels: Tensor) -> None:
        if self._objective:
            checked.update(self._objective, self.state, self._objective.update(self.state, logits, labels))

    def answers(self, logits: Tensor) -> Tensor:
        """[L,N,K] -> [L,N,K]"""
        if self._answers is None:
            return logits
        return checked.shaped(self._answers, "answers", self._answers.answers(logits), logits.shape)

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(saved[name])


def _started(objective: Objective, predictions: int, device: torch.device) -> dict[str, Tensor]:
    start = objective.start(predictions)
    try:
        return {name: torch.tensor(value, dtype=torch.float32, device=device) for name, value in start.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"objective {objective.name}: start gives {start!r:.80}, must give numbers by name"
        ) from error
