"""The stages of ``anytime_core.networks.MSDNet``, each a layer across all of its scales.

Features are a tuple with a tensor of each scale, finest first: all that was computed there so far, joined along its
channels. Shapes: N images, C_s channels and S_s x S_s pixels on scale s, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anytime_core.model.layers import Readout, convolved, draw
from anytime_core.networks.msdnet import Layer, MSDNet, Path

Scales = tuple[Tensor, ...]


class Stem(nn.Module):
    """Images [N,C,S,S] -> what the first layer is given: each scale is a convolution of the one before it."""

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            convolved(inputs, outputs, stride=2 if scale else 1) for scale, (inputs, outputs) in enumerate(shapes)
        )

    def forward(self, x: Tensor) -> Scales:
        given = []
        for scale in self.scales:
            x = scale(x)
            given.append(x)
        return tuple(given)


class DenseLayer(nn.Module):
    """[N,C_s,S_s,S_s] of each scale -> the same with what the layer adds to it, less a finest scale that ends here. On
    a scale lies first what came in, then what comes from the finer one, then what comes from itself."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.strided = nn.ModuleList(_bottleneck(path) for paths in layer.paths for path in paths if path.strided)
        self.regular = nn.ModuleList(_bottleneck(path) for paths in layer.paths for path in paths if not path.strided)
        self.transition = nn.ModuleList(convolved(inputs, outputs, 1) for inputs, outputs in layer.narrowed)

    def forward(self, scales: Scales) -> Scales:
        own, finer = scales[-len(self.regular) :], scales[-1 - len(self.strided) : -1]
        added = [[path(x)] for path, x in zip(self.regular, own, strict=True)]
        for new, down, x in zip(added[len(own) - len(finer) :], self.strided, finer, strict=True):
            new.insert(0, down(x))
        joined = [torch.cat([x, *new], 1) for x, new in zip(own, added, strict=True)]
        if self.transition:
            joined = [narrow(x) for narrow, x in zip(self.transition, joined, strict=True)]
        return tuple(joined)


def _bottleneck(path: Path) -> nn.Sequential:
    return nn.Sequential(
        *convolved(path.inputs, path.inner, 1), *convolved(path.inner, path.outputs, stride=2 if path.strided else 1)
    )


class Classifier(nn.Module):
    """The features of all scales -> logits [N,K] from the coarsest."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(convolved(*pair, stride=2) for pair in pairwise([inputs, width, width])))
        self.readout = Readout(width, classes)

    def forward(self, scales: Scales) -> Tensor:
        logits: Tensor = self.readout(self.convolutions(scales[-1]))
        return logits


def stages(network: MSDNet, classes: int, channels: int) -> list[tuple[nn.Module, nn.Module | None]]:
    """The body and the head of each stage, with new weights."""
    found: list[tuple[nn.Module, nn.Module | None]] = []
    predicting = {*network.predicting_stages}
    for number, layer in enumerate(network.layers(), 1):
        dense = DenseLayer(layer)
        body = dense if number > 1 else nn.Sequential(Stem(network.stem(channels)), dense)
        predicts = number in predicting
        head = Classifier(layer.outputs[-1], network.head_channels, classes) if predicts else None
        found.append((body, head))
    draw(nn.ModuleList(part for stage in found for part in stage if part is not None))
    return found
