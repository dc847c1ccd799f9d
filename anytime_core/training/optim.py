"""Stochastic gradient descent as in the paper: momentum without Nesterov, decay on weights only, rates in steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from anytime_core.config import TrainingConfig


def decays(parameter: Tensor) -> bool:
    """Weight decay acts on convolutions and linear weights, not on batch norms and biases."""
    return parameter.ndim > 1


class Sgd:
    """Updates the parameters that require a gradient, where they have one. ``loss_weights`` are the heads', by the
    names of their parameters.

    All it needs is on their device, its ``rate`` too: a step waits for nothing, and can be part of a CUDA graph. It
    does what torch's optimiser does where that is fused, by the same kernels.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig, loss_weights: Mapping[str, float]) -> None:
        device = next(network.parameters()).device
        self.rate = torch.tensor(config.rate_at(0), dtype=torch.float32, device=device)
        self.momentum = config.momentum
        self.buffers: dict[str, Tensor] = {}
        """Of momentum, by the parameter's name: the only state. Zeros before the first step; none without momentum."""
        self.groups: dict[float, dict[str, Tensor]] = {}
        """The parameters by their weight decay and name."""
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                self.groups.setdefault(_decay(name, parameter, config, loss_weights), {})[name] = parameter
                if self.momentum:
                    self.buffers[name] = torch.zeros_like(parameter)

    def zero_grad(self) -> None:
        """Gradients are written by the next pass, not added to."""
        for group in self.groups.values():
            for parameter in group.values():
                parameter.grad = None

    @torch.no_grad()
    def step(self, rate: Tensor) -> None:
        """An update at the rate, one number."""
        self.rate.copy_(rate.squeeze())
        for decay, group in self.groups.items():
            gradients = {name: parameter.grad for name, parameter in group.items() if parameter.grad is not None}
            if gradients:
                torch._fused_sgd_(
                    [group[name] for name in gradients],
                    [*gradients.values()],
                    [self.buffers[name] for name in gradients] if self.momentum else [],
                    weight_decay=decay,
                    momentum=self.momentum,
                    lr=self.rate,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                    is_first_step=False,
                )

    def state(self) -> list[Tensor]:
        """What a step changes beside the parameters."""
        return [self.rate, *self.buffers.values()]

    @torch.no_grad()
    def restore(self, buffers: Mapping[str, Tensor]) -> None:
        """Takes up the momentum that another had of the same parameters; others begin at zero."""
        for name, buffer in buffers.items():
            if name in self.buffers:
                self.buffers[name].copy_(buffer)


def _decay(name: str, parameter: Tensor, config: TrainingConfig, loss_weights: Mapping[str, float]) -> float:
    if not decays(parameter):
        return 0.0
    return config.weight_decay * (loss_weights.get(name, 1.0) if config.head_decay == "loss_weight" else 1.0)
