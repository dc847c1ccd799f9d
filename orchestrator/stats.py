"""How sure a win is: percentages of wins over a baseline, and the chance that no better method would reach them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _hoeffding(win_fraction: float, n: int) -> float:
    """Hoeffding's additive bound: Pr(mean >= 1/2 + t) <= exp(-2 n t^2)."""
    return math.exp(-2 * n * max(win_fraction - 0.5, 0.0) ** 2)


def _hoeffding_as_published(win_fraction: float, n: int) -> float:
    """The bound of the paper's footnote, exp(-2 n (2X - 1)^2): four times the exponent that Hoeffding's allows."""
    return math.exp(-2 * n * max(2 * win_fraction - 1, 0.0) ** 2)


P_VALUES: dict[str, Callable[[float, int], float]] = {
    "hoeffding": _hoeffding,
    "hoeffding-as-published": _hoeffding_as_published,
}
"""Bounds on the chance of a win fraction at least this high in n independent experiments if wins were coin flips.
To add one: a function, and a line here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WinPercentage:
    """``n`` pairs were compared; ``dropped`` ones lack an error on either side. ``percent`` counts a tie as half a win,
    and is None where nothing could be compared."""

    wins: int
    ties: int
    n: int
    dropped: int

    @property
    def fraction(self) -> float | None:
        return (self.wins + self.ties / 2) / self.n if self.n else None

    @property
    def percent(self) -> float | None:
        return None if self.fraction is None else 100 * self.fraction

    def p_value(self, method: str = "hoeffding") -> float | None:
        return None if self.fraction is None else p_value(self.fraction, self.n, method)


def win_percentage(method_errors: Sequence[float | None], baseline_errors: Sequence[float | None]) -> WinPercentage:
    """Compares the errors of two methods, experiment by experiment (section 4.4); a lower error wins.

    None, NaN and infinities stand for a missing error. Raises ValueError if the lengths differ.
    """
    if len(method_errors) != len(baseline_errors):
        raise ValueError(f"{len(method_errors)} errors against {len(baseline_errors)}: they must come in pairs")
    pairs = [
        (own, other)
        for own, other in zip(method_errors, baseline_errors, strict=True)
        if own is not None and other is not None and math.isfinite(own) and math.isfinite(other)
    ]
    return WinPercentage(
        wins=sum(bool(own < other) for own, other in pairs),
        ties=sum(bool(own == other) for own, other in pairs),
        n=len(pairs),
        dropped=len(method_errors) - len(pairs),
    )


def p_value(win_fraction: float, n: int, method: str = "hoeffding") -> float:
    """A bound on the chance of winning at least this fraction of ``n`` experiments by luck alone; at most 1.

    Raises ValueError for an unknown method, a fraction outside of [0, 1] or n below 1.
    """
    if method not in P_VALUES:
        raise ValueError(f"no p-value is named {method!r}; allowed: {', '.join(P_VALUES)}")
    if not 0 <= win_fraction <= 1:
        raise ValueError(f"win_fraction is {win_fraction}, must be between 0 and 1")
    if n < 1:
        raise ValueError(f"n is {n}, must be at least 1")
    return P_VALUES[method](win_fraction, n)
