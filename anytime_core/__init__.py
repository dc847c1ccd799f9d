"""Trains and runs one anytime neural network (Hu, Dey, Bagnell, Hebert, arXiv 1708.06832).

What users import is here, whatever room it lives in. A name is imported once it is asked for: ``load_network`` imports
no trainer, and ``import anytime_core`` no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anytime_core.data.cache import load as load_images
    from anytime_core.predictor import AnytimePredictor, ExponentialSequence
    from anytime_core.trained import load_network
    from anytime_core.training.trainer import train

__all__ = ["AnytimePredictor", "ExponentialSequence", "load_images", "load_network", "train"]

_HOMES = {
    "AnytimePredictor": "anytime_core.predictor:AnytimePredictor",
    "ExponentialSequence": "anytime_core.predictor:ExponentialSequence",
    "load_images": "anytime_core.data.cache:load",
    "load_network": "anytime_core.trained:load_network",
    "train": "anytime_core.training.trainer:train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
