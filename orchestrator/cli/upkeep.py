"""The commands that look after a storage: what people note of it stays, what nobody needs is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import load_to_show, missing_storage, print_fitted, print_rows, say
from orchestrator.cli.parameter_types import FileOrFolder, Names, Span
from orchestrator.errors import GoneError, SweepError, UsageError
from orchestrator.places import Places

if TYPE_CHECKING:
    from orchestrator.ledger.notes import Note
    from orchestrator.sweep.grid import Sweep


def _kinds() -> Sequence[str]:
    from orchestrator.ledger.garbage import KINDS

    return tuple(KINDS)


@click.command()
@click.argument("sweep_files", metavar="[SWEEP.yaml]...", nargs=-1, type=FileOrFolder())
@options.with_places(options.tracking_uri)
@click.option("--delete", is_flag=True, help="Remove it. Without this, it is listed only.")
@click.option("--keep", type=Names(_kinds), multiple=True, help="What to leave; may be given again.")
@click.option(
    "--keep-newer", type=Span(), default="0d", metavar="AGE", help="Leave what has changed since, such as 7d."
)
@click.option("--forget", multiple=True, metavar="NAME", help="A sweep whose trials are not needed any more.")
@options.wide
@options.form(options.ROWS)
def gc(
    sweep_files: tuple[Path, ...],
    places: Places,
    delete: bool,
    keep: tuple[str, ...],
    keep_newer: float,
    forget: tuple[str, ...],
    wide: bool,
    form: str,
) -> None:
    """List what no sweep needs any more, and with --delete remove it.

    That is: trials that no sweep of the storage names, earlier checkpoints and failed attempts of trials that have
    ended, checkpoints of points that halving stopped, and what Ray has left on this machine. A SWEEP that is given
    needs what its file names now; every other sweep needs what it had when it last ran. What belongs to a sweep that
    runs stays. MLflow's runs of trials that go are deleted there, too.
    """
    from orchestrator.execution import cleaning
    from orchestrator.report.views import cleaning as render_cleaning

    settings = cleaning.CleaningSettings(
        tracking_uri=places.tracking_uri, given=_given(sweep_files, forget), forget=forget, keep=keep, newer=keep_newer
    )
    if delete and (missing := missing_storage(places)):
        raise UsageError(f"--delete: {missing.removeprefix('; ')}")
    cleaned = cleaning.clean(places.ledger, settings) if delete else cleaning.plan(places.ledger, settings)
    title = f"{places.storage}{missing_storage(places)}"
    if form == "table":
        table = render_cleaning.table(cleaned.items, cleaned.needs, title, deleted=delete, left=cleaned.left)
        print_fitted(table, wide=wide)
    else:
        print_rows(render_cleaning.rows(cleaned.items), form)
    for line in cleaned.notes:
        say(line, err=True)
    if cleaned.troubles:
        end("\n".join(cleaned.troubles), 1)


def _given(sweep_files: Sequence[Path], forget: Sequence[str]) -> tuple[Sweep, ...]:
    """The sweeps of these files. One that names what is gone needs what it had when it last ran. Raises UsageError with
    the faults of all files."""
    from orchestrator.sweepfile.load import load

    given: list[Sweep] = []
    faults = []
    for path in sweep_files:
        try:
            sweep = load(path)
        except GoneError as error:
            say(f"note: {error}\n  its sweep needs what it had when it last ran", err=True)
            continue
        except SweepError as error:
            faults.append(str(error))
            continue
        if sweep.name in forget:
            faults.append(f"{path}: its sweep {sweep.name} is to be forgotten; leave out the file, or --forget")
        given.append(sweep)
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(given)


@click.command()
@options.sweep_file()
@click.argument("words", metavar="[CELL] [TEXT]", nargs=-1)
@options.with_places(read_only=True)
@click.option("--remove", metavar="ID", help="Remove the note with this id, or its first digits.")
@options.form(options.ROWS)
def note(sweep_file: Path, places: Places, words: tuple[str, ...], remove: str | None, form: str) -> None:
    """List the notes on a sweep and its trials, or write one.

    TEXT is one word to the shell: put it in quotes. It is about the sweep, or about the trial that CELL means, as for
    `show`. `show`, the report and MLflow have it, too, and whoever shares the storage can read it.
    """
    from orchestrator.ledger import notes
    from orchestrator.ledger.bundle import is_bundle

    if (words or remove) and is_bundle(places.storage):
        raise UsageError(f"{places.storage}: is a bundle, which is only read")
    grid, ledger = load_to_show(sweep_file, places), places.ledger
    if words and remove:
        raise UsageError("--remove removes a note: not to be given with a new one")
    if words:
        say(f"noted: {_written(grid, places, words).id}")
        return
    if remove:
        notes.remove(ledger, found := _noted(notes.of_sweep(grid, ledger), remove))
        say(f"removed: {found.id}")
        return
    _print_notes(notes.of_sweep(grid, ledger), grid, form)


def _is_id(text: str, grid: Sweep, places: Places) -> bool:
    """Whether a text is the id of a trial, or its first digits."""
    from orchestrator.analysis import trace

    try:
        return trace.find_stored(grid, text, places.ledger).id.startswith(text)
    except UsageError:
        return False


def _written(grid: Sweep, places: Places, words: tuple[str, ...]) -> Note:
    from orchestrator.analysis import trace
    from orchestrator.execution import noting

    *cell, text = words
    if trace.by_words(grid, " ".join(words)) or (not cell and _is_id(text, grid, places)):
        raise UsageError(f"{' '.join(words)!r} is a cell, and no text follows; `orchestrate show` shows its notes")
    return noting.note(grid, places.ledger, " ".join(cell), text)


def _noted(notes: Sequence[Note], given: str) -> Note:
    meant = [note for note in notes if given and note.id.startswith(given)]
    if len(meant) != 1:
        there = ", ".join(note.id for note in notes) or "none"
        raise UsageError(f"--remove {given}: {len(meant)} notes have such an id; there: {there}")
    return meant[0]


def _print_notes(notes: Sequence[Note], grid: Sweep, form: str) -> None:
    from orchestrator.report.views import narrow
    from orchestrator.report.views import notes as render_notes

    if form == "table":
        say(render_notes.text(notes, grid, narrow.terminal_width()))
    else:
        print_rows(render_notes.rows(notes, grid), form)
