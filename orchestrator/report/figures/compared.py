"""Panels that compare the methods of a network on a data set, whatever of: what several figures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator.analysis.curves import Panel, Points, Results, averaged, by_seed, grouped
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell

T = TypeVar("T")
MOST_METHODS = 16
"""More curves in one panel can be told apart by nobody."""
COST = "cost / full cost"


def compared(
    results: Results, cells: Sequence[Cell], points: Callable[[Cell], Points], x_label: str, y_label: str
) -> Panel:
    """A curve for each method of a network on a data set."""
    by_cell = {cell: points(cell) for cell in cells}
    curves = [
        averaged(method, by_seed({cell: by_cell[cell] for cell in own}), reference=own[0].unit is not None)
        for method, own in grouped(cells, lambda cell: cell.method).items()
        if any(by_cell[cell] for cell in own)
    ]
    return Panel(
        kind="lines",
        title=f"{cells[0].dataset} {cells[0].network}",
        x_label=x_label,
        y_label=y_label,
        curves=tuple(curves),
        group=(cells[0].dataset, cells[0].network),
        notes=results.missing(by_cell),
    )


def places(results: Results) -> list[list[Cell]]:
    """The cells of each network on each data set. Raises UnsuitedError where they are too many for one panel."""
    refuse_many(results.sweep)
    return list(grouped(results.sweep.cells, lambda cell: (cell.dataset, cell.network)).values())


def refuse_many(sweep: Sweep) -> None:
    methods = {cell.method for cell in sweep.cells}
    if len(methods) > MOST_METHODS:
        raise UnsuitedError(f"it has {len(methods)} methods, more than the {MOST_METHODS} that can be told apart")


def error_label(results: Results, cells: Sequence[Cell]) -> str:
    return f"{images(results, cells)} error (%)"


def images(results: Results, cells: Sequence[Cell]) -> str:
    """Of which images errors are."""
    return "validation" if results.config(cells[0]).data.validated else "test"


def some(shown: list[T], reason: str) -> list[T]:
    """Raises UnsuitedError where there are none."""
    if not shown:
        raise UnsuitedError(reason)
    return shown
