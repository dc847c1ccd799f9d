"""Where a trial's time went, and how busy its machine was: why a trial is slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anytime_core.result import EpochMetrics
from orchestrator.sweep.device_time import ENDING, PREPARATION, number

AROUND = {"preparation": PREPARATION, "ending": ENDING}
"""What is known of a trial once it has ended."""
PARTS = ("preparation", "data", "steps", "evaluation", "checkpoints", "waiting", "ending")
"""As they follow one another."""
TRAINING = ("data", "steps", "evaluation")
"""They add up to the seconds of the epochs."""


def seconds_by_part(epochs: Sequence[EpochMetrics], provenance: Mapping[str, Any]) -> dict[str, float]:
    """Of the epochs that count, those of earlier attempts too, and around them of the last attempt, once it has ended.

    Empty where an epoch was not measured, as in results of earlier versions.
    """
    if not epochs or any(epoch.data_seconds is None for epoch in epochs):
        return {}
    data, evaluation, checkpoints, waiting = (
        sum(getattr(epoch, name) or 0.0 for epoch in epochs)
        for name in ("data_seconds", "evaluation_seconds", "checkpoint_seconds", "waiting_seconds")
    )
    around = [number(provenance, name) or 0.0 for name in (PREPARATION, ENDING)]
    steps = sum(epoch.seconds for epoch in epochs) - data - evaluation
    parts = dict(zip(PARTS, (around[0], data, steps, evaluation, checkpoints, waiting, around[1]), strict=True))
    unknown = {part for part, name in AROUND.items() if name not in provenance}
    return {part: seconds for part, seconds in parts.items() if part not in unknown}


def load(epochs: Sequence[EpochMetrics]) -> dict[str, float]:
    """How busy the machine was, as far as was measured: means of the percentages over the epochs' seconds, where 100 is
    one core of the process, or the whole GPU, whoever it worked for; and the most memory, in bytes."""
    found = {
        "cpu_percent": _mean((epoch.cpu_percent, epoch.seconds) for epoch in epochs),
        "gpu_percent": _mean((epoch.gpu_percent, epoch.seconds) for epoch in epochs),
        "memory": max((epoch.memory for epoch in epochs if epoch.memory is not None), default=None),
        "gpu_memory": max((epoch.gpu_memory for epoch in epochs if epoch.gpu_memory is not None), default=None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _mean(weighed: Iterable[tuple[float | None, float]]) -> float | None:
    """None of nothing that took time."""
    there = [(value, weight) for value, weight in weighed if value is not None]
    total = sum(weight for _, weight in there)
    return sum(value * weight for value, weight in there) / total if total > 0 else None
