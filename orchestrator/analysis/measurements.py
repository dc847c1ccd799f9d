"""Errors of a whole grid as one array, from wherever they come: what all tables and tests are made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anytime_core.result import average_error
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import AVERAGE, METRICS, errors_of, milestones
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState

Kind = tuple[str, str, range]
Words = Mapping[str, str]
"""A word for each metric."""


@dataclass(frozen=True, order=True, slots=True)
class Experiment:
    """What two methods must share to be compared."""

    dataset: str
    network: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measurements:
    """Errors in percent, ``errors[experiment, method, metric]``, in the order of ``experiments``, ``methods`` and
    ``metrics``: NaN where there is none, infinite where the trial diverged. What else methods are compared by stands
    there as a loss, of which lower is better, too (``quantities``). ``optima`` are those methods that were trained for
    one depth at a time (OPT): they win unfairly. ``places`` are those that should have errors; ``missing`` says in a
    word, by metric, why one lacks an error that it should have."""

    experiments: tuple[Experiment, ...]
    methods: tuple[str, ...]
    optima: tuple[str, ...]
    errors: NDArray[np.float64]
    places: frozenset[tuple[Experiment, str]]
    missing: Mapping[tuple[Experiment, str], Words]
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        shape = len(self.experiments), len(self.methods), len(self.metrics)
        if self.errors.shape != shape:
            raise ValueError(f"errors are of shape {self.errors.shape}, must be {shape}")

    def of(self, method: str, metric: str) -> NDArray[np.float64]:
        """One error for each experiment; all NaN for a method that is not there."""
        if method not in self.methods:
            return np.full(len(self.experiments), np.nan)
        return self.of_metric(metric)[:, self.methods.index(method)]

    def of_metric(self, metric: str) -> NDArray[np.float64]:
        """One error for each experiment and method."""
        return self.errors[..., self.metrics.index(metric)]


def collect(
    values: Mapping[tuple[Experiment, str], Mapping[str, float]],
    places: Iterable[tuple[Experiment, str]],
    optima: Sequence[str],
    missing: Mapping[tuple[Experiment, str], Words],
) -> Measurements:
    """``values`` are the errors of a method in an experiment, by metric; ``places`` is all that should be there."""
    places = list(places)
    experiments = {experiment: row for row, experiment in enumerate(dict.fromkeys(place for place, _ in places))}
    methods = {method: column for column, method in enumerate(dict.fromkeys(method for _, method in places))}
    errors = np.full((len(experiments), len(methods), len(METRICS)), np.nan)
    for (experiment, method), by_metric in values.items():
        place = errors[experiments[experiment], methods[method]]
        for index, metric in enumerate(METRICS):
            place[index] = by_metric.get(metric, math.nan)
    return Measurements(
        experiments=tuple(experiments),
        methods=tuple(methods),
        optima=tuple(optima),
        errors=errors,
        places=frozenset(places),
        missing=missing,
    )


def measure(sweep: Sweep, records: Mapping[str, TrialRecord], states: Mapping[str, TrialState]) -> Measurements:
    """The errors of a sweep's trials; ``records`` of those that ended and ``states`` of all, by id.

    A trial that diverged has infinite errors, or none where the sweep's report drops it; it is missing in either case.
    An optimum has an average only if every depth has been trained (Table 1); one that is not meant to have it does not
    lack it.
    """
    whole = trained_for_all_depths(sweep)
    values: dict[tuple[Experiment, str], dict[str, float]] = defaultdict(dict)
    depths: dict[tuple[Experiment, str], dict[int, float]] = defaultdict(dict)
    missing: dict[tuple[Experiment, str], dict[str, str]] = defaultdict(dict)
    places: dict[tuple[Experiment, str], None] = {}
    for cell, trial_id in sweep.cells.items():
        record, place = records.get(trial_id), (experiment_of(cell), cell.method)
        places[place] = None
        if record is None or record.state is not TrialState.FINISHED:
            missing[place] |= dict.fromkeys(expected(cell, whole), str(states[trial_id]))
            values[place] |= _endless(cell, record) if sweep.report.diverged == "loss" else {}
            continue
        values[place] |= errors_of(cell, record)
        if cell.unit is not None:
            depths[place][cell.unit] = record.result.errors[-1]
            if depths[place].keys() == {*cell.predicting_units}:
                values[place][AVERAGE] = average_error(tuple(depths[place].values()))
    optima = dict.fromkeys(cell.method for cell in sweep.cells if cell.unit is not None)
    return collect(values, places, tuple(optima), missing)


def trained_for_all_depths(sweep: Sweep) -> frozenset[Kind]:
    """Methods, networks and units that predict, whose optima are of every one of these."""
    depths: dict[Kind, set[int]] = defaultdict(set)
    for cell in sweep.cells:
        if cell.unit is not None:
            depths[_kind(cell)].add(cell.unit)
    return frozenset(kind for kind, units in depths.items() if units >= {*kind[2]})


def _kind(cell: Cell) -> Kind:
    """Optima of ResNets of one depth and period count together, whatever their width."""
    return cell.method, cell.network if cell.own else "", cell.predicting_units


def expected(cell: Cell, whole: Collection[Kind]) -> Sequence[str]:
    """The metrics that are not there without this trial; ``whole`` is as from ``trained_for_all_depths``."""
    if cell.unit is None:
        return METRICS
    return [*cell.fractions, *([AVERAGE] if _kind(cell) in whole else [])]


def experiment_of(cell: Cell) -> Experiment:
    return Experiment(cell.dataset, cell.network, cell.seed)


def _endless(cell: Cell, record: TrialRecord | None) -> dict[str, float]:
    """The errors of a trial that diverged: worse than any other, wherever it would have predicted."""
    if record is None or cell.unit is not None:
        return {}
    return dict.fromkeys([*(metric for metric, _ in milestones(record.result.costs)), AVERAGE], math.inf)


def triples(experiments: Iterable[Experiment]) -> list[tuple[str, str, int]]:
    """As ``stats`` takes them."""
    return [(experiment.dataset, experiment.network, experiment.seed) for experiment in experiments]
