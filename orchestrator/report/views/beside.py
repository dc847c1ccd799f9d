"""Shows a sweep's mean errors beside another sweep's, and how much of the differences seeds alone explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from orchestrator.analysis.beside import Beside, explained_by_metric
from orchestrator.report.views import narrow, render
from orchestrator.stats.significance import LEVEL
from orchestrator.table import Column, Entry, Table
from orchestrator.text import counted

COLUMNS = (
    *("dataset", "network", "method", "metric", "seeds", "ours", "other", "difference", "sd"),
    *("standard_error", "noise", "within", "shared", "diverged"),
)
OUTSIDE = "!"
"""Marks a difference that seeds alone do not explain."""


def shown(found: Sequence[Beside], form: str, other: str, lacking: int = 0) -> str:
    """``other`` is what the other sweep is called; ``lacking`` cells of ours have no error of the same seed in it."""
    match form:
        case "json":
            return render.as_json(rows(found))
        case "csv":
            return render.as_csv(rows(found), COLUMNS)
        case "table":
            return render.show(narrow.folded(table(found, other, lacking), narrow.terminal_width()), form)
        case _:
            return render.show([table(found, other, lacking)], form)


def rows(found: Sequence[Beside]) -> list[dict[str, Any]]:
    """For machines: a row for each metric of a cell."""
    return [
        {
            "dataset": it.dataset,
            "network": it.network,
            "method": it.method,
            "metric": it.metric,
            "seeds": it.seeds,
            "ours": it.ours,
            "other": it.other,
            "difference": it.difference,
            "sd": it.deviation,
            "standard_error": it.standard_error,
            "noise": it.noise,
            "within": it.within,
            "shared": it.shared,
            "diverged": it.diverged,
        }
        for it in found
    ]


def table(found: Sequence[Beside], other: str, lacking: int = 0) -> Table:
    """A line for each method of a network, the metrics side by side."""
    lines: dict[tuple[str, str, str], dict[str, Beside]] = {}
    for it in found:
        lines.setdefault((it.dataset, it.network, it.method), {})[it.metric] = it
    metrics = [*dict.fromkeys(it.metric for it in found)]
    return Table(
        name="beside",
        title=f"Error in %: ours, that of {other}, and how much ours is above it",
        columns=(
            *(Column(name=name, numeric=False) for name in ("network", "method")),
            *(Column(name=name, group=metric) for metric in metrics for name in ("ours", "other", "difference")),
        ),
        rows=tuple(
            (
                Entry(value=f"{network} {dataset}"),
                Entry(value=method),
                *chain.from_iterable(_entries(own.get(it)) for it in metrics),
            )
            for (dataset, network, method), own in lines.items()
        ),
        notes=tuple(_notes(found, other, lacking)),
    )


def _entries(it: Beside | None) -> tuple[Entry, Entry, Entry]:
    if it is None:
        return Entry(), Entry(), Entry()
    mark = OUTSIDE if it.within is False else ""
    return Entry(value=it.ours), Entry(value=it.other), Entry(value=it.difference, mark=mark)


def _notes(found: Sequence[Beside], other: str, lacking: int) -> Iterator[str]:
    if not found:
        yield f"No cell has an error of the same seed in {other}."
    judged = [it.within for it in found if it.within is not None]
    if judged:
        yield f"{sum(judged)} of {counted(len(judged), 'difference')} are within what seeds alone make of them."
        yield (
            f"{OUTSIDE}: not within, by {100 * (1 - LEVEL):g} % intervals of Student's t over pairs of seeds; "
            f"by luck {LEVEL * len(judged):.1f} would not be."
        )
    if shares := _shares(explained_by_metric(found)):
        yield f"Of the squared differences seeds alone account for {shares}."
    if single := sum(it.within is None for it in found):
        yield f"{counted(single, 'difference')}: of one seed, or of trainings that both show; nothing tells the noise."
    if shared := sum(it.shared for it in found):
        yield f"{counted(shared, 'pair')} show one training in both, and are left out where a cell has others."
    if diverged := sum(it.diverged for it in found):
        yield f"{counted(diverged, 'pair')} left out, of which a trial diverged."
    if lacking:
        yield f"{counted(lacking, 'cell')} of ours: no error of the same seed in {other}."


def _shares(shares: Mapping[str, float | None]) -> str:
    return ", ".join(f"{100 * share:.0f} % at {metric}" for metric, share in shares.items() if share is not None)
