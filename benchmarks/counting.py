"""How many kernels some work takes: those of the profiler on CUDA, on a CPU the operations that torch dispatches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import harness


class Operations(TorchDispatchMode):
    """Counts what is dispatched, backward passes included; views cost nothing and do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not getattr(func, "is_view", False)
        return func(*args, **(kwargs or {}))


def kernels_of(work: Callable[[], object], device: torch.device) -> int:
    """Of one call. Copies and fills on the device count as kernels."""
    return _profiled(work, device) if device.type == "cuda" else _dispatched(work)


def unit_of_count(device: torch.device) -> str:
    return "kernels (profiler)" if device.type == "cuda" else "operations dispatched, views left out"


def _dispatched(work: Callable[[], object]) -> int:
    with Operations() as operations:
        work()
    return operations.count


def _profiled(work: Callable[[], object], device: torch.device) -> int:
    from torch.profiler import ProfilerActivity, profile

    harness.synchronise(device)
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        harness.synchronise(device)
    on_device = torch.autograd.DeviceType.CUDA
    return sum(event.device_type == on_device for event in found.events() or [])
