"""The commands on one trial of a sweep: show where its numbers come from and what it said, and train it again."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import load_to_show, print_rows, say
from orchestrator.errors import UsageError
from orchestrator.places import Places, Room

if TYPE_CHECKING:
    from orchestrator.execution.reproduce import ReproduceSettings
    from orchestrator.sweep.grid import Sweep
    from orchestrator.sweep.trial import Trial


@click.command()
@options.on_a_sweep(read_only=True)
@options.cell
@options.form(options.TABLE_OR_JSON)
def show(sweep_file: Path, places: Places, cell: tuple[str, ...], form: str) -> None:
    """Show one trial: its numbers, and where they come from.

    CELL is a trial's id, its first digits, or words of its place in the tables: "aann (7,16) cifar10 seed 1". An id
    may be any of the storage, also of another sweep, or of a method whose file has changed or is gone.
    """
    from orchestrator.analysis import trace
    from orchestrator.report.views import trial as render_trial

    grid, ledger = load_to_show(sweep_file, places), places.ledger
    traced = trace.trace(grid, trace.find_stored(grid, " ".join(cell), ledger), ledger)
    say(render_trial.trace_json(traced) if form == "json" else render_trial.trace_text(traced), form)


@click.command()
@options.on_a_sweep(read_only=True)
@options.cell
@click.option("-f", "--follow", is_flag=True, help="Go on with what it says until it ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@options.form(options.ROWS)
def logs(sweep_file: Path, places: Places, cell: tuple[str, ...], follow: bool, tail: int | None, form: str) -> None:
    """Show what a trial printed and logged, attempt by attempt.

    CELL is as for `show`. The log holds what the worker's process wrote to its standard streams while it trained,
    without secrets: the first 256 KiB and the last 768 KiB. A worker adds to it every few seconds. While a trial is
    trained again, the log of that comes last. JSON and CSV have a row for each line, with the attempt that said it.
    """
    from orchestrator.analysis import trace
    from orchestrator.report.views import follow as following
    from orchestrator.sweep.trial import TrialState

    grid, ledger = load_to_show(sweep_file, places), places.ledger
    trial = trace.find_stored(grid, " ".join(cell), ledger)
    if follow and form != "table":
        raise UsageError(f"--follow prints lines as they come, and --format {form} all at once: leave out one of them")
    if form != "table":
        print_rows(following.rows(ledger, trial, tail), form, names=following.COLUMNS)
        pieces: Iterable[str] = ()
    elif follow:
        pieces = following.follow(ledger, trial, grid.name, tail)
    else:
        pieces = [following.so_far(ledger, trial, tail)]
    for piece in filter(None, pieces):
        say(piece.removesuffix("\n"))
    if not following.has_log(ledger, trial):
        begun = ledger.state(trial.id) is not TrialState.PENDING
        why = "it printed nothing, or ran under a version that kept none" if begun else "not begun"
        say(f"note: {trial.cell.label} ({trial.id}) has no log: {why}", err=True)


@click.command()
@options.on_a_sweep(options.data_root, read_only=True)
@options.cell
@click.option(
    "--as-then",
    is_flag=True,
    help="Use the sources and versions that `sweep --snapshot` kept, and report those that cannot be had.",
)
@options.md5
@options.form(options.TABLE_OR_JSON)
def reproduce(
    sweep_file: Path, places: Places, cell: tuple[str, ...], as_then: bool, check_md5: bool, form: str
) -> None:
    """Train one trial again: does it give the same bits?

    CELL is as for `show`, in this sweep. The results in the storage folder stay as they are. Exit code 1 if the bits
    differ.
    """
    from rich.console import Console

    from orchestrator.analysis import trace
    from orchestrator.execution import reproduce as reproducing
    from orchestrator.ledger.choices import chosen
    from orchestrator.report.views import trial as render_trial
    from orchestrator.sweepfile.load import load

    grid = chosen(load(sweep_file), places.ledger)
    if as_then:
        trial = trace.find_stored(grid, " ".join(cell), places.ledger)
        sys.exit(_as_then(trial, places, ["--md5" if check_md5 else "--no-md5", "--format", form], sweep_file))
    trial = trace.find(grid, " ".join(cell))
    settings = _settings(grid, places, check_md5)
    try:
        comparison = reproducing.reproduce(trial, places.ledger, settings, Console(stderr=True))
    except KeyboardInterrupt:
        end("interrupted; nothing was compared", 130)
    compared = render_trial.comparison_json if form == "json" else render_trial.comparison_text
    say(compared(comparison), form)
    if not comparison.same_bits:
        sys.exit(1)


def _as_then(trial: Trial, places: Places, more: list[str], sweep_file: Path) -> int:
    """The same command, given to the program of then."""
    from functools import partial

    from orchestrator.execution import as_then

    where = ["--storage", str(places.storage), "--data-root", str(places.data_root)]
    command = ["reproduce", str(sweep_file), trial.id, *where, *more]
    try:
        return as_then.run(trial, places.ledger, command, partial(say, err=True))
    except KeyboardInterrupt:
        end("interrupted; nothing was compared", 130)


@click.command()
@options.on_a_sweep(options.data_root)
@options.on_a_cluster
@options.md5
@options.form(options.ROWS)
def outcomes(
    sweep_file: Path,
    places: Places,
    room: Room,
    check_md5: bool,
    form: str,
) -> None:
    """Keep what trained networks answer to each image.

    A trial writes this when it ends, unless the sweep file says `keep: {outcomes: false}`. This command does it for
    those that ended before, from their saved networks, and for those whose file is damaged. Nothing is trained.
    It runs on Ray as a sweep does, each trial as it was trained unless --cpus or --gpus say otherwise. Ctrl-C stops it,
    and the same command goes on. Exit code 1 if one of them cannot be used.
    """
    from rich.console import Console

    from orchestrator.execution import filling
    from orchestrator.execution.sweep_run import RunSettings
    from orchestrator.ledger.choices import chosen
    from orchestrator.sweepfile.load import load

    grid = chosen(load(sweep_file), places.ledger)
    settings = RunSettings.of(places, room, check_md5=check_md5)
    found = filling.fill(grid, settings, Console(stderr=True))
    counts = [{"outcomes": str(kept), "trials": sum(it.state is kept for it in found)} for kept in filling.Kept]
    print_rows(counts, form, title=f"Outcomes of {grid.name}")
    if wrong := filling.troubles(found):
        end("\n".join(wrong), 1)


def _settings(grid: Sweep, places: Places, check_md5: bool) -> ReproduceSettings:
    from orchestrator.execution.reproduce import ReproduceSettings

    return ReproduceSettings(
        data_root=places.data_root, check_md5=check_md5, extensions=grid.extensions, own_data=grid.own_data
    )
