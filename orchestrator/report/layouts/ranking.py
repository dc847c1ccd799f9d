"""Tables of all methods at once, for people and as rows for machines; see ``analysis.ranking`` for their unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.analysis.ranking import (
    FEWEST_METHODS,
    MOST_METHODS,
    PairRow,
    StrengthRow,
    pair_rows,
    strength_rows,
)
from orchestrator.analysis.tables import Tables
from orchestrator.report import metric_words
from orchestrator.stats.pairwise import Pairing
from orchestrator.table import Column, Entry, Table, present

Row = dict[str, Any]
NO_RANKING = "{fewest} to {most} methods can be ranked, optima aside, and these are {count}."
UNIT = "A cell, a network on a data set with its seeds averaged, counts once; a diverged trial loses it."


def ranking(tables: Tables) -> Table:
    """All methods on one scale, against the baseline: three lines for each."""
    baseline = tables.sweep.report.baseline
    by_method: dict[tuple[str, ...], dict[str, StrengthRow]] = {}
    for row in strength_rows(tables.field, baseline):
        by_method.setdefault((row.method,), {})[row.metric] = row
    return Table(
        name="ranking",
        title=f"Wins against {baseline} in %, by all comparisons together (Bradley-Terry, ties after Davidson)",
        columns=_columns(tables, "method", ""),
        rows=_lines(tables, by_method, STRENGTH_LINES),
        notes=(
            _unit(tables),
            *metric_words.notes(tables.metrics),
            "95 %: a profile-likelihood interval; it ends at 0 or 100 where nothing bounds it. -: no chain of "
            "comparisons leads there. Says nothing of the size of a difference.",
        ),
    )


STRENGTH_LINES: Mapping[str, Callable[[StrengthRow], Entry]] = {
    "wins %": lambda row: Entry(value=row.percent),
    "95 %": lambda row: Entry(value=row.percent and f"{row.percent_low:.0f}-{row.percent_high:.0f}"),
    "cells": lambda row: Entry(value=row.cells),
}


def matrix(tables: Tables) -> Table:
    """Every pair of methods: three lines for each."""
    by_pair: dict[tuple[str, ...], dict[str, PairRow]] = {}
    for row in pair_rows(tables.field):
        by_pair.setdefault((row.method, row.other), {})[row.metric] = row
    what = "difference of errors in points" if metric_words.all_errors(tables.metrics) else "difference"
    return Table(
        name="matrix",
        title=f"Every method against every other: {what}, and wins/ties/losses of the first",
        columns=_columns(tables, "method", "against", ""),
        rows=_lines(tables, by_pair, PAIR_LINES),
        notes=(
            _unit(tables),
            *metric_words.notes(tables.metrics),
            "p: two-sided, by Wilcoxon's test, not corrected for how many there are; it takes cells for independent. "
            "(d diverged): no difference counts d cells, which who diverged has lost.",
        ),
    )


def _difference(row: PairRow) -> Entry:
    lost = row.pairing.diverged
    return Entry(value=row.difference, digits=QUANTITIES[row.metric].digits, mark=f"{lost} diverged" if lost else "")


def _record(pair: Pairing) -> Entry:
    return Entry(value=f"{pair.wins}/{pair.ties}/{pair.losses}" if pair.n else None)


def _p_value(pair: Pairing) -> Entry:
    return Entry(value="<0.001" if (pair.p_value or 1) < 0.001 else pair.p_value, digits=3)


PAIR_LINES: Mapping[str, Callable[[PairRow], Entry]] = {
    "difference": _difference,
    "w/t/l": lambda row: _record(row.pairing),
    "p": lambda row: _p_value(row.pairing),
}


def _columns(tables: Tables, *words: str) -> tuple[Column, ...]:
    return (*(Column(name=word, numeric=False) for word in words), *(Column(name=metric) for metric in tables.metrics))


def _lines(
    tables: Tables, groups: Mapping[tuple[str, ...], Mapping[str, Any]], lines: Mapping[str, Callable[[Any], Entry]]
) -> tuple[tuple[Entry, ...], ...]:
    """For each group a row for each line, the metrics side by side."""
    return tuple(
        (*(Entry(value=word) for word in (*words, line)), *(entry(by_metric[metric]) for metric in tables.metrics))
        for words, by_metric in groups.items()
        for line, entry in lines.items()
    )


def _unit(tables: Tables) -> str:
    """What is compared, or why nothing is."""
    if tables.field.rankable:
        return UNIT
    return NO_RANKING.format(fewest=FEWEST_METHODS, most=MOST_METHODS, count=len(tables.field.compared))


def suited(tables: Tables) -> bool:
    """Whether there is anything to rank yet."""
    rows = strength_rows(tables.field, tables.sweep.report.baseline)
    return any(row.percent is not None and row.cells for row in rows)


# For machines

STRENGTH_COLUMNS = (
    *("method", "reference", "metric", "win_percent", "percent_low", "percent_high"),
    *("strength", "strength_low", "strength_high", "cells"),
)
PAIR_COLUMNS = ("method", "other", "metric", "difference", "wins", "ties", "losses", "diverged", "p wilcoxon")


def strength_records(tables: Tables) -> list[Row]:
    """Strengths are in log odds; one that is infinite is empty, as is an end that nothing bounds."""
    return [
        {
            "method": row.method,
            "reference": row.reference,
            "metric": row.metric,
            "win_percent": row.percent,
            "percent_low": row.percent_low,
            "percent_high": row.percent_high,
            "strength": present(row.strength),
            "strength_low": present(row.low),
            "strength_high": present(row.high),
            "cells": row.cells,
        }
        for row in strength_rows(tables.field, tables.sweep.report.baseline)
    ]


def pair_records(tables: Tables) -> list[Row]:
    return [_pair_record(row) for row in pair_rows(tables.field)]


def _pair_record(row: PairRow) -> Row:
    pair = row.pairing
    return {
        "method": row.method,
        "other": row.other,
        "metric": row.metric,
        "difference": row.difference,
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "diverged": pair.diverged,
        "p wilcoxon": pair.p_value,
    }
