"""Shows tables to people, as aligned text, and to machines, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.ledger import Driver
from orchestrator.plan import Plan
from orchestrator.report import TrialStatus
from orchestrator.tables import METRICS, ErrorRow, Tables, WinRow
from orchestrator.trial import Trial, TrialState

WIDTH = 100_000  # of the text at most: no table is cut, whatever the terminal
ABSENT = "-"

Row = dict[str, Any]


def as_text(title: str, rows: Sequence[Row]) -> str:
    """An aligned table with the keys of the rows as headings; numbers to the right, floats with two decimals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        numeric = name in METRICS or any(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    console = Console(width=WIDTH, file=io.StringIO(), force_terminal=False, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([title, *lines]).strip("\n")


def _shown(value: Any) -> str:
    if (value := _present(value)) is None:
        return ABSENT
    if isinstance(value, int) and value >= 10**7:
        return f"{value:.2e}"
    return f"{value:.2f}" if isinstance(value, float) else " ".join(str(value).split())


def _present(value: Any) -> Any:
    """None for what is no number, which neither JSON nor a table has a word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False)


def as_csv(rows: Sequence[Row]) -> str:
    """One line a row, after the heading; what is absent is empty."""
    output = io.StringIO()
    writer = csv.DictWriter(output, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue().rstrip("\n")


def _cell(trial: Trial) -> Row:
    cell = trial.cell
    return {
        "id": trial.id,
        "dataset": cell.dataset,
        "n": cell.n,
        "c": cell.c,
        "period": cell.period,
        "method": cell.method,
        "unit": cell.unit,
        "seed": cell.seed,
    }


def plan_rows(plan: Plan) -> list[Row]:
    """One for each trial, in the order in which they would run."""
    return [
        {
            **_cell(entry.trial),
            "action": entry.action,
            "reason": entry.reason,
            "step": entry.step,
            "steps": entry.trial.config.steps,
            "multiply_adds": entry.work,
            "cpus": entry.trial.resources.cpus,
            "gpus": entry.trial.resources.gpus,
        }
        for entry in plan.entries
    ]


def status_rows(statuses: Iterable[TrialStatus]) -> list[Row]:
    return [
        {
            **_cell(status.trial),
            "state": str(status.state),
            "step": status.step,
            "steps": status.trial.config.steps,
            "attempts": status.attempts,
            "failure": status.failure,
        }
        for status in statuses
    ]


def status_title(sweep: str, statuses: Sequence[TrialStatus], driver: Driver | None) -> str:
    counts = Counter(status.state for status in statuses)
    states = ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state])
    return f"{sweep}: {states}; " + (f"run by {driver}" if driver else "no driver runs it")


def error_rows(rows: Iterable[ErrorRow]) -> list[Row]:
    return [
        {
            "dataset": row.dataset,
            "network": row.network,
            "method": row.method,
            "seeds": row.seeds,
            **{metric: _present(error) for metric, error in row.errors.items()},
        }
        for row in rows
    ]


def win_rows(rows: Iterable[WinRow]) -> list[Row]:
    return [
        {
            "method": row.method,
            "baseline": row.baseline,
            "metric": row.metric,
            "win_percent": row.wins.percent,
            "wins": row.wins.wins,
            "ties": row.wins.ties,
            "n": row.wins.n,
            "dropped": row.wins.dropped,
            "p_value": row.p_value,
            "test": row.test,
        }
        for row in rows
    ]


def _wins_by_method(rows: Sequence[WinRow]) -> list[Row]:
    """For people: a line of percentages and a line of p-values for each method."""
    lines: list[Row] = []
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.metric: row for row in rows if row.method == method}
        lines.append({"method": method, "": "wins %", **{metric: row.wins.percent for metric, row in own.items()}})
        lines.append({"method": "", "": "p-value", **{metric: _p(row.p_value) for metric, row in own.items()}})
        lines.append({"method": "", "": "pairs", **{metric: _pairs(row) for metric, row in own.items()}})
    return lines


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def _pairs(row: WinRow) -> str:
    return f"{row.wins.n}" + (f" (-{row.wins.dropped})" if row.wins.dropped else "")


def report_text(tables: Tables) -> str:
    parts = [
        as_text("Error in % at fractions of the cost; AE is the mean of all predictions", error_rows(tables.errors))
    ]
    if tables.optima:
        parts.append(f"{', '.join(tables.optima)}: trained for the depth nearest to each fraction alone, not for all.")
    if tables.wins:
        row = tables.wins[0]
        title = f"Wins over {row.baseline} in %, ties counting half; p-value: {row.test}, one-sided"
        parts.append(as_text(title, _wins_by_method(tables.wins)))
    if unfinished := states_text(tables):
        parts.append(unfinished)
    return "\n\n".join(parts)


def states_text(tables: Tables) -> str:
    """What the tables lack; empty if nothing."""
    missing = {state: count for state, count in tables.states.items() if state is not TrialState.FINISHED}
    if not missing:
        return ""
    states = ", ".join(f"{missing[state]} {state}" for state in TrialState if state in missing)
    return f"Not in the tables: {states} of {tables.states.total()} trials; a pair that lacks one is dropped."


def report_json(tables: Tables) -> str:
    return as_json(
        {
            "sweep": tables.sweep,
            "states": {str(state): tables.states[state] for state in TrialState},
            "errors": error_rows(tables.errors),
            "wins": win_rows(tables.wins),
        }
    )
