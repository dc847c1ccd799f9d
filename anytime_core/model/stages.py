"""An anytime network run unit by unit: each can be the last one that is computed. A ResNet is cut into stages for it.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anytime_core.model.interface import AnytimeModule
from anytime_core.model.network import AnytimeResNet, Block, Heads
from anytime_core.model.own import OwnModule

Steps = Iterator[tuple[int, Tensor | None]]
"""Units, and their logits [N,K], or None where one does not predict; each is computed once it is asked for."""


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


def stepped(network: AnytimeModule) -> Callable[[Tensor], Steps]:
    """A function that runs the network on normalised images [N,C',H',W'], unit by unit. Raises TypeError."""
    match network:
        case AnytimeResNet():
            cut = stages(network)
            return lambda x: _run(cut, x)
        case OwnModule():
            return network.steps
        case _:
            raise TypeError(f"a {type(network).__name__} cannot be run unit by unit")


def _run(cut: Sequence[Stage], x: Tensor) -> Steps:
    for stage in cut:
        x, logits = stage.run(x)
        yield stage.unit, logits


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
