"""Layers in NumPy as their papers define them, slow and independent of torch.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from anytime_core.building import built

Arrays = Mapping[str, np.ndarray]


def convolution(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """[N,C,H,W], weight [D,C,K,K] -> [N,D,H',W'], with half a kernel of zeros around the image."""
    kernel = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), *[(kernel // 2, kernel // 2)] * 2))
    height, width = ((side - 1) // stride + 1 for side in x.shape[2:])
    result = np.zeros((len(x), len(weight), height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            seen = padded[:, :, top : top + kernel, left : left + kernel]
            result[:, :, row, column] = np.tensordot(seen, weight, axes=([1, 2, 3], [1, 2, 3]))
    return result


def batch_norm(x: np.ndarray, state: Arrays, name: str, training: bool) -> np.ndarray:
    """By the batch's own moments in training, else by the running ones."""
    if training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    else:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / np.sqrt(variance + 1e-5)
    return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]


def convolved(
    x: np.ndarray, state: Arrays, name: str, stride: int = 1, *, training: bool, first: int = 0
) -> np.ndarray:
    """Convolution, batch norm and ReLU, which lie one behind the other in ``name`` from the ``first`` on."""
    x = convolution(x, state[f"{name}.{first}.weight"], stride)
    return np.maximum(batch_norm(x, state, f"{name}.{first + 1}", training), 0)


def read_out(x: np.ndarray, state: Arrays, name: str) -> np.ndarray:
    """[N,C,H,W] -> [N,K]: a linear layer of the means over all pixels."""
    return x.mean((2, 3)) @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def disturbed(module: nn.Module) -> nn.Module:
    """In float64, with biases, scales and running averages that are not all 0 or 1."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in module.double().state_dict().values():
            if tensor.ndim == 1:
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=draws, dtype=tensor.dtype))
                tensor.add_(torch.rand(tensor.shape, generator=draws, dtype=tensor.dtype))
    return module


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def assert_computes(network: Any, plain_forward: Callable[..., Sequence[np.ndarray]], training: bool) -> None:
    """A network of ours gives, in float64, the logits of each prediction that its forward pass in NumPy gives."""
    module = disturbed(built(network, 3, 2, 9)).train(training)
    state = arrays_of(module)
    images = torch.randn(2, 2, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        ours = [logits.numpy() for logits in module(images) if logits is not None]
    expected = plain_forward(network, state, images.numpy(), training)
    assert len(ours) == network.predictions
    for own, plain in zip(ours, expected, strict=True):
        np.testing.assert_allclose(own, plain, rtol=1e-10, atol=1e-10)
