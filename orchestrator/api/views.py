"""A sweep's plan, standing, verdicts and report, as a command prints them with ``--wide``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from orchestrator.analysis.tables import Tables
from orchestrator.execution.forecast import Forecast
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.report import plan_view, power, render, status_view, verdict, verdict_rows
from orchestrator.report.layouts import arrange
from orchestrator.report.notebook import View
from orchestrator.report.status import SweepStatus
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord


def of_plan(sweep: Sweep, forecast: Forecast, ledger: Ledger) -> View:
    title = f"{sweep.name}: {planning.summary(forecast.plan)}"
    listed = len(forecast.outlook.estimates) <= plan_view.LISTED
    table = plan_view.plan_table(forecast.outlook, title, (*forecast.notes, *sweep.notes), listed=listed)
    below = power.plan_text(sweep, ledger) if power.is_asked(sweep) else ""
    return View(parts=(table, below), rows=partial(plan_view.plan_rows, forecast.outlook))


def of_status(status: SweepStatus) -> View:
    return View(
        parts=("\n".join(status_view.status_lines(status)), status_view.trial_table(status.trials)),
        rows=partial(status_view.status_rows, status.trials),
    )


def of_verdicts(tables: Tables, records: Sequence[TrialRecord]) -> View:
    return View(
        parts=(verdict.document(tables, records),),
        columns=verdict_rows.COLUMNS,
        rows=partial(verdict_rows.rows, tables),
    )


def of_report(tables: Tables, *below: str) -> View:
    """``frame`` is the table of errors; ``below`` are lines that stand last."""
    errors = render.LONG["errors"]
    last = "\n".join([*tables.notes, *below])
    return View(
        parts=(verdict.glance(tables), *arrange(tables), last),
        columns=errors.columns,
        rows=partial(errors.rows, tables),
    )
