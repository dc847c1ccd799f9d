"""Every random draw comes from a generator that is named by the trial's seed and a purpose.

So any part of a run can be drawn again alone.
"""

from __future__ import annotations

import torch

from anytime_core.seeds import named_seed


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose, such as ``generator(0, "order", epoch)``; independent of all others."""
    # torch's CPU generator takes no more than 32 bits of a seed.
    return torch.Generator().manual_seed(named_seed(seed, *purpose, size=4))
