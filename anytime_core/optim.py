"""Stochastic gradient descent as in the paper: momentum without Nesterov, decay on weights only, rates in steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from anytime_core.config import TrainingConfig


def decays(parameter: Tensor) -> bool:
    """Weight decay acts on convolutions and linear weights, not on batch norms and biases."""
    return parameter.ndim > 1


def sgd(network: nn.Module, config: TrainingConfig, loss_weights: Mapping[str, float]) -> torch.optim.SGD:
    """Of the parameters that require a gradient. ``loss_weights`` are the heads', by the names of their parameters."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_decay(name, parameter, config, loss_weights), []).append(parameter)
    return torch.optim.SGD(
        [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()],
        lr=config.rate_at(0),
        momentum=config.momentum,
        foreach=True,
    )


def _decay(name: str, parameter: Tensor, config: TrainingConfig, loss_weights: Mapping[str, float]) -> float:
    if not decays(parameter):
        return 0.0
    return config.weight_decay * (loss_weights.get(name, 1.0) if config.head_decay == "loss_weight" else 1.0)


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
