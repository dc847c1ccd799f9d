"""The command on the sweeps that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli import options
from orchestrator.cli.output import print_fitted, print_rows, say


@click.command()
@click.option("--copy", "name", metavar="NAME", help="Write this one into the current folder, to be edited.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of sweep files, for editors.")
@options.wide
@options.form(options.ROWS)
def sweeps(name: str | None, schema: bool, wide: bool, form: str) -> None:
    """List the sweeps that come with orchestrate, what they make, and what they cost.

    Every command takes one by its name: `orchestrate sweep quickstart`. --copy writes one here.
    """
    import json

    from orchestrator.report.views import shipped as view
    from orchestrator.sweepfile import shipped
    from orchestrator.sweepfile.load import load

    if schema:
        from orchestrator.sweepfile.json_schema import json_schema

        say(json.dumps(json_schema(), indent=1))
        return
    if name:
        target = shipped.copy(name, Path())
        say(f"{target} is yours to edit; run it by `orchestrate sweep {target}`")
        return
    known = {each: load(path) for each, path in shipped.paths().items()}
    if form == "table":
        print_fitted(view.shipped_table(known), wide=wide)
    else:
        print_rows(view.shipped_rows(known), form)
