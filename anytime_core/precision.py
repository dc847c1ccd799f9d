"""Which numbers a network computes in. Its parameters, the statistics of its batch norms and its losses are float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from anytime_core.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Convolutions and what follows them in ``precision``."""
    if precision == "float32":
        return nullcontext()
    # No weight is used twice in a pass, so a cache of converted ones would only hold memory.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
