"""The points that a sweep's tuning tried, as a table."""

from __future__ import annotations

import math

from orchestrator.analysis.tables import Tables
from orchestrator.sweep.tuning import CRITERIA, Point, Tuning
from orchestrator.table import Column, Entry, Table

EVERYWHERE = "all"
"""What a choice is for that is made once."""


def tuning(tables: Tables) -> Table:
    """A line for each point, in the order in which a tie is broken."""
    words = ("method", "for", "point", "by")
    return Table(
        name="tuning",
        title="Tuning: errors on held-out images in %",
        columns=(*(Column(name=name, numeric=False) for name in words), Column(name="error")),
        rows=tuple(_row(one, point) for one in tables.sweep.tuning for point in one.points),
        notes=("*: the point that was taken.",),
    )


def _row(one: Tuning, point: Point) -> tuple[Entry, ...]:
    texts = (one.method, one.where or EVERYWHERE, point.name, CRITERIA[one.choose].words)
    return (*(Entry(value=text) for text in texts), _error(point, taken=point is one.chosen))


def _error(point: Point, *, taken: bool) -> Entry:
    if point.error is None:
        return Entry(mark="pending")
    if point.error == math.inf:
        return Entry(mark="diverged", best=taken)
    return Entry(value=point.error, best=taken)
