"""Which way a number is better, and in what two of them differ: all that a comparison must know of what it compares.

Comparisons are of losses, of which the lower is better, and are shown in the numbers' own direction. Signs change here
and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from orchestrator.stats.effects import Effect
from orchestrator.stats.intervals import Interval
from orchestrator.stats.paired import Floats

Number = TypeVar("Number", float, Floats)
BEST = 100.0
"""Of numbers of which the higher is better: all of these are percentages."""
PERCENT, POINTS = "%", "points"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number by which methods can be compared, in ``unit``; ``meaning`` is what to say below it."""

    lower_is_better: bool
    unit: str
    meaning: str

    def loss(self, value: Number) -> Number:
        """A number as it is, or what it lacks of 100 % where higher is better: what an accuracy lacks is the error, so
        that both lead to the same verdict, also by their ratios."""
        return value if self.lower_is_better else BEST - value

    def difference(self, losses: float) -> float:
        """The difference of two numbers, of that of their losses."""
        return losses if self.lower_is_better else _minus(losses)

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Those of an interval of such a difference."""
        return (low, high) if self.lower_is_better else (_minus(high), _minus(low))

    def interval(self, losses: Interval | None) -> Interval | None:
        if losses is None:
            return None
        low, high = self.ends(losses.low, losses.high)
        return replace(losses, low=low, high=high)

    def effect(self, losses: Effect) -> Effect:
        """The differences of numbers, of those of losses. ``relative`` is in percent of the baseline's loss, and
        ``improvement`` the chance of the better number either way."""
        if self.lower_is_better:
            return losses
        return replace(
            losses,
            lower=losses.n - losses.lower - losses.equal,
            mean=_minus(losses.mean),
            mean_interval=self.interval(losses.mean_interval),
            median=_minus(losses.median),
            median_interval=self.interval(losses.median_interval),
            relative=None if losses.relative is None else _minus(losses.relative),
            relative_interval=self.interval(losses.relative_interval),
            bootstrap=self.interval(losses.bootstrap),
        )

    def wins(self, found: Effect) -> int:
        """The units of an ``effect`` that have the better number."""
        return found.lower if self.lower_is_better else found.n - found.lower - found.equal

    @property
    def better(self) -> str:
        """``lower`` or ``higher``."""
        return "lower" if self.lower_is_better else "higher"

    @property
    def in_points(self) -> bool:
        """Whether two of them differ by percentage points, as errors do."""
        return self.unit in (PERCENT, POINTS)

    @property
    def apart(self) -> str:
        """The unit of a difference, which may be empty."""
        return POINTS if self.in_points else self.unit

    @property
    def digits(self) -> int:
        """Decimals of a difference: nats and squares are small numbers."""
        return 2 if self.in_points else 4

    def rope(self, points: float) -> float:
        """What counts as practically equal. Nobody can say it in points for another unit, of which only the same
        numbers are equal."""
        return points if self.in_points else 0.0

    def loss_of(self, name: str) -> str:
        """What the loss of a number called so is called."""
        return name if self.lower_is_better else f"100 - {name}"


def _minus(value: float) -> float:
    """Of the other sign, which zero has not."""
    return 0.0 - value
