"""A sweep's plan, standing, verdicts and report, as a command prints them with ``--wide``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from orchestrator.analysis.tables import Tables
from orchestrator.execution.forecast import Forecast
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.report.layouts import arrange
from orchestrator.report.status import SweepStatus
from orchestrator.report.verdicts import power, rows, sentences
from orchestrator.report.views import plan, render
from orchestrator.report.views import status as status_view
from orchestrator.report.views.notebook import View
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord


def of_plan(sweep: Sweep, forecast: Forecast, ledger: Ledger) -> View:
    title = f"{sweep.name}: {planning.summary(forecast.plan)}"
    listed = len(forecast.outlook.estimates) <= plan.LISTED
    table = plan.plan_table(forecast.outlook, title, (*forecast.notes, *sweep.notes), listed=listed)
    below = power.plan_text(sweep, ledger) if power.is_asked(sweep) else ""
    return View(parts=(table, below), rows=partial(plan.plan_rows, forecast.outlook))


def of_status(status: SweepStatus) -> View:
    return View(
        parts=("\n".join(status_view.status_lines(status)), status_view.trial_table(status.trials)),
        rows=partial(status_view.status_rows, status.trials),
    )


def of_verdicts(tables: Tables, records: Sequence[TrialRecord]) -> View:
    return View(
        parts=(sentences.document(tables, records),),
        columns=rows.COLUMNS,
        rows=partial(rows.rows, tables),
    )


def of_report(tables: Tables, *below: str) -> View:
    """``frame`` is the table of errors; ``below`` are lines that stand last."""
    errors = render.LONG["errors"]
    last = "\n".join([*tables.notes, *below])
    return View(
        parts=(sentences.glance(tables), *arrange(tables), last),
        columns=errors.columns,
        rows=partial(errors.rows, tables),
    )
