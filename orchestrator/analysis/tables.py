"""Records to numbers: errors at the milestones, percentages of wins over a baseline, increases over the optimum, and
sequences of networks. ``layouts`` arranges them as the paper does.

Nothing is left out in silence: what has no error yet is None in its row, and drops its pair, which is counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from anytime_core.config import MILESTONES
from anytime_core.result import TrialResult
from orchestrator.analysis import compared, ranking, sequences, trace
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.measurements import (
    Measurements,
    expected,
    experiment_of,
    measure,
    trained_for_all_depths,
    triples,
)
from orchestrator.analysis.times import EpochsOf, Times
from orchestrator.stats import eann, paired, significance
from orchestrator.stats.intervals import Interval, clopper_pearson
from orchestrator.stats.scopes import Grouping, widest
from orchestrator.sweep import tuning
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import AVERAGE, METRICS
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState

ByMetric = Mapping[str, float | None]
Reasons = Mapping[str, Mapping[str, int]]
"""How many errors of each metric are not there, by why."""
CHOSEN_BY_RESULTS = (
    "Results chose the number of seeds: e-values hold all the same; p-values and intervals suppose a number that was "
    "fixed beforehand, and promise less than they say."
)
FEWER = "†"
"""Marks a mean of fewer seeds than were meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRow:
    """Errors in percent: for each metric the mean over all seeds that have it, how many these are (``counts``, of which
    ``seeds`` is the most), and their standard deviation, which one seed does not have. ``missing`` counts the errors
    that should be there and are not; a metric that nobody meant to have has neither."""

    dataset: str
    network: str
    method: str
    seeds: int
    errors: ByMetric
    spreads: ByMetric = field(default_factory=lambda: dict.fromkeys(METRICS))
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: Reasons = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WinRow:
    """How often a method has a lower error than the baseline, or is better by another metric. ``p_values`` are by test,
    each that of a method that is no better, and ``adjusted`` the same after Holm's correction over all rows;
    ``interval`` is the exact one of the percentage of wins. Both are of ``units``, which are what the scope counts."""

    method: str
    baseline: str
    metric: str
    wins: paired.WinPercentage
    units: int
    p_values: ByMetric
    adjusted: ByMetric
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class IncreaseRow:
    """By how much a method's error exceeds the optimum's, in percent of it, on average over the experiments."""

    method: str
    optimum: str
    metric: str
    increase: paired.RelativeIncrease


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceRow:
    """Networks of growing depth, run one after the other (section 4.6): errors of the sequence at fractions of the cost
    of all, AE the mean of its answers; and, for the ``optimum``, of the best ones no deeper than that fraction of the
    deepest network (OPT+). ``missing`` counts the trials that an error is not there for lack of."""

    dataset: str
    method: str
    networks: tuple[str, ...]
    seed: int
    errors: ByMetric
    missing: Reasons = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """All numbers of a sweep, and the states of its trials. ``notes`` say what is to know of them; ``scope`` is to what
    the tests of its wins generalise, ``measured`` what methods are compared by, which is the errors unless the report
    names something else, and ``field`` what all methods are ranked by at once. ``answers`` and ``times`` are read from
    the storage where a table asks for them; ``records`` are those of the trials that ended, by id."""

    sweep: Sweep
    optima: tuple[str, ...]
    errors: tuple[ErrorRow, ...]
    wins: tuple[WinRow, ...]
    increases: tuple[IncreaseRow, ...]
    sequences: tuple[SequenceRow, ...]
    states: Counter[TrialState]
    notes: tuple[str, ...] = ()
    scope: str = "cells"
    measured: Measurements | None = None
    field: ranking.Field = ranking.NOBODY
    answers: Answers
    times: Times
    records: Mapping[str, TrialRecord]

    @property
    def metrics(self) -> tuple[str, ...]:
        """What methods are compared by."""
        return self.measured.metrics if self.measured else METRICS


def build(
    sweep: Sweep,
    records: Mapping[str, TrialRecord],
    states: Mapping[str, TrialState],
    answers: Answers | None = None,
    epochs: EpochsOf = lambda trial_id: (),
) -> Tables:
    """``records`` of the trials that ended, by id; a diverged one has no errors. ``answers`` are read only for
    what methods are compared by, and for tables, that are made of them; ``epochs`` only for a table of times."""
    answers = answers or Answers(sweep, lambda trial_id: {})
    errors = measure(sweep, records, states)
    measured = compared.compared(sweep, records, errors, answers)
    counted = Counter(states[trial.id] for trial in sweep.in_tables)
    scope = scope_of(sweep)
    wins = tuple(win_rows(measured, sweep.report.baseline, scope, sweep.report.scale))
    return Tables(
        sweep=sweep,
        optima=errors.optima,
        errors=tuple(error_rows(errors)),
        wins=wins,
        increases=tuple(increase_rows(errors)),
        sequences=tuple(_sequence_rows(sweep, records, states)),
        states=counted,
        notes=(*_notes(sweep, counted, records), *compared.notes(sweep, measured)),
        scope=scope,
        measured=measured,
        field=ranking.field(measured),
        answers=answers,
        times=Times(sweep, records, epochs),
        records=records,
    )


def scope_of(sweep: Sweep) -> str:
    """The one that the sweep asks for, or the widest that its grid, once it has run, has enough units for."""
    if sweep.report.scope:
        return sweep.report.scope
    return widest(triples(dict.fromkeys(experiment_of(cell) for cell in sweep.cells if cell.unit is None)))


def error_rows(measured: Measurements) -> Iterator[ErrorRow]:
    """One for each data set, network and method."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, experiment in enumerate(measured.experiments):
        groups[experiment.dataset, experiment.network].append(index)
    for (dataset, network), indices in groups.items():
        for column, method in enumerate(measured.methods):
            places = [(measured.experiments[index], method) for index in indices]
            if any(place in measured.places for place in places):
                missing = _counted(measured.missing[place] for place in places if place in measured.missing)
                yield _error_row(dataset, network, method, measured.errors[indices, column], missing)


def _error_row(dataset: str, network: str, method: str, errors: NDArray[np.float64], missing: Reasons) -> ErrorRow:
    """``errors[seed, metric]``, NaN where there is none."""
    columns = {metric: errors[:, index] for index, metric in enumerate(METRICS)}
    present = {metric: column[np.isfinite(column)].tolist() for metric, column in columns.items()}
    return _mean_row(dataset, network, method, present, missing)


def _mean_row(
    dataset: str, network: str, method: str, present: Mapping[str, Sequence[float]], missing: Reasons
) -> ErrorRow:
    counts = {metric: len(values) for metric, values in present.items()}
    return ErrorRow(
        dataset=dataset,
        network=network,
        method=method,
        seeds=max(counts.values()),
        errors={metric: fmean(values) if values else None for metric, values in present.items()},
        spreads={metric: stdev(values) if len(values) > 1 else None for metric, values in present.items()},
        counts=counts,
        missing=missing,
    )


def _counted(missing: Iterable[Mapping[str, str]]) -> Reasons:
    """Why errors are not there, of several places together."""
    counts: dict[str, Counter[str]] = {}
    for words in missing:
        for metric, word in words.items():
            counts.setdefault(metric, Counter())[word] += 1
    return counts


def lacking(missing: Reasons) -> str:
    """Such as ``1 failed``, or where metrics differ, ``1/4, AE: 1 failed; 1: 2 pending``."""
    by_words: dict[str, list[str]] = {}
    for metric in METRICS:
        if metric in missing:
            words = ", ".join(f"{count} {reason}" for reason, count in missing[metric].items())
            by_words.setdefault(words, []).append(metric)
    if len(by_words) == 1 and len(missing) == len(METRICS):
        return next(iter(by_words))
    return "; ".join(f"{', '.join(metrics)}: {words}" for words, metrics in by_words.items())


def compared_methods(measured: Measurements, baseline: str) -> list[str]:
    """Every method but the baseline and the optima."""
    return [name for name in measured.methods if name != baseline and name not in measured.optima]


def win_rows(measured: Measurements, baseline: str, scope: str = "cells", scale: str = "points") -> Iterator[WinRow]:
    """Of every method that is compared with the baseline. ``scope`` and ``scale`` are those of a sweep's report."""
    places = [(method, metric) for method in compared_methods(measured, baseline) for metric in measured.metrics]
    pairs = {place: (measured.of(*place), measured.of(baseline, place[1])) for place in places}
    grouping = Grouping.of(scope, triples(measured.experiments))
    p_values = {
        test: [significance.p_value(*pair, test, grouping, scale) for pair in pairs.values()]
        for test in significance.TESTS
    }
    adjusted = {test: significance.holm(values) for test, values in p_values.items()}
    for index, ((method, metric), pair) in enumerate(pairs.items()):
        scores = _scores(pair, grouping)
        yield WinRow(
            method=method,
            baseline=baseline,
            metric=metric,
            wins=paired.win_percentage(*pair),
            units=len(scores),
            p_values={test: values[index] for test, values in p_values.items()},
            adjusted={test: values[index] for test, values in adjusted.items()},
            interval=clopper_pearson(float(scores.sum()), len(scores)),
        )


def _scores(pair: tuple[NDArray[np.float64], NDArray[np.float64]], grouping: Grouping) -> NDArray[np.float64]:
    """The share of its pairs that each unit wins, a tie being half a win."""
    balance = np.sign(paired.differences(*pair))
    return (1 - grouping.restricted(paired.comparable(*pair)).means(balance)) / 2


def increase_rows(measured: Measurements) -> Iterator[IncreaseRow]:
    """Of every method that is trained for all depths, over each optimum (Table 2b)."""
    for optimum in measured.optima:
        for method in measured.methods:
            for metric in METRICS if method not in measured.optima else ():
                increase = paired.relative_increase(measured.of(method, metric), measured.of(optimum, metric))
                yield IncreaseRow(method=method, optimum=optimum, metric=metric, increase=increase)


# Sequences (section 4.6)

Outcomes = Mapping[Cell, TrialResult | TrialState]
"""What finished, and the state of what did not."""


def _sequence_rows(
    sweep: Sweep, records: Mapping[str, TrialRecord], states: Mapping[str, TrialState]
) -> Iterator[SequenceRow]:
    """For each family of networks that differ in depth alone, each seed and each method."""
    for family in sequences.families(sweep.cells):
        members = sequences.members(family)
        runs: dict[tuple[int, str], list[Cell]] = defaultdict(list)
        for cell in family if len(members) > 1 else ():
            runs[cell.seed, cell.method].append(cell)
        for (seed, method), cells in runs.items():
            outcomes = {cell: _result(records.get(sweep.cells[cell])) or states[sweep.cells[cell]] for cell in cells}
            errors, missing = (_opt_plus if cells[0].unit is not None else _sequence)(members, outcomes)
            yield SequenceRow(
                dataset=cells[0].dataset,
                method=method,
                networks=tuple(members),
                seed=seed,
                errors=errors,
                missing=missing,
            )


def _result(record: TrialRecord | None) -> TrialResult | None:
    return record.result if record and record.state is TrialState.FINISHED else None


def _opt_plus(members: Mapping[str, int], outcomes: Outcomes) -> tuple[ByMetric, Reasons]:
    """At fractions of the depth of the deepest member. None where an optimum that counts is missing: without it the
    least of the others would say too much."""
    errors: dict[str, float | None] = dict.fromkeys(METRICS)
    missing: dict[str, Mapping[str, int]] = {}
    for fraction in MILESTONES:
        depth = fraction * 3 * max(members.values())
        eligible = {cell: result for cell, result in outcomes.items() if (cell.unit or 0) <= depth}
        if lost := _lost(eligible):
            missing[str(fraction)] = lost
        else:
            errors[str(fraction)] = eann.opt_plus(_least(eligible), depth)
    return errors, missing


def _least(outcomes: Outcomes) -> dict[int, float]:
    """The least error of each depth."""
    optima: dict[int, float] = {}
    for cell, result in outcomes.items():
        if isinstance(result, TrialResult):
            unit = cell.unit or 0
            optima[unit] = min(optima.get(unit, math.inf), result.errors[-1])
    return optima


def _sequence(members: Mapping[str, int], outcomes: Outcomes) -> tuple[ByMetric, Reasons]:
    """None where a member is missing."""
    own = {cell: result for cell, result in outcomes.items() if cell.network in members}
    if lost := _lost(own):
        return dict.fromkeys(METRICS), dict.fromkeys(METRICS, lost)
    results = [result for _, result in sorted(own.items(), key=lambda item: item[0].n)]
    run = [sequences.member(result) for result in results if isinstance(result, TrialResult)]
    curve, total = eann.sequence_curve(run), sum(member.costs[-1] for member in run)
    at = {str(fraction): eann.error_at(curve, total * fraction) for fraction in MILESTONES}
    return at | {AVERAGE: fmean(point.error for point in curve)}, {}


def _lost(outcomes: Outcomes) -> Counter[str]:
    return Counter(str(result) for result in outcomes.values() if isinstance(result, TrialState))


def sequence_means(rows: Iterable[SequenceRow]) -> Iterator[ErrorRow]:
    """Over seeds; ``network`` holds the names of all members."""
    groups: dict[tuple[str, str, str], list[SequenceRow]] = defaultdict(list)
    for row in rows:
        groups[row.dataset, " ".join(row.networks), row.method].append(row)
    for (dataset, networks, method), seeds in groups.items():
        present = {metric: [e for row in seeds if (e := row.errors[metric]) is not None] for metric in METRICS}
        missing = _counted({metric: next(iter(why)) for metric, why in row.missing.items()} for row in seeds)
        yield _mean_row(dataset, networks, method, present, missing)


# What is to know


def _notes(sweep: Sweep, states: Counter[TrialState], records: Mapping[str, TrialRecord]) -> Iterator[str]:
    missing = {state: states[state] for state in TrialState if states[state] and state is not TrialState.FINISHED}
    if missing:
        words = ", ".join(f"{count} {state}" for state, count in missing.items())
        kept = " unless it diverged" if states[TrialState.DIVERGED] and sweep.report.diverged == "loss" else ""
        yield f"Not in the tables: {words} of {states.total()} trials; a pair that lacks one is dropped{kept}."
    if hidden := _without_column(sweep):
        yield f"{hidden} optima are of depths that are nearest to none of the fractions, and in no average: no column."
    yield from tuning.notes(sweep.tuning)
    if sweep.deciding:
        yield CHOSEN_BY_RESULTS
    yield from (f"Not all alike: {words}." for words in trace.mixed(records.values()))


def _without_column(sweep: Sweep) -> int:
    """Optima that no metric counts: where all depths are trained, the average does."""
    averaged = trained_for_all_depths(sweep)
    return sum(cell.unit is not None and not expected(cell, averaged) for cell in sweep.cells)
