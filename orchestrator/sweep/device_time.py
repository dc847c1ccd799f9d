"""The time that a trial took of its device, by its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.sweep.limits import HOUR
from orchestrator.sweep.trial import TrialRecord

PREPARATION, ENDING = "preparation_seconds", "ending_seconds"
"""In a trial's provenance, of its last attempt: before the training, for imports and images; and after the last epoch,
for its checkpoint, its outcomes and its hashes."""


def gpu_share(record: TrialRecord) -> float | None:
    """Of the GPU that it ran on; None where it used none."""
    return number(record.provenance, "gpu_share")


def device_hours(record: TrialRecord) -> float | None:
    """Hours of a GPU, or of cores where the trial used no GPU; None where nobody wrote down how many it had."""
    share = gpu_share(record)
    devices = number(record.provenance, "threads") if share is None else share
    around = sum(number(record.provenance, name) or 0.0 for name in (PREPARATION, ENDING))
    return None if devices is None else devices * (record.result.seconds + around) / HOUR


def number(provenance: Mapping[str, Any], name: str) -> float | None:
    """A count that is no number, as others may have written there, is None."""
    value: Any = provenance.get(name)
    return float(value) if type(value) in (int, float) and value >= 0 else None
