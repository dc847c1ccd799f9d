"""All that ranks methods on one line: errors, the area below the curve, what training takes, and what was tuned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from orchestrator.analysis.answers import Kept
from orchestrator.analysis.tables import FEWER, ErrorRow, Tables, lacking
from orchestrator.analysis.times import Cost
from orchestrator.report import metric_words
from orchestrator.report.layouts.outcomes import NONE_KEPT, cells_by_line
from orchestrator.stats.outcomes import metrics
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell
from orchestrator.sweep.tuning import Tuning
from orchestrator.table import Column, Entry, Table

Row = dict[str, Any]
DIGITS = 1
"""Decimals of errors: seeds differ by more, and the line has room for no more."""
PLACE = ("data set", "network")
AREA = "AUC"
INCOMPARABLE = (
    "cost -: no trial of the method, with times of its epochs, finished on the same device, with as much of it, by the "
    "same code and torch as one of {baseline}."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A method on a network and a data set. ``area`` is the mean AUC of so many seeds as ``areas`` says; ``tuning`` the
    choice of its parameters where there was one."""

    place: tuple[str, str]
    method: str
    errors: ErrorRow
    area: float | None
    areas: int
    cost: Cost | None
    tuning: Tuning | None

    @property
    def values(self) -> Mapping[str, float | None]:
        return {**self.errors.errors, AREA: self.area}

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those that were chosen, with their values; empty where nothing was tuned, or nothing is chosen yet."""
        chosen = self.tuning and self.tuning.chosen
        return dict(part.split("=", 1) for part in chosen.name.split(" ")) if chosen else {}


def area_of(kept: Kept) -> float | None:
    """The AUC of one trial, of the images that its error is of; a single prediction has none."""
    return metrics.METRICS["auc"].of(kept.own) if len(kept.own.costs) > 1 else None


def field(tables: Tables) -> Table:
    """A line for each method, and what all lines have in common in the title."""
    lines = list(_lines(tables))
    common = len({line.place for line in lines}) == 1
    best = {line.place: _best([other for other in lines if other.place == line.place]) for line in lines}
    where = f" on {', '.join(lines[0].place)}" if common else ""
    return Table(
        name="field",
        title=f"Methods{where}: {metric_words.kind(tables.sweep).lower()} in % at fractions of the cost",
        columns=(
            *(Column(name=name, numeric=False) for name in ((() if common else PLACE) + ("method",))),
            *(Column(name=name) for name in (*METRICS, AREA, "cost")),
            Column(name="tuned", numeric=False),
        ),
        rows=tuple(_row(line, common, best[line.place], tables) for line in lines),
        notes=tuple(_notes(lines, tables)),
    )


def _lines(tables: Tables) -> Iterator[Line]:
    cells = cells_by_line(tables)
    tuned = {cell: one for one in tables.sweep.tuning for cell in one.results}
    for row in tables.errors:
        own = cells.get((row.network, row.method, row.dataset), [])
        if own:  # an optimum is many networks, none of them for all depths
            baseline = cells.get((row.network, tables.sweep.report.baseline, row.dataset), [])
            areas = [area for cell in own if (area := tables.answers.of(cell, area_of)) is not None]
            yield Line(
                place=(row.dataset, row.network),
                method=row.method,
                errors=row,
                area=fmean(areas) if areas else None,
                areas=len(areas),
                cost=tables.times.cost(_ids(own, tables), _ids(baseline, tables)),
                tuning=tuned.get(own[0]),
            )


def _ids(cells: Iterable[Cell], tables: Tables) -> list[str]:
    return [tables.sweep.cells[cell] for cell in cells]


# For people


def _best(lines: Sequence[Line]) -> dict[str, float]:
    """Of several methods the least error, and the largest area, to as many digits as are shown."""
    chosen: dict[str, Callable[[Iterable[float]], float]] = {**dict.fromkeys(METRICS, min), AREA: max}
    found = {name: [round(v, DIGITS) for line in lines if (v := line.values[name]) is not None] for name in chosen}
    return {name: chosen[name](values) for name, values in found.items() if len(values) > 1}


def _row(line: Line, common: bool, best: Mapping[str, float], tables: Tables) -> tuple[Entry, ...]:
    words = (line.method,) if common else (*line.place, line.method)
    numbers = (_number(line, name, best.get(name), tables) for name in (*METRICS, AREA))
    cost = line.cost
    fewer = FEWER if cost and cost.trials < _seeds(tables) else ""
    return (
        *(Entry(value=word) for word in words),
        *numbers,
        Entry(value=cost.ratio, mark=fewer) if cost else Entry(),
        _tuned(line),
    )


def _number(line: Line, name: str, best: float | None, tables: Tables) -> Entry:
    value, missing = line.values[name], line.errors.missing.get(name, {})
    if value is None:
        return Entry(mark=" ".join(missing))
    fewer = line.areas < _seeds(tables) if name == AREA else bool(missing)
    return Entry(value=value, digits=DIGITS, best=round(value, DIGITS) == best, mark=FEWER if fewer else "")


def _tuned(line: Line) -> Entry:
    waits = line.tuning and not line.tuning.chosen
    return Entry(mark="pending") if waits else Entry(value="/".join(line.parameters.values()) or None)


def _notes(lines: Sequence[Line], tables: Tables) -> Iterator[str]:
    baseline, seeds = tables.sweep.report.baseline, _seeds(tables)
    yield "*: the best of those on the same data set and network."
    yield from metric_words.kind_notes(tables.sweep)
    if seeds > 1:
        yield f"Means of {seeds} seeds; `errors` has their spreads."
    yield f"AE: mean of all predictions. AUC: {metrics.METRICS['auc'].meaning}, in %."
    yield f"cost: time of training relative to {baseline}'s on the same device, medians of epochs and seeds."
    if any(line.cost is None and line.errors.seeds for line in lines):
        yield INCOMPARABLE.format(baseline=baseline)
    if any(line.area is None and line.errors.seeds for line in lines):
        yield f"AUC {NONE_KEPT}"
    if named := _parameter_names(lines):
        yield f"tuned: {named}."
    if fewer := [line for line in lines if line.errors.seeds and _is_fewer(line, seeds)]:
        yield f"{FEWER}: of fewer seeds: {', '.join(dict.fromkeys(line.method for line in fewer))}."


def _is_fewer(line: Line, seeds: int) -> bool:
    return bool(line.errors.missing) or 0 < line.areas < seeds or bool(line.cost and line.cost.trials < seeds)


def _parameter_names(lines: Collection[Line]) -> str:
    """Such as ``aann gamma; adaloss floor/momentum``, in the order of their values."""
    names = {line.method: "/".join(line.parameters) for line in lines if line.parameters}
    return "; ".join(f"{method} {parameters}" for method, parameters in names.items())


def _seeds(tables: Tables) -> int:
    return len({cell.seed for cell in tables.sweep.cells})


# For machines

COLUMNS = (
    *("dataset", "network", "method", "seeds", *METRICS, "auc"),
    *("cost", "baseline", "seconds", "timed_trials", "tuned", "missing"),
)


def records(tables: Tables) -> list[Row]:
    """``cost`` is relative to the ``baseline``, ``seconds`` the median time of training of as many trials."""
    return [
        {
            "dataset": line.errors.dataset,
            "network": line.errors.network,
            "method": line.method,
            "seeds": line.errors.seeds,
            **line.errors.errors,
            "auc": line.area,
            "cost": line.cost and line.cost.ratio,
            "baseline": tables.sweep.report.baseline,
            "seconds": line.cost and line.cost.seconds,
            "timed_trials": line.cost.trials if line.cost else 0,
            "tuned": " ".join(f"{name}={value}" for name, value in line.parameters.items()),
            "missing": lacking(line.errors.missing),
        }
        for line in _lines(tables)
    ]
