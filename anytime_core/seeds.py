"""Names a random draw: a number for a generator, made from a seed and a purpose.

``randomness`` gives it to torch and ``stats.resampling`` to numpy, so that the statistics need no torch.
"""

from __future__ import annotations

from hashlib import blake2b


def named_seed(seed: int, *purpose: object, size: int = 8) -> int:
    """A number of ``size`` bytes; it differs for every other seed or purpose."""
    return int.from_bytes(blake2b(repr((seed, *purpose)).encode(), digest_size=size).digest(), "big")
