"""The paper's own numbers (arXiv 1708.06832): its tables as printed.

The CSV files here hold every number of Tables 1 to 6. A place is named as a sweep of ``sweeps/`` names it: data set,
network, method and metric. Table 1's errors are those of the last 5,000 training images, all others of the test images.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib.resources import files
from itertools import product

from orchestrator.analysis.measurements import Experiment, Measurements, collect
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell

Place = tuple[str, str, str, str]
"""Data set, network, method and metric."""

PERIODS = {25: 3}
"""Units from one prediction to the next, by n, where it is not 1 (appendix E)."""
ERROR_TABLES: dict[str, dict[str, str]] = {
    "table6": {},
    "table3_eann": {},
    "table4": {"c": "16", "dataset": "cifar100", "method": "ann"},
    "table1": {"n": "5", "c": "16"},
}
"""Tables of errors, and what their rows do not say as it is the same in all. Where two give an error for one place, the
first counts unless the other is asked for."""
TITLES = {"table1": "Table 1", "table3_eann": "Table 3", "table4": "Table 4", "table6": "Table 6"}
SWEEPS = {"eann": "table3_eann"}
"""Sweeps that are not named as their table."""
NOT_PRINTED = "not in the paper"


def printed(table: str) -> dict[tuple[str, str], Decimal]:
    """Percentages by method and metric: ``table5``, which has those of Table 2a too, or ``table2b``."""
    value = {"table5": "win_pct", "table2b": "relative_increase_pct"}[table]
    return {(row["method"], row["metric"]): Decimal(row[value]) for row in _rows(table)}


def agrees(computed: float | None, expected: Decimal) -> bool:
    """Whether a number is the printed one when rounded as the paper rounds: halves up, to the decimals it prints."""
    if computed is None:
        return False
    # What is a half in decimals is seldom one in binary: 12 digits are more than the paper has and fewer than a float.
    return Decimal(f"{computed:.12g}").quantize(expected, ROUND_HALF_UP) == expected


def printed_errors(table: str) -> dict[Place, float]:
    """Errors in percent of a table of ``ERROR_TABLES``; what the table leaves out is not there."""
    return {_place(row | ERROR_TABLES[table]): float(row["error_pct"]) for row in _rows(table)}


def table6() -> Measurements:
    """Table 6, of one seed, 0; what it leaves out is missing as not in the paper. OPT has no average."""
    errors = printed_errors("table6")
    axes = [list(dict.fromkeys(place[axis] for place in errors)) for axis in range(3)]
    places = [(Experiment(dataset, network, 0), method) for dataset, network, method in product(*axes)]
    values: dict[tuple[Experiment, str], dict[str, float]] = {}
    for (dataset, network, method, metric), error in errors.items():
        values.setdefault((Experiment(dataset, network, 0), method), {})[metric] = error
    missing = {place: dict.fromkeys(METRICS, NOT_PRINTED) for place in places if place not in values}
    return collect(values, places, ("opt",), missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """An error in percent, and in which table of the paper it is."""

    error: float
    table: str


def published(first: str = "table6") -> dict[Place, Published]:
    """All errors of the paper; where two tables give one for the same place, that of ``first`` counts: a table, or the
    sweep of it. Of any other name, Table 6's does."""
    by_place: dict[Place, Published] = {}
    for table in sorted(ERROR_TABLES, key=lambda table: table != SWEEPS.get(first, first)):
        for place, error in printed_errors(table).items():
            by_place.setdefault(place, Published(error=error, table=TITLES[table]))
    return by_place


def _place(row: Mapping[str, str]) -> Place:
    n, c = int(row["n"]), int(row["c"])
    period = int(row.get("s", PERIODS.get(n, 1)))
    cell = Cell(dataset=row["dataset"], n=n, c=c, period=period, method=row["method"], seed=0)
    return cell.dataset, cell.network, cell.method, row["metric"]


@lru_cache
def _rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(files(__name__).joinpath(f"{table}.csv").read_text("utf-8").splitlines()))
