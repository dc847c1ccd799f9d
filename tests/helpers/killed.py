"""A trial on noise of the digits' shape, and what is left of it when it is killed again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anytime_core.config import TrialConfig
from anytime_core.data.dataset import Images
from anytime_core.training import checkpoint
from anytime_core.training.trainer import train


def small_images(count: int = 100) -> Images:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(17, size=(2, count, 1, 8, 8), dtype=np.uint8), rng.integers(10, size=(2, count))
    return Images(train_images=pixels[0], train_labels=labels[0], test_images=pixels[1], test_labels=labels[1])


IMAGES = small_images()


def state(folder: Path) -> dict[str, bytes]:
    saved = checkpoint.latest(folder)
    assert saved is not None
    return {name: array.tobytes() for name, array in saved.arrays.items()}


class KilledError(Exception):
    pass


def killed(folder: Path, config: TrialConfig, **options: Any) -> None:
    """Killed once in each epoch, until there are no more."""
    for epoch in range(1, 100):

        def report(metrics: Any, last: int = epoch) -> None:
            if metrics.epoch == last:
                raise KilledError

        try:
            train(config, report, folder, images=IMAGES, **options)
        except KilledError:
            continue
        return
