"""Writes all that a sweep has to show into one folder: tables, numbers, figures, and one page that holds everything."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core.files import write_atomically
from orchestrator.analysis.measurements import AVERAGE, errors_of
from orchestrator.analysis.tables import Tables
from orchestrator.ledger.ledger import Ledger, now
from orchestrator.report import drawing, layouts, render
from orchestrator.report import status as report
from orchestrator.report.figures import caption_of, kind_of
from orchestrator.report.page import PageContent, TrialRow, page
from orchestrator.report.status import TrialStatus
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord, TrialState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PAGE = "report.html"


def write(
    sweep: Sweep, ledger: Ledger, folder: Path, links: Mapping[str, str], say: Callable[[str], object] = str
) -> Tables:
    """Fills the folder, whose older tables and figures are gone then, and returns what it shows. ``links`` lead to
    MLflow's runs, by trial id; ``say`` is told of each figure that cannot be drawn."""
    drawn = draw(sweep, ledger)
    tables = read_tables(sweep, ledger, drawn, say)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _texts(tables).items():
        write_atomically(folder / name, f"{content}\n".encode())
    _delete_others(folder / "figures", drawing.save(drawn, folder / "figures"))
    write_atomically(folder / PAGE, html(sweep, ledger, tables, drawn, links).encode())
    return tables


def publish(
    sweep: Sweep,
    ledger: Ledger,
    links: Mapping[str, str],
    say: Callable[[str], object],
    *,
    folder: Path | None = None,
    page_file: Path | None = None,
) -> Iterator[Path]:
    """Writes the folder, the page or both, and yields each as soon as it is there. ``links`` and ``say`` are those of
    ``write``."""
    if folder:
        write(sweep, ledger, folder, links, say)
        yield folder
    if page_file:
        page_file.parent.mkdir(parents=True, exist_ok=True)
        content = (folder / PAGE).read_bytes() if folder else _page(sweep, ledger, links, say)
        write_atomically(page_file, content)
        yield page_file


def _page(sweep: Sweep, ledger: Ledger, links: Mapping[str, str], say: Callable[[str], object]) -> bytes:
    drawn = draw(sweep, ledger)
    return html(sweep, ledger, read_tables(sweep, ledger, drawn, say), drawn, links).encode()


def read_tables(sweep: Sweep, ledger: Ledger, drawn: Collection[str], say: Callable[[str], object]) -> Tables:
    """The tables, and a note on each figure that is asked for and cannot be drawn, which ``say`` is told too."""
    tables = report.read_tables(sweep, ledger)
    lacking = tuple(_undrawn(sweep, ledger, drawn))
    for note in lacking:
        say(note)
    return replace(tables, notes=(*tables.notes, *lacking))


def _undrawn(sweep: Sweep, ledger: Ledger, drawn: Collection[str]) -> Iterator[str]:
    """A sentence for each figure that is asked for and not among those ``drawn``, which are stems of files."""
    kinds = {kind[0] for stem in drawn if (kind := kind_of(stem))}
    for name in sweep.report.figures:
        if name not in kinds and (why := drawing.reason(name, sweep, ledger)):
            yield f"Figure {name} is not drawn: {why}."


def _delete_others(folder: Path, written: Collection[Path]) -> None:
    """Figures that are no longer drawn; what is no figure of ours is left alone."""
    for path in folder.iterdir():
        ours = kind_of(path.stem) and path.suffix[1:] in drawing.FORMATS
        if ours and path not in written:
            path.unlink()


def draw(sweep: Sweep, ledger: Ledger) -> dict[str, Figure]:
    """The figures that the sweep asks for, or those that suit it."""
    names = sweep.report.figures or drawing.suited(sweep)
    return {stem: figure for name in names for stem, figure in drawing.draw(name, sweep, ledger).items()}


def html(sweep: Sweep, ledger: Ledger, tables: Tables, drawn: Mapping[str, Figure], links: Mapping[str, str]) -> str:
    """One page with everything, which needs no network."""
    statuses = report.statuses(sweep, ledger)
    arranged = layouts.arrange(tables)
    return page(
        PageContent(
            title=sweep.name,
            description=sweep.description,
            tables=[table for table in arranged if not layouts.LAYOUTS[table.name].compares],
            statistics=[table for table in arranged if layouts.LAYOUTS[table.name].compares],
            figures={caption_of(stem): drawing.as_svg(figure) for stem, figure in drawn.items()},
            provenance=tuple(_provenance(status.record for status in statuses if status.record)),
            trials=tuple(_trial_rows(statuses, links)),
            notes=tables.notes,
            made=now(),
            command=shlex.join(
                ["orchestrate", "report", str(sweep.path), "--storage", str(ledger.storage), "--html", PAGE]
            ),
        )
    )


def headline(tables: Tables) -> dict[str, float]:
    """Numbers of the whole sweep, such as ``wins/aann/at_0.75``, by which sweeps can be compared."""
    numbers = {"trials/" + state: float(tables.states[state]) for state in TrialState}
    for wins in tables.wins:
        if wins.wins.percent is not None:
            numbers[f"wins/{wins.method}/{_at(wins.metric)}"] = wins.wins.percent
    for increase in tables.increases:
        if increase.increase.percent is not None:
            numbers[f"increase/{increase.method}/{increase.optimum}/{_at(increase.metric)}"] = increase.increase.percent
    return {re.sub(r"[^\w\-./ ]", "_", name): value for name, value in numbers.items()}  # all that MLflow takes


def _at(metric: str) -> str:
    return "average" if metric == AVERAGE else f"at_{float(Fraction(metric)):.2f}"


def _trial_rows(statuses: Iterable[TrialStatus], links: Mapping[str, str]) -> Iterator[TrialRow]:
    for status in statuses:
        trial, record = status.trial, status.record
        ended = record.provenance if record else {}
        yield TrialRow(
            id=trial.id,
            cell=trial.cell.label,
            state=str(status.state),
            errors=errors_of(trial.cell, record) if record and status.state is TrialState.FINISHED else {},
            code=str(ended.get("code_version", "")),
            device=str(ended.get("device_name") or (record.result.device if record else "")),
            seconds=record.result.seconds if record else None,
            attempts=status.attempts,
            url=links.get(trial.id),
            failure=status.failure,
        )


ORIGINS = {
    "code_version": "code",
    "device_name": "device",
    "torch": "torch",
    "numpy": "numpy",
    "python": "Python",
    "host": "host",
}


def _provenance(records: Iterable[TrialRecord]) -> Iterator[tuple[str, str]]:
    """What made the numbers, and how many trials each where there are several."""
    records = list(records)
    for key, word in ORIGINS.items():
        counts = Counter(str(record.provenance.get(key, "unknown")) for record in records)
        yield word, _counted(counts)
    data = Counter(f"{record.config['data']['name']} {record.provenance.get('data_hash', '')}" for record in records)
    yield "data", _counted(data)
    yield "training", f"{sum(record.result.seconds for record in records) / 3600:.2f} hours in {len(records)} trials"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(
        value if len(counts) == 1 else f"{value} ({count} trials)" for value, count in counts.most_common()
    )


def _texts(tables: Tables) -> dict[str, str]:
    arranged = {"report.md": "markdown", "report.tex": "latex", "report.txt": "table"}
    return {
        **{name: render.report_text(tables, form) for name, form in arranged.items()},
        **{f"{name}.csv": long.csv(tables) for name, long in render.LONG.items()},
        "report.json": render.report_json(tables),
    }
