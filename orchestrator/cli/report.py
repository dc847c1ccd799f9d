"""The commands that show numbers: those of a sweep, and the paper's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import load_to_show, print_written, say
from orchestrator.cli.parameter_types import FileOrFolder, NameOrPath, Names
from orchestrator.errors import UsageError
from orchestrator.places import Places

if TYPE_CHECKING:
    from orchestrator.analysis.tables import Tables
    from orchestrator.ledger.storage import Location
    from orchestrator.sweep.grid import Sweep

PAPER = "paper"


def _long_tables() -> Sequence[str]:
    from orchestrator.report.views.render import long_names

    return long_names()


@click.command()
@options.on_a_sweep(options.tracking_uri, read_only=True)
@options.form(options.DOCUMENTS)
@click.option("--table", type=Names(_long_tables), default="errors", show_default=True, help="Which, for csv.")
@click.option(
    "--compare",
    type=NameOrPath(lambda: [PAPER]),
    metavar="paper|OTHER.yaml",
    help="Show the errors beside the paper's, or another sweep's.",
)
@options.other_storage
@click.option("--verdict", is_flag=True, help="Say in words which method is better, how surely, and where.")
@click.option("--power", is_flag=True, help="Show how many more seeds the open comparisons need.")
@click.option("--html", type=FileOrFolder(folder=False), help="Write one page with everything.")
@click.option("--output", type=FileOrFolder(file=False), help="Write tables and figures into a folder.")
def report(
    sweep_file: Path,
    places: Places,
    form: str,
    table: str,
    compare: str | Path | None,
    other_storage: Location | None,
    verdict: bool,
    power: bool,
    html: Path | None,
    output: Path | None,
) -> None:
    """Show the tables of a sweep: errors, wins, increases."""
    from orchestrator.report.status import read_tables

    _refuse_contradictions()
    grid = load_to_show(sweep_file, places)
    if html or output:
        _write(grid, places, folder=output, page_file=html)
    elif verdict:
        say(_said(grid, places, form), form)
    elif isinstance(compare, Path):
        say(_beside(grid, places, compare, other_storage, form), form)
    elif compare:
        say(_compared(read_tables(grid, places.ledger), form), form)
    elif power:
        say(_power(read_tables(grid, places.ledger), form), form)
    else:
        say(_shown(read_tables(grid, places.ledger), form, table), form)


def _refuse_contradictions() -> None:
    """Raises UsageError for options of ``report`` of which one would silently win."""
    context = click.get_current_context()
    names = ("html", "output", "compare", "verdict", "power", "table")
    flags = {"form": "--format", **{name: f"--{name}" for name in names}}
    given = {
        flag
        for name, flag in flags.items()
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    files = given & {"--html", "--output"}
    shown = given & {"--compare", "--verdict", "--power", "--format", "--table"}
    if files and shown:
        words = [" and ".join(sorted(names)) for names in (files, shown)]
        raise UsageError(f"{words[0]}: all there is goes there; not to be given with {words[1]}")
    if context.params["other_storage"] and not isinstance(context.params["compare"], Path):
        raise UsageError("--other-storage is that of another sweep: to be given with --compare OTHER.yaml")
    if "--table" in given and context.params["form"] != "csv" and not given & {"--compare", "--verdict", "--power"}:
        raise UsageError("--table is one table for --format csv; the other forms have all of them")
    if {"--compare", "--table"} <= given:
        raise UsageError("--compare has one table: not to be given with --table")
    for flag, what in (("--verdict", "says one thing"), ("--power", "has one table")):
        if flag in given and (others := sorted(given & {"--compare", "--verdict", "--power", "--table"} - {flag})):
            raise UsageError(f"{flag} {what}: not to be given with {' and '.join(others)}")


def _write(sweep: Sweep, places: Places, *, folder: Path | None, page_file: Path | None) -> None:
    from orchestrator.report import publish
    from orchestrator.report.losses import Losses
    from orchestrator.report.status import read_tables
    from orchestrator.tracking.delivered import run_links

    ledger, losses = places.ledger, Losses()
    links, note = run_links(ledger, sweep.name), partial(say, err=True)
    missing = [path for path in (folder, page_file) if path]
    with losses.counted("the report is not written"):
        for path in publish.publish(sweep, ledger, links, note, losses=losses, folder=folder, page_file=page_file):
            print_written(path)
            missing.remove(path)
    if missing:  # the tables come all the same
        say(_shown(read_tables(sweep, ledger), "table", ""))
    if losses:
        end("\n".join(losses.lines), 1)


def _said(sweep: Sweep, places: Places, form: str) -> str:
    """Says what the sweep decides, to people or as a row for each verdict."""
    from orchestrator.report.status import read_tables, statuses
    from orchestrator.report.verdicts import rows, sentences
    from orchestrator.report.views import render

    tables = read_tables(sweep, places.ledger)
    match form:
        case "json":
            return render.as_json(rows.rows(tables))
        case "csv":
            return render.as_csv(rows.rows(tables), rows.COLUMNS)
        case _:
            records = [status.record for status in statuses(sweep, places.ledger) if status.record]
            return sentences.document(tables, records, form)


def _compared(tables: Tables, form: str) -> str:
    """Shows the sweep's errors beside the paper's."""
    from orchestrator.paper import comparison
    from orchestrator.report.views import render

    compared = comparison.compare_tables(tables)
    match form:
        case "json":
            return render.as_json(comparison.comparison_rows(compared))
        case "csv":
            return render.as_csv(comparison.comparison_rows(compared), comparison.COLUMNS)
        case _:
            return render.show([comparison.comparison_table(compared)], form)


def _beside(sweep: Sweep, places: Places, other_file: Path, other_storage: Location | None, form: str) -> str:
    """Shows the sweep's errors beside another's."""
    from orchestrator.analysis import beside, sweep_difference
    from orchestrator.report.views import beside as view

    ours = sweep_difference.read(sweep, places.ledger)
    where = options.other_places(other_file, other_storage)
    other = sweep_difference.read(load_to_show(other_file, where), where.ledger)
    pairs = sweep_difference.pair_up(ours, other, sweep_difference.places_of_both(ours, other))
    return view.shown(beside.beside(pairs), form, other.storage if other.sweep.name == sweep.name else other.sweep.name)


def _power(tables: Tables, form: str) -> str:
    """Shows what would decide the sweep's comparisons with its baseline."""
    from orchestrator.report.verdicts import power
    from orchestrator.report.views import render

    return render.show([power.table(tables)], form)


def _shown(tables: Tables, form: str, table: str) -> str:
    """Shows all tables, or the one ``table`` as CSV, which holds but one."""
    from orchestrator.report.views import render

    match form:
        case "json":
            return render.report_json(tables)
        case "csv":
            return render.long_table(table).csv(tables)
        case _:
            return render.report_text(tables, form)


@click.command()
@options.wide
@options.form(options.DOCUMENTS)
def paper(wide: bool, form: str) -> None:
    """Compute the paper's percentages and test its claims.

    Tables 2a, 2b and 5 follow from its Table 6.

    Exit code 1 if a number is not the printed one.
    """
    from orchestrator.paper import replication
    from orchestrator.report.views import narrow, render

    computed = replication.build()
    if form != "table":
        say(render.show(computed.tables, form), form)
    else:
        width = narrow.terminal_width()
        parts = ([table] if wide else narrow.folded(table, width) for table in computed.tables)
        say(render.show([*chain.from_iterable(parts)], form))
        say(f"\n{computed.agreeing} of {computed.printed} numbers are those that the paper prints.")
    if computed.agreeing < computed.printed:
        sys.exit(1)
