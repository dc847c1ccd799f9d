"""How a trial's steps are divided into epochs, and which of them end with an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anytime_core.config import TrialConfig
from anytime_core.data.catalog import dataset_of


def steps_of_epoch(config: TrialConfig) -> int:
    """The steps of a whole epoch: what is left of the training images makes no step."""
    images = dataset_of(config.data).train_images - config.data.validation
    return max(1, images // config.training.batch_size)


def number_of_epochs(phase_steps: Sequence[int], steps_per_epoch: int) -> int:
    """Those of all phases; the last epoch of each may be a part of one."""
    return sum(math.ceil(steps / steps_per_epoch) for steps in phase_steps)


def is_evaluated(epoch: int, epochs: int, evaluations: int | None) -> bool:
    """Whether an epoch, from 1 to ``epochs``, ends with an evaluation, where ``evaluations`` are spread evenly.

    The last epoch always does. All do where no number is given, or one of at least ``epochs``.

    >>> [epoch for epoch in range(1, 11) if is_evaluated(epoch, 10, 4)]
    [3, 5, 8, 10]
    """
    return evaluations is None or epoch * evaluations // epochs > (epoch - 1) * evaluations // epochs
