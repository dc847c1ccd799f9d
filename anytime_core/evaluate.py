"""Losses and errors of all predictions at once. L predictions, N images, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from anytime_core.data.loader import EvaluationData


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each prediction: logits [L,N,K], labels [N] -> [L]"""
    predictions, images, _ = logits.shape
    every = labels.expand(predictions, -1).reshape(-1)
    return cross_entropy(logits.flatten(0, 1), every, reduction="none").view(predictions, images).mean(1)


def wrong_of(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images each prediction gets wrong: logits [L,N,K], labels [N] -> [L]"""
    return (logits.argmax(2) != labels).sum(1)


class Tally:
    """Mean losses and error rates over many batches, summed on the device and read once."""

    def __init__(self, predictions: int, device: torch.device) -> None:
        # Rows: sum of losses, wrong answers. In float64 counts are exact, and sums far more so than single losses.
        self._sums = torch.zeros(2, predictions, dtype=torch.float64, device=device)
        self._images = 0

    def add(self, losses: Tensor, wrong: Tensor, images: int) -> None:
        self._sums += torch.stack([losses.double() * images, wrong.double()])
        self._images += images

    def read(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Losses and errors in percent, one of each a prediction. Waits for the device."""
        losses, wrong = (self._sums / self._images).tolist()
        return tuple(losses), tuple(100 * share for share in wrong)


@torch.no_grad()
def evaluate(
    network: nn.Module, data: EvaluationData, predictions: int, depth: int | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean loss and error in percent of every prediction, up to unit ``depth``, over the data in one pass."""
    network.eval()
    tally = Tally(predictions, data.images.device)
    for images, labels in data:
        logits = network(images, depth)
        tally.add(losses_of(logits, labels), wrong_of(logits, labels), len(labels))
    return tally.read()
