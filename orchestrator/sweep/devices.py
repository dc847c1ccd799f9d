"""What a trial ran on: times of two trials can be compared where this is the same."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.sweep.trial import TrialRecord

PARTS = 10_000
"""Of a GPU: Ray gives no smaller shares."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """``part`` is how many threads of a CPU, or how many ten-thousandths of a GPU, a trial has."""

    name: str
    part: int
    gpu: bool = False


def device_of(record: TrialRecord) -> Device | None:
    """What a trial ran on; None where that was not written down, or was more than one."""
    provenance = record.provenance
    name, threads, share = provenance.get("device_name"), provenance.get("threads"), provenance.get("gpu_share")
    if not isinstance(name, str) or "resumed_elsewhere" in provenance:
        return None
    if record.result.device != "cpu":
        return Device(name=name, part=round(share * PARTS), gpu=True) if isinstance(share, float) else None
    return Device(name=name, part=threads) if isinstance(threads, int) else None
