"""What a trial took: energy, where its machine tells; and what that and its time come to, where the user has said so.

Nothing is guessed: without counters there are no kilowatt-hours, without an intensity no CO2, without a price no money.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anytime_core.result import ENERGY, EpochMetrics
from orchestrator.sweep.device_time import device_hours, gpu_share, number
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord

KWH = 3.6e6
"""Joules."""
UNKNOWN = "not measured"
Numbers = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expense:
    """``cpu_kwh`` and ``gpu_kwh`` are of all epochs, None where one was not measured; ``device_hours`` those of GPUs,
    or of cores where the trial used no GPU, None where nobody wrote down how many it had."""

    on_gpu: bool
    cpu_kwh: float | None
    gpu_kwh: float | None
    device_hours: float | None

    @property
    def kwh(self) -> float | None:
        """Of all that the trial ran on."""
        return _sum([self.cpu_kwh, self.gpu_kwh] if self.on_gpu else [self.cpu_kwh])


def joules(epochs: Sequence[EpochMetrics]) -> dict[str, float]:
    """For a trial's provenance: of all its epochs, by those fields that each of them has."""
    sums = {name: _sum(getattr(epoch, name) for epoch in epochs) for name in ENERGY}
    return {name: value for name, value in sums.items() if value is not None} if epochs else {}


def expense(record: TrialRecord) -> Expense:
    """Of the attempts that count: what failed attempts trained after their last checkpoint is no part of it. Of a GPU
    that several trials shared, each has the part that it was given."""
    known, share = record.provenance, gpu_share(record)
    gpu = number(known, "gpu_joules")
    return Expense(
        on_gpu=share is not None,
        cpu_kwh=_kwh(number(known, "cpu_joules")),
        gpu_kwh=_kwh(None if gpu is None or share is None else gpu * share),
        device_hours=device_hours(record),
    )


def numbers(sweep: Sweep, it: Expense) -> dict[str, float | None]:
    """By names with their units, as far as the sweep states an intensity and a price."""
    carbon, price = sweep.carbon, sweep.price
    return {
        "kwh": it.kwh,
        "cpu_kwh": it.cpu_kwh,
        **({"gpu_kwh": it.gpu_kwh} if it.on_gpu else {}),
        **({"co2_grams": _times(it.kwh, carbon.grams)} if carbon else {}),
        **({f"cost_{price.currency}": _times(it.device_hours, price.amount)} if price else {}),
    }


def sentences(sweep: Sweep, records: Sequence[TrialRecord]) -> dict[str, str]:
    """Of all that ended, in words by what they are about."""
    each = [expense(record) for record in records]
    energy = [it.kwh for it in each if it.kwh is not None]
    hours = [it.device_hours for it in each if it.device_hours is not None]
    measured = _of(len(energy), len(each), UNKNOWN)
    said = {"energy": f"{sum(energy):.4g} kWh{measured}" if energy else UNKNOWN}
    if energy and sweep.carbon:
        said["CO2"] = f"{sum(energy) * sweep.carbon.grams:.4g} g at {sweep.carbon}{measured}"
    if hours and sweep.price:
        money = f"{sum(hours) * sweep.price.amount:.2f} {sweep.price.currency}"
        said["cost"] = f"{money} at {sweep.price} an hour of a device{_of(len(hours), len(each), 'not known')}"
    return said


def _of(known: int, count: int, otherwise: str) -> str:
    return "" if known == count else f" in {known} of {count} trials; {otherwise} in the others"


def _sum(values: Iterable[float | None]) -> float | None:
    """None where one is not known."""
    known = list(values)
    there = [value for value in known if value is not None]
    return sum(there) if len(there) == len(known) else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _kwh(joules: float | None) -> float | None:
    return None if joules is None else joules / KWH
