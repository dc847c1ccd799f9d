"""Shows tables to people, as aligned text, and to machines, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from rich.cells import cell_len

from orchestrator.analysis import tidy
from orchestrator.analysis.tables import ErrorRow, IncreaseRow, SequenceRow, Tables, WinRow, lacking
from orchestrator.report.escape import escaped_latex, escaped_markdown, markdown_paragraph
from orchestrator.report.layouts import LAYOUTS, arrange, field, ranking
from orchestrator.report.verdicts import rows as verdict_rows
from orchestrator.report.verdicts import sentences as verdict
from orchestrator.report.verdicts.decisions import COLUMNS as DECISION_COLUMNS
from orchestrator.report.verdicts.decisions import decision_rows
from orchestrator.stats.significance import TESTS
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import TrialState
from orchestrator.table import Column, Entry, Table, decimals, present
from orchestrator.text import one_line, visible

ABSENT = "-"

Row = dict[str, Any]


def as_text(title: str, rows: Sequence[Row]) -> str:
    """An aligned table of the rows."""
    return table_text(table_of(title, rows))


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """The keys of the rows are the headings; numbers to the right, floats with two decimals."""
    names = list(rows[0]) if rows else []
    numeric = (name in METRICS or any(isinstance(row[name], int | float) for row in rows) for name in names)
    return Table(
        name="",
        title=title,
        columns=tuple(Column(name=name, numeric=right) for name, right in zip(names, numeric, strict=True)),
        rows=tuple(tuple(Entry(value=value) for value in row.values()) for row in rows),
    )


def table_text(table: Table) -> str:
    """For a terminal: nothing is cut, whatever its width."""
    above = group_headings(table)
    columns = [_text_column(table, index, above[index]) for index in range(len(table.columns))]
    rows = [" " + "   ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    first = 0 if any(above) else 1
    rule = " " + "─" * (sum(cell_len(column[0]) + 3 for column in columns) - 3)
    lines = ["", *rows[first:2], rule, *rows[2:]] if rows else []
    below = [*([""] if table.notes else []), *(f" {note}" for note in table.notes)]
    return visible("\n".join([table.title, *lines, *below]).strip("\n"))


def column_widths(table: Table) -> list[int]:
    """Letters of each column of the text."""
    above = group_headings(table)
    return [max(map(cell_len, _texts(table, index, above[index]))) for index in range(len(table.columns))]


def _text_column(table: Table, index: int, above: str) -> list[str]:
    """The texts of a column, all of one width."""
    texts = _texts(table, index, above)
    width = max(map(cell_len, texts))
    pads = [" " * (width - cell_len(text)) for text in texts]
    return [pad + text if table.columns[index].numeric else text + pad for pad, text in zip(pads, texts, strict=True)]


def _texts(table: Table, index: int, above: str) -> list[str]:
    """The group's name, the heading and the entries of a column."""
    column, entries = table.columns[index], [row[index] for row in table.rows]
    starred = any(entry.best for entry in entries)
    return [one_line(above), one_line(column.name), *(_starred(entry, starred) for entry in entries)]


def _starred(entry: Entry, wide: bool) -> str:
    return entry_text(entry) + ("*" if entry.best else " " if wide else "")


def group_headings(table: Table) -> list[str]:
    """What stands above each column: the name of its group above the first of the group, nothing above the others."""
    groups = [column.group for column in table.columns]
    return [group if index == 0 or groups[index - 1] != group else "" for index, group in enumerate(groups)]


def entry_text(entry: Entry) -> str:
    """Such as ``5.31 ±0.12 (1 failed)``; what is not there is why, or ``-``."""
    value = _shown(entry.value, entry.digits)
    if value == ABSENT:
        return entry.mark or ABSENT
    spread = "" if entry.spread is None else f" ±{_shown(entry.spread, entry.digits)}"
    mark = f" ({entry.mark})" if len(entry.mark) > 1 else entry.mark  # a symbol, which a note explains
    return f"{value}{spread}{mark}"


def _shown(value: Any, digits: int = 2) -> str:
    if (value := present(value)) is None:
        return ABSENT
    if isinstance(value, int) and value >= 10**7:
        return f"{value:.2e}"
    return decimals(value, digits) if isinstance(value, float) else one_line(str(value))


def table_markdown(table: Table) -> str:
    """As GitHub shows it; the name of a group goes before that of its column."""
    rules = ["---:" if column.numeric else ":---" for column in table.columns]
    bodies = [[_markdown(entry) for entry in row] for row in table.rows]
    lines = [f"| {' | '.join(line)} |" for line in (map(escaped_markdown, headings(table)), rules, *bodies)]
    return "\n".join(
        [
            f"**{escaped_markdown(table.title)}**",
            "",
            *lines,
            *("\n" + markdown_paragraph(note) for note in table.notes_on_bold),
        ]
    )


def _markdown(entry: Entry) -> str:
    text = escaped_markdown(entry_text(entry))
    return f"**{text}**" if entry.best else text


def table_latex(table: Table) -> str:
    """A ``table`` that needs the package booktabs; a long one, which goes over pages, longtable too."""
    columns = _latex_columns(table)
    notes = [table.title, *(note.rstrip(".") for note in table.notes_on_bold)]
    caption = rf"\caption{{{escaped_latex('. '.join(notes))}.}}"
    label = rf"\label{{tab:{table.name}}}"
    above = [*_latex_groups(table)] if any(group_headings(table)) else []
    head = [r"\toprule", *above, _latex_line(escaped_latex(column.name) for column in table.columns), r"\midrule"]
    body = [_latex_line(_latex(entry) for entry in row) for row in table.rows]
    small = r"\scriptsize\setlength{\tabcolsep}{2pt}"
    if len(body) > LONGEST:
        lines = [
            rf"\begingroup{small}",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"{caption}{label} \\",
            *head,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}",
            r"\endgroup",
        ]
    else:
        open_, close = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
        size = [small] if len(table.columns) > WIDEST else []
        inner = [caption, label, *size, open_, *head, *body, r"\bottomrule", close]
        lines = [r"\begin{table}", r"\centering", *inner, r"\end{table}"]
    return "\n".join(lines)


def _latex_columns(table: Table) -> str:
    """Right for numbers, left for text, and paragraphs for sentences, which share what the others leave of a line."""
    kinds = ["r" if column.numeric else "l" for column in table.columns]
    longest = [max(map(len, map(entry_text, entries)), default=0) for entries in zip(*table.rows, strict=True)]
    sentences = [index for index, length in enumerate(longest) if length > LONGEST_WORDS and kinds[index] == "l"]
    others = sum(length + GAP for index, length in enumerate(longest) if index not in sentences)
    for index in sentences:
        width = (1 - others / LINE) / len(sentences) - GAP / LINE
        kinds[index] = rf"p{{{max(width, NARROWEST):.2f}\linewidth}}"
    return "".join(kinds)


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_groups(table: Table) -> Iterator[str]:
    spans = [(group, len(list(columns))) for group, columns in groupby(column.group for column in table.columns)]
    yield _latex_line(rf"\multicolumn{{{width}}}{{c}}{{{escaped_latex(group)}}}" for group, width in spans)
    ends = list(accumulate(width for _, width in spans))
    yield "".join(
        rf"\cmidrule(lr){{{end - width + 1}-{end}}}" for (group, width), end in zip(spans, ends, strict=True) if group
    )


def _latex(entry: Entry) -> str:
    text = escaped_latex(entry_text(entry))
    return rf"\textbf{{{text}}}" if entry.best else text


LONGEST = 45
"""Rows that go on a page."""
LONGEST_WORDS = 35
"""Letters of an entry that is not broken into lines."""
LINE = 75
"""Letters of a line of text."""
GAP = 3
"""Letters that go between two columns."""
NARROWEST = 0.15
"""Of a line, for a column of sentences."""
WIDEST = 8
"""Columns that go on a line of text at its usual size."""


def table_rows(table: Table) -> list[Row]:
    """For machines: plain values by heading, the group's name before that of its column."""
    names = headings(table)
    return [{name: present(entry.value) for name, entry in zip(names, row, strict=True)} for row in table.rows]


def headings(table: Table) -> list[str]:
    """The group's name goes before that of its column."""
    return [f"{column.group} {column.name}".strip() for column in table.columns]


def show(tables: Sequence[Table], form: str) -> str:
    """Tables one after the other; as CSV each of several under a line with its name, and as JSON by name."""
    match form:
        case "json":
            content = [
                {"name": table.name, "title": table.title, "rows": table_rows(table), "notes": list(table.notes)}
                for table in tables
            ]
            return as_json(content)
        case "csv":
            parts = [as_csv(table_rows(table), headings(table)) for table in tables]
            if len(parts) > 1:
                parts = [f"# {table.name}\n{part}" for table, part in zip(tables, parts, strict=True)]
            return "\n\n".join(parts)
        case _:
            shown = {"table": table_text, "markdown": table_markdown, "latex": table_latex}[form]
            return "\n\n".join(map(shown, tables))


def as_json(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False)


def as_csv(rows: Sequence[Row], names: Sequence[str] = ()) -> str:
    """One line a row, after the heading, which is ``names`` where there is no row; what is absent is empty.

    A text that a spreadsheet would compute has an apostrophe before it, as OWASP advises; numbers stay numbers.
    """
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    names = list(rows[0]) if rows else names
    writer.writerow(map(_csv, names))
    writer.writerows([_csv(row[name]) for name in names] for row in rows)
    return output.getvalue().rstrip("\n")


FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""One that is a text all the same, as where the digits matter."""


def _csv(value: Any) -> Any:
    """A text that begins as formulas do is marked as one; other values stay as they are."""
    if not isinstance(value, str):
        return value
    marked = FORMULA.match(value) and not NUMBER.fullmatch(value)
    return visible(f"'{value}" if marked else value)


def error_rows(rows: Iterable[ErrorRow]) -> list[Row]:
    """One for each data set, network and method: ``1/4 sd`` and so on are the spreads across seeds."""
    return [
        {
            "dataset": row.dataset,
            "network": row.network,
            "method": row.method,
            "seeds": row.seeds,
            **{metric: present(error) for metric, error in row.errors.items()},
            **{f"{metric} sd": present(spread) for metric, spread in row.spreads.items()},
            **{f"{metric} seeds": row.counts[metric] for metric in METRICS},
            "missing": lacking(row.missing),
        }
        for row in rows
    ]


def win_rows(rows: Iterable[WinRow]) -> list[Row]:
    return [
        {
            "method": row.method,
            "baseline": row.baseline,
            "metric": row.metric,
            "win_percent": row.wins.percent,
            "wins": row.wins.wins,
            "ties": row.wins.ties,
            "n": row.wins.n,
            "dropped": row.wins.dropped,
            "units": row.units,
            "interval_low": row.interval.low if row.interval else None,
            "interval_high": row.interval.high if row.interval else None,
            **{f"p {test}": value for test, value in row.p_values.items()},
            **{f"p {test} holm": value for test, value in row.adjusted.items()},
        }
        for row in rows
    ]


def increase_rows(rows: Iterable[IncreaseRow]) -> list[Row]:
    return [
        {
            "method": row.method,
            "optimum": row.optimum,
            "metric": row.metric,
            "increase_percent": row.increase.percent,
            "n": row.increase.n,
            "dropped": row.increase.dropped,
        }
        for row in rows
    ]


def sequence_rows(rows: Iterable[SequenceRow]) -> list[Row]:
    return [
        {
            "dataset": row.dataset,
            "method": row.method,
            "networks": " ".join(row.networks),
            "seed": row.seed,
            **{metric: present(error) for metric, error in row.errors.items()},
            "missing": lacking(row.missing),
        }
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class LongTable:
    """The numbers of a sweep for machines: a row for each, under headings that stand where there are no rows too."""

    rows: Callable[[Tables], list[Row]]
    columns: tuple[str, ...]

    def csv(self, tables: Tables) -> str:
        return as_csv(self.rows(tables), self.columns)


LONG: dict[str, LongTable] = {
    "errors": LongTable(
        lambda tables: error_rows(tables.errors),
        (
            *("dataset", "network", "method", "seeds", *METRICS),
            *(f"{metric} {word}" for word in ("sd", "seeds") for metric in METRICS),
            "missing",
        ),
    ),
    "wins": LongTable(
        lambda tables: win_rows(tables.wins),
        (
            *("method", "baseline", "metric", "win_percent", "wins", "ties", "n", "dropped", "units"),
            *("interval_low", "interval_high", *(f"p {test}" for test in TESTS), *(f"p {test} holm" for test in TESTS)),
        ),
    ),
    "increases": LongTable(
        lambda tables: increase_rows(tables.increases),
        ("method", "optimum", "metric", "increase_percent", "n", "dropped"),
    ),
    "verdicts": LongTable(verdict_rows.rows, verdict_rows.COLUMNS),
    "sequences": LongTable(
        lambda tables: sequence_rows(tables.sequences),
        ("dataset", "method", "networks", "seed", *METRICS, "missing"),
    ),
    "ranking": LongTable(ranking.strength_records, ranking.STRENGTH_COLUMNS),
    "matrix": LongTable(ranking.pair_records, ranking.PAIR_COLUMNS),
}

TIDY: dict[str, LongTable] = {
    "trials": LongTable(lambda tables: tidy.error_rows(tables.sweep, tables.records), tidy.ERRORS),
}
"""Too long to go with the others: a row for each prediction of each trial."""


def long_names() -> tuple[str, ...]:
    """All tables for machines: those below, and the tables of outcomes."""
    return (*LONG, *TIDY, *DECIDED, *(name for name, layout in LAYOUTS.items() if layout.takes))


ASKED_FOR: dict[str, LongTable] = {"field": LongTable(field.records, field.COLUMNS)}
"""Those that read more than the records of trials."""
DECIDED: dict[str, LongTable] = {
    "decisions": LongTable(lambda tables: decision_rows(tables.sweep.deciding), DECISION_COLUMNS),
}
"""Those of sweeps that decide."""


def long_table(name: str) -> LongTable:
    """One of LONG, TIDY or ASKED_FOR, or a table of outcomes as people read it. Raises KeyError for another name, once
    its rows are asked for."""
    as_read = LongTable(lambda tables: table_rows(LAYOUTS[name].arrange(tables)), ())
    return (LONG | TIDY | ASKED_FOR | DECIDED).get(name, as_read)


def long_tables(tables: Tables) -> dict[str, LongTable]:
    """All of LONG, the decisions of a sweep that decides, and the tables of outcomes that the sweep asks for."""
    decided = DECIDED if tables.sweep.deciding else {}
    return LONG | decided | {name: long_table(name) for name in tables.sweep.report.tables if LAYOUTS[name].takes}


def report_text(tables: Tables, form: str = "table") -> str:
    """A sweep for people: in a terminal, as markdown or as LaTeX. Verdicts come first, then the tables, and what is to
    know of them last."""
    parts = (
        verdict.glance(tables, form),
        show(arrange(tables), form),
        _notes(tables.notes, form) if tables.notes else "",
    )
    return "\n\n".join(filter(None, parts))


def _notes(notes: Sequence[str], form: str) -> str:
    match form:
        case "latex":
            lines = [escaped_latex(note) + r"\par" for note in notes]
            return "\n".join([r"{\footnotesize\noindent", *lines, "}"])
        case "markdown":
            return "\n\n".join(map(markdown_paragraph, notes))
        case _:
            return "\n".join(notes)


def report_json(tables: Tables) -> str:
    return as_json(
        {
            "sweep": tables.sweep.name,
            "states": {str(state): tables.states[state] for state in TrialState},
            "notes": list(tables.notes),
            "scope": tables.scope,
            **{name: long.rows(tables) for name, long in long_tables(tables).items()},
        }
    )
