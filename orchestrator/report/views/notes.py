"""Shows what people have noted of a sweep and its trials, to people and to machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap

from orchestrator.ledger.notes import Note
from orchestrator.report.views.render import Row
from orchestrator.sweep.grid import Sweep
from orchestrator.table import Column, Entry, Table
from orchestrator.text import one_line

INDENT = "    "
COLUMNS = ("id", "time", "who", "about", "trial", "note")


def rows(notes: Iterable[Note], sweep: Sweep) -> list[Row]:
    """``trial`` is its id, and absent in a note of the sweep."""
    return [
        {
            "id": note.id,
            "time": note.time,
            "who": note.who or None,
            "about": about(note, sweep),
            "trial": note.of if note.kind == "trials" else None,
            "note": note.text,
        }
        for note in notes
    ]


def about(note: Note, sweep: Sweep) -> str:
    """A cell of its trial, as tables call it."""
    if note.kind == "sweeps":
        return f"sweep {note.of}"
    return next((cell.label for cell, trial_id in sweep.cells.items() if trial_id == note.of), note.of)


def text(notes: Iterable[Note], sweep: Sweep, width: int) -> str:
    """For a terminal of so many columns of letters: each note below a line that says what it is about."""
    parts = []
    for note in notes:
        head = "  ".join(filter(None, (note.id, note.time, note.who, about(note, sweep))))
        lines = (wrap(line, width - len(INDENT), break_on_hyphens=False) for line in note.text.splitlines())
        parts.append(
            "\n".join([one_line(head), *(f"{INDENT}{line}".rstrip() for each in lines for line in each or [""])])
        )
    return "\n\n".join(parts) or f"{sweep.name}: no notes"


def table(notes: Sequence[Note], sweep: Sweep) -> Table:
    """For a page."""
    names = ("about", "note", "who", "time", "id")
    entries = [(about(note, sweep), note.text, note.who, note.time, note.id) for note in notes]
    return Table(
        name="notes",
        title=f"Notes on {sweep.name}",
        columns=tuple(Column(name=name, numeric=False) for name in names if entries),
        rows=tuple(tuple(Entry(value=value) for value in row) for row in entries),
    )
