"""What objectives are made of. Shapes: N images, L predictions, K classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of each prediction, in nats: logits [L,N,K], labels [N] -> [L]"""
    return of_log_probabilities(logits.log_softmax(2), labels)


def of_log_probabilities(logarithms: Tensor, labels: Tensor) -> Tensor:
    """The same of logarithms of probabilities [L,N,K]."""
    places = labels.expand(len(logarithms), -1)[:, :, None]
    return -logarithms.gather(2, places)[:, :, 0].mean(1)
