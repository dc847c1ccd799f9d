"""Shows a whole report as one HTML page that needs nothing beside it: no network, no second file.

``page.html.j2`` is its structure, ``page.css`` its looks and ``page.js`` what it does when clicked; all three are
written into the page, and so are ``explorer.css`` and ``explorer.js`` where it has an explorer. All text is escaped,
and the page's policy lets no script run but that one, by its hash: what the explorer shows is JSON, which is data. A
figure is an image of its own (``data:`` URI): its SVG ids and styles meet neither another figure's nor the page's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import groupby
from string import ascii_lowercase
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from orchestrator.report.pages.explorer import in_short
from orchestrator.table import Column, Entry, Table, decimals, present
from orchestrator.text import visible

ABSENT = "\N{EN DASH}"
FILTERED_FROM = 16  # rows: shorter tables are read faster than filtered
LONG = 40  # characters, from which text takes several lines


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRow:
    """What the page tells of one trial. ``errors`` are in percent, by metric; ``code`` is the version that trained it,
    ``seconds`` what that took, and ``url`` its run in MLflow's UI, if that has an address (http or https)."""

    id: str
    cell: str
    state: str
    errors: Mapping[str, float | None] = field(default_factory=dict)
    code: str = ""
    device: str = ""
    seconds: float | None = None
    attempts: int = 0
    url: str | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageContent:
    """All that a page shows; what is empty is left out. ``verdict`` are the lines that come first, ``said`` the same in
    sentences, the last of which is how it was found out, and ``written`` is what people noted. ``explorer`` is what
    ``explorer.content`` gives. ``figures`` are texts of SVG files by title, ``provenance`` is pairs of what and which,
    ``notes`` what a reader must know before the numbers, ``made`` when and ``command`` by what."""

    title: str
    description: str = ""
    verdict: Sequence[str] = ()
    said: Sequence[str] = ()
    written: Sequence[Table] = ()
    tables: Sequence[Table] = ()
    explorer: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    statistics: Sequence[Table] = ()
    provenance: Sequence[tuple[str, str]] = ()
    trials: Sequence[TrialRow] = ()
    notes: Sequence[str] = ()
    made: str
    command: str


def page(content: PageContent) -> str:
    """The page as the text of one HTML file, to be written in UTF-8."""
    anchors = _Anchors()
    lines = content.explorer.get("lines")
    parts = ("page", "explorer") if lines else ("page",)
    script = "\n".join(_packaged(f"{part}.js") for part in parts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        content=content,
        tables=[_grid(table, anchors) for table in content.tables],
        written=[_grid(table, anchors) for table in content.written],
        statistics=[_grid(table, anchors) for table in content.statistics],
        trials=_trial_grid(content.trials, anchors) if content.trials else None,
        states=Counter(trial.state for trial in content.trials).most_common(),
        figures={title: _data_uri(svg) for title, svg in content.figures.items()},
        explored=_embedded(content.explorer),
        in_short=_grid(in_short(lines), anchors) if lines else None,
        style=Markup("\n".join(_packaged(f"{part}.css") for part in parts)),
        script=Markup(script),
        digest=digest,
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized
    )
    return environment.from_string(_packaged("page.html.j2"))


def _finalized(value: Any) -> Any:
    """Any text but the page's own, which is Markup, before it is escaped."""
    return visible(value) if type(value) is str else value


def _packaged(name: str) -> str:
    return files("orchestrator.report.pages").joinpath(name).read_text(encoding="utf-8")


def _embedded(content: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the element that it stands in."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


class _Anchors:
    """Names to link to, each once in a page."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> str:
        slug = "table-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed")
        self._taken[slug] += 1
        return slug if self._taken[slug] == 1 else self.take(f"{name}-{self._taken[slug]}")


# Tables as the template takes them


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    """``value`` is the whole number that is sorted by and copied, ``symbol`` refers to the explanation ``mark``."""

    text: str
    value: float | None = None
    spread: str = ""
    best: bool = False
    symbol: str = ""
    mark: str = ""
    missing: bool = False
    kind: str = ""
    url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heading:
    """``lead`` columns say what a row is of; they stay in sight. The first column of a group has its ``span``."""

    name: str
    group: str
    numeric: bool
    lead: bool
    span: int
    long: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """``blocks``: whether rows belong together that begin with the same words."""

    anchor: str
    title: str
    headings: Sequence[_Heading]
    rows: Sequence[Sequence[_Cell]]
    notes: Sequence[str]
    legend: Mapping[str, str]
    blocks: bool
    filtered: bool


def _grid(table: Table, anchors: _Anchors) -> _Grid:
    symbols = _symbols(table)
    rows = [[_cell(entry, symbols, table.notes) for entry in row] for row in table.rows]
    legend = {symbol: mark for mark, symbol in symbols.items()}
    return _arranged(table.name, table.title, table.columns, rows, anchors, notes=table.notes_on_bold, legend=legend)


def _arranged(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[_Cell]],
    anchors: _Anchors,
    *,
    notes: Sequence[str] = (),
    legend: Mapping[str, str],
) -> _Grid:
    return _Grid(
        anchor=anchors.take(name),
        title=title,
        headings=list(_headings(columns, rows)),
        rows=rows,
        notes=notes,
        legend=legend,
        blocks=len({row[0].text for row in rows}) < len(rows),
        filtered=len(rows) >= FILTERED_FROM,
    )


def _headings(columns: Sequence[Column], rows: Sequence[Sequence[_Cell]]) -> Iterator[_Heading]:
    spans = [span for _, members in groupby(columns, key=lambda column: column.group) for span in _span(members)]
    for index, column in enumerate(columns):
        yield _Heading(
            name=column.name,
            group=column.group,
            numeric=column.numeric,
            lead=index == 0 or (index == 1 and not columns[0].numeric and not column.numeric),
            span=spans[index] if column.group else 0,
            long=any(len(row[index].text) > LONG for row in rows),
        )


def _span(members: Iterable[Column]) -> list[int]:
    count = len(list(members))
    return [count] + [0] * (count - 1)


def _cell(entry: Entry, symbols: Mapping[str, str], notes: Iterable[str]) -> _Cell:
    value = present(entry.value)
    if value is None:
        return _Cell(text=entry.mark or ABSENT, missing=True)
    spread = present(entry.spread)
    symbol = symbols.get(entry.mark, entry.mark)  # one that is a symbol already is explained by a note
    return _Cell(
        text=_shown(value, entry.digits),
        value=None if isinstance(value, str) else value,
        spread="" if spread is None else _shown(spread, entry.digits),
        best=entry.best,
        symbol=symbol,
        mark=entry.mark if entry.mark in symbols else next((note for note in notes if note.startswith(symbol)), ""),
    )


def _symbols(table: Table) -> dict[str, str]:
    """A letter for each mark in words on a value, in the order in which they are read."""
    entries = (entry for row in table.rows for entry in row)
    marks = dict.fromkeys(entry.mark for entry in entries if len(entry.mark) > 1 and present(entry.value) is not None)
    return {mark: _letters(index) for index, mark in enumerate(marks)}


def _letters(index: int) -> str:
    """a to z, then aa, ab and so on."""
    before, last = divmod(index, len(ascii_lowercase))
    return (_letters(before - 1) if before else "") + ascii_lowercase[last]


def _shown(value: float | str, digits: int) -> str:
    if isinstance(value, str):
        return value
    text = (
        decimals(value, digits) if isinstance(value, float) else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    )
    return text.replace("-", "\N{MINUS SIGN}")


# Trials


def _trial_grid(trials: Sequence[TrialRow], anchors: _Anchors) -> _Grid:
    metrics = list(dict.fromkeys(metric for trial in trials for metric in trial.errors))
    names = ("trial", "state", *metrics, "seconds", "attempts", "device", "code", "id", "MLflow", "failure")
    numeric = {*metrics, "seconds", "attempts"}
    groups = dict.fromkeys(metrics, "error in %")
    columns = [Column(name=name, numeric=name in numeric, group=groups.get(name, "")) for name in names]
    rows = [_trial_cells(trial, metrics) for trial in trials]
    return _arranged("trials", "Trials", columns, rows, anchors, legend={})


def _trial_cells(trial: TrialRow, metrics: Sequence[str]) -> list[_Cell]:
    return [
        _Cell(text=trial.cell),
        _Cell(text=trial.state, kind=f"state {trial.state}"),
        *(_number(trial.errors.get(metric), 2) for metric in metrics),
        _number(trial.seconds, 1),
        _number(trial.attempts, 0),
        _words(trial.device),
        _words(trial.code, "code"),
        _words(trial.id, "code"),
        _link(trial.url),
        _words(trial.failure or ""),
    ]


def _number(value: float | None, digits: int) -> _Cell:
    return _cell(Entry(value=value, digits=digits), {}, ())


def _words(text: str, kind: str = "") -> _Cell:
    return _Cell(text=text or ABSENT, kind=kind, missing=not text)


def _link(url: str | None) -> _Cell:
    """Only to the web: another scheme could be a script."""
    if url and re.match(r"https?://", url):
        return _Cell(text="run", url=url)
    return _words(url or "")
