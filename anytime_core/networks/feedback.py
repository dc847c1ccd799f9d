"""The feedback network of the paper's appendix C: convolutional LSTMs (Shi et al. 2015) that see the same features
again and again, as Zamir et al. 2017 (arXiv 1612.09508) use them to predict early.

As an anytime ResNet it has three blocks, of c, 2c and 4c channels, each of half the side of the one before. A block is
a stack of ``cells`` ConvLSTM cells, which runs ``iterations`` times with the same weights, each cell with the hidden
state that it had the time before; each time through, what comes out of the top gives a prediction. A cell has four
gates with two 3x3 convolutions each, one of what comes in and one of its own state, so it costs eight convolutions, or
four residual units of as many channels. Zamir et al. advise to predict every two cells: every 16 convolutions.

Shapes of one image: c channels with S x S pixels; K classes. Imports no torch, so that a sweep is planned without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anytime_core.bounds import refuse
from anytime_core.extend import Footprint, StagedNetwork, ours
from anytime_core.networks.fields import whole
from anytime_core.networks.shapes import KERNEL, downsampled

if TYPE_CHECKING:
    from torch import nn

BLOCKS = 3
CONVOLUTIONS = 8
"""Of a cell: two in each of four gates."""
GATES = 4
MOST_TIMES = 100
KEPT_OF_ENTRY = 2
"""What the convolution before a block gives, and what comes out of its batch norm."""
KEPT_OF_GATES = GATES + 1
"""The gates, and the tangent of the memory."""


@ours("feedback", version="1")
@dataclass(frozen=True, kw_only=True)
class Feedback(StagedNetwork):
    """``iterations`` of each block, each through ``cells`` cells and with a prediction at its end; ``c`` channels in
    the first block. A stage is one run of one cell, so it can be interrupted between any two of them.

    The first iteration begins with hidden states of zeros, and computes with them, so that every run of a cell costs
    what the appendix says. The papers do not say what a prediction is made from: here it is the batch norm and the ReLU
    of what the last cell gives, the means over all pixels, and a linear layer. Without that batch norm 200
    steps on the digits taught it next to nothing (84.7 % errors at the end, else 4.7), as gates pass little on.
    """

    iterations: int = 2
    cells: int = 2
    c: int = 16

    def __post_init__(self) -> None:
        refuse(
            whole("iterations", self.iterations, MOST_TIMES),
            whole("cells", self.cells, MOST_TIMES),
            whole("c", self.c),
        )

    @property
    def label(self) -> str:
        """Such as ``feedback 2x2 c=16``: iterations, cells."""
        return f"feedback {self.iterations}x{self.cells} c={self.c}"

    @property
    def runs(self) -> int:
        """How often cells run: how many stages there are."""
        return BLOCKS * self.iterations * self.cells

    @property
    def predicting_stages(self) -> Sequence[int]:
        return range(self.cells, self.runs + 1, self.cells)

    def place(self, stage: int) -> tuple[int, int, int]:
        """The block, the iteration and the cell of a stage, which counts from 1; all three count from 0."""
        block, run = divmod(stage - 1, self.iterations * self.cells)
        return block, *divmod(run, self.cells)

    def channels_of(self, block: int) -> int:
        return self.c << block

    def trunk(self, prediction: int) -> Sequence[str]:
        """The weights of a block are those of its first iteration."""
        first_of_block = not (prediction - 1) % self.iterations
        return super().trunk(prediction) if first_of_block else ()

    # What it computes, costs and keeps

    def stages(self, classes: int, channels: int, size: int) -> Sequence[tuple[nn.Module, nn.Module | None]]:
        feedback: Any = import_module("anytime_core.model.feedback")  # which imports torch
        built: Sequence[tuple[nn.Module, nn.Module | None]] = feedback.stages(self, classes, channels)
        return built

    def stage_costs(self, classes: int, channels: int, size: int) -> Sequence[tuple[int, int]]:
        costs = []
        for stage in range(1, self.runs + 1):
            block, iteration, cell = self.place(stage)
            width, pixels = self.channels_of(block), _pixels(size, block)
            body = CONVOLUTIONS * KERNEL * width**2 * pixels
            if not iteration and not cell:
                body += KERNEL * self._before(block, channels) * width * pixels
            costs.append((body, 0 if stage % self.cells else width * classes))
        return costs

    def footprint_of(self, heads: Sequence[int], classes: int, channels: int, size: int) -> Footprint:
        parameters = kept = of_heads = 0
        last_block, last_iteration, _ = self.place(heads[-1])
        for stage in range(1, heads[-1] + 1):
            block, iteration, cell = self.place(stage)
            width, pixels = self.channels_of(block), _pixels(size, block)
            ends = iteration == (last_iteration if block == last_block else self.iterations - 1)
            # Its hidden state is kept for whatever is next, its memory for the cell's next run.
            kept += (KEPT_OF_GATES + 1 + (not ends)) * width * pixels
            if not iteration:
                parameters += CONVOLUTIONS * KERNEL * width**2 + GATES * width
                kept += 2 * width * pixels  # the states of zeros
            if not iteration and not cell:
                parameters += (KERNEL * self._before(block, channels) + 2) * width
                kept += KEPT_OF_ENTRY * width * pixels
        for stage in heads:
            block, *_ = self.place(stage)
            width = self.channels_of(block)
            of_heads += 2 * width + (width + 1) * classes
            kept += width * (_pixels(size, block) + 1)
        largest = GATES * self.c * size**2
        return Footprint(parameters=parameters + of_heads, kept=kept, largest=largest, of_heads=of_heads)

    def _before(self, block: int, channels: int) -> int:
        """What comes into the convolution before a block."""
        return self.channels_of(block - 1) if block else channels


def _pixels(size: int, block: int) -> int:
    for _ in range(block):
        size = downsampled(size)
    return size**2
