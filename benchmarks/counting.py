"""How many kernels some work takes: those of the profiler on CUDA, on a CPU the operations that torch dispatches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import harness


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched, backward passes included; views cost nothing and do not count."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not getattr(func, "is_view", False)
        return func(*args, **(kwargs or {}))


def kernels_of(work: Callable[[], object], device: torch.device) -> int:
    """Of one call. Copies and fills on the device count as kernels."""
    return _profiled(work, device) if device.type == "cuda" else _dispatched(work)


def unit_of_count(device: torch.device) -> str:
    return "kernels (profiler)" if device.type == "cuda" else "operations dispatched, but for views"


def _dispatched(work: Callable[[], object]) -> int:
    operations = Operations()
    with operations:
        work()
    return operations.count


def _profiled(work: Callable[[], object], device: torch.device) -> int:
    from torch.profiler import ProfilerActivity, profile

    harness.synchronise(device)
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        harness.synchronise(device)
    on_device = [event for event in found.events() or [] if "CUDA" in str(event.device_type)]
    return len([event for event in on_device if not getattr(event, "is_user_annotation", False)])
