"""What figures of answers to each image show: exit policies, reliability, the true class, overthinking.

Each is of trials for all depths, and of the images that the sweep's errors are of; that of exit policies is of the test
images. See ``stats.outcomes`` for what its numbers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from anytime_core.config import MILESTONES
from anytime_core.cost import milestone_index
from orchestrator.analysis.answers import Kept
from orchestrator.analysis.curves import Curve, Panel, Points, Results, averaged, grouped, relative
from orchestrator.report.figures.compared import COST, compared, images, refuse_many, some
from orchestrator.report.layouts.policies import exit_curves_of
from orchestrator.stats.outcomes import curves as stats
from orchestrator.stats.outcomes.calibration import Reliability, reliability
from orchestrator.stats.outcomes.changes import overthinking as overthinking_of
from orchestrator.stats.outcomes.exits import MEANINGS
from orchestrator.sweep.trial import Cell

GRID = 101
"""Mean costs at which curves of several seeds are averaged."""
BOUNDS = ("anytime", "oracle")
"""What the policies are held against."""
CALIBRATED = "as right as confident"
FRACTIONS = {f"at {fraction} of the cost" if fraction < 1 else "at the full cost": fraction for fraction in MILESTONES}
SHARES = ("ever right", "right", "first right")


# What is taken of one trial, beside the curves of policies


def reliability_by_fraction(kept: Kept) -> Mapping[str, Reliability]:
    """Of the latest prediction at each fraction of the cost that one is reached at."""
    places = {name: milestone_index(kept.own.costs, fraction) for name, fraction in FRACTIONS.items()}
    return {
        name: reliability(kept.own.confidence[place], kept.own.right[place])
        for name, place in places.items()
        if place is not None
    }


def truth_by_cost(kept: Kept) -> Points:
    """The mean probability of the true class by multiply-adds."""
    return _by_cost(kept, kept.own.of_truth.mean(axis=1, dtype=np.float64))


def shares_by_cost(kept: Kept) -> Mapping[str, Points]:
    """Of images in percent by multiply-adds: right at a prediction or before, at it, and there for the first time."""
    first = overthinking_of(kept.own).first_right
    shares = (first.cumsum(), stats.accuracies(kept.own), first)
    return {name: _by_cost(kept, values) for name, values in zip(SHARES, shares, strict=True)}


def _by_cost(kept: Kept, values: np.ndarray) -> Points:
    return dict(zip(kept.own.costs, map(float, values), strict=True))


# The figures


def policies(results: Results) -> list[Panel]:
    """Accuracy over mean cost under each exit policy, for each network, method and data set."""
    several = [cells for cells in _lines(results) if len(cells[0].predicting_units) > 1]
    return some([_policies(results, cells) for cells in several], "no network has several predictions to leave at")


def reliability_diagrams(results: Results) -> list[Panel]:
    """Accuracy over confidence at fractions of the cost, for each network, method and data set."""
    return [_reliability(results, cells) for cells in _lines(results)]


def truth(results: Results) -> list[Panel]:
    """The mean probability of the true class over cost, for each network and data set."""
    refuse_many(results.sweep)
    by_place = grouped(_whole(results), lambda cell: (cell.dataset, cell.network))
    return [_truth(results, cells) for cells in by_place.values()]


def overthinking(results: Results) -> list[Panel]:
    """Images that were right and that are, over cost, for each network, method and data set."""
    return [_overthinking(results, cells) for cells in _lines(results)]


# Their panels


def _policies(results: Results, cells: Sequence[Cell]) -> Panel:
    by_cell = {cell: results.answers.of(cell, exit_curves_of) for cell in cells}
    found = [of_cell for of_cell in by_cell.values() if of_cell]
    panel = _panel(results, by_cell, "mean cost / full cost", "test accuracy (%)", "mean of {} seeds")
    curves = tuple(_averaged(name, [of_cell[name] for of_cell in found]) for name in MEANINGS if found)
    return replace(panel, curves=curves, full_cost=results.full_cost(cells[0]))


def _averaged(name: str, found: Sequence[stats.Curve]) -> Curve:
    """Seeds reach other mean costs, so each is read off its own lines at the same costs. A curve that ends before the
    whole cost stays where it is."""
    grid = np.linspace(found[0].costs.min(), 1, GRID)
    return Curve(
        label=name,
        x=_floats(grid),
        y=_floats(np.mean([stats.accuracies_at(curve, grid) for curve in found], axis=0)),
        reference=name in BOUNDS,
    )


def _reliability(results: Results, cells: Sequence[Cell]) -> Panel:
    by_cell = {cell: results.answers.of(cell, reliability_by_fraction) for cell in cells}
    found = [of_cell for of_cell in by_cell.values() if of_cell]
    panel = _panel(results, by_cell, "confidence (%)", f"{images(results, cells)} accuracy (%)", "{} seeds pooled")
    shown = [
        replace(_pooled(name, [of_cell[name] for of_cell in found]), rank=rank)
        for rank, name in enumerate(FRACTIONS)
        if found and name in found[0]
    ]
    diagonal = Curve(label=CALIBRATED, x=(0.0, 100.0), y=(0.0, 100.0), reference=True)
    return replace(panel, curves=(*shown, diagonal) if found else ())


def _pooled(label: str, found: Sequence[Reliability]) -> Curve:
    """A point for each bin that holds an image of any seed."""
    count = np.sum([each.images for each in found], axis=0)

    def mean(values: Iterable[np.ndarray]) -> tuple[float, ...]:
        sums = sum(np.nan_to_num(of_seed) * each.images for of_seed, each in zip(values, found, strict=True))
        return _floats(sums[count > 0] / count[count > 0])

    return Curve(label=label, x=mean(each.confidence for each in found), y=mean(each.accuracy for each in found))


def _truth(results: Results, cells: Sequence[Cell]) -> Panel:
    def points(cell: Cell) -> Points:
        return results.answers.of(cell, truth_by_cost) or {}

    panel = compared(results, cells, points, COST, "mean probability of the true class")
    notes = (*panel.notes, *_unkept(results, [cell for cell in cells if not points(cell)]))
    return relative(replace(panel, notes=notes), results.full_cost(cells[0]))


def _overthinking(results: Results, cells: Sequence[Cell]) -> Panel:
    by_cell = {cell: results.answers.of(cell, shares_by_cost) for cell in cells}
    found = [of_cell for of_cell in by_cell.values() if of_cell]
    panel = _panel(results, by_cell, COST, f"{images(results, cells)} images (%)", "mean of {} seeds")
    curves = tuple(averaged(name, [of_cell[name] for of_cell in found]) for name in SHARES if found)
    return relative(replace(panel, curves=curves), results.full_cost(cells[0]))


# Their parts


def _whole(results: Results) -> list[Cell]:
    """Of networks for all depths; one for a single depth has nothing to leave early or to spoil."""
    return some([cell for cell in results.sweep.cells if cell.unit is None], "no method is trained for all depths")


def _lines(results: Results) -> list[list[Cell]]:
    """The seeds of each network and method on each data set."""
    return list(grouped(_whole(results), lambda cell: (cell.dataset, cell.network, cell.method)).values())


def _panel(results: Results, by_cell: Mapping[Cell, object], x_label: str, y_label: str, seeds: str) -> Panel:
    """Without curves; ``seeds`` says what is done with several."""
    cell, missing = next(iter(by_cell)), [cell for cell, taken in by_cell.items() if not taken]
    count = len(by_cell) - len(missing)
    return Panel(
        kind="lines",
        title=f"{cell.method}, {cell.dataset} {cell.network}",
        x_label=x_label,
        y_label=y_label,
        curves=(),
        group=(cell.dataset, cell.network),
        notes=(
            *([seeds.format(count)] if count > 1 else []),
            *results.missing(by_cell),
            *_unkept(results, missing),
        ),
    )


def _unkept(results: Results, missing: Iterable[Cell]) -> tuple[str, ...]:
    """A note on those that finished and have no outcomes; no note if there are none."""
    count = sum(results.result(cell) is not None for cell in missing)
    return (f"{count} without outcomes: `orchestrate outcomes` keeps them",) if count else ()


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))
