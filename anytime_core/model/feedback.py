"""The stages of ``anytime_core.networks.Feedback``, each a run of one ConvLSTM cell.

Features are a tuple: what the next cell is given, what the block was given, and the hidden state and the memory of each
of the block's cells, all of them [N,C,S,S]. Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anytime_core.model.layers import Readout, convolved, draw
from anytime_core.model.network import Norm
from anytime_core.networks.feedback import GATES, Feedback

Features = tuple[Tensor, ...]
FORGET = 1
"""Which of the gates: inward, forget, outward, and what is to be remembered."""


class Cell(nn.Module):
    """A ConvLSTM (Shi et al. 2015, equation 3, without the connections from the memory to the gates). At first it
    remembers rather than forgets: the biases are 0, those of the forget gate 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        gates = GATES * channels
        self.given = nn.Conv2d(channels, gates, 3, padding=1)
        self.hidden = nn.Conv2d(channels, gates, 3, padding=1, bias=False)
        biases = torch.zeros(GATES, channels)
        biases[FORGET] = 1
        self.given.bias = nn.Parameter(biases.flatten())

    def forward(self, x: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What comes in and the cell's states, [N,C,S,S] each -> its new states."""
        sums = self.given(x) + self.hidden(hidden)
        inward, forget, outward = sums[:, : 3 * x.shape[1]].sigmoid().chunk(3, 1)
        memory = forget * memory + inward * sums[:, 3 * x.shape[1] :].tanh()
        return outward * memory.tanh(), memory


class Entry(nn.Module):
    """Images, or the features of the block before -> features with states of zeros. Behind the last cell of a block
    nothing but what it gives is used."""

    def __init__(self, inputs: int, channels: int, cells: int, stride: int) -> None:
        super().__init__()
        self.convolution, self.cells = convolved(inputs, channels, stride=stride), cells

    def forward(self, features: Tensor | Features) -> Features:
        x = self.convolution(features if isinstance(features, Tensor) else features[0])
        return x, x, *[torch.zeros_like(x) for _ in range(2 * self.cells)]


class Run(nn.Module):
    """The first run of the ``index``-th cell of a block, counted from 0. Its first cell sees what the block was given,
    each other what the one below gave."""

    def __init__(self, cell: Cell, index: int) -> None:
        super().__init__()
        self.cell, self.index = cell, index

    def forward(self, features: Features) -> Features:
        return _run(self.cell, self.index, features)


class Rerun(nn.Module):
    """Another run of a cell, which is a part of the stage that ran it first: of this one torch shall not know that it
    is. A module in two places has two names, and ``functional_call`` puts its weights back wrongly."""

    def __init__(self, cell: Cell, index: int) -> None:
        super().__init__()
        self.of, self.index = (cell,), index

    def forward(self, features: Features) -> Features:
        return _run(*self.of, self.index, features)


def _run(cell: Cell, index: int, features: Features) -> Features:
    below, block, *states = features
    own = slice(2 * index, 2 * index + 2)
    states[own] = cell(below if index else block, *states[own])
    return states[own.start], block, *states


class Head(nn.Module):
    """Features -> logits [N,K] from what the last cell gave: batch norm, ReLU, the means over all pixels, and a linear
    layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm, self.readout = Norm(channels), Readout(channels, classes)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.readout(torch.relu(self.norm(features[0])))
        return logits


def stages(network: Feedback, classes: int, channels: int) -> list[tuple[nn.Module, nn.Module | None]]:
    """The body and the head of each stage, with new weights."""
    found: list[tuple[nn.Module, nn.Module | None]] = []
    cells: list[Cell] = []
    for stage in range(1, network.runs + 1):
        block, iteration, index = network.place(stage)
        width = network.channels_of(block)
        if not iteration:
            cells.append(Cell(width))
        cell = cells[block * network.cells + index]
        body: nn.Module = Rerun(cell, index) if iteration else Run(cell, index)
        if not iteration and not index:
            before = network.channels_of(block - 1) if block else channels
            body = nn.Sequential(Entry(before, width, network.cells, stride=2 if block else 1), body)
        found.append((body, None if stage % network.cells else Head(width, classes)))
    draw(nn.ModuleList(part for both in found for part in both if part is not None))
    return found
