"""Chooses a method's parameters by its errors on images held out from training: which points of a grid are tried, and
which one is taken.

A sweep with such a method has two stages. First each point is trained on the training set less some images, and its
error on these counts. Then the best point alone is trained as the sweep has it, and its error on the test set counts.
All trials of both stages are known from the beginning; which of the second stage run depends on results of the first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from anytime_core.result import TrialResult, average_error
from orchestrator.sweep.trial import ID_LENGTH, Cell, Trial, TrialRecord, TrialState
from orchestrator.text import counted

KIND = "tuning"
"""Stands in the label of each trial of the first stage, after the name of its point."""
MOST_PLACES = 4
"""That a note names of those for which the same was chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """Of a trial's result the number, in percent, of which the best point has least; ``words`` are its name."""

    of: Callable[[TrialResult], float]
    words: str


CRITERIA: dict[str, Criterion] = {
    "average_error": Criterion(of=lambda result: average_error(result.errors), words="average error"),
    "error": Criterion(of=lambda result: result.errors[-1], words="error of the last prediction"),
}
"""What a point may be chosen by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One combination of values, such as ``gamma=0.5``. ``trials`` are those of the first stage, on held-out images;
    ``results`` those of the second, by their places in the tables. ``error`` is the criterion's mean over the first, in
    percent: infinite where one diverged, None until all have ended."""

    name: str
    trials: tuple[Trial, ...]
    results: Mapping[Cell, Trial]
    error: float | None = None

    def seen(self, records: Mapping[str, TrialRecord], criterion: Criterion) -> Point:
        """With the error that these records of trials that ended give it."""
        own = [records[trial.id] for trial in self.trials if trial.id in records]
        if len(own) < len(self.trials):
            return replace(self, error=None)
        finished = all(record.state is TrialState.FINISHED for record in own)
        return replace(self, error=fmean(criterion.of(record.result) for record in own) if finished else math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """One choice among the points of a ``method``, in the order of its grid. ``where`` are the network and the data
    set, or one of them, that it is for; nothing where it is for all. ``choose`` is a name in CRITERIA; ``left`` are the
    trials of the first stage that have not ended."""

    method: str
    where: str
    choose: str
    points: tuple[Point, ...]
    left: tuple[Trial, ...] = ()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Of the first stage."""
        return tuple(trial for point in self.points for trial in point.trials)

    @property
    def chosen(self) -> Point | None:
        """The point of the least error, the first of several; None until all trials of the first stage have ended."""
        errors = [point.error for point in self.points if point.error is not None]
        return self.points[errors.index(min(errors))] if len(errors) == len(self.points) else None

    def seen(self, records: Mapping[str, TrialRecord]) -> Tuning:
        """What these records of trials that ended make of it."""
        points = tuple(point.seen(records, CRITERIA[self.choose]) for point in self.points)
        return replace(self, points=points, left=tuple(trial for trial in self.trials if trial.id not in records))

    @property
    def results(self) -> dict[Cell, Trial]:
        """What stands in the tables: the trials of the chosen point; or until there is one stand-ins for them, which
        say for what they wait and cannot run."""
        if self.chosen:
            return dict(self.chosen.results)
        return {cell: self._awaited(cell, trial) for cell, trial in self.points[0].results.items()}

    def _awaited(self, cell: Cell, example: Trial) -> Trial:
        """A stand-in is estimated as the first point's trial. Its id is no trial's."""
        words = f"{KIND} {cell.label} {[trial.id for trial in self.trials]}"
        stand_in = hashlib.sha256(words.encode()).hexdigest()[:ID_LENGTH]
        return replace(example, id=stand_in, awaits=f"not chosen yet: {_left(len(self.left), len(self.trials))}")

    @property
    def held_out(self) -> frozenset[int]:
        """How many images of the training sets; none of those that have a split of their own for validation."""
        return frozenset(trial.config.data.validation for trial in self.trials)

    @property
    def other_networks(self) -> tuple[str, ...]:
        """Those that the points were tried on, where they are not those of the results."""
        tried = dict.fromkeys(trial.cell.network for trial in self.trials)
        return () if tried.keys() == {cell.network for cell in self.points[0].results} else tuple(tried)


def notes(tunings: Iterable[Tuning]) -> list[str]:
    """For each method that is tuned a sentence on what was chosen, where and how."""
    by_method: dict[str, list[Tuning]] = {}
    for tuning in tunings:
        by_method.setdefault(tuning.method, []).append(tuning)
    return [f"{method}: {'; '.join(_chosen(own) + _not_chosen(own))}." for method, own in by_method.items()]


def _chosen(tunings: Sequence[Tuning]) -> list[str]:
    """Such as ``gamma=0.5 on (1,2) digits, of 4 points that with the lowest average error on 143 held-out images``."""
    places: dict[str, list[str]] = {}
    for tuning in tunings:
        if point := tuning.chosen:
            lost = " (all points diverged)" if point.error == math.inf else ""
            places.setdefault(point.name + lost, []).append(tuning.where)
    if not places:
        return []
    what = ", ".join(name + _on(where) for name, where in places.items())
    criterion, points = CRITERIA[tunings[0].choose].words, counted(len(tunings[0].points), "point")
    numbers = frozenset[int]().union(*(tuning.held_out for tuning in tunings))
    images = f"{max(numbers)} held-out images" if len(numbers) == 1 and max(numbers) else "held-out images"
    which, others = "that" if len(places) == 1 else "those", tunings[0].other_networks
    by = f" by {', '.join(others)}" if others else ""
    return [f"{what}, of {points} {which} with the lowest {criterion} on {images}{by}"]


def _not_chosen(tunings: Sequence[Tuning]) -> list[str]:
    waiting = [tuning for tuning in tunings if not tuning.chosen]
    where = _on([tuning.where for tuning in waiting])
    left, total = sum(len(tuning.left) for tuning in waiting), sum(len(tuning.trials) for tuning in waiting)
    return [f"not chosen yet{where}: {_left(left, total)}"] if waiting else []


def _left(left: int, total: int) -> str:
    return f"{left} of {counted(total, 'trial')} that tune it have not ended"


def _on(where: Sequence[str]) -> str:
    """Nothing for a choice that holds everywhere."""
    more = f" and {left} more" if (left := len(where) - MOST_PLACES) > 0 else ""
    return f" on {', '.join(where[:MOST_PLACES])}{more}" if any(where) else ""
