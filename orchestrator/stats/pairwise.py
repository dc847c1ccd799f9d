"""Every method against every other, pair by pair: the numbers of a Multi-Comparison Matrix (Ismail-Fawaz et al. 2023,
arXiv 2305.11921).

What it says of two methods depends on these two alone: it stays as it is when a third one comes or goes, which mean
ranks and corrected families do not. The unit is a cell with its seeds averaged. C cells, K methods, S seeds. NaN stands
for an error that is missing, infinity for a trial that diverged: it loses against all that did not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.stats import significance
from orchestrator.stats.paired import ROUNDING

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """One method against another over ``n`` cells that both have; a win is a lower error. ``difference`` is the mean,
    in points, of the cells in which neither diverged, None where there is none; ``diverged`` counts the others. The
    ``p_value``, of Wilcoxon's signed-rank test, has two sides; None where there is no cell."""

    wins: int
    ties: int
    losses: int
    difference: float | None
    diverged: int
    p_value: float | None

    @property
    def n(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def reversed(self) -> Pairing:
        """The same pair, the other way round."""
        difference = None if self.difference is None else -self.difference
        return replace(self, wins=self.losses, losses=self.wins, difference=difference)


def pair_differences(errors: Numbers) -> Numbers:
    """Error of the first less that of the second, [C, K, K], of errors [C, K, S]; NaN where no seed has both.

    Means are over those seeds that both have: they share their random draws, and a seed that is still to run favours
    nobody. Of two that both diverged neither wins: 0, as everywhere where ``ROUNDING`` takes errors for equal.
    """
    there = ~np.isnan(errors)
    both = there[:, :, None] & there[:, None, :]  # [C, K, K, S]
    count = both.sum(axis=-1)
    own = np.where(both, errors[:, :, None], 0.0).sum(axis=-1) / np.maximum(count, 1)
    other = own.swapaxes(1, 2)
    lost = np.isinf(own) & np.isinf(other)
    differences = np.where(lost, 0.0, own) - np.where(lost, 0.0, other)
    return np.where(count > 0, np.round(differences, ROUNDING), np.nan)


def pairing(differences: Numbers) -> Pairing:
    """What the differences [C] of one pair say, NaN left out."""
    own = differences[~np.isnan(differences)]
    finite = own[np.isfinite(own)]
    return Pairing(
        wins=int((own < 0).sum()),
        ties=int((own == 0).sum()),
        losses=int((own > 0).sum()),
        difference=float(finite.mean()) if len(finite) else None,
        diverged=len(own) - len(finite),
        p_value=signed_rank(own) if len(own) else None,
    )


def signed_rank(differences: Numbers) -> float:
    """Wilcoxon's signed-rank test, two-sided: how likely are differences so much to one side, if both sides are as
    likely? Infinite differences are the largest. See ``significance.wilcoxon``."""
    return significance.two_sided(significance.wilcoxon(differences), significance.wilcoxon(-differences))
