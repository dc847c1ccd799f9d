"""Random draws without torch, for statistics: each comes from a generator that is named by a seed and a purpose, as
those of the trainer do (``anytime_core.randomness``), so that any number can be drawn again alone."""

from __future__ import annotations

import numpy as np

from anytime_core.seeds import named_seed


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """A generator for one purpose, such as ``generator(0, "profile", "AE")``; independent of all others."""
    return np.random.default_rng(named_seed(seed, *purpose))
