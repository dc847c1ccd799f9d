"""The evidence for each comparison that a sweep is to decide, pair by pair."""

from __future__ import annotations

from orchestrator.analysis.curves import Curve, Panel, Results
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.sweep.deciding import Standing


def decisions(results: Results) -> list[Panel]:
    """E-values as parts of what decides, against the pairs that were compared."""
    deciding = results.sweep.deciding
    if deciding is None:
        raise UnsuitedError("it has nothing to decide: its file has no decide")
    curves = [_curve(it) for it in deciding.standings if it.path]
    most = max((curve.x[-1] for curve in curves), default=0.0)
    bar = [Curve(label="decided", x=(0.0, most), y=(1.0, 1.0), reference=True)] if curves else []
    panel = Panel(
        kind="lines",
        title="",
        x_label="pairs compared",
        y_label="e-value / what decides",
        curves=(*curves, *bar),
        log_y=True,
    )
    return [panel]


def _curve(it: Standing) -> Curve:
    """It begins at 1, before the first pair."""
    values = (1.0, *it.path)
    return Curve(
        label=str(it.comparison),
        x=tuple(map(float, range(len(values)))),
        y=tuple(value / it.threshold for value in values),
    )
