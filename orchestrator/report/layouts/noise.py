"""Tables of how sure single predictions are, and of what other images would have said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from anytime_core.config import MILESTONES
from anytime_core.cost import milestone_index
from anytime_core.outcomes import Outcomes
from anytime_core.seeds import named_seed
from orchestrator.analysis.answers import Kept
from orchestrator.analysis.tables import Tables
from orchestrator.report.layouts.outcomes import (
    NONE_KEPT,
    Kinds,
    Numbers,
    by_number,
    cells_by_line,
    images_of,
)
from orchestrator.stats.outcomes.calibration import auroc, calibration_errors, confidence_brier, nll
from orchestrator.stats.outcomes.curves import errors
from orchestrator.stats.outcomes.image_noise import crossed_interval, mcnemar
from orchestrator.stats.paired import Floats
from orchestrator.sweep.trial import Cell
from orchestrator.table import Column, Entry, Table

OF_ONE: Mapping[str, Callable[[Outcomes], Floats]] = {
    "error": errors,
    "ECE": calibration_errors,
    "NLL": nll,
    "Brier": confidence_brier,
    "AUROC": auroc,
}
"""Numbers of each prediction, by their headings."""


# What is taken of one trial


def at_fractions(kept: Kept) -> Mapping[str, Numbers]:
    """Of the latest prediction at each fraction of the cost; none where there is no prediction yet."""
    by_prediction = [of(kept.own) for of in OF_ONE.values()]
    places = {str(fraction): milestone_index(kept.own.costs, fraction) for fraction in MILESTONES}
    return {
        name: tuple(None if np.isnan(values[place]) else float(values[place]) for values in by_prediction)
        for name, place in places.items()
        if place is not None
    }


def wrong_at_the_end(kept: Kept) -> tuple[bytes, NDArray[np.bool_]]:
    """Of each image, whether the last prediction is wrong [N]; before it the labels, by which images are the same."""
    return kept.own.labels.astype(np.uint16).tobytes(), np.asarray(~kept.own.right[-1])


# The tables


def predictions(tables: Tables) -> Table:
    """A line for each fraction of the cost."""
    return by_number(
        tables,
        "predictions",
        "How right, and how sure, single predictions are at fractions of the cost",
        list(OF_ONE),
        at_fractions,
        (
            *images_of(tables),
            "error, ECE (15 bins of equal width) and AUROC (how well confidence tells right answers from wrong ones) "
            "in %, NLL in nats; Brier is that of the claim to be right.",
        ),
        Kinds(heading="at", names=[str(fraction) for fraction in MILESTONES], numbers=_of_fraction),
    )


def _of_fraction(found: Mapping[str, Numbers], name: str) -> Numbers:
    return found.get(name, (None,) * len(OF_ONE))


def image_noise(tables: Tables) -> Table:
    """A line for each method but the baseline, on each network and data set."""
    baseline, lines = tables.sweep.report.baseline, cells_by_line(tables)
    rows = [
        (*(Entry(value=word) for word in (dataset, network, method)), *_against(tables, cells, others))
        for (network, method, dataset), cells in lines.items()
        if method != baseline and (others := lines.get((network, baseline, dataset)))
    ]
    lacking = any(entry.value is None for row in rows for entry in row)
    return Table(
        name="image_noise",
        title=f"Error of the last prediction against {baseline}, in points: would other images say the same?",
        columns=(
            *(Column(name=name, numeric=False) for name in ("data set", "network", "method")),
            Column(name="difference"),
            Column(name="95 %", numeric=False),
            Column(name="right here"),
            Column(name="there"),
            Column(name="McNemar p"),
        ),
        rows=tuple(rows),
        notes=(
            *images_of(tables),
            "95 %: for new images, and with several seeds for new seeds, too (crossed bootstrap).",
            f"right here: images that only the method's network of the first seed has right; there: only {baseline}'s. "
            "McNemar's exact p is two-sided. It is about these two networks and new images, not about methods.",
            *((NONE_KEPT,) if lacking else ()),
        ),
    )


def _against(tables: Tables, own: Sequence[Cell], baseline: Sequence[Cell]) -> Iterator[Entry]:
    """Of the seeds that both have, on the same images."""
    others = {cell.seed: tables.answers.of(cell, wrong_at_the_end) for cell in baseline}
    wrongs = ((tables.answers.of(cell, wrong_at_the_end), others.get(cell.seed)) for cell in own)
    pairs = [(a[1], b[1]) for a, b in wrongs if a is not None and b is not None and a[0] == b[0]]
    if not pairs:
        yield from (Entry(),) * 5
        return
    differences = 100 * np.array([a.astype(float) - b for a, b in pairs])
    place = own[0]
    rng = np.random.default_rng(named_seed(0, "image noise", place.dataset, place.network, place.method))
    interval = crossed_interval(differences, rng)
    yield Entry(value=float(differences.mean()))
    yield Entry(value=f"{interval.low:.2f} to {interval.high:.2f}")
    test = mcnemar(~pairs[0][0], ~pairs[0][1])
    yield Entry(value=test.only_own)
    yield Entry(value=test.only_other)
    yield Entry(value=test.p, digits=3) if test.p >= 0.001 else Entry(value="<0.001")
