"""Layers that our networks have in common.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from anytime_core.model.network import Norm


def convolved(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """[N,inputs,H,W] -> [N,outputs,H,W], or half as high and wide, rounded up: convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, Norm(outputs), nn.ReLU(inplace=True))


class Readout(nn.Module):
    """[N,C,H,W] -> [N,K]: a linear layer of the mean over all pixels, in the precision of its parameters whatever the
    convolutions'."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), dtype=self.linear.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.linear(pooled)
        return logits


@torch.no_grad()
def draw(module: nn.Module) -> None:
    """Initial weights, by torch's own generator: convolutions N(0, 2 / (kernel x C_out)), as He et al. 2015 counting
    what comes out; linear weights as torch has them, their biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.kernel_size[0] * part.kernel_size[1] * part.out_channels
            part.weight.normal_(0, math.sqrt(2 / fan_out))
        elif isinstance(part, nn.Linear):
            part.bias.zero_()
