"""Stochastic gradient descent as in the paper: momentum without Nesterov, decay on weights only, rates in steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anytime_core.config import TrainingConfig


def decays(parameter: Tensor) -> bool:
    """Weight decay acts on convolutions and linear weights, not on batch norms and biases."""
    return parameter.ndim > 1


def sgd(network: nn.Module, config: TrainingConfig) -> torch.optim.SGD:
    """Of the parameters that require a gradient."""
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups[decays(parameter)].append(parameter)
    return torch.optim.SGD(
        [
            {"params": groups[True], "weight_decay": config.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=config.rate_at(0),
        momentum=config.momentum,
        foreach=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def momentum_buffers(network: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimiser's only state, by the parameter's name; nothing before the first step."""
    for name, parameter in network.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            yield name, buffer


@torch.no_grad()
def restore_momentum(network: nn.Module, optimiser: torch.optim.Optimizer, buffers: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        if name in buffers:
            # In the parameter's own memory format: in another, the updates may be rounded otherwise.
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffers[name])
