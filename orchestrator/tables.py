"""Records to numbers: errors at the milestones, percentages of wins over a baseline, increases over the optimum, and
sequences of networks. ``layouts`` arranges them as the paper does.

Nothing is left out in silence: what has no error yet is None in its row, and drops its pair, which is counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from anytime_core.config import MILESTONES, opt_unit
from anytime_core.result import TrialResult
from orchestrator import eann, stats, trace
from orchestrator.measurements import AVERAGE, METRICS, Experiment, Measurements, measure
from orchestrator.sweep import Sweep
from orchestrator.trial import Cell, TrialRecord, TrialState

ByMetric = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRow:
    """Errors in percent: the mean over those ``seeds`` that have the most errors, all at the same fractions, and their
    standard deviation, which one seed does not have. ``missing`` counts, by why, the seeds that lack some."""

    dataset: str
    network: str
    method: str
    seeds: int
    errors: ByMetric
    spreads: ByMetric = field(default_factory=lambda: dict.fromkeys(METRICS))
    missing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WinRow:
    """How often a method has a lower error than the baseline. ``p_values`` are by test, each that of a method that is
    no better, and ``adjusted`` the same after Holm's correction over all rows; ``interval`` holds the percentage of
    wins of 95 % of resamples of the experiments."""

    method: str
    baseline: str
    metric: str
    wins: stats.WinPercentage
    p_values: ByMetric
    adjusted: ByMetric
    interval: stats.Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class IncreaseRow:
    """By how much a method's error exceeds the optimum's, in percent of it, on average over the experiments."""

    method: str
    optimum: str
    metric: str
    increase: stats.RelativeIncrease


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceRow:
    """Networks of growing depth, run one after the other (section 4.6): errors of the sequence at fractions of the cost
    of all, AE the mean of its answers; and, for the ``optimum``, of the best ones no deeper than that fraction of the
    deepest network (OPT+)."""

    dataset: str
    method: str
    networks: tuple[str, ...]
    seed: int
    errors: ByMetric


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """All numbers of a sweep, and the states of its trials. ``notes`` say what is to know of them."""

    sweep: Sweep
    optima: tuple[str, ...]
    errors: tuple[ErrorRow, ...]
    wins: tuple[WinRow, ...]
    increases: tuple[IncreaseRow, ...]
    sequences: tuple[SequenceRow, ...]
    states: Counter[TrialState]
    notes: tuple[str, ...] = ()


def build(sweep: Sweep, records: Mapping[str, TrialRecord], states: Mapping[str, TrialState]) -> Tables:
    """``records`` of the trials that ended, by id; a diverged one has no errors."""
    measured = measure(sweep, records, states)
    counted = Counter(states[trial.id] for trial in sweep.trials)
    wins = tuple(win_rows(measured, sweep.report.baseline))
    return Tables(
        sweep=sweep,
        optima=measured.optima,
        errors=tuple(error_rows(measured)),
        wins=wins,
        increases=tuple(increase_rows(measured)),
        sequences=tuple(_sequence_rows(sweep, records)),
        states=counted,
        notes=tuple(_notes(sweep, measured, counted, records, compared=bool(wins))),
    )


def error_rows(measured: Measurements) -> Iterator[ErrorRow]:
    """One for each data set, network and method."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, experiment in enumerate(measured.experiments):
        groups[experiment.dataset, experiment.network].append(index)
    for (dataset, network), indices in groups.items():
        for column, method in enumerate(measured.methods):
            places = [(measured.experiments[index], method) for index in indices]
            if any(place in measured.places for place in places):
                missing = Counter(reason for place in places if (reason := measured.missing.get(place)))
                yield _error_row(dataset, network, method, measured.errors[indices, column], missing)


def _error_row(
    dataset: str, network: str, method: str, errors: NDArray[np.float64], missing: Mapping[str, int]
) -> ErrorRow:
    """``errors[seed, metric]``. A seed with fewer metrics than another would enter the mean of some columns and not of
    others, so it enters none."""
    present = np.isfinite(errors)
    counts = present.sum(1)
    most = present[counts.argmax()]
    whole = errors[(present == most).all(1)] if most.any() else errors[:0]
    columns = {metric: whole[:, index].tolist() if most[index] else [] for index, metric in enumerate(METRICS)}
    return ErrorRow(
        dataset=dataset,
        network=network,
        method=method,
        seeds=len(whole),
        errors={metric: fmean(values) if values else None for metric, values in columns.items()},
        spreads={metric: stdev(values) if len(values) > 1 else None for metric, values in columns.items()},
        missing=dict(missing),
    )


def win_rows(measured: Measurements, baseline: str, seed: int = 0) -> Iterator[WinRow]:
    """Of every method but the baseline and the optima. ``seed`` is that of the bootstrap."""
    rng = np.random.default_rng(seed)
    methods = [name for name in measured.methods if name != baseline and name not in measured.optima]
    places = [(method, metric) for method in methods for metric in METRICS]
    pairs = {place: (measured.of(*place), measured.of(baseline, place[1])) for place in places}
    p_values = {test: [stats.p_value(*pair, test) for pair in pairs.values()] for test in stats.TESTS}
    adjusted = {test: stats.holm(values) for test, values in p_values.items()}
    for index, ((method, metric), pair) in enumerate(pairs.items()):
        yield WinRow(
            method=method,
            baseline=baseline,
            metric=metric,
            wins=stats.win_percentage(*pair),
            p_values={test: values[index] for test, values in p_values.items()},
            adjusted={test: values[index] for test, values in adjusted.items()},
            interval=stats.bootstrap_interval(*pair, rng),
        )


def increase_rows(measured: Measurements) -> Iterator[IncreaseRow]:
    """Of every method that is trained for all depths, over each optimum (Table 2b)."""
    for optimum in measured.optima:
        for method in measured.methods:
            for metric in METRICS if method not in measured.optima else ():
                increase = stats.relative_increase(measured.of(method, metric), measured.of(optimum, metric))
                yield IncreaseRow(method=method, optimum=optimum, metric=metric, increase=increase)


# Sequences (section 4.6)


def _sequence_rows(sweep: Sweep, records: Mapping[str, TrialRecord]) -> Iterator[SequenceRow]:
    """For each family of networks that differ in depth alone, and each method."""
    families: dict[tuple[str, int, str, int, str], list[Cell]] = defaultdict(list)
    for cell in sorted(sweep.cells, key=lambda cell: cell.n):
        families[cell.dataset, cell.c, cell.transition, cell.seed, cell.method].append(cell)
    for (dataset, _, _, seed, method), cells in families.items():
        finished = {cell: record.result for cell in cells if (record := _finished(records.get(sweep.cells[cell])))}
        optimum = cells[0].unit is not None
        if cells[0].n < cells[-1].n:
            yield SequenceRow(
                dataset=dataset,
                method=method,
                networks=tuple(dict.fromkeys(cell.network for cell in cells)),
                seed=seed,
                errors=_opt_plus_errors(cells[-1].n, finished) if optimum else _sequence_errors(cells, finished),
            )


def _finished(record: TrialRecord | None) -> TrialRecord | None:
    return record if record and record.state is TrialState.FINISHED else None


def _opt_plus_errors(deepest: int, finished: Mapping[Cell, TrialResult]) -> ByMetric:
    """At fractions of the depth of the deepest network."""
    optima: dict[int, float] = {}
    for cell, result in finished.items():
        unit = cell.unit or 0
        optima[unit] = min(optima.get(unit, math.inf), result.errors[-1])
    return {str(f): eann.opt_plus(optima, f * 3 * deepest) for f in MILESTONES} | {AVERAGE: None}


def _sequence_errors(cells: list[Cell], finished: Mapping[Cell, TrialResult]) -> ByMetric:
    """None where a member is missing, or two are equally deep."""
    if len(finished) < len(cells) or len({cell.n for cell in cells}) < len(cells):
        return dict.fromkeys(METRICS)
    results = [finished[cell] for cell in cells]
    members = [eann.Member(units=result.units, costs=result.costs, errors=result.errors) for result in results]
    curve, total = eann.sequence_curve(members), sum(member.costs[-1] for member in members)
    at = {str(fraction): eann.error_at(curve, total * fraction) for fraction in MILESTONES}
    return at | {AVERAGE: fmean(point.error for point in curve)}


# What is to know


def _notes(
    sweep: Sweep,
    measured: Measurements,
    states: Counter[TrialState],
    records: Mapping[str, TrialRecord],
    *,
    compared: bool,
) -> Iterator[str]:
    missing = {state: states[state] for state in TrialState if states[state] and state is not TrialState.FINISHED}
    if missing:
        words = ", ".join(f"{count} {state}" for state, count in missing.items())
        yield f"Not in the tables: {words} of {states.total()} trials; a pair that lacks one is dropped."
    if hidden := _without_column(sweep):
        yield f"{hidden} optima are of depths that are nearest to none of the fractions: they have no column."
    if compared and (warning := stats.dependence(_triples(measured.experiments))):
        yield f"{warning}."
    yield from (f"Not all alike: {words}." for words in trace.mixed(records.values()))


def _without_column(sweep: Sweep) -> int:
    return sum(
        cell.unit is not None and all(opt_unit(cell.n, fraction) != cell.unit for fraction in MILESTONES)
        for cell in sweep.cells
    )


def _triples(experiments: Iterable[Experiment]) -> list[tuple[str, str, int]]:
    return [(experiment.dataset, experiment.network, experiment.seed) for experiment in experiments]
