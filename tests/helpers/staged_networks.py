"""Networks of stages, as an extension would write them: one passes on a tensor, the other two tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anytime_core.config import KINDS
from anytime_core.extend import StagedNetwork

CHANNELS = 4


class Head(nn.Module):
    """From the mean over pixels of the features that it is given, or of the last of them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, classes)

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        x = x if isinstance(x, Tensor) else x[-1]
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def convolution(before: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, CHANNELS, 3, stride, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU())


@dataclass(frozen=True, kw_only=True)
class Chain(StagedNetwork):
    """A stem that does not predict, and ``depth`` convolutions, of which each ``every``-th does."""

    depth: int = 4
    every: int = 2

    @property
    def predicting_stages(self) -> Sequence[int]:
        return range(self.depth + 1, 1, -self.every)[::-1]

    def stages(self, classes: int, channels: int, size: int) -> Sequence[tuple[nn.Module, nn.Module | None]]:
        predicting = self.predicting_stages
        return [
            (convolution(CHANNELS if index else channels), Head(classes) if index + 1 in predicting else None)
            for index in range(self.depth + 1)
        ]


class Pair(nn.Module):
    """Features at two scales: the first at that of the image."""

    def __init__(self, channels: int | None) -> None:
        super().__init__()
        self.opens = channels is not None
        self.fine, self.coarse = convolution(channels or CHANNELS), convolution(CHANNELS, 2)

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        fine = self.fine(x if isinstance(x, Tensor) else x[0])
        coarse = self.coarse(fine)
        return fine, coarse if isinstance(x, Tensor) else torch.relu(coarse + x[1])


@dataclass(frozen=True, kw_only=True)
class Scales(StagedNetwork):
    """Three stages at two scales; the last two predict. It says what it costs."""

    @property
    def predicting_stages(self) -> Sequence[int]:
        return (2, 3)

    def stages(self, classes: int, channels: int, size: int) -> Sequence[tuple[nn.Module, nn.Module | None]]:
        return [(Pair(channels), None), (Pair(None), Head(classes)), (Pair(None), Head(classes))]

    def stage_costs(self, classes: int, channels: int, size: int) -> Sequence[tuple[int, int]]:
        fine, coarse = 9 * CHANNELS * size**2, 9 * CHANNELS * CHANNELS * (size // 2) ** 2
        head = CHANNELS * classes
        return [
            (fine * channels + coarse, 0),
            (fine * CHANNELS + coarse, head),
            (fine * CHANNELS + coarse, head),
        ]


Chain.name, Chain.source = "chain", "c"
Scales.name, Scales.source = "scales", "s"


@contextmanager
def known() -> Iterator[None]:
    """In the block configs that hold them can be read."""
    before = dict(KINDS["network"])
    KINDS["network"].update(chain=Chain, scales=Scales)
    try:
        yield
    finally:
        KINDS["network"].clear()
        KINDS["network"].update(before)
