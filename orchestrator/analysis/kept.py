"""The outcomes of trials, as tables of them and comparisons read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.metrics import Metric

OutcomesOf = Callable[[str], Mapping[str, Outcomes]]
"""From the id of a trial to its outcomes by split; empty where there are none, or they are damaged."""


def no_outcomes(trial_id: str) -> Mapping[str, Outcomes]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The outcomes of a trial: of the images that its error is of, and where these are held out, of the test images."""

    own: Outcomes
    test: Outcomes | None = None

    @property
    def for_budgets(self) -> tuple[Outcomes, Outcomes | None]:
        """The images that leave, and those on which thresholds are found."""
        return (self.test, self.own) if self.test else (self.own, None)

    def number(self, metric: Metric) -> float | None:
        """None where these outcomes have none."""
        return metric.of(*self.for_budgets) if metric.held_out else metric.of(self.own)


def kept(by_split: Mapping[str, Outcomes], *, validated: bool) -> Kept | None:
    """Of a trial whose error is of images held out from training, where it is ``validated``; else of test images."""
    if not validated:
        return Kept(own=by_split["test"]) if "test" in by_split else None
    own = by_split.get("validation")
    return Kept(own=own, test=by_split.get("test")) if own else None
