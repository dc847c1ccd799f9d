"""Records to tables: errors at the milestones, and percentages of wins over a baseline. ``render`` shows them.

Nothing is left out in silence: what has no error yet is None in its row, and drops its pair, which is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from anytime_core.config import MILESTONES, opt_unit
from anytime_core.result import average_error, milestone_errors
from orchestrator import stats
from orchestrator.sweep import Sweep
from orchestrator.trial import Cell, TrialRecord, TrialState

AVERAGE = "AE"
METRICS: tuple[str, ...] = (*map(str, MILESTONES), AVERAGE)
"""The columns of the paper's tables: error at 1/4, 1/2, 3/4 and all of the cost, and the mean of all (section 4.1)."""

Errors = dict[str, float]


@dataclass(frozen=True, order=True, slots=True)
class Experiment:
    """What two methods must share to be compared."""

    dataset: str
    network: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRow:
    """Errors in percent, the mean over those ``seeds`` that have the most errors, all at the same fractions."""

    dataset: str
    network: str
    method: str
    seeds: int
    errors: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class WinRow:
    method: str
    baseline: str
    metric: str
    wins: stats.WinPercentage
    p_value: float | None
    test: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """All tables of a sweep, and the states of its trials. ``optima`` are the methods trained for one depth each."""

    sweep: str
    optima: tuple[str, ...]
    errors: tuple[ErrorRow, ...]
    wins: tuple[WinRow, ...]
    states: Counter[TrialState]


def build(sweep: Sweep, records: Mapping[str, TrialRecord], states: Mapping[str, TrialState]) -> Tables:
    """``records`` of the trials that ended, by id; a diverged one has no errors."""
    measured = measured_errors(sweep, records)
    return Tables(
        sweep=sweep.name,
        optima=tuple(dict.fromkeys(cell.method for cell in sweep.cells if cell.unit is not None)),
        errors=tuple(_error_rows(sweep.cells, measured)),
        wins=tuple(_win_rows(sweep, measured)),
        states=Counter(states[trial.id] for trial in sweep.trials),
    )


def measured_errors(sweep: Sweep, records: Mapping[str, TrialRecord]) -> dict[tuple[str, Experiment], Errors]:
    """The errors by metric of each method in each experiment. Optima have an average only if every depth has one."""
    measured: dict[tuple[str, Experiment], Errors] = defaultdict(dict)
    depths: dict[tuple[str, Experiment], dict[int, float]] = defaultdict(dict)
    for cell, trial_id in sweep.cells.items():
        record, place = records.get(trial_id), (cell.method, _experiment(cell))
        if record and record.state is TrialState.FINISHED:
            measured[place] |= _errors(cell, record)
            if cell.unit is not None:
                depths[place][cell.unit] = record.result.errors[-1]
                if depths[place].keys() == {*range(3 * cell.n, 0, -cell.period)}:
                    measured[place][AVERAGE] = average_error(tuple(depths[place].values()))
    return dict(measured)


def _errors(cell: Cell, record: TrialRecord) -> Errors:
    costs, errors = record.result.costs, record.result.errors
    if cell.unit is not None:  # an optimum stands for each fraction of the cost that rounds to its depth
        return {str(f): errors[-1] for f in MILESTONES if opt_unit(cell.n, f) == cell.unit}
    reached = {str(f): error for f, error in milestone_errors(costs, errors).items() if error is not None}
    return {**reached, AVERAGE: average_error(errors)}


def _experiment(cell: Cell) -> Experiment:
    return Experiment(cell.dataset, cell.network, cell.seed)


def _error_rows(cells: Iterable[Cell], measured: Mapping[tuple[str, Experiment], Errors]) -> Iterable[ErrorRow]:
    seeds: dict[tuple[str, str, str], list[Errors]] = {}
    for cell in dict.fromkeys((cell.dataset, cell.network, cell.method, _experiment(cell)) for cell in cells):
        dataset, network, method, experiment = cell
        found = seeds.setdefault((dataset, network, method), [])
        if errors := measured.get((method, experiment)):
            found.append(errors)
    for (dataset, network, method), found in seeds.items():
        # A seed with fewer metrics than another would enter the mean of some columns and not of others.
        most = max(found, key=len, default={}).keys()
        whole = [errors for errors in found if errors.keys() == most]
        means = {metric: _mean(errors.get(metric) for errors in whole) for metric in METRICS}
        yield ErrorRow(dataset=dataset, network=network, method=method, seeds=len(whole), errors=means)


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _win_rows(sweep: Sweep, measured: Mapping[tuple[str, Experiment], Errors]) -> Iterable[WinRow]:
    """Of every method but the baseline and the optima, which are trained for one depth and win unfairly."""
    baseline, test = sweep.report.baseline, sweep.report.p_value
    experiments = dict.fromkeys(_experiment(cell) for cell in sweep.cells)
    methods = dict.fromkeys(cell.method for cell in sweep.cells if cell.unit is None)
    for method in methods:
        for metric in METRICS if method != baseline else ():
            own, other = (
                [measured.get((name, experiment), {}).get(metric) for experiment in experiments]
                for name in (method, baseline)
            )
            wins = stats.win_percentage(own, other)
            yield WinRow(
                method=method, baseline=baseline, metric=metric, wins=wins, p_value=wins.p_value(test), test=test
            )
