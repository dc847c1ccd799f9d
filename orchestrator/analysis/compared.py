"""What a sweep's report compares methods by: errors, or what ``compare`` names in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from orchestrator.analysis.kept import OutcomesOf, kept
from orchestrator.analysis.measurements import AVERAGE, METRICS, Experiment, Measurements, experiment_of
from orchestrator.stats.outcomes import metrics as of_outcomes
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord, TrialState
from orchestrator.text import counted

NO_OUTCOMES = "without outcomes"
MOST = 1 << 17
"""Trials whose numbers stay in memory: a report with figures asks for them several times."""


def compared(
    sweep: Sweep, records: Mapping[str, TrialRecord], errors: Measurements, outcomes: OutcomesOf
) -> Measurements:
    """The losses that methods are compared by; ``errors``, which ``measure`` gives, where a report names nothing else.

    Outcomes are read where a metric needs them, and then those of each finished trial once, for all metrics. A trial
    that diverged has an infinite loss wherever it has infinite errors. An optimum has outcomes of one depth alone, and
    so none of these metrics. Raises StorageError where outcomes cannot be read now.
    """
    metrics = tuple(sweep.report.compare) or METRICS
    if metrics == METRICS:
        return errors
    endless = np.where(np.isinf(errors.of_metric(AVERAGE)), np.inf, np.nan)
    columns = [errors.of_metric(metric) if metric in METRICS else endless for metric in metrics]
    values, missing = np.stack(columns, axis=-1), dict(errors.missing)
    named = tuple(metric for metric in metrics if metric not in METRICS)
    rows = {experiment: row for row, experiment in enumerate(errors.experiments)}
    chosen = [metrics.index(metric) for metric in named]
    for place, losses in _of_outcomes(sweep, records, outcomes, named):
        if losses is None:
            missing[place] = dict.fromkeys(named, NO_OUTCOMES)
        else:
            values[rows[place[0]], errors.methods.index(place[1]), chosen] = losses
    return replace(errors, errors=values, metrics=metrics, missing=missing)


Losses = tuple[float, ...]


def _of_outcomes(
    sweep: Sweep, records: Mapping[str, TrialRecord], outcomes: OutcomesOf, metrics: tuple[str, ...]
) -> Iterator[tuple[tuple[Experiment, str], Losses | None]]:
    """The losses of each trial that finished, and was trained for all depths; None where it has no outcomes."""
    validated = sweep.validated
    for cell, trial_id in sweep.cells.items() if metrics else ():
        record = records.get(trial_id)
        if cell.unit is None and record and record.state is TrialState.FINISHED:
            try:
                losses = _losses(outcomes, trial_id, cell.dataset in validated, metrics)
            except _NoOutcomesError:
                losses = None
            yield (experiment_of(cell), cell.method), losses


class _NoOutcomesError(Exception):
    """Of a trial whose outcomes may be filled in yet: raised, as what is returned is remembered."""


@lru_cache(maxsize=MOST)
def _losses(outcomes: OutcomesOf, trial_id: str, validated: bool, metrics: tuple[str, ...]) -> Losses:
    """NaN where a metric has no number."""
    found = kept(outcomes(trial_id), validated=validated)
    if found is None:
        raise _NoOutcomesError
    numbers = ((of_outcomes.METRICS[name], found.number(of_outcomes.METRICS[name])) for name in metrics)
    return tuple(np.nan if number is None else metric.loss(number) for metric, number in numbers)


def notes(sweep: Sweep, measured: Measurements) -> Iterator[str]:
    """Which trials a metric is not there of, and why."""
    named = ", ".join(metric for metric in measured.metrics if metric not in METRICS)
    if not named:
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
