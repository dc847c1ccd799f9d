"""What the page's explorer shows: each network at each budget, image by image.

A budget is a mean cost of an image, had by MSDNet's budgeted batch classification (``stats.outcomes.budgeted``). S = 41
settings, N images, L predictions, B budgets. ``explorer.js`` draws it and puts straight lines between budgets, as
``curves.accuracy_at`` does between the settings of one seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.analysis.answers import Kept, Taken, budgeted_images
from orchestrator.analysis.tables import Tables
from orchestrator.report.layouts.outcomes import FRACTIONS, TOO_CHEAP, cells_by_line, class_names, thresholds_from
from orchestrator.stats.outcomes.budgeted import FOLDS, with_ends
from orchestrator.stats.outcomes.curves import Curve, Exits, accuracies_at, relative_costs
from orchestrator.stats.paired import Floats
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell
from orchestrator.table import Column, Entry, Table
from orchestrator.text import visible

MOST_TRIALS = 400
"""For all depths: of more of them outcomes are read only if the sweep file asks for the explorer."""
MISTAKES = 5
NOTHING = "No network has more than one prediction: there is nothing to explore."
NETWORKS = "networks, by data set and method"
KEEPING = "`orchestrate outcomes` keeps those of trials that ended without."

Mistakes = tuple[NDArray[np.uint32], NDArray[np.uint32]]
"""Which occur, each as class * 65,536 + answer, ascending; and how often each does."""


def taken(sweep: Sweep) -> list[Taken]:
    """What the explorer takes of the outcomes of each trial; nothing where the page is to have none."""
    asked, trials = sweep.report.explorer, sum(cell.unit is None for cell in sweep.cells)
    return [at_settings] if asked or (asked is None and trials <= MOST_TRIALS) else []


def content(tables: Tables) -> dict[str, Any]:
    """What the page embeds; empty where it has no explorer. ``notes`` are sentences, ``classes`` names by data set, and
    ``lines`` what there is to choose: each a data set, network and method, with what ``_averaged`` gives."""
    if not taken(tables.sweep):
        return {}
    places = cells_by_line(tables)
    cells = {place: seeds for place, seeds in places.items() if len(seeds[0].predicting_units) > 1}
    lines = {place: line for place, seeds in cells.items() if (line := _line(tables, seeds))}
    if not lines:
        why = f"No trial has outcomes. {KEEPING}" if cells else NOTHING
        return {"lines": [], "notes": [why]} if tables.sweep.report.explorer else {}
    return {
        "lines": [
            {"dataset": visible(dataset), "network": visible(network), "method": visible(method), **line}
            for (network, method, dataset), line in lines.items()
        ],
        "classes": {
            visible(dataset): [visible(name) for name in class_names(tables, dataset)]
            for dataset in dict.fromkeys(dataset for _, _, dataset in lines)
        },
        "notes": list(_notes(tables, len(places) - len(cells), len(cells) - len(lines), len(places))),
    }


def in_short(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Of each of ``content``'s lines the error at quarters of the cost: what a reader without JavaScript has of it."""
    places = ("dataset", "network", "method")
    headings = [*FRACTIONS, "all"]
    rows = [(*(Entry(value=line[place]) for place in places), *_at_quarters(line)) for line in lines]
    dashes = any(entry.value is None for row in rows for entry in row)
    return Table(
        name="explorer",
        title="Error in % at fractions of the cost, where images leave early",
        columns=(
            *(Column(name=name, numeric=False) for name in ("data set", "network", "method")),
            *(Column(name=name) for name in headings),
        ),
        rows=tuple(rows),
        notes=(TOO_CHEAP,) if dashes else (),
    )


def _at_quarters(line: Mapping[str, Any]) -> Iterator[Entry]:
    """Budgets that ``_budgets`` has, unless they are too little for the first prediction."""
    errors = dict(zip(line["costs"], line["errors"], strict=True))
    spreads = dict(zip(line["costs"], line["spreads"] or (), strict=False))
    for cost in (*(100 * fraction for fraction in FRACTIONS.values()), 100.0):
        yield Entry(value=errors.get(cost), spread=spreads.get(cost))


def _notes(tables: Tables, single: int, lacking: int, places: int) -> Iterator[str]:
    yield f"Who leaves where: MSDNet's budgeted batch classification. Thresholds: {thresholds_from(tables)}."
    if single:
        yield f"Left out, as all images leave at their one prediction: {single} of {places} {NETWORKS}."
    if lacking:
        yield f"Left out for lack of outcomes: {lacking} of {places} {NETWORKS}. {KEEPING}"


def _line(tables: Tables, cells: Sequence[Cell]) -> dict[str, Any]:
    """Of a network, method and data set, whose seeds are ``cells``; empty where none has outcomes."""
    found = [steps for cell in cells if (steps := tables.answers.of(cell, at_settings))]
    return {"of": len(cells), **_averaged(found)} if found else {}


# What is taken of one trial


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AtSettings:
    """A trial's curve of S settings, the share of images that leave at each prediction ``left`` [S, L], and the
    mistakes of each setting. ``at`` [L] are the predictions' costs, as fractions of the whole."""

    images: int
    at: Floats
    curve: Curve
    left: Floats
    mistakes: tuple[Mistakes, ...]


def at_settings(kept: Kept) -> AtSettings | None:
    """None for so few images that no threshold can be found."""
    test, validation = budgeted_images(kept)
    if validation is None and test.labels.size < FOLDS:
        return None
    settings = with_ends(kept.exits, len(test.costs))
    return AtSettings(
        images=test.labels.size,
        at=relative_costs(test),
        curve=kept.budgeted,
        left=np.stack([np.bincount(exits, minlength=len(test.costs)) for exits in settings]) / test.labels.size,
        mistakes=tuple(_mistakes(test, exits) for exits in settings),
    )


def _mistakes(test: Outcomes, exits: Exits) -> Mistakes:
    """All of them, and not the commonest alone, so that those of several seeds can be added up."""
    answers = test.classes[exits, np.arange(len(exits))].astype(np.int64)
    wrong = answers != test.labels
    pairs, counts = np.unique(test.labels[wrong] << 16 | answers[wrong], return_counts=True)
    return pairs.astype(np.uint32), counts.astype(np.uint32)


# Of all seeds


def _averaged(seeds: Sequence[AtSettings]) -> dict[str, Any]:
    """Rounded percentages: ``at`` [L], the costs of the predictions; ``costs`` [B], the budgets, from the least; at
    each of them the mean of the seeds' ``errors`` [B] and their ``spreads`` [B], None for one seed. ``left`` [B, L] is
    in tenths of a percent; ``mistakes`` [B] are the commonest: class, answer, and how many images of all seeds.

    Seeds come to other mean costs by the same setting, so each is read off its own lines at the same budgets, as the
    table ``budgeted`` does. Its mistakes are those of its nearest setting.
    """
    budgets = _budgets(seeds)
    costs = np.array([*budgets.values()])
    errors = np.array([100 - accuracies_at(seed.curve, costs) for seed in seeds])
    nearest = [_nearest(seed.curve.costs, costs) for seed in seeds]
    return {
        "seeds": len(seeds),
        "images": seeds[0].images,
        "at": _rounded(100 * seeds[0].at),
        "costs": [*budgets],
        "errors": _rounded(errors.mean(axis=0)),
        "spreads": _rounded(errors.std(axis=0, ddof=1)) if len(seeds) > 1 else None,
        "left": _in_tenths(np.mean([_left(seed, costs) for seed in seeds], axis=0)).tolist(),
        "mistakes": [
            _commonest([seed.mistakes[setting] for seed, setting in zip(seeds, settings, strict=True)])
            for settings in zip(*nearest, strict=True)
        ],
    }


def _budgets(seeds: Sequence[AtSettings]) -> dict[float, float]:
    """The mean costs of the settings, and quarters of the whole: from rounded percentages to fractions, ascending."""
    costs = np.mean([seed.curve.costs for seed in seeds], axis=0)
    own = {round(100 * cost, 2): cost for cost in np.sort(costs).tolist()}
    quarters = {100 * fraction: fraction for fraction in FRACTIONS.values() if fraction >= costs.min()}
    return dict(sorted((own | quarters).items()))


def _left(seed: AtSettings, costs: Floats) -> Floats:
    """The shares of images that leave where the mean cost is one of ``costs`` [B], on straight lines: [B, L]."""
    order = np.argsort(seed.curve.costs, kind="stable")
    return np.stack([np.interp(costs, seed.curve.costs[order], shares[order]) for shares in seed.left.T], axis=1)


def _nearest(settings: Floats, costs: Floats) -> NDArray[np.int64]:
    """The setting whose mean cost [S] is nearest to each of ``costs`` [B]; of those equally near the last."""
    distances = np.abs(settings[::-1] - costs[:, None]).round(9)
    return np.asarray(len(settings) - 1 - distances.argmin(axis=1))


def _rounded(percentages: Floats) -> list[float]:
    return [round(value, 2) for value in percentages.tolist()]


def _in_tenths(left: Floats) -> NDArray[np.int64]:
    """Shares [S, L] in tenths of a percent. Their sums up to each prediction are rounded, so that all make 1,000."""
    return np.asarray(np.diff(np.rint(1000 * left.cumsum(axis=1)).astype(np.int64), axis=1, prepend=0))


def _commonest(seeds: Sequence[Mistakes]) -> list[list[int]]:
    """Class, answer and count, added up over seeds; of equally common ones the lower class, then answer, first."""
    pairs, places = np.unique(np.concatenate([pairs for pairs, _ in seeds]), return_inverse=True)
    counts = np.bincount(places, weights=np.concatenate([counts for _, counts in seeds])).astype(np.int64)
    most = np.argsort(-counts, kind="stable")[:MISTAKES]
    return [[int(pairs[i]) >> 16, int(pairs[i]) & 0xFFFF, int(counts[i])] for i in most]
