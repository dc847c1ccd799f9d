"""Keeps what a network answers to each image, on the device, while it is evaluated: see ``anytime_core.outcomes``.

Shapes: L predictions, N images in all, n of them in a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anytime_core.outcomes import Array, Outcomes, class_type


class Keeper:
    """Of all N images, whose batches come in order."""

    def __init__(self, predictions: int, labels: Tensor, classes: int) -> None:
        shape, device = (predictions, len(labels)), labels.device
        self._labels, self._kind = labels, class_type(classes)
        self._classes = torch.zeros(shape, dtype=torch.int64, device=device)
        self._confidence, self._of_truth, self._entropy = (
            torch.zeros(shape, dtype=torch.float16, device=device) for _ in range(3)
        )
        self._product_right = torch.zeros(predictions, dtype=torch.int64, device=device)
        self._seen = 0

    def add(self, logits: Tensor) -> None:
        """[L,n,K] of the next n images. Probabilities are worked out in float64."""
        batch = slice(self._seen, self._seen + logits.shape[1])
        self._seen = batch.stop
        probabilities = logits.double().softmax(2)
        truth = self._labels[batch].expand(len(logits), -1)[:, :, None]
        self._classes[:, batch] = logits.argmax(2)
        self._confidence[:, batch] = probabilities.amax(2).half()
        self._of_truth[:, batch] = probabilities.gather(2, truth)[:, :, 0].half()
        self._entropy[:, batch] = torch.special.entr(probabilities).sum(2).half()
        self._product_right += (_product_answers(logits) == self._labels[batch]).sum(1)

    def outcomes(self, costs: Sequence[int]) -> Outcomes:
        """Waits for the device. What is no number, as of a network that diverges on some image, is 0."""
        classes: Array = self._classes.cpu().numpy().astype(self._kind)
        return Outcomes(
            labels=self._labels.cpu().numpy().astype(np.int64),
            costs=tuple(costs),
            classes=classes,
            confidence=_numbers(self._confidence),
            of_truth=_numbers(self._of_truth),
            entropy=_numbers(self._entropy),
            product_right=tuple(self._product_right.tolist()),
        )


def _product_answers(logits: Tensor) -> Tensor:
    """The classes [L,n] that Product Anytime answers with, of logits [L,n,K] (Jazbec et al. 2023, arXiv 2306.02652).

    The class of the largest sum over j <= i of j / L ln max(z_j, 0), j counted from 1; where that is -inf of every
    class, the class of the largest logit z_i. See ``orchestrator.stats.outcomes.policies``, which has probabilities.
    """
    scores = torch.zeros_like(logits[0], dtype=torch.float64)
    answers = []
    for j, row in enumerate(logits.double(), start=1):
        scores = scores + j / len(logits) * row.clamp(min=0).log()
        some = (scores > -torch.inf).any(1, keepdim=True)
        answers.append(torch.where(some, scores, row).argmax(1))
    return torch.stack(answers)


def _numbers(kept: Tensor) -> Array:
    numbers: Array = np.nan_to_num(kept.cpu().numpy())
    return numbers
