"""The commands beside a sweep: MLflow's UI on its runs, and the doctor."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cli import options
from orchestrator.cli.output import hand_over, say
from orchestrator.places import Places


@click.command()
@options.on_a_sweep(options.tracking_uri)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--port", type=click.IntRange(1, 65_535), default=5000, show_default=True)
def ui(sweep_file: Path, places: Places, host: str, port: int) -> None:
    """Browse the runs of a sweep in MLflow's UI, until ctrl-C."""
    from orchestrator.sweepfile.load import load
    from orchestrator.tracking import ui as browsing

    uri = places.tracking_uri  # checked before the sweep is read
    browsing.serve(load(sweep_file).name, places.storage, uri, host, port, hand_over)


@click.command()
@options.sweep_file(required=False)
@options.with_places(options.tracking_uri, options.data_root)
@options.address
@options.form(options.TABLE_OR_JSON)
def doctor(sweep_file: Path | None, places: Places, address: str | None, form: str) -> None:
    """Check what a sweep needs, and say how to mend it.

    That is the cluster, the storage, the data and MLflow.

    With a sweep, also whether its data sets are on every node, and a trial fits on one. Exit code 1 if there is a
    problem.
    """
    from orchestrator import doctor as examining
    from orchestrator.report.views import render
    from orchestrator.sweepfile.load import load

    settings = examining.settings_of(
        load(sweep_file) if sweep_file else None,
        storage=places.storage,
        data_root=places.data_root,
        tracking_uri=places.tracking_uri,
        address=address,
    )
    checks = examining.examine(settings)
    say(render.as_json(examining.as_rows(checks)) if form == "json" else examining.as_text(checks), form)
    if any(check.state is examining.State.PROBLEM for check in checks):
        sys.exit(1)
