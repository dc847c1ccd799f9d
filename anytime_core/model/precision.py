"""Which numbers a network computes in. Its parameters, the statistics of its batch norms, its heads and its losses are
float32 in any case."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from anytime_core.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Convolutions and what follows them in ``precision``."""
    if precision == "float32":
        return nullcontext()
    # No weight is used twice in a pass, so a cache of converted ones would only hold memory.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


class _Rounded(torch.autograd.Function):
    """float32 to bfloat16, and gradients back again, of many tensors at once."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        return _converted(weights, torch.bfloat16)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return _converted(gradients, torch.float32)


def _converted(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    converted = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(converted, tensors)
    return tuple(converted)


def rounded_weights(precision: Precision, network: nn.Module) -> dict[str, Tensor]:
    """The weights of all convolutions that are trained, by their names, as autocast would convert them one by one, with
    two kernels for each. None in float32."""
    if precision == "float32":
        return {}
    # An extension's may have others of four dimensions, which autocast leaves alone.
    convolutions = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    weights = {name: p for name, p in network.named_parameters() if name in convolutions and p.requires_grad}
    if not weights:
        return {}
    return dict(zip(weights, _Rounded.apply(*weights.values()), strict=True))  # type: ignore[no-untyped-call]
