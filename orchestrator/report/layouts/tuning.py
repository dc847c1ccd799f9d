"""The points that a sweep's tuning tried, as a table."""

from __future__ import annotations

import math

from orchestrator.analysis.tables import Tables
from orchestrator.sweep.tuning import CRITERIA, Point, Tuning
from orchestrator.table import Column, Entry, Table

STOPPED = "Steps: where a point was stopped, as others did better, or at the end."
EVERYWHERE = "all"
"""What a choice is for that is made once."""


def tuning(tables: Tables) -> Table:
    """A line for each point, in the order in which a tie is broken. Where some are stopped along the way, with the
    steps after which they had these errors."""
    words = ("method", "for", "point", "by")
    halved = any(one.rungs for one in tables.sweep.tuning)
    return Table(
        name="tuning",
        title="Tuning: errors on held-out images in %",
        columns=(
            *(Column(name=name, numeric=False) for name in words),
            *([Column(name="steps")] if halved else []),
            Column(name="error"),
        ),
        rows=tuple(_row(one, point, halved=halved) for one in tables.sweep.tuning for point in one.points),
        notes=("*: the point that was taken.", *([STOPPED] if halved else [])),
    )


def _row(one: Tuning, point: Point, *, halved: bool) -> tuple[Entry, ...]:
    texts = (one.method, one.where or EVERYWHERE, point.name, CRITERIA[one.choose].words)
    steps = point.stopped or one.steps
    return (
        *(Entry(value=text) for text in texts),
        *([Entry(value=steps)] if halved else []),
        _error(point, taken=point is one.chosen),
    )


def _error(point: Point, *, taken: bool) -> Entry:
    if point.error is None:
        return Entry(mark="pending")
    if point.error == math.inf:
        return Entry(mark="diverged", best=taken)
    return Entry(value=point.error, best=taken)
