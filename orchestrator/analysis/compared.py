"""What a sweep's report compares methods by: errors, or what ``compare`` names in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from orchestrator.analysis.answers import Answers, Kept, Taken, metric_values
from orchestrator.analysis.measurements import Measurements, experiment_of
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import AVERAGE, METRICS
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState
from orchestrator.text import counted

NO_OUTCOMES = "without outcomes"


def compared(sweep: Sweep, records: Mapping[str, TrialRecord], errors: Measurements, answers: Answers) -> Measurements:
    """The losses that methods are compared by; ``errors``, which ``measure`` gives, where a report names nothing else.

    Outcomes are read where a metric needs them alone. A trial that diverged has an infinite loss wherever it has
    infinite errors. An optimum has outcomes of one depth, and so none of these metrics. Raises StorageError where
    outcomes cannot be read now.
    """
    metrics = tuple(sweep.report.compare) or METRICS
    if metrics == METRICS:
        return errors
    endless = np.where(np.isinf(errors.of_metric(AVERAGE)), np.inf, np.nan)
    columns = [errors.of_metric(metric) if metric in METRICS else endless for metric in metrics]
    values, missing = np.stack(columns, axis=-1), dict(errors.missing)
    rows = {experiment: row for row, experiment in enumerate(errors.experiments)}
    named = _of_outcomes(sweep)
    for cell, found in _found(sweep, records, answers):
        experiment = experiment_of(cell)
        if found is None:
            missing[experiment, cell.method] = dict.fromkeys(named, NO_OUTCOMES)
            continue
        place = values[rows[experiment], errors.methods.index(cell.method)]
        for metric in named:
            place[metrics.index(metric)] = _loss(metric, found[metric])
    return replace(errors, errors=values, metrics=metrics, missing=missing)


def taken(sweep: Sweep) -> list[Taken]:
    """What the comparisons that a sweep asks for take of the outcomes of each trial."""
    metrics = _of_outcomes(sweep)
    return [_taker(metrics)] if metrics else []


def _of_outcomes(sweep: Sweep) -> tuple[str, ...]:
    return tuple(metric for metric in sweep.report.compare if metric not in METRICS)


@lru_cache
def _taker(metrics: tuple[str, ...]) -> Callable[[Kept], dict[str, float | None]]:
    """The same function each time, so that what it takes is taken once."""
    return partial(metric_values, names=metrics)


def _found(
    sweep: Sweep, records: Mapping[str, TrialRecord], answers: Answers
) -> Iterator[tuple[Cell, Mapping[str, float | None] | None]]:
    """The numbers of each trial that finished, and was trained for all depths; None where it has no outcomes."""
    metrics = _of_outcomes(sweep)
    for cell, trial_id in sweep.cells.items() if metrics else ():
        record = records.get(trial_id)
        if cell.unit is None and record and record.state is TrialState.FINISHED:
            yield cell, answers.of(cell, _taker(metrics))


def _loss(metric: str, number: float | None) -> float:
    return math.nan if number is None else QUANTITIES[metric].loss(number)


def notes(sweep: Sweep, measured: Measurements) -> Iterator[str]:
    """Which trials a metric is not there of, and why."""
    if not (named := ", ".join(_of_outcomes(sweep))):
        return
    lacking = {place for place, words in measured.missing.items() if NO_OUTCOMES in words.values()}
    trials = {trial_id for cell, trial_id in sweep.cells.items() if (experiment_of(cell), cell.method) in lacking}
    if trials:
        yield (
            f"{counted(len(trials), 'finished trial')} without outcomes, or with damaged ones: no {named}, and their "
            "pairs are dropped. `orchestrate outcomes` makes them from the networks that are kept."
        )
    if measured.optima:
        yield f"{', '.join(measured.optima)}: trained for one depth alone, and so without {named}."
