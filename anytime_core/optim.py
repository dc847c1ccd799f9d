"""Stochastic gradient descent as in the paper: momentum without Nesterov, decay on weights only, rates in steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from anytime_core.config import TrainingConfig


def decays(parameter: Tensor) -> bool:
    """Weight decay acts on convolutions and linear weights, not on batch norms and biases."""
    return parameter.ndim > 1


def sgd(network: nn.Module, config: TrainingConfig, loss_weights: Mapping[str, float]) -> torch.optim.SGD:
    """Of the parameters that require a gradient. ``loss_weights`` are the heads', by the names of their parameters.

    All it needs is on their device, its rate too: a step waits for nothing, and can be part of a CUDA graph.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_decay(name, parameter, config, loss_weights), []).append(parameter)
    device = next(network.parameters()).device
    optimiser = torch.optim.SGD(
        [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()],
        lr=torch.tensor(config.rate_at(0), dtype=torch.float32, device=device),
        momentum=config.momentum,
        fused=True,
    )
    if config.momentum:
        for trained in chain.from_iterable(groups.values()):  # torch would make them in the first step
            optimiser.state[trained]["momentum_buffer"] = torch.zeros_like(trained)
    return optimiser


def _decay(name: str, parameter: Tensor, config: TrainingConfig, loss_weights: Mapping[str, float]) -> float:
    if not decays(parameter):
        return 0.0
    return config.weight_decay * (loss_weights.get(name, 1.0) if config.head_decay == "loss_weight" else 1.0)


def set_rate(optimiser: torch.optim.Optimizer, rate: Tensor) -> None:
    """``rate``, one number, becomes that of all parameters; groups share one tensor."""
    optimiser.param_groups[0]["lr"].copy_(rate.squeeze())


def state(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """What a step or ``set_rate`` changes beside the parameters."""
    return [optimiser.param_groups[0]["lr"], *(own["momentum_buffer"] for own in optimiser.state.values())]


def momentum_buffers(network: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimiser's only state, by the parameter's name; zeros before the first step."""
    for name, parameter in network.named_parameters():
        if parameter in optimiser.state:
            yield name, optimiser.state[parameter]["momentum_buffer"]


@torch.no_grad()
def restore_momentum(network: nn.Module, optimiser: torch.optim.Optimizer, buffers: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        if name in buffers:
            optimiser.state[parameter]["momentum_buffer"].copy_(buffers[name])
