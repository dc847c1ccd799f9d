"""Sequences of anytime networks of exponentially growing depth (section 3.3, 4.6, appendix A).

The members of an EANN are trained alone and run one after the other, shallow to deep. While a member is no deeper than
the one before it was, the answer stays that one's last. Standard library only; costs are in any one unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One network: the unit and the cost of each prediction, both ascending, and its error."""

    units: tuple[int, ...]
    costs: tuple[float, ...]
    errors: tuple[float, ...]

    def __post_init__(self) -> None:
        counts = {name: len(getattr(self, name)) for name in ("units", "costs", "errors")}
        if not self.costs or len(set(counts.values())) > 1:
            lengths = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise ValueError(f"{lengths}: must be as many, at least one")
        for name, values in (("units", self.units), ("costs", self.costs)):
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} are {values}, must be ascending")

    @property
    def depth(self) -> int:
        return self.units[-1]


@dataclass(frozen=True, slots=True)
class Point:
    """From ``cost`` on, the error is this one, until the next point."""

    cost: float
    error: float


def sequence_curve(members: Sequence[Member]) -> tuple[Point, ...]:
    """Error against the cost of all that was run so far. Raises ValueError unless each member is deeper than the one
    before."""
    depths = [member.depth for member in members]
    if depths != sorted(set(depths)):
        raise ValueError(f"members are {depths} units deep, must be ascending")
    return tuple(_points(members))


def _points(members: Sequence[Member]) -> Iterator[Point]:
    spent, reported = 0.0, 0
    for member in members:
        for unit, cost, error in zip(member.units, member.costs, member.errors, strict=True):
            if unit > reported:
                yield Point(spent + cost, error)
        reported = member.depth
        spent += member.costs[-1]


def error_at(curve: Sequence[Point], budget: Fraction | float) -> float | None:
    """The error of what is answered when the budget is spent; None before the first prediction."""
    reached = [point.error for point in curve if point.cost <= budget]
    return reached[-1] if reached else None


def opt_plus(optima: Mapping[int, float], depth: Fraction | float) -> float | None:
    """OPT+ (section 4.6): the least error among the optima, by their depth in units, that are no deeper; None without
    one."""
    return min((error for unit, error in optima.items() if unit <= depth), default=None)


def expected_inflation(base: float) -> float:
    """E[C] of proposition 3.1: how much more an EANN spends than the optimum it matches, over all budgets evenly."""
    _check(base)
    return 1 - 1 / (2 * base) + (1 + math.log(base)) / (base - 1)


def worst_inflation(base: float) -> float:
    """sup C of proposition 3.1."""
    _check(base)
    return 2 + 1 / (base - 1)


def regular_expected_inflation(base: float) -> float:
    """E[C] of a sequence of networks with only a final prediction; least at a base of 1 + sqrt 2 (appendix A)."""
    _check(base)
    return 1.5 + (base - 1) / 2 + 1 / (base - 1)


def regular_worst_inflation(base: float) -> float:
    """sup C of such a sequence; least at a base of 2."""
    _check(base)
    return base**2 / (base - 1)


def _check(base: float) -> None:
    if not base > 1:
        raise ValueError(f"base is {base}, must be above 1")
