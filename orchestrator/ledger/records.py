"""What a result must be to count: of the shape that its readers rely on, and of numbers that a training can give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from anytime_core.documents import known, typed
from anytime_core.result import TrialResult
from orchestrator.sweep.trial import TrialRecord


def record_of(trial_id: str, content: Mapping[str, Any]) -> TrialRecord:
    """The record that a result's content stands for. Raises ValueError unless it is one of that trial.

    A later version may write more than this one knows.
    """
    if not isinstance(result := content.get("result"), Mapping):
        raise ValueError("its result is missing")
    record = typed(TrialRecord, known(TrialRecord, content) | {"result": known(TrialResult, result)})
    if record.trial_id != trial_id:
        raise ValueError(f"it is one of {record.trial_id}")
    check_config(record.config)
    check(record.result)
    if record.attempts < 0:
        raise ValueError(f"it counts {record.attempts} attempts")
    return record


def check_config(config: Mapping[str, Any]) -> None:
    """Raises ValueError unless it has the parts of one. What they say need not be what was trained: a rerun tells."""
    parts = [config.get(name) for name in ("network", "data", "regime", "training")]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(config["data"].get("name"), str):
        raise ValueError("its config lacks a part")
    if type(config.get("seed")) is not int:
        raise ValueError("its config has no seed")


def check(result: TrialResult) -> None:
    """Raises ValueError for numbers that no training gives."""
    if not all(map(math.isfinite, (*result.errors, result.seconds))):
        raise ValueError("it holds what is no number")
    if not (_ascending(result.units) and _ascending(result.costs)):
        raise ValueError("its units or costs do not grow")
    if min(result.steps, result.seconds) < 0:
        raise ValueError("it took less than no time")


def _ascending(values: Sequence[int]) -> bool:
    return bool(values) and values[0] > 0 and all(before < after for before, after in pairwise(values))
