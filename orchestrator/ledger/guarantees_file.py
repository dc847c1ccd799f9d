"""The thresholds of a trained network that come with a guarantee: ``guarantees.json`` in its trial's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anytime_core.documents import typed
from orchestrator.stats.outcomes.guarantees import LOSSES, NEVER, Guarantee

Split = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A guarantee, and the ``split`` whose images it was found on."""

    split: Split
    guarantee: Guarantee

    @property
    def words(self) -> tuple[float, float | None, str, Split]:
        """What a user asks for it with: two guarantees of the same words do not live side by side."""
        return self.guarantee.risk, self.guarantee.delta, self.guarantee.loss, self.split


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantees:
    """Those of one network, which ``network_hash`` identifies as ``anytime_core.trained.network_hash`` does."""

    network_hash: str
    calibrations: tuple[Calibration, ...]

    def with_one(self, calibration: Calibration) -> Guarantees:
        """One more; it takes the place of the one with the same words."""
        others = (it for it in self.calibrations if it.words != calibration.words)
        return Guarantees(network_hash=self.network_hash, calibrations=(*others, calibration))


def guarantees_of(content: Mapping[str, Any]) -> Guarantees:
    """What a document holds. Raises ValueError for what no calibration writes."""
    found = typed(Guarantees, content)
    if faults := [fault for it in found.calibrations for fault in _faults(it.guarantee)]:
        raise ValueError(faults[0])
    if len({it.words for it in found.calibrations}) < len(found.calibrations):
        raise ValueError("it holds a guarantee twice")
    return found


def _faults(guarantee: Guarantee) -> Iterator[str]:
    if guarantee.loss not in LOSSES:
        yield f"it bounds {guarantee.loss[:80]!r}, must be one of {', '.join(LOSSES)}"
    if not 0 <= guarantee.threshold <= NEVER:
        yield f"a threshold is {guarantee.threshold}, must be from 0 to {NEVER}"
    if not all(0 < chance < 1 for chance in (guarantee.risk, guarantee.delta) if chance is not None):
        yield "a risk or a delta is not between 0 and 1"
    if not 0 <= guarantee.losses <= guarantee.n or guarantee.n == 0:
        yield f"it counts {guarantee.losses} losses of {guarantee.n} images"
    if not -1 <= guarantee.allowed <= guarantee.n:
        yield f"it allows {guarantee.allowed} losses of {guarantee.n} images"
