"""What the figures of all methods at once show of a sweep; see ``analysis.ranking`` for their unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from orchestrator.analysis import ranking
from orchestrator.analysis.compared import compared
from orchestrator.analysis.curves import Curve, Kind, Panel, Results
from orchestrator.analysis.measurements import measure
from orchestrator.analysis.quantities import ERRORS, QUANTITIES
from orchestrator.analysis.ranking import Field
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.stats import profiles as stats
from orchestrator.stats.pairwise import Pairing
from orchestrator.stats.quantities import Quantity
from orchestrator.stats.resampling import generator
from orchestrator.sweep.trial import TrialState
from orchestrator.text import counted

FEWEST_CELLS = 2
MOST_IN_MATRIX = 10
"""Methods whose pairs can be read in a column."""
MOST_NAMED = 4
LEVEL = 0.05


def profiles(results: Results) -> list[Panel]:
    """The share of cells in which each method's error is at most so far above the optimum's, or the baseline's."""
    field = _field(results, fewest=2)
    return _panels(field, partial(_profile, field, results.sweep.report.baseline))


def matrix(results: Results) -> list[Panel]:
    """Each method against each other one: mean difference, wins/ties/losses and Wilcoxon's p."""
    field = _field(results, most=MOST_IN_MATRIX)
    return _panels(field, partial(_matrix, field))


def strengths(results: Results) -> list[Panel]:
    """All methods on the scale of Bradley and Terry, as percentages of wins against the baseline."""
    field, baseline = _field(results), results.sweep.report.baseline
    if baseline not in field.compared:
        raise UnsuitedError(f"its baseline {baseline} is trained for one depth alone")
    return _panels(field, partial(_strengths, field, baseline))


def ranks(results: Results) -> list[Panel]:
    """Mean ranks, and which of them Nemenyi's test cannot tell apart."""
    field = _field(results)
    if missing := ranking.gaps(field):
        more = [f"and {len(missing) - MOST_NAMED} more"] if len(missing) > MOST_NAMED else []
        names = "; ".join([*missing[:MOST_NAMED], *more])
        raise UnsuitedError(f"mean ranks need every method in every cell, and these are missing: {names}")
    return _panels(field, partial(_ranks, field))


def _field(results: Results, *, fewest: int = ranking.FEWEST_METHODS, most: int = ranking.MOST_METHODS) -> Field:
    """Raises UnsuitedError where there are too few or too many methods, or too few cells."""
    states = dict.fromkeys(results.configs, TrialState.PENDING)
    states |= {trial_id: record.state for trial_id, record in results.records.items()}
    errors = measure(results.sweep, results.records, states)
    field = ranking.field(compared(results.sweep, results.records, errors, results.answers))
    methods = counted(len(field.compared), "method")
    if not fewest <= len(field.compared) <= most:
        raise UnsuitedError(f"it compares {methods}, and {fewest} to {most} are needed, optima aside")
    if len(field.names) < FEWEST_CELLS:
        raise UnsuitedError(f"it has {counted(len(field.names), 'cell')}, and {FEWEST_CELLS} are needed")
    return field


def _panels(field: Field, panel: Callable[[str], Panel]) -> list[Panel]:
    """One for each metric of which there is an error, or for all before there is any."""
    reached = [metric for metric in field.metrics if len(field.at(metric))]
    return [panel(metric) for metric in reached or field.metrics]


def _panel(kind: Kind, metric: str, curves: Sequence[Curve], *notes: str, x: str = "", y: str = "") -> Panel:
    return Panel(
        kind=kind, title=_title(metric), x_label=x, y_label=y, curves=tuple(curves), notes=notes if curves else ()
    )


def _title(metric: str) -> str:
    quantity = QUANTITIES[metric]
    if metric in ERRORS:
        return quantity.meaning
    return f"{metric} ({quantity.better} is better)"


def _range(counts: Sequence[int]) -> str:
    """Such as ``39``, or ``34-39``."""
    return "-".join(map(str, sorted({min(counts, default=0), max(counts, default=0)})))


# Performance profiles


def _profile(field: Field, baseline: str, metric: str) -> Panel:
    """A cell counts where every method has an error beside the reference's."""
    reference, scores = _scores(field, baseline, metric)
    rows = ranking.common(scores)
    points = stats.steps(np.array(scores)[:, rows])
    what = "error" if metric in ERRORS else QUANTITIES[metric].loss_of(metric)
    label = f"{what} above that of {reference} (%)"
    if not len(points):
        return _panel("steps", metric, (), x=label, y="share of cells")
    found = [stats.profile(own[rows], points, generator(0, "profile", metric)) for own in scores]
    curves = [
        Curve(label=method, x=_floats(points), y=_floats(own.share), band=(_floats(own.low), _floats(own.high)))
        for method, own in zip(field.compared, found, strict=True)
    ]
    return _panel(
        "steps",
        metric,
        curves,
        f"{counted(found[0].cells, 'cell')}, seeds averaged",
        f"band: {found[0].resampled} resampled",
        *_left_out(len(field.at(metric)) - found[0].cells),
        x=label,
        y="share of cells",
    )


def _scores(field: Field, baseline: str, metric: str) -> tuple[str, list[np.ndarray]]:
    """The increases [cell, seed] of each method over the optimum, where that is as often there as the baseline."""
    best, most = baseline, -1
    chosen: list[np.ndarray] = []
    for reference in (baseline, *field.optima):
        scores = [ranking.increases(field, method, reference, metric) for method in field.compared]
        if (count := int(ranking.common(scores).sum())) >= most:
            best, most, chosen = reference, count, scores
    return best, chosen


def _left_out(cells: int) -> tuple[str, ...]:
    return (f"left out: {counted(cells, 'cell')} that not all methods have",) if cells else ()


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


# The matrix of pairs


def _matrix(field: Field, metric: str) -> Panel:
    quantity = QUANTITIES[metric]
    pairs = {(row.method, row.other): row.pairing for row in ranking.pair_rows(field) if row.metric == metric}
    methods = field.compared
    counts = [pairing.n for pairing in pairs.values() if pairing.n]
    curves = [_row(method, methods, pairs, quantity) for method in methods] if counts else []
    unit = f" in {quantity.apart}" if quantity.apart else ""
    diverged = sum(pairing.diverged for pairing in pairs.values())
    return _panel(
        "matrix",
        metric,
        curves,
        f"row less column{unit}, wins/ties/losses, Wilcoxon's p; {_range(counts)} cells, seeds averaged",
        *((f"where a trial diverged, {counted(diverged, 'result')} in no mean difference",) if diverged else ()),
    )


def _row(method: str, methods: Sequence[str], pairs: dict[tuple[str, str], Pairing], quantity: Quantity) -> Curve:
    """``x`` is the column of the other method, ``y`` the difference of losses: better ones have one colour."""
    own = {
        column: pairs[method, other] if (method, other) in pairs else pairs[other, method].reversed
        for column, other in enumerate(methods)
        if other != method
    }
    return Curve(
        label=method,
        x=tuple(own),
        y=tuple(np.nan if pairing.difference is None else pairing.difference for pairing in own.values()),
        words=tuple(_words(pairing, quantity) for pairing in own.values()),
        bold=tuple(pairing.p_value is not None and pairing.p_value <= LEVEL for pairing in own.values()),
    )


def _words(pairing: Pairing, quantity: Quantity) -> str:
    losses = pairing.difference
    difference = "-" if losses is None else f"{quantity.difference(losses):+.{quantity.digits}f}"
    return f"{difference}\n{pairing.wins}/{pairing.ties}/{pairing.losses}\n{_p_value(pairing.p_value)}"


def _p_value(value: float | None) -> str:
    return "-" if value is None else "p<.001" if value < 0.001 else f"p {value:.3f}".replace("0.", ".")


# Strengths


def _strengths(field: Field, baseline: str, metric: str) -> Panel:
    rows = [row for row in ranking.strength_rows(field, baseline) if row.metric == metric]
    shown = [row for row in rows if row.percent is not None and row.cells]
    curves = [
        Curve(label=row.method, x=(row.percent or 0.0,), y=(0.0,), band=((row.percent_low,), (row.percent_high,)))
        for row in shown
    ]
    unknown = [row.method for row in rows if row not in shown]
    return _panel(
        "strengths",
        metric,
        curves,
        f"{_range([row.cells for row in shown])} cells, seeds averaged",
        "lines: intervals of 95 %",
        *((f"not linked to {baseline}: {', '.join(unknown)}",) if unknown else ()),
        x=f"wins against {baseline} (%)",
    )


# Mean ranks


def _ranks(field: Field, metric: str) -> Panel:
    found = ranking.mean_ranks(field, metric)
    label = "mean rank, 1 the best"
    if found is None:
        return _panel("ranks", metric, (), x=label)
    curves = [
        Curve(label=name, x=(float(rank),), y=(0.0,)) for name, rank in zip(field.compared, found.ranks, strict=True)
    ]
    panel = _panel(
        "ranks",
        metric,
        curves,
        f"{counted(found.n, 'cell')}, seeds averaged; Friedman's {_p_value(found.p_value)}",
        f"critical difference {found.critical_difference:.2f}",
        x=label,
    )
    return replace(panel, critical=found.critical_difference)
