"""An anytime network cut at its units: each stage can be the last one that is computed.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anytime_core.model.network import AnytimeResNet, Block, Heads


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stage:
    """One unit, 1-based, with the stem or transition ``before`` it and the linear layer of its prediction, if it has
    one: ``weight`` [C,K], ``bias`` [K]. They are the network's own modules and parameters."""

    unit: int
    before: tuple[nn.Module, ...]
    body: nn.Module
    weight: Tensor | None
    bias: Tensor | None

    @property
    def predicts(self) -> bool:
        return self.weight is not None

    def run(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The features of the stage before, or normalised images [N,C',H',W'] -> features [N,C,H,W] and logits [N,K],
        or None where the unit does not predict."""
        for module in self.before:
            x = module(x)
        x = self.body(x)
        if self.weight is None or self.bias is None:
            return x, None
        return x, torch.addmm(self.bias, torch.relu(x).mean((2, 3)), self.weight)


def stages(network: AnytimeResNet) -> tuple[Stage, ...]:
    """All units in order. Run one after the other they compute what ``network`` does."""
    return tuple(_stages(network))


def _stages(network: AnytimeResNet) -> Iterator[Stage]:
    number = 0
    for block in cast(Iterator[Block], iter(network.blocks)):
        for index, body in enumerate(block.units):
            before = (*(() if number else (network.stem,)), *(() if index else (block.transition,)))
            weight, bias = _head(block, index)
            number += 1
            yield Stage(
                unit=number,
                before=tuple(module for module in before if not isinstance(module, nn.Identity)),
                body=body,
                weight=weight,
                bias=bias,
            )


def _head(block: Block, index: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Of a 0-based unit of a block."""
    if index not in block.predicting:
        return None, None
    place, heads = block.predicting.index(index), cast(Heads, block.heads)
    return heads.weight[place], heads.bias[place]
