"""Fits a table to the width of a terminal: drops what is empty, shortens what is long, and says what it left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, takewhile, zip_longest
from textwrap import wrap

from rich.cells import cell_len, set_cell_size

from orchestrator.report.views.render import ABSENT, column_widths, entry_text, headings
from orchestrator.table import Entry, Table

USUAL = 80
"""Columns of letters, where nothing says how wide the terminal is."""
BETWEEN = 3
"""Columns of letters from one column of a table to the next."""
SHORT_ID = 8
"""Digits of an id that any command takes for the whole of it."""
SHORTEST = 12
"""Letters that are left of a text."""
FIRST = 2
"""Columns that say what a row is about. They stay, and are shortened last."""
CUT = "…"


def terminal_width() -> int:
    """Columns of the terminal, or USUAL, which is also the least."""
    return max(shutil.get_terminal_size((USUAL, 24)).columns, USUAL)


def fitted(table: Table, width: int = USUAL) -> Table:
    """The table without columns that are empty throughout, and in so many columns of letters if that can be: ids are
    shortened first, then texts, and the last columns left out if that does not suffice. A note names these."""
    table = _only(table, [index for index in range(len(table.columns)) if not _empty(table, index)])
    widths = column_widths(table)
    if _line(widths) <= width:
        return table
    ids = [index for index, name in enumerate(headings(table)) if name == "id"]
    table = _changed(table, dict.fromkeys(ids, _short_id))
    widths = [min(width, SHORT_ID) if index in ids else width for index, width in enumerate(widths)]
    least = [
        width if index < FIRST or table.columns[index].numeric else min(width, SHORTEST)
        for index, width in enumerate(widths)
    ]
    shown = len(least)
    while shown > FIRST and _line(least[:shown]) > width:
        shown -= 1
    kept = _shortened(_only(table, range(shown)), widths[:shown], width)
    if not (names := headings(table)[shown:]):
        return kept
    note = f"Left out to fit {width} columns: {', '.join(names)}; --wide shows all."
    return replace(kept, notes=(*kept.notes, note))


def folded(table: Table, width: int = USUAL) -> list[Table]:
    """The table in parts that lie below each other, each in so many columns of letters if that can be. Nothing is left
    out: each part begins with the columns of text that name a row, and none breaks up a group of columns that can stand
    together. A table of texts stays whole, and its texts go over several lines."""
    if not any(column.numeric for column in table.columns):
        return [_wrapped(table, width)]
    names = len([*takewhile(lambda column: not column.numeric, table.columns[:FIRST])])
    widths = column_widths(table)
    parts: list[list[int]] = [[]]
    for _, group in groupby(range(names, len(widths)), key=lambda index: table.columns[index].group or str(index)):
        indices = list(group)
        if parts[-1] and _line([*widths[:names], *(widths[index] for index in parts[-1] + indices)]) > width:
            parts.append([])
        parts[-1] += indices
    folds = [_only(table, [*range(names), *part]) for part in parts]
    later = (replace(fold, title="(continued)") for fold in folds[1:])
    *above, last = [folds[0], *later]
    return [*(replace(fold, notes=()) for fold in above), last]


def _wrapped(table: Table, width: int) -> Table:
    """Texts in several lines where the table is too wide, each line a row of its own."""
    limits = _limits(column_widths(table), width, [range(1, len(table.columns))])
    rows = []
    for row in table.rows:
        texts = [wrap(entry_text(entry), most) for entry, most in zip(row, limits, strict=True)]
        rows += [tuple(Entry(value=line) for line in lines) for lines in zip_longest(*texts, fillvalue="")]
    return replace(table, rows=tuple(rows))


def _empty(table: Table, index: int) -> bool:
    """Whether a column of rows holds nothing."""
    return bool(table.rows) and all(entry_text(row[index]) == ABSENT for row in table.rows)


def _line(widths: Sequence[int]) -> int:
    """How long a line of such columns is, which begins with a space."""
    return 1 + sum(widths) + BETWEEN * (len(widths) - 1)


def _only(table: Table, kept: Sequence[int]) -> Table:
    return replace(
        table,
        columns=tuple(table.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def _shortened(table: Table, widths: Sequence[int], width: int) -> Table:
    """In a line of ``width``; ``widths`` are those of the columns. Texts of the FIRST columns lose only once the others
    have no more to give."""
    texts = [index for index, column in enumerate(table.columns) if not column.numeric and column.name != "id"]
    ranks = [[index for index in texts if index >= FIRST], [index for index in texts if index < FIRST]]
    limits = _limits(widths, width, ranks)
    return _changed(table, {index: partial(_cut, most=limits[index]) for index in texts})


def _limits(widths: Sequence[int], width: int, ranks: Iterable[Sequence[int]]) -> list[int]:
    """The widths, less what is too much for a line: of each rank of columns the widest loses first, and none goes below
    SHORTEST."""
    limits = list(widths)
    for rank in ranks:
        while _line(limits) > width and any(limits[index] > SHORTEST for index in rank):
            limits[max(rank, key=limits.__getitem__)] -= 1
    return limits


def _changed(table: Table, changes: Mapping[int, Callable[[Entry], Entry]]) -> Table:
    """The table with the entries of some columns changed."""
    rows = ([changes.get(index, _same)(entry) for index, entry in enumerate(row)] for row in table.rows)
    return replace(table, rows=tuple(map(tuple, rows)))


def _same(entry: Entry) -> Entry:
    return entry


def _short_id(entry: Entry) -> Entry:
    return replace(entry, value=str(entry.value)[:SHORT_ID])


def _cut(entry: Entry, most: int) -> Entry:
    text = entry_text(entry)
    if cell_len(text) <= most:
        return entry
    return Entry(value=set_cell_size(text, most - 1).rstrip() + CUT, best=entry.best)
