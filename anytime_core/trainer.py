"""The old place of ``anytime_core.train`` and ``anytime_core.load_network``, which says so and still works."""

from __future__ import annotations

import warnings
from typing import Any

import anytime_core

MOVED = ("load_network", "train")


def __getattr__(name: str) -> Any:
    if name not in MOVED:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    warnings.warn(f"anytime_core.trainer.{name} is anytime_core.{name} now", DeprecationWarning, stacklevel=2)
    return getattr(anytime_core, name)
