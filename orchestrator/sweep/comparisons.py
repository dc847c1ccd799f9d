"""A question that a sweep is to decide, such as ``aann > ann at 1/2``: is one method better than another?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from orchestrator.sweep.metrics import METRICS, errors_of
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState, bracketed

ALL = "all"
"""In the place of a method: a comparison of each other one."""
ALLOWED = f"allowed: such as aann > ann at 1/2, at one of {', '.join(METRICS)}, and where, such as on cifar10"


class Place(NamedTuple):
    """Where two methods meet, once for each seed."""

    dataset: str
    network: str


class Outcome(NamedTuple):
    """Of a pair: ``sign`` is 1 where the first method has the lower error, -1 where the other has, and 0 for a tie;
    ``clear`` tells whether the first is lower by more than the rope, and is None where the pair says nothing."""

    sign: int
    clear: bool | None


TIE, NOTHING = Outcome(0, clear=False), Outcome(0, clear=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Whether ``method`` has a lower error than ``baseline`` at a ``metric`` of METRICS; with ``where`` only on the
    networks and data sets that these words name."""

    method: str
    baseline: str
    metric: str
    where: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError.

        >>> Comparison.of("ramp power=1 > ann at AE on 2,8 digits").where
        '(2,8) digits'
        """
        metrics = "|".join(map(re.escape, METRICS))
        parts = re.fullmatch(rf"\s*(\S.*?)\s*>\s*(\S.*?)\s+at\s+({metrics})(?:\s+on\s+(\S.*?))?\s*", text)
        if not parts:
            raise ValueError(f"given {text!r}; {ALLOWED}")
        method, baseline, metric, where = parts.groups()
        if method == baseline:
            raise ValueError(f"given {text!r}; it compares {method} with itself")
        return cls(method=method, baseline=baseline, metric=metric, where=" ".join(bracketed(where or "").split()))

    def __str__(self) -> str:
        return f"{self.method} > {self.baseline} at {self.metric}{f' on {self.where}' if self.where else ''}"

    def covers(self, place: Place) -> bool:
        words = {place.dataset.casefold(), *place.network.casefold().split()}
        return words.issuperset(self.where.casefold().split())

    def outcome(self, own: tuple[Cell, TrialRecord], other: tuple[Cell, TrialRecord], rope: float) -> Outcome:
        """Of two trials that ended. One that diverged is worse than any that did not; two say nothing, and neither does
        a network that does not reach the metric."""
        mine, others = (_error(*each, self.metric) for each in (own, other))
        if mine is None or others is None or mine == others == math.inf:
            return NOTHING
        if mine == others:
            return TIE
        return Outcome(1 if mine < others else -1, clear=others - mine > rope)


def _error(cell: Cell, record: TrialRecord, metric: str) -> float | None:
    return math.inf if record.state is TrialState.DIVERGED else errors_of(cell, record).get(metric)


def place_of(cell: Cell) -> Place:
    return Place(cell.dataset, cell.network)


def interleaved(places: Iterable[Place]) -> list[Place]:
    """In an order that no sweep file can choose: data sets take turns, and networks follow one another by name."""
    by_dataset: dict[str, list[Place]] = {}
    for place in sorted(set(places)):
        by_dataset.setdefault(place.dataset, []).append(place)
    turns = ((turn, place.dataset, place) for own in by_dataset.values() for turn, place in enumerate(own))
    return [place for _, _, place in sorted(turns)]
