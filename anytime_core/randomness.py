"""Every random draw comes from a generator that is named by the trial's seed and a purpose.

So any part of a run can be drawn again alone.
"""

from __future__ import annotations

from hashlib import blake2b

import torch


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose, such as ``generator(0, "order", epoch)``; independent of all others."""
    text = repr((seed, *purpose)).encode()
    # torch's CPU generator takes no more than 32 bits of a seed.
    return torch.Generator().manual_seed(int.from_bytes(blake2b(text, digest_size=4).digest(), "big"))
