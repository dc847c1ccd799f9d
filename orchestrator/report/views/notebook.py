"""What a command would print, as a value: text for a terminal, HTML for a notebook, numbers for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from orchestrator.report.views import render
from orchestrator.table import Column, Entry, Table
from orchestrator.text import shown

if TYPE_CHECKING:
    from pandas import DataFrame

BREAKS = '<pre style="white-space: pre-wrap; line-height: 1.3">'
"""Before a text that is to keep its lines, as in a terminal, and its columns as far as they fit."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class View:
    """``parts`` are texts and tables, one below the other. A notebook shows them as HTML, ``print`` as a terminal has
    them; neither shows a secret, nor takes text for markup."""

    parts: Sequence[str | Table]
    columns: Sequence[str] = ()
    rows: Callable[[], Sequence[dict[str, Any]]] = field(default=tuple)

    @property
    def frame(self) -> DataFrame:
        """The numbers, as ``--format json`` has them: a row for each."""
        return frame_of(self.rows(), self.columns)

    def __str__(self) -> str:
        texts = [part if isinstance(part, str) else render.table_text(part) for part in self.parts]
        return shown("\n\n".join(filter(None, texts)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "\n".join(table_html(part) if isinstance(part, Table) else text_html(part) for part in self.parts)


def frame_of(rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> DataFrame:
    """The rows as a frame; ``columns`` are there where there is no row, too."""
    import pandas

    return pandas.DataFrame(rows, columns=list(columns or (rows[0] if rows else ())))


def text_html(text: str) -> str:
    return f"{BREAKS}{_escaped(text)}</pre>" if text else ""


def table_html(table: Table) -> str:
    """The table as HTML that needs no style of its own: the best in bold, groups above their columns, notes below."""
    groups = [(name, len(list(columns))) for name, columns in groupby(column.group for column in table.columns)]
    above = [f'<th colspan="{width}" style="text-align: center">{_escaped(name)}</th>' for name, width in groups]
    heads = [f'<th style="{_side(column)}">{_escaped(column.name)}</th>' for column in table.columns]
    lines = [above, heads] if any(name for name, _ in groups) else [heads]
    return "\n".join(
        [
            "<table>",
            f'<caption style="text-align: left; white-space: pre-wrap">{_escaped(table.title)}</caption>',
            "<thead>",
            *(f"<tr>{''.join(line)}</tr>" for line in lines),
            "</thead>",
            "<tbody>",
            *(f"<tr>{''.join(_cells(table, row))}</tr>" for row in table.rows),
            "</tbody>",
            "</table>",
            *(f"<div><small>{_escaped(note)}</small></div>" for note in table.notes_on_bold),
        ]
    )


def _cells(table: Table, row: Sequence[Entry]) -> Iterator[str]:
    for column, entry in zip(table.columns, row, strict=True):
        text = _escaped(render.entry_text(entry))
        yield f'<td style="{_side(column)}">{f"<b>{text}</b>" if entry.best else text}</td>'


def _side(column: Column) -> str:
    return f"text-align: {'right' if column.numeric else 'left'}"


def _escaped(text: str) -> str:
    return escape(shown(text))
