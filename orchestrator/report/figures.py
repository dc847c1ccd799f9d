"""What each figure shows of a sweep: panels of curves, which ``drawing`` draws.

To add a figure: a function that gives its panels, and a line in FIGURES with its caption. The panels are those that a
sweep can have; a panel of which nothing has run yet has no curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from anytime_core.config import Absent, Ann, Joint, Part, WeightingConfig
from anytime_core.extend import Progress
from anytime_core.result import TrialResult
from anytime_core.training.weighting import base_weights
from orchestrator.analysis import sequences
from orchestrator.analysis.answers import Answers, Taken
from orchestrator.analysis.curves import (
    Curve,
    Panel,
    Points,
    Results,
    averaged,
    grouped,
    nothing,
    read,
    relative,
)
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import outcome_figures, policy_layouts, ranking_figures
from orchestrator.report.compared import COST, compared, error_label, places, refuse_many, some
from orchestrator.report.unsuited import UnsuitedError
from orchestrator.stats import eann
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell

NO_RESULTS = "none of its trials has results yet"
NO_OUTCOMES = "none of its trials has outcomes; `orchestrate outcomes` keeps those of trials that ended without"
LAST_UNITS = 4
ZOOM = 2.0
BASE = 2.0
"""About how much deeper each member of the paper's sequence is than the one before (section 4.6)."""


def panels(name: str, sweep: Sweep, ledger: Ledger, answers: Answers | None = None) -> list[Panel]:
    """Those of a figure, with what has run so far. ``answers`` may have been read for others, too. Raises UnsuitedError
    where that is nothing, and ValueError for a name that is not in FIGURES."""
    if name not in FIGURES:
        raise ValueError(f"no figure is named {name!r}; allowed: {', '.join(FIGURES)}")
    shown = FIGURES[name].panels(read(sweep, ledger, answers))
    if not any(panel.curves for panel in shown):
        raise UnsuitedError(NO_OUTCOMES if FIGURES[name].takes else NO_RESULTS)
    return shown


def suited(sweep: Sweep) -> list[str]:
    """The names of the figures that a sweep can have once it has run. Those of outcomes, which take long to read, are
    drawn only where they are asked for."""
    return [name for name, kind in FIGURES.items() if not kind.takes and _suits(name, sweep)]


def taken(sweep: Sweep) -> list[Taken]:
    """What the figures that a sweep asks for take of the outcomes of each trial."""
    return [takes for name in sweep.report.figures if (takes := FIGURES[name].takes)]


def _suits(name: str, sweep: Sweep) -> bool:
    try:
        return bool(FIGURES[name].panels(nothing(sweep)))
    except UnsuitedError:
        return False


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


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure that a sweep may ask for: its caption, and the function that gives its panels. ``takes`` is what one of
    outcomes takes of each trial."""

    caption: str
    panels: Callable[[Results], list[Panel]]
    takes: Taken | None = None


FIGURES: dict[str, FigureKind] = {
    "units": FigureKind("Error by number of units", units),
    "last_units": FigureKind("Error at the last units", last_units),
    "cost": FigureKind("Error by cost", cost),
    "train_loss": FigureKind("Training loss by cost", train_loss),
    "sequence": FigureKind("A sequence of networks, and the best optima no deeper", sequence),
    "weights": FigureKind("Weights of the losses", weights),
    "periods": FigureKind("Error by cost, with predictions more or less often", periods),
    "choices": FigureKind("Which loss is amplified, over the epochs", choices),
    "profiles": FigureKind(
        "Performance profiles: in which share of the cells, each with its seeds averaged, a method errs at most so "
        "much more than the reference. Says nothing of other data sets",
        ranking_figures.profiles,
    ),
    "matrix": FigureKind(
        "Every method against every other, cell by cell, each with its seeds averaged: mean difference, "
        "wins/ties/losses, two-sided p by Wilcoxon's test, bold up to 5 %. The p-values are not corrected for their "
        "number, and take cells for independent",
        ranking_figures.matrix,
    ),
    "strengths": FigureKind(
        "Strengths after Bradley and Terry, ties after Davidson: how often each method wins a cell, seeds averaged, "
        "against the baseline, by all comparisons together. Says nothing of the size of a difference",
        ranking_figures.strengths,
    ),
    "ranks": FigureKind(
        "Mean ranks over the cells, each with its seeds averaged; Nemenyi's test at 5 % cannot tell apart what a bar "
        "spans. Who is in the field changes ranks, and so what a bar spans",
        ranking_figures.ranks,
    ),
    "policies": FigureKind(
        "Accuracy by mean cost of an image, leaving by each exit policy. budgeted has MSDNet's thresholds, found on "
        "held-out images where there are some, else on one half of the test images for the other; confidence, entropy "
        "and patience have one for all predictions. random is blind, the oracle the best that can be",
        outcome_figures.policies,
        takes=policy_layouts.exit_curves_of,
    ),
    "reliability": FigureKind(
        "Reliability: how often answers are right that are so confident, in 15 bins of equal width, seeds pooled. "
        "Below the diagonal a network is surer than it is right",
        outcome_figures.reliability_diagrams,
        takes=outcome_figures.reliability_by_fraction,
    ),
    "truth": FigureKind(
        "Probability of the true class by cost, mean of all images. A mean may rise while that of many images falls: "
        "see the table monotonicity",
        outcome_figures.truth,
        takes=outcome_figures.truth_by_cost,
    ),
    "overthinking": FigureKind(
        "Overthinking: images that are right, and that some prediction so far had right. What lies between, later "
        "predictions have spoilt",
        outcome_figures.overthinking,
        takes=outcome_figures.shares_by_cost,
    ),
}


def kind_of(stem: str) -> tuple[str, str] | None:
    """The name in FIGURES and the page that the stem of a file stands for, such as ("cost", "cifar10") for
    ``cost-cifar10``; None where it is no figure of ours."""
    fitting = [name for name in FIGURES if stem == name or stem.startswith(f"{name}-")]
    name = max(fitting, key=len, default=None)
    return (name, stem.removeprefix(name).removeprefix("-")) if name else None


def caption_of(stem: str) -> str:
    """Such as ``Error by cost (cifar10)``, of a figure in several files. Raises KeyError for what is no figure."""
    name, page = kind_of(stem) or (stem, "")
    return FIGURES[name].caption + (f" ({page})" if page else "")


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
