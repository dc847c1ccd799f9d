"""The one way to print, what several commands print, and the commands that they tell the user to type."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import UsageError
from orchestrator.places import DEFAULT_STORAGE, Places
from orchestrator.text import shown, visible

if TYPE_CHECKING:
    from orchestrator.sweep.grid import Sweep
    from orchestrator.table import Table


MACHINES = ("json", "csv")
"""The forms that ``report.views.render`` makes for programs; neither holds a character that a terminal obeys."""


def say(text: str, form: str = "table", *, err: bool = False) -> None:
    """Prints a text: one for people without secrets and without what a terminal obeys, one for programs as it is."""
    click.echo(text if form in MACHINES else shown(text), err=err)


def hand_over(text: str) -> None:
    """Prints a text that holds a secret which is the user's to have, such as a link with a token."""
    click.echo(visible(text))


def print_rows(rows: Sequence[dict[str, Any]], form: str, *, title: str = "", names: Sequence[str] = ()) -> None:
    """Prints a table, JSON or CSV; only the table shows the title. CSV without a row has ``names`` for its heading."""
    from orchestrator.report.views import render

    match form:
        case "json":
            say(render.as_json(rows), form)
        case "csv":
            say(render.as_csv(rows, names), form)
        case _:
            say(render.as_text(title, rows))


def print_fitted(table: Table, *, wide: bool = False) -> None:
    """Prints a table for people, in the width of the terminal unless it may be ``wide``."""
    from orchestrator.report.views import narrow, render

    say(render.table_text(table if wide else narrow.fitted(table, narrow.terminal_width())))


def missing_storage(places: Places) -> str:
    """Says that there is no such folder or bucket, in words that follow a title; nothing where there is one."""
    if places.ledger.exists():
        return ""
    what = "folder" if isinstance(places.storage, Path) else "such place as"
    return f"; there is no {what} {places.storage} yet"


def print_notes(sweep: Sweep) -> None:
    """Prints what the sweep file's reader has noted, apart from the output proper."""
    for note in sweep.notes:
        say(f"note: {sweep.path}: {note}", err=True)


def load_to_show(path: Path, places: Places) -> Sweep:
    """Reads a sweep file, or where what it names is gone, what the sweep was when it last ran; then prints a note."""
    from orchestrator.sweepfile import shown as reading

    return reading.load_to_show(path, places.ledger, lambda text: say(f"note: {text}", err=True))


def print_written(path: Path, *, err: bool = False) -> None:
    say(f"written: {path}", err=err)


def check_writable(option: str, folder: Path) -> None:
    """Raises UsageError where a folder cannot be written, or made: before what is to go there takes its time. Leaves
    nothing."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UsageError(f"{option} {folder}: {there} cannot be written: {error.strerror}; give another") from error


def same_command() -> str:
    """Repeats what the user typed, without ``--retry-failed``, ``--rerun``, passwords and webhooks."""
    from orchestrator.tracking.uris import safe_uri

    once = ("--notify", "--rerun")
    glued = tuple(f"{option}=" for option in once)
    words = [word for word in sys.argv[1:] if word != "--retry-failed" and not word.startswith(glued)]
    shown = [word for place, word in enumerate(words) if not {*once}.intersection(words[max(place - 1, 0) : place + 1])]
    return shlex.join([_program(), *map(safe_uri, shown)])


def ui_command(sweep_file: Path, places: Places) -> str:
    """Makes the command that shows a sweep's runs, with the options that it needs here."""
    from orchestrator.tracking.uris import safe_uri

    if places.given_tracking_uri:
        parts = [_program(), "ui", str(sweep_file), "--tracking-uri", safe_uri(places.given_tracking_uri)]
        return shlex.join(parts)
    return command_on(sweep_file, places, "ui")


def command_on(sweep_file: Path, places: Places, name: str, *words: str) -> str:
    """Makes a command on a sweep, with the storage where it is not the usual one."""
    storage = [] if places.storage == DEFAULT_STORAGE else ["--storage", str(places.storage)]
    return shlex.join([_program(), name, str(sweep_file), *words, *storage])


def _program() -> str:
    """Gives the program's name where the shell finds it by its name, else what the user typed."""
    return "orchestrate" if shutil.which("orchestrate") == shutil.which(sys.argv[0]) else sys.argv[0]
