"""Gradients of some of a network's losses, by autograd."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def gradients(network: nn.Module, images: Tensor, labels: Tensor, which: Sequence[int]) -> dict[str, Tensor]:
    """Of the sum of the cross-entropies of these predictions, by the names of the parameters that it reaches."""
    network.zero_grad()
    sum(cross_entropy(network(images)[index], labels) for index in which).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
