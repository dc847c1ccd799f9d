"""Chooses a method's parameters by its errors on images held out from training: which points of a grid are tried, and
which one is taken.

A sweep with such a method has two stages. First each point is trained on the training set less some images, and its
error on these counts. Then the best point alone is trained as the sweep has it, and its error on the test set counts.
All trials of both stages are known from the beginning; which of the second stage run depends on results of the first.
Where points are halved (``halving``), so does how far those of the first run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from anytime_core.result import average_error
from orchestrator.sweep.halving import Curve, Rung, Standing, halved, likely
from orchestrator.sweep.trial import ID_LENGTH, Cell, Pause, Trial, TrialRecord, TrialState, steps_of
from orchestrator.text import counted

KIND = "tuning"
"""Stands in the label of each trial of the first stage, after the name of its point."""
MOST_PLACES = 4
"""That a note names of those for which the same was chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """Of a trial's errors, first prediction to last in percent, the number of which the best point has least;
    ``words`` are its name."""

    of: Callable[[Sequence[float]], float]
    words: str


CRITERIA: dict[str, Criterion] = {
    "average_error": Criterion(of=average_error, words="average error"),
    "error": Criterion(of=lambda errors: errors[-1], words="error of the last prediction"),
}
"""What a point may be chosen by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One combination of values, such as ``gamma=0.5``. ``trials`` are those of the first stage, on held-out images;
    ``results`` those of the second, by their places in the tables. ``error`` is the criterion's mean over the first, in
    percent: infinite where one diverged, None until all have ended. Of a point that lost to others along the way it is
    that at its last step, at which it was ``stopped``."""

    name: str
    trials: tuple[Trial, ...]
    results: Mapping[Cell, Trial]
    error: float | None = None
    stopped: int | None = None

    def seen(self, records: Mapping[str, TrialRecord], criterion: Criterion) -> Point:
        """With the error that these records of trials that ended give it."""
        own = [records[trial.id] for trial in self.trials if trial.id in records]
        whole = replace(self, error=None, stopped=None, trials=tuple(replace(it, pause=None) for it in self.trials))
        if len(own) < len(self.trials):
            return whole
        finished = all(record.state is TrialState.FINISHED for record in own)
        error = fmean(criterion.of(record.result.errors) for record in own) if finished else math.inf
        return replace(whole, error=error)

    def error_at(self, step: int, curves: Mapping[str, Curve], criterion: Criterion) -> float | None:
        """That at a rung; None until all of its trials have reached it."""
        own = [curve for trial in self.trials if (curve := curves.get(trial.id)) and curve.reached(step)]
        return fmean(curve.error(step, criterion.of) for curve in own) if len(own) == len(self.trials) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """One choice among the points of a ``method``, in the order of its grid. ``where`` are the network and the data
    set, or one of them, that it is for; nothing where it is for all. ``choose`` is a name in CRITERIA; ``steps`` are
    those of a trial of the first stage, at most: a regime's parameter may change how many it takes. ``left`` are the
    trials of the first stage that have not ended, less those of points that were stopped at one of the ``rungs``."""

    method: str
    where: str
    choose: str
    points: tuple[Point, ...]
    steps: int
    rungs: tuple[Rung, ...] = ()
    left: tuple[Trial, ...] = ()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Of the first stage."""
        return tuple(trial for point in self.points for trial in point.trials)

    @property
    def still_in(self) -> tuple[Trial, ...]:
        """Those of points that no rung has stopped."""
        return tuple(trial for point in self.points if not point.stopped for trial in point.trials)

    @property
    def chosen(self) -> Point | None:
        """The point of the least error, the first of several, of those that no rung has stopped; None until all their
        trials have ended. Where all of these diverged it is the best of those that got furthest before."""
        points = [(point, point.error) for point in self.points if not point.stopped]
        errors = [error for _, error in points if error is not None]
        if len(errors) < len(points):
            return None
        best = points[errors.index(min(errors))][0]
        return best if min(errors) < math.inf else self._best_stopped or best

    @property
    def _best_stopped(self) -> Point | None:
        points = [point for point in self.points if point.stopped and (point.error or 0) < math.inf]
        return min(points, key=lambda point: (-(point.stopped or 0), point.error or 0), default=None)

    def seen(self, records: Mapping[str, TrialRecord], curves: Mapping[str, Curve]) -> Tuning:
        """What these records of trials that ended make of it, and with ``rungs`` the curves of those that began."""
        criterion = CRITERIA[self.choose]
        standing = halved(
            len(self.points), self.rungs, lambda place, step: self.points[place].error_at(step, curves, criterion)
        )
        points = []
        for place, point in enumerate(self.points):
            if stopped := standing.lost.get(place):
                point = self._stopped(point, stopped, curves)
            elif standing.rung:
                point = self._on_its_way(place, standing, curves)
            else:
                point = point.seen(records, criterion)
            points.append(point)
        seen = replace(self, points=tuple(points))
        return replace(seen, left=tuple(trial for trial in seen.still_in if trial.id not in records))

    def _stopped(self, point: Point, rung: Rung, curves: Mapping[str, Curve]) -> Point:
        step = max(curves[trial.id].step(rung.step) or rung.step for trial in point.trials)
        words = f"stopped at step {step} of {self.steps}: {counted(rung.keeps, 'point')} did better"
        pause = Pause(step=rung.step, likely=rung.step, rests=words, lost=True)
        error = point.error_at(rung.step, curves, CRITERIA[self.choose])
        return replace(point, error=error, stopped=step, trials=tuple(replace(it, pause=pause) for it in point.trials))

    def _on_its_way(self, place: int, standing: Standing, curves: Mapping[str, Curve]) -> Point:
        """To the rung that decides next."""
        assert standing.rung
        rung, to_come = standing.rung.step, self.rungs[self.rungs.index(standing.rung) :]
        others = [trial for other in standing.left for trial in self.points[other].trials]
        late = sum(not curves.get(trial.id, Curve()).reached(rung) for trial in others)

        def paused(trial: Trial) -> Trial:
            there = curves.get(trial.id, Curve()).reached(rung)
            words = f"waits at step {rung}: {late} of {counted(len(others), 'trial')} have yet to get there"
            steps = likely(standing.left.index(place), to_come, steps_of(trial.config) or self.steps)
            return replace(trial, pause=Pause(step=rung, likely=steps, rests=words if there else ""))

        point = self.points[place]
        return replace(point, error=None, stopped=None, trials=tuple(map(paused, point.trials)))

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
        left = _left(len(self.left), len(self.still_in))
        return replace(example, id=stand_in, awaits=f"not chosen yet: {left}")

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
            places.setdefault(point.name + _lost(tuning, point), []).append(tuning.where)
    if not places:
        return []
    what = ", ".join(name + _on(where) for name, where in places.items())
    criterion, points = CRITERIA[tunings[0].choose].words, counted(len(tunings[0].points), "point")
    numbers = frozenset[int]().union(*(tuning.held_out for tuning in tunings))
    images = f"{max(numbers)} held-out images" if len(numbers) == 1 and max(numbers) else "held-out images"
    which, others = "that" if len(places) == 1 else "those", tunings[0].other_networks
    by = f" by {', '.join(others)}" if others else ""
    return [f"{what}, of {points}{_halved(tunings[0])} {which} with the lowest {criterion} on {images}{by}"]


def _lost(tuning: Tuning, chosen: Point) -> str:
    """Where the point that was taken is one that diverged."""
    if chosen.error != math.inf:
        return ""
    which = "" if all(point.error == math.inf for point in tuning.points) else " that no rung stopped"
    return f" (all points{which} diverged)"


def _halved(tuning: Tuning) -> str:
    """Such as ``, halved at steps 100 and 200 of 400,``; nothing where all points are trained to the end."""
    steps = [str(rung.step) for rung in tuning.rungs]
    if not steps:
        return ""
    at = f"steps {', '.join(steps[:-1])} and {steps[-1]}" if len(steps) > 1 else f"step {steps[0]}"
    return f", halved at {at} of {tuning.steps},"


def _not_chosen(tunings: Sequence[Tuning]) -> list[str]:
    waiting = [tuning for tuning in tunings if not tuning.chosen]
    where = _on([tuning.where for tuning in waiting])
    left, total = sum(len(tuning.left) for tuning in waiting), sum(len(tuning.still_in) for tuning in waiting)
    return [f"not chosen yet{where}: {_left(left, total)}"] if waiting else []


def _left(left: int, total: int) -> str:
    return f"{left} of {counted(total, 'trial')} that tune it have not ended"


def _on(where: Sequence[str]) -> str:
    """Nothing for a choice that holds everywhere."""
    more = f" and {left} more" if (left := len(where) - MOST_PLACES) > 0 else ""
    return f" on {', '.join(where[:MOST_PLACES])}{more}" if any(where) else ""
