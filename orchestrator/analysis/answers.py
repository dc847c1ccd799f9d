"""What is made of a sweep's outcomes: the file of each trial is read once, for all that is asked of it.

A table, a figure or a comparison says by a function what it takes of one trial, and keeps that alone. Table 6's
outcomes are a gigabyte, what its tables show of them a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.budgeted import curve_of_exits, exits_by_ratio
from orchestrator.stats.outcomes.curves import Curve, area
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell
from orchestrator.system.hardware import cpu_count

T = TypeVar("T")
OutcomesOf = Callable[[str], Mapping[str, Outcomes]]
"""From the id of a trial to its outcomes by split; empty where none are kept."""
MOST_THREADS = 4
"""What several threads do at once is in NumPy; beyond this many they wait for each other. Each holds one trial's."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The outcomes of a trial: of the images that its error is of, and where these are held out, of the test images."""

    own: Outcomes
    test: Outcomes | None = None

    @cached_property
    def exits(self) -> NDArray[np.int64]:
        """Where each image leaves by MSDNet's thresholds, worked out once for all that is made of it: [Q, N]."""
        return exits_by_ratio(*budgeted_images(self))

    @cached_property
    def budgeted(self) -> Curve:
        """Accuracy over mean cost by the same thresholds."""
        return curve_of_exits(budgeted_images(self)[0], self.exits)


def kept_of(by_split: Mapping[str, Outcomes], *, held_out: bool) -> Kept | None:
    """None where the outcomes are not there that the trial's error is of: those of images ``held_out`` from training,
    or else of the test images."""
    test, own = by_split.get("test"), by_split.get("validation" if held_out else "test")
    return Kept(own=own, test=test if held_out else None) if own else None


def budgeted_images(kept: Kept) -> tuple[Outcomes, Outcomes | None]:
    """The images that leave by thresholds, and those on which these are found, where that is not done by halves."""
    return (kept.test, kept.own) if kept.test else (kept.own, None)


def metric_values(kept: Kept, names: Iterable[str] = METRICS) -> dict[str, float | None]:
    """What the trial has of these metrics, None where it has none: of the images that its error is of, no others."""
    return {name: _metric(kept, name) for name in names}


def _metric(kept: Kept, name: str) -> float | None:
    if METRICS[name].of_several and len(kept.own.costs) == 1:
        return None
    if name == "budgeted_area" and kept.test is None:
        return area(kept.budgeted)
    return METRICS[name].of(kept.own)


Taken = Callable[[Kept], Any]
"""What is taken of one trial: small, for it stays in memory, and the same each time."""


class Answers:
    """The outcomes of a sweep's trials for all depths.

    What is ``wanted`` from the start, and all else that was asked for, is taken of every trial in one reading.
    """

    def __init__(self, sweep: Sweep, outcomes: OutcomesOf, wanted: Iterable[Taken] = ()) -> None:
        self._sweep, self._outcomes = sweep, outcomes
        self._wanted = tuple(dict.fromkeys(wanted))
        self._taken: dict[Taken, dict[Cell, Any]] = {}

    def of(self, cell: Cell, take: Callable[[Kept], T]) -> T | None:
        """What ``take`` gives for the trial of a cell; None where no outcomes are kept."""
        if take not in self._taken:
            self._read([take, *(other for other in self._wanted if other is not take and other not in self._taken)])
        return self._taken[take].get(cell)

    def _read(self, takes: Collection[Taken]) -> None:
        cells, held_out = [cell for cell in self._sweep.cells if cell.unit is None], self._sweep.validated

        def taken(cell: Cell) -> list[Any]:
            by_split = self._outcomes(self._sweep.cells[cell])
            kept = kept_of(by_split, held_out=cell.dataset in held_out)
            return [take(kept) for take in takes] if kept else []

        with ThreadPoolExecutor(min(MOST_THREADS, cpu_count()), "outcomes") as pool:
            found = list(pool.map(taken, cells))
        for index, take in enumerate(takes):
            self._taken[take] = {cell: row[index] for cell, row in zip(cells, found, strict=True) if row}
