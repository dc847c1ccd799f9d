"""What the page's explorer shows: each network at each budget, image by image.

A budget is a mean cost of an image, had by MSDNet's budgeted batch classification (``stats.outcomes.budgeted``). S = 41
settings, N images, L predictions. ``explorer.js`` draws it and puts straight lines between settings, as
``curves.accuracy_at`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.outcomes import Outcomes
from orchestrator.analysis.answers import Kept, Taken, budgeted_images
from orchestrator.analysis.tables import Tables
from orchestrator.report.outcome_layouts import cells_by_line, class_names, thresholds_from
from orchestrator.stats.outcomes.budgeted import FOLDS, with_ends
from orchestrator.stats.outcomes.curves import Exits, reached, relative_costs
from orchestrator.stats.paired import Floats
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell
from orchestrator.text import visible

MOST_TRIALS = 400
"""For all depths: of more of them outcomes are read only if the sweep file asks for the explorer."""
MISTAKES = 5
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
    cells = cells_by_line(tables)
    lines = {place: line for place, seeds in cells.items() if (line := _line(tables, seeds))}
    if not lines:
        return {"lines": [], "notes": [f"No trial has outcomes. {KEEPING}"]} if tables.sweep.report.explorer else {}
    return {
        "lines": [
            {"dataset": visible(dataset), "network": visible(network), "method": visible(method), **line}
            for (network, method, dataset), line in lines.items()
        ],
        "classes": {
            visible(dataset): [visible(name) for name in class_names(tables, dataset)]
            for dataset in dict.fromkeys(dataset for _, _, dataset in lines)
        },
        "notes": list(_notes(tables, len(cells) - len(lines), len(cells))),
    }


def _notes(tables: Tables, lacking: int, places: int) -> Iterator[str]:
    yield f"Who leaves where: MSDNet's budgeted batch classification. Thresholds: {thresholds_from(tables)}."
    if lacking:
        yield f"Left out for lack of outcomes: {lacking} of {places} networks, by data set and method. {KEEPING}"


def _line(tables: Tables, cells: Sequence[Cell]) -> dict[str, Any]:
    """Of a network, method and data set, whose seeds are ``cells``; empty where none has outcomes."""
    found = [steps for cell in cells if (steps := tables.answers.of(cell, at_settings))]
    return {"of": len(cells), **_averaged(found)} if found else {}


# What is taken of one trial


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AtSettings:
    """A trial's ``costs`` [S] and ``errors`` [S] in percent, the share of images that leave at each prediction
    ``left`` [S, L], and the mistakes of each setting. ``at`` [L] are the predictions' costs in percent."""

    images: int
    at: Floats
    costs: Floats
    errors: Floats
    left: Floats
    mistakes: tuple[Mistakes, ...]


def at_settings(kept: Kept) -> AtSettings | None:
    """None for so few images that no threshold can be found."""
    test, validation = budgeted_images(kept)
    if validation is None and test.labels.size < FOLDS:
        return None
    settings = with_ends(kept.exits, len(test.costs))
    points = np.array([reached(test, exits) for exits in settings])
    return AtSettings(
        images=test.labels.size,
        at=100 * relative_costs(test),
        costs=100 * points[:, 0],
        errors=100 - points[:, 1],
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
    """Rounded percentages: ``at`` [L], the costs of the predictions; ``costs`` [S] and ``errors`` [S] of the settings,
    from the cheapest, and the errors' ``spreads`` [S] over seeds, None for one. ``left`` [S, L] is in tenths of a
    percent; ``mistakes`` [S] are the commonest: class, answer, and how many images of all seeds."""
    costs = np.mean([seed.costs for seed in seeds], axis=0)
    order = np.argsort(costs, kind="stable")
    errors = np.array([seed.errors for seed in seeds])[:, order]
    left = np.mean([seed.left for seed in seeds], axis=0)[order]
    return {
        "seeds": len(seeds),
        "images": seeds[0].images,
        "at": _rounded(seeds[0].at),
        "costs": _rounded(costs[order]),
        "errors": _rounded(errors.mean(axis=0)),
        "spreads": _rounded(errors.std(axis=0, ddof=1)) if len(seeds) > 1 else None,
        "left": _in_tenths(left).tolist(),
        "mistakes": [_commonest([seed.mistakes[setting] for seed in seeds]) for setting in order],
    }


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
