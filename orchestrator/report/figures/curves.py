"""The panels of curves that figures show of a sweep, which ``drawing`` draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from anytime_core.config import Absent, Ann, Joint, Part, WeightingConfig
from anytime_core.extend import Progress
from anytime_core.result import TrialResult
from anytime_core.training.weighting import base_weights
from orchestrator.analysis import sequences
from orchestrator.analysis.curves import (
    Curve,
    Panel,
    Points,
    Results,
    averaged,
    grouped,
    relative,
)
from orchestrator.report.figures.compared import COST, compared, error_label, places, refuse_many, some
from orchestrator.stats import eann
from orchestrator.sweep.trial import Cell

LAST_UNITS = 4
ZOOM = 2.0
BASE = 2.0
"""About how much deeper each member of the paper's sequence is than the one before (section 4.6)."""


# The figures


def units(results: Results) -> list[Panel]:
    """Error against the units that were computed, for each network and data set (Figure 2a)."""
    return [
        compared(results, cells, results.errors_by_unit, _units(cells), error_label(results, cells))
        for cells in places(results)
    ]


def last_units(results: Results) -> list[Panel]:
    """The same for the last four units that predict (Figure 2b)."""
    zoomed = []
    for cells in places(results):
        predicting = cells[0].predicting_units
        if len(predicting) > LAST_UNITS:
            first = predicting[LAST_UNITS - 1]
            last = [cell for cell in cells if cell.unit is None or cell.unit >= first]
            points = _from(first, results.errors_by_unit)
            zoomed.append(_zoomed(compared(results, last, points, _units(cells), error_label(results, cells))))
    return some(zoomed, f"no network has more than {LAST_UNITS} predictions")


def cost(results: Results) -> list[Panel]:
    """Error against cost (Figure 2c)."""
    return [
        relative(
            compared(results, cells, results.errors_by_cost, COST, error_label(results, cells)),
            results.full_cost(cells[0]),
        )
        for cells in places(results)
    ]


def train_loss(results: Results) -> list[Panel]:
    """Cross-entropy on the training images in the last epoch against cost (Figure 2d)."""
    label = "training cross-entropy (nats)"
    return [
        relative(compared(results, cells, results.losses_by_cost, COST, label), results.full_cost(cells[0]))
        for cells in places(results)
    ]


def sequence(results: Results) -> list[Panel]:
    """An EANN of the networks of one width, and OPT+ of their optima (Figure 2e, section 4.6)."""
    by_family = [panel for cells in sequences.families(results.sweep.cells) if (panel := _sequence(results, cells))]
    growth = f"networks of one width, one at least {sequences.LEAST_GROWTH:g} times as deep as another"
    return some(by_family, f"it lacks {growth}, that have a joint method and optima")


def weights(results: Results) -> list[Panel]:
    """The weight B_i of each prediction's loss, for each formula and number of predictions (Figure 2f)."""
    used = {
        (regime.weights, len(cell.predicting_units)): results.costs(cell)
        for cell in results.sweep.cells
        if isinstance(regime := results.config(cell).regime, Joint)
    }
    here = {key: costs for key, costs in used.items() if not isinstance(key[0], Absent)}
    gone = dict.fromkeys(f"{weighting.name} is not here, or has changed" for weighting, _ in used.keys() - here.keys())
    panels = [_weights(weighting, costs) for (weighting, _), costs in here.items()]
    panels = [*panels[:-1], *(replace(panel, notes=(*panel.notes, *gone)) for panel in panels[-1:])]
    return some(panels, "; ".join(gone) or "no method trains its predictions jointly")


def periods(results: Results) -> list[Panel]:
    """Error against cost for each period, a panel for each depth; steps drop at new predictions (Figure 3)."""
    whole = [cell for cell in sequences.resnets(results.sweep.cells) if cell.unit is None]
    depths = grouped(whole, lambda cell: (cell.dataset, cell.method, cell.n, cell.c, cell.transition))
    several = [cells for cells in depths.values() if len({cell.period for cell in cells}) > 1]
    return some([_periods(results, cells) for cells in several], "no network has two periods")


def choices(results: Results) -> list[Panel]:
    """With which probability each loss was amplified, epoch by epoch, for each strategy (Figure 4)."""
    choosing = [cell for cell in results.sweep.cells if _chooses(results, cell)]
    groups = grouped(choosing, lambda cell: (cell.dataset, cell.network, cell.method))
    refuse_many(results.sweep)
    return some([_choices(results, cells) for cells in groups.values()], "no method chooses losses to amplify")


# Their parts


def _units(cells: Sequence[Cell]) -> str:
    return "predictions" if cells[0].own else "units"


def _from(first: int, points: Callable[[Cell], Points]) -> Callable[[Cell], Points]:
    return lambda cell: {x: y for x, y in points(cell).items() if x >= first}


def _zoomed(panel: Panel) -> Panel:
    """Cut off at so many times the least value, where the best can be told apart; a note names what is all above."""
    top = ZOOM * min((y for curve in panel.curves for y in curve.y), default=math.inf)
    above = [curve.label for curve in panel.curves if min(curve.y) > top]
    cut = any(max(curve.y) > top for curve in panel.curves)
    notes = (f"above the axis: {', '.join(above)}",) if above else ()
    return replace(panel, y_top=top if cut else None, notes=panel.notes + notes)


def _weights(weighting: WeightingConfig | Part, costs: Sequence[int]) -> Panel:
    """As training begins; an extension's may change."""
    values = tuple(base_weights(weighting, costs, Progress(epoch=1, fraction=0.0)))
    return Panel(
        kind="bars",
        title=f"{weighting.name}, {len(costs)} predictions",
        x_label="prediction",
        y_label="loss weight" + (" (sum 1)" if getattr(weighting, "normalize", "") == "sum_to_one" else ""),
        curves=(Curve(label=weighting.name, x=tuple(range(1, len(costs) + 1)), y=values),),
    )


def _sequence(results: Results, cells: Sequence[Cell]) -> Panel | None:
    """None unless there are two members, a joint method and optima."""
    networks, method = sequences.members(cells), _joint_method(results, cells)
    members = sorted(cell for cell in cells if cell.method == method and cell.network in networks)
    # Optima of the networks in between count for OPT+ too.
    optima = [cell for cell in cells if cell.unit is not None and members and cell.n <= members[-1].n]
    if len(networks) < 2 or not optima:
        return None
    by_cell = {cell: results.result(cell) for cell in (*members, *optima)}
    depths = ", ".join(str(n) for n in sorted({cell.n for cell in members}))
    panel = Panel(
        kind="steps",
        title=f"{cells[0].dataset}, c = {cells[0].c}, n = {depths}",
        x_label="cost / cost of the deepest",
        y_label=error_label(results, members),
        curves=(*_sequence_curves(results, members), *_opt_plus(results, optima)),
        group=(cells[0].dataset,),
        log_x=True,
        notes=results.missing(by_cell),
    )
    return relative(panel, max(map(results.full_cost, members)))


def _joint_method(results: Results, cells: Iterable[Cell]) -> str | None:
    """AANN, as in the paper, or the baseline, or whichever there is."""
    methods = dict.fromkeys(cell.method for cell in cells if isinstance(results.config(cell).regime, Joint))
    preferred = [name for name in ("aann", results.sweep.report.baseline) if name in methods]
    return next(iter([*preferred, *methods]), None)


def _sequence_curves(results: Results, members: Sequence[Cell]) -> Iterator[Curve]:
    """A seed counts where all of its members have finished."""
    seeds = grouped(members, lambda cell: cell.seed).values()
    runs = [_run(own) for cells in seeds if None not in (own := [results.result(cell) for cell in cells])]
    if runs:
        inflation = eann.expected_inflation(BASE)
        yield averaged("EANN", runs)
        yield averaged("EANN, costs / E[C]", [{cost / inflation: error for cost, error in run.items()} for run in runs])


def _run(results: Iterable[TrialResult | None]) -> Points:
    members = [sequences.member(result) for result in results if result]
    return {point.cost: point.error for point in eann.sequence_curve(members)}


def _opt_plus(results: Results, optima: Sequence[Cell]) -> Iterator[Curve]:
    seeds = grouped(optima, lambda cell: cell.seed).values()
    best = [_best(point for cell in cells for point in results.errors_by_cost(cell).items()) for cells in seeds]
    if any(best):
        yield averaged("OPT+", best, reference=True)


def _best(points: Iterable[tuple[float, float]]) -> Points:
    """At the cost of each optimum, the least error of all that cost no more: multiply-adds instead of units, which cost
    the same but where blocks meet."""
    errors: dict[int, float] = {}
    for cost, error in points:
        errors[int(cost)] = min(error, errors.get(int(cost), math.inf))
    return {cost: least for cost in errors if (least := eann.opt_plus(errors, cost)) is not None}


def _periods(results: Results, cells: Sequence[Cell]) -> Panel:
    errors = {cell: results.errors_by_cost(cell) for cell in cells}
    curves = [
        replace(averaged(f"period {period}", [errors[cell] for cell in own]), rank=period)
        for period, own in sorted(grouped(cells, lambda cell: cell.period).items())
        if any(errors[cell] for cell in own)
    ]
    several = len({cell.method for cell in results.sweep.cells if cell.unit is None}) > 1
    panel = Panel(
        kind="steps",
        title=f"{cells[0].dataset}, n = {cells[0].n}, c = {cells[0].c}" + (f", {cells[0].method}" if several else ""),
        x_label=COST,
        y_label=error_label(results, cells),
        curves=tuple(curves),
        group=(cells[0].dataset, cells[0].method),
        notes=results.missing(errors),
    )
    return relative(panel, max(map(results.full_cost, cells)))


def _chooses(results: Results, cell: Cell) -> bool:
    regime = results.config(cell).regime
    return isinstance(regime, Joint) and not isinstance(regime.strategy, Ann)


def _choices(results: Results, cells: Sequence[Cell]) -> Panel:
    """The mean over the seeds."""
    by_cell = {cell: results.probabilities(cell) for cell in cells}
    runs = [epochs for epochs in by_cell.values() if epochs]
    curves = [
        averaged(str(index + 1), [{epoch.epoch: epoch.probabilities[index] for epoch in epochs} for epochs in runs])
        for index in range(len(runs[0][0].probabilities) if runs else 0)
    ]
    return Panel(
        kind="stack",
        title=f"{cells[0].method}, {cells[0].dataset} {cells[0].network}",
        x_label="epoch",
        y_label="probability of choice",
        curves=tuple(curves),
        group=(cells[0].dataset, cells[0].network),
        notes=((f"mean of {len(runs)} seeds",) if len(runs) > 1 else ()) + results.missing(by_cell),
    )
