"""The numbers of a figure: curves, means over seeds, made of what a sweep's trials gave.

Nothing is left out in silence: a trial without results leaves no point, and a note counts it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal, TypeVar

from anytime_core.config import Joint, TrialConfig
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics, TrialResult
from orchestrator.analysis.answers import Answers
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState

Kind = Literal["lines", "steps", "bars", "stack", "matrix", "strengths", "ranks"]
Points = Mapping[float, float]
"""y by x, of one trial or of all trials of one seed."""
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """``spread`` is the standard deviation across seeds at each point, NaN where one seed has it; there is none where
    no point has two; ``band``, the low and the high end at each point, is another kind of it. ``words`` stand at each
    point, in bold where it is ``bold``. A ``reference`` is what the others are held against: optima, trained for one
    depth each. Legends list curves by their ``rank``."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...] = ()
    reference: bool = False
    rank: int = 0
    band: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    words: tuple[str, ...] = ()
    bold: tuple[bool, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One pair of axes. ``full_cost``, in multiply-adds, is what 1 stands for where x is a relative cost. ``group`` is
    what those panels have in common that belong on one page, the data set first. ``y_top`` is where the axis ends; None
    shows everything. ``critical`` is how far apart points must be to differ. ``notes`` stand below."""

    kind: Kind
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    group: tuple[str, ...] = ()
    full_cost: int | None = None
    log_x: bool = False
    log_y: bool = False
    y_top: float | None = None
    critical: float | None = None
    notes: tuple[str, ...] = ()


def whole_costs(cell: Cell, config: TrialConfig) -> Sequence[int]:
    """Multiply-adds up to each prediction of a cell's whole network, however little of it its trial needs. None are
    known of a network whose code is gone."""
    if cell.own:
        return cell.own.costs
    return trial_costs(replace(config, regime=Joint(), network=replace(config.resnet, period=cell.period)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """What a sweep's trials gave, by id: the ``records`` of those that ended, and the ``epochs`` of each. ``answers``
    are what trained networks answer to each image."""

    sweep: Sweep
    configs: Mapping[str, TrialConfig]
    records: Mapping[str, TrialRecord]
    epochs: Callable[[str], Sequence[EpochMetrics]]
    answers: Answers

    def config(self, cell: Cell) -> TrialConfig:
        return self.configs[self.sweep.cells[cell]]

    def result(self, cell: Cell) -> TrialResult | None:
        """None for a trial that has not finished."""
        record = self.records.get(self.sweep.cells[cell])
        return record.result if record and record.state is TrialState.FINISHED else None

    def costs(self, cell: Cell) -> Sequence[int]:
        """Multiply-adds up to each prediction of the whole network, however little of it the trial needs."""
        return whole_costs(cell, self.config(cell))

    def full_cost(self, cell: Cell) -> int:
        """Multiply-adds of the whole network with all of its heads."""
        return self.costs(cell)[-1]

    def errors_by_unit(self, cell: Cell) -> Points:
        """In percent, by units computed."""
        result = self.result(cell)
        return dict(zip(result.units, result.errors, strict=True)) if result else {}

    def errors_by_cost(self, cell: Cell) -> Points:
        """In percent, by multiply-adds."""
        result = self.result(cell)
        return dict(zip(result.costs, result.errors, strict=True)) if result else {}

    def losses_by_cost(self, cell: Cell) -> Points:
        """Training losses of the last epoch by multiply-adds; none where the metrics are lost."""
        result, epochs = self.result(cell), self.epochs(self.sweep.cells[cell])
        return dict(zip(result.costs, epochs[-1].train_loss, strict=True)) if result and epochs else {}

    def probabilities(self, cell: Cell) -> Sequence[EpochMetrics]:
        """The epochs of a finished trial that say with which probabilities it chose losses."""
        epochs = self.epochs(self.sweep.cells[cell]) if self.result(cell) else ()
        return [epoch for epoch in epochs if epoch.probabilities]

    def missing(self, by_cell: Mapping[Cell, object]) -> tuple[str, ...]:
        """A note on those cells for which there is nothing in ``by_cell``; no note if there are none."""
        lost = [cell for cell, points in by_cell.items() if not points]
        absent, expected = ({self.sweep.cells[cell] for cell in cells} for cells in (lost, by_cell))
        names = ", ".join(
            method + self._diverged(cells) for method, cells in grouped(lost, lambda cell: cell.method).items()
        )
        return (f"{len(absent)} of {len(expected)} trials missing: {names}",) if lost else ()

    def _diverged(self, cells: Iterable[Cell]) -> str:
        records = {trial_id: self.records.get(trial_id) for cell in cells if (trial_id := self.sweep.cells[cell])}
        count = sum(bool(record and record.state is TrialState.DIVERGED) for record in records.values())
        return f" ({count} diverged)" if count else ""


def read(sweep: Sweep, ledger: Ledger, answers: Answers | None = None) -> Results:
    """``answers`` may have been read for others, too; no outcomes are read before they are asked for."""
    return Results(
        sweep=sweep,
        configs=_configs(sweep),
        records=ledger.records(trial.id for trial in sweep.trials),
        epochs=ledger.epochs,
        answers=answers or Answers(sweep, ledger.outcomes),
    )


def nothing(sweep: Sweep) -> Results:
    """Before anything has run."""
    return Results(
        sweep=sweep,
        configs=_configs(sweep),
        records={},
        epochs=lambda trial_id: (),
        answers=Answers(sweep, lambda trial_id: {}),
    )


def _configs(sweep: Sweep) -> dict[str, TrialConfig]:
    return {trial.id: trial.config for trial in sweep.trials}


def averaged(label: str, seeds: Iterable[Points], *, reference: bool = False) -> Curve:
    """At each x, the mean and the sample standard deviation of those seeds that have a point there."""
    by_x: dict[float, list[float]] = defaultdict(list)
    for points in seeds:
        for x, y in points.items():
            by_x[x].append(y)
    ordered = dict(sorted(by_x.items()))
    spread = tuple(stdev(values) if len(values) > 1 else math.nan for values in ordered.values())
    return Curve(
        label=label,
        x=tuple(ordered),
        y=tuple(map(fmean, ordered.values())),
        spread=() if all(map(math.isnan, spread)) else spread,
        reference=reference,
    )


def by_seed(by_cell: Mapping[Cell, Points]) -> list[Points]:
    """The points of all trials of each seed: an optimum has a trial for each depth."""
    seeds = grouped(by_cell, lambda cell: cell.seed)
    return [{x: y for cell in cells for x, y in by_cell[cell].items()} for cells in seeds.values()]


def relative(panel: Panel, full_cost: int) -> Panel:
    """The same panel with costs as parts of the full one."""
    curves = (replace(curve, x=tuple(x / full_cost for x in curve.x)) for curve in panel.curves)
    return replace(panel, curves=tuple(curves), full_cost=full_cost)


def grouped(cells: Iterable[Cell], key: Callable[[Cell], Key]) -> dict[Key, list[Cell]]:
    """In the order of the cells."""
    groups: dict[Key, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups
