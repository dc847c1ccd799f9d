"""Every random draw comes from a generator named by the trial's seed and a purpose, so any step can be drawn again alone."""

from __future__ import annotations

from hashlib import blake2b

import torch


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose, such as ``generator(0, "order", epoch)``; independent of all others."""
    text = repr((seed, *purpose)).encode()
    return torch.Generator().manual_seed(int.from_bytes(blake2b(text, digest_size=7).digest(), "big"))
