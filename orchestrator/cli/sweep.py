"""The commands that run a sweep, plan it, and show where it stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.output import (
    command_on,
    load_to_show,
    missing_storage,
    print_fitted,
    print_notes,
    print_rows,
    same_command,
    say,
    ui_command,
)
from orchestrator.cli.parameter_types import Span, naming_its_variable
from orchestrator.places import GRACE, NOTIFY, Places, Room

if TYPE_CHECKING:
    from orchestrator.sweep.grid import Sweep
    from orchestrator.sweep.notify import Notify


def _checked_notify(context: click.Context, parameter: click.Parameter, given: str | None) -> Notify | None:
    from orchestrator.sweep import notify

    with naming_its_variable(context, parameter):
        return notify.checked(given)


@click.command()
@options.on_a_sweep(options.tracking_uri, options.data_root)
@options.on_a_cluster
@click.option("--retry-failed", is_flag=True, help="Run those that failed alone, and leave what else is left.")
@click.option(
    "--rerun",
    multiple=True,
    metavar="CELL",
    help='Train this trial again first, such as "aann 2,8 seed 1"; its result stays until then. May be given again. '
    "other-code means all that were trained by code that could matter, unknown-code those whose code left no hash.",
)
@click.option(
    "--snapshot",
    is_flag=True,
    help="Keep the exact sources, and which versions are installed, in the storage, for `reproduce --as-then`.",
)
@click.option(
    "--notify",
    envvar=NOTIFY,
    show_envvar=True,
    callback=_checked_notify,
    help="Webhook (http...) or command to tell when it ends, or a method stops; instead of the sweep's.",
)
@click.option("--until", metavar="TIME", help="Stop in time: 07:00, 2030-01-31T07:00, or 8h from now.")
@click.option(
    "--at-most",
    multiple=True,
    metavar="AMOUNT",
    help='Use no more than "20 gpu-hours", "100 cpu-hours" or "50 EUR"; may be given again.',
)
@options.price
@click.option(
    "--grace",
    default="30s",
    envvar=GRACE,
    show_envvar=True,
    show_default=True,
    type=Span(),
    metavar="SPAN",
    help="How long running trials may take to save their state after ctrl-C or SIGTERM.",
)
@click.option("--wait-for-nodes", is_flag=True, help="Wait for nodes that an autoscaler adds to the cluster.")
@options.md5
def sweep(
    sweep_file: Path,
    places: Places,
    room: Room,
    until: str | None,
    at_most: tuple[str, ...],
    price: str | None,
    grace: float,
    wait_for_nodes: bool,
    retry_failed: bool,
    rerun: tuple[str, ...],
    snapshot: bool,
    notify: Notify | None,
    check_md5: bool,
) -> None:
    """Run what is left of a sweep, then show its tables.

    The same command again goes on where it was interrupted, and runs nothing twice. Ctrl-C stops it once the running
    trials have saved their state; a second one stops it at once.
    """
    from rich.console import Console

    from orchestrator.execution import driver
    from orchestrator.execution.rerun import meant
    from orchestrator.ledger.choices import chosen
    from orchestrator.report.status import read_tables
    from orchestrator.report.verdicts import sentences
    from orchestrator.report.views import render
    from orchestrator.sweep.limits import limits_of
    from orchestrator.sweepfile import trust
    from orchestrator.sweepfile.load import load

    grid = load(sweep_file)
    print_notes(grid)
    if not notify:  # the user's own replaces the file's
        trust.check(grid)
    settings = driver.SweepSettings.of(
        places,
        room,
        tracking_uri=places.tracking_uri,
        check_md5=check_md5,
        limits=limits_of(until, at_most, price or grid.price),
        grace=grace,
        wait_for_nodes=wait_for_nodes,
        retry_failed=retry_failed,
        rerun=meant(chosen(grid, places.ledger), rerun, places.ledger),
        snapshot=snapshot,
        command=same_command(),
        notify=notify,
    )

    found: list[str] = []

    def show(ended: Sweep) -> None:
        tables = read_tables(ended, places.ledger, over=True)
        say(f"{render.report_text(tables)}\n")
        found.append(sentences.found(tables))

    ended = driver.run(grid, settings, Console(stderr=True), show)
    if ended.page:
        say(f"The whole report: {ended.page}")
    for sentence in filter(None, found):
        say(sentence)
    say(f"The verdict in sentences: {command_on(sweep_file, places, 'report', '--verdict')}")
    say(f"One trial: {command_on(sweep_file, places, 'show', *grid.trials[0].cell.label.split())}")
    say(f"Browse the runs: {ui_command(sweep_file, places)}")
    ended.check()


@click.command()
@options.on_a_sweep(read_only=True)
@options.on_a_cluster
@click.option(
    "--calibrate",
    type=Span(),
    is_flag=False,
    flag_value="60s",
    metavar="[TIME]",
    help="First measure, for a minute or so long, steps that are thrown away, and keep the speeds in the storage.",
)
@click.option("--devices", metavar="DEVICES", help="Plan for a cluster that is not here, such as 4xH100.")
@options.price
@click.option("--trials", "listed", is_flag=True, help="List each trial, of however many there are.")
@options.wide
@options.form(options.ROWS)
def plan(
    sweep_file: Path,
    places: Places,
    room: Room,
    calibrate: float | None,
    devices: str | None,
    price: str | None,
    listed: bool,
    wide: bool,
    form: str,
) -> None:
    """List what would run of a sweep, why, and what it would take.

    More than 40 trials are summed up by network and method; --trials, JSON and CSV have each.

    Times are those that the ledger's trials took on the device at hand: measured, scaled, fitted, or else unknown until
    --calibrate measures steps there. With --address the cluster is asked what it has, one node of each kind is
    calibrated, and what it cannot hold is refused. --devices plans for one that the ledger has speeds of.
    """
    from orchestrator.execution import forecast as forecasting
    from orchestrator.ledger.choices import chosen
    from orchestrator.planning import added_seeds
    from orchestrator.planning import plan as planning
    from orchestrator.report.verdicts import decisions, power
    from orchestrator.report.views import plan as plan_view
    from orchestrator.sweepfile.load import load

    ledger = places.ledger
    grid = chosen(load(sweep_file), ledger)
    print_notes(grid)
    asked = forecasting.Asked(calibrate=calibrate, devices=devices, price=price)
    forecast = forecasting.forecast(grid, ledger, room, asked, partial(say, err=True))
    if form != "table":
        print_rows(plan_view.plan_rows(forecast.outlook), form)
        return
    title = f"{sweep_file}: {planning.summary(forecast.plan)}{missing_storage(places)}"
    listed = listed or len(forecast.outlook.estimates) <= plan_view.LISTED
    added = added_seeds.expected(grid, ledger.records(grid.candidates)) if grid.deciding else None
    notes = (*forecast.notes, *decisions.plan_notes(grid.deciding, added))
    print_fitted(plan_view.plan_table(forecast.outlook, title, notes, listed=listed), wide=wide)
    if power.is_asked(grid):
        say(f"\n{power.plan_text(grid, ledger)}")


@click.command()
@options.on_a_sweep(read_only=True)
@options.wide
@options.form(options.ROWS)
def status(sweep_file: Path, places: Places, wide: bool, form: str) -> None:
    """Show where a sweep's trials stand, also while it runs."""
    from orchestrator.report import status as reading
    from orchestrator.report.views import narrow
    from orchestrator.report.views import status as status_view

    grid, ledger = load_to_show(sweep_file, places), places.ledger
    standing = reading.status(grid, ledger)
    if form != "table":
        print_rows(status_view.status_rows(standing.trials), form)
        return
    title, line, rest = status_view.status_text(standing, None if wide else narrow.terminal_width()).partition("\n")
    say(title + missing_storage(places) + line + rest)
