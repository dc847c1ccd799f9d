"""Shows the sweeps that come with the package."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.planning.plan import training_work
from orchestrator.report.views.render import Row
from orchestrator.sweep.grid import Sweep
from orchestrator.table import Column, Entry, Table

PETA = 1e15


def shipped_rows(sweeps: Mapping[str, Sweep]) -> list[Row]:
    """One for each sweep, by its name: how many trials, what training all of them takes, and what it is for."""
    return [
        {
            "sweep": name,
            "trials": len(sweep.trials),
            "multiply_adds": sum(training_work(trial, trial.config.steps) for trial in sweep.trials),
            "makes": sweep.description,
        }
        for name, sweep in sweeps.items()
    ]


def shipped_table(sweeps: Mapping[str, Sweep]) -> Table:
    """For people."""
    return Table(
        name="sweeps",
        title=f"{len(sweeps)} sweeps: `orchestrate sweep NAME` runs one; `--copy NAME` writes one here to edit",
        columns=(
            Column(name="sweep", numeric=False),
            Column(name="trials"),
            Column(name="10^15 multiply-adds"),
            Column(name="makes", numeric=False),
        ),
        rows=tuple(
            (
                Entry(value=row["sweep"]),
                Entry(value=row["trials"]),
                Entry(value=float(f"{row['multiply_adds'] / PETA:.3g}"), digits=3),
                Entry(value=row["makes"]),
            )
            for row in shipped_rows(sweeps)
        ),
        notes=("`orchestrate plan NAME --calibrate` says in a minute how many hours one takes here.",),
    )
