"""Writes all that a sweep has to show into one folder: tables, numbers, figures, and one page that holds everything."""

from __future__ import annotations

import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from anytime_core.files import LocalFolder, read_plain, write_atomically
from orchestrator.analysis import expense
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.quantities import ERRORS
from orchestrator.analysis.tables import Tables
from orchestrator.ledger import notes
from orchestrator.ledger.ledger import Ledger, now
from orchestrator.redaction import redacted
from orchestrator.report import figures, layouts
from orchestrator.report import status as report
from orchestrator.report.figures import caption_of, kind_of
from orchestrator.report.figures import drawing as figure_drawing
from orchestrator.report.losses import Losses
from orchestrator.report.pages import explorer
from orchestrator.report.pages.page import PageContent, TrialRow, page
from orchestrator.report.status import TrialStatus
from orchestrator.report.verdicts import sentences
from orchestrator.report.views import notes as render_notes
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import AVERAGE, errors_of
from orchestrator.sweep.trial import TrialRecord, TrialState
from orchestrator.text import visible

PAGE = "report.html"
MOST = 1 << 29
"""Bytes of a page."""


Figures = Mapping[str, Mapping[str, bytes]]
"""The content of the files of each figure, by the stem of their names and then by format."""


class Drawing:
    """The figures of a sweep, which a thread draws while the caller waits for something else."""

    def __init__(self, sweep: Sweep, ledger: Ledger) -> None:
        self._sweep, self._ledger = sweep, ledger
        self._answers, self._losses = _answers(sweep, ledger), Losses()
        self._drawn: Figures = {}
        self._thread = threading.Thread(target=self._draw, name="figures", daemon=True)
        self._thread.start()

    def _draw(self) -> None:
        self._drawn = draw(self._sweep, self._ledger, self._losses, self._answers)

    def take(self, losses: Losses) -> tuple[Figures, Answers]:
        """Waits for them. What could not be drawn is counted in ``losses``. The answers have what was read for them."""
        self._thread.join()
        losses.lines += self._losses.lines
        return self._drawn, self._answers


def write(
    sweep: Sweep,
    ledger: Ledger,
    folder: Path | LocalFolder,
    links: Mapping[str, str],
    say: Callable[[str], object] = str,
    *,
    losses: Losses,
    drawing: Drawing | None = None,
    over: bool = False,
) -> Tables:
    """Fills the folder, whose older tables and figures are gone then, and returns what it shows. ``links`` lead to
    MLflow's runs, by trial id; ``say`` is told of each figure that the sweep cannot have. ``drawing`` has begun to draw
    the figures already; ``over`` as in ``status.read_tables``.

    An error costs the figure, the explorer or the page that it concerns, and is counted in ``losses``. Raises OSError
    where the tables cannot be written.
    """
    drawn, answers = (drawing or Drawing(sweep, ledger)).take(losses)
    tables = read_tables(sweep, ledger, drawn, say, losses, answers, over=over)
    place = folder if isinstance(folder, LocalFolder) else LocalFolder(folder)
    for name, content in _texts(tables).items():
        place.write(name, _encoded(f"{content}\n"))
    _save(drawn, place.below("figures"), losses)
    place.delete(PAGE)  # rather none than one that shows other numbers than the tables
    with losses.counted(f"{place.address(PAGE)} is not written"):
        place.write(PAGE, _encoded(html(sweep, ledger, tables, drawn, links, losses, over=over)))
    return tables


def _save(drawn: Figures, folder: LocalFolder, losses: Losses) -> None:
    """Writes the figures, and deletes those of before."""
    written: list[Path] = []
    for stem, contents in drawn.items():
        with losses.counted(f"figure {stem} is not written"):
            written += figure_drawing.write(stem, contents, folder)
    with losses.counted(f"{folder}: older figures are still there"):
        _delete_others(folder, written)


def publish(
    sweep: Sweep,
    ledger: Ledger,
    links: Mapping[str, str],
    say: Callable[[str], object],
    *,
    losses: Losses,
    folder: Path | None = None,
    page_file: Path | None = None,
) -> Iterator[Path]:
    """Writes the folder, the page or both, and yields each as soon as it is there. ``links``, ``say`` and ``losses``
    are those of ``write``."""
    if folder:
        write(sweep, ledger, folder, links, say, losses=losses)
        yield folder
    if page_file:
        page_file.parent.mkdir(parents=True, exist_ok=True)
        copied = folder and (folder / PAGE).exists()
        content = read_plain(folder, PAGE, MOST) if folder and copied else _page(sweep, ledger, links, say, losses)
        write_atomically(page_file, content)
        yield page_file


def _page(
    sweep: Sweep, ledger: Ledger, links: Mapping[str, str], say: Callable[[str], object], losses: Losses
) -> bytes:
    answers = _answers(sweep, ledger)
    drawn = draw(sweep, ledger, losses, answers, ["svg"])
    return _encoded(html(sweep, ledger, read_tables(sweep, ledger, drawn, say, losses, answers), drawn, links, losses))


def _answers(sweep: Sweep, ledger: Ledger) -> Answers:
    """Each trial's outcomes are read once, for all figures and tables that the sweep asks for, and the explorer."""
    return Answers(sweep, ledger.outcomes, [*figures.taken(sweep), *layouts.taken(sweep), *explorer.taken(sweep)])


def _encoded(text: str) -> bytes:
    """UTF-8, with ``?`` for the bytes of a path that are no text."""
    return text.encode(errors="replace")


def read_tables(
    sweep: Sweep,
    ledger: Ledger,
    drawn: Collection[str],
    say: Callable[[str], object],
    losses: Losses,
    answers: Answers,
    *,
    over: bool = False,
) -> Tables:
    """The tables, with a note on each figure that is asked for and cannot be drawn, which ``say`` is told too, and on
    each that was lost."""
    tables = report.read_tables(sweep, ledger, answers, over=over)
    lacking = tuple(_undrawn(sweep, ledger, drawn, answers))
    for note in lacking:
        say(note)
    lost = (f"{line[0].upper()}{line[1:]}." for line in losses.lines)
    return replace(tables, notes=(*tables.notes, *lacking, *lost))


def _undrawn(sweep: Sweep, ledger: Ledger, drawn: Collection[str], answers: Answers) -> Iterator[str]:
    """A sentence for each figure that is asked for and not among those ``drawn``, which are stems of files."""
    kinds = {kind[0] for stem in drawn if (kind := kind_of(stem))}
    for name in sweep.report.figures:
        if name not in kinds and (why := figure_drawing.reason(name, sweep, ledger, answers)):
            yield f"Figure {name} is not drawn: {why}."


def _delete_others(folder: LocalFolder, written: Collection[Path]) -> None:
    """Figures that are no longer drawn; what is no figure of ours is left alone."""
    for path in (folder.path / name for name in folder.names()):
        ours = kind_of(path.stem) and path.suffix[1:] in figure_drawing.FORMATS and not path.is_dir()
        if ours and path not in written:
            folder.delete(path.name)


def draw(
    sweep: Sweep, ledger: Ledger, losses: Losses, answers: Answers, formats: Sequence[str] = figure_drawing.FORMATS
) -> Figures:
    """The figures that the sweep asks for, or those that suit it, as far as they can be drawn."""
    drawn: dict[str, dict[str, bytes]] = {}
    for name in sweep.report.figures or figure_drawing.suited(sweep):
        with losses.counted(f"figure {name} is not drawn"):
            pages = figure_drawing.draw(name, sweep, ledger, answers)
            drawn |= {stem: figure_drawing.rendered(figure, formats) for stem, figure in pages.items()}
    return drawn


def html(
    sweep: Sweep,
    ledger: Ledger,
    tables: Tables,
    drawn: Figures,
    links: Mapping[str, str],
    losses: Losses,
    *,
    over: bool = False,
) -> str:
    """One page with everything, which needs no network."""
    explored: Mapping[str, Any] = {}
    with losses.counted("the explorer is not on the page"):
        explored = explorer.content(tables)
    statuses = report.statuses(sweep, ledger, over=over)
    arranged = layouts.arrange(tables)
    records = [status.record for status in statuses if status.record]
    said = [*sentences.sentences(tables), sentences.methods(tables, records)]
    return page(
        PageContent(
            title=sweep.name,
            description=sweep.description,
            verdict=sentences.block(tables) if sentences.asked_for(tables) else [],
            said=said,
            written=[render_notes.table(noted, sweep)] if (noted := notes.seen_of_sweep(sweep, ledger)) else [],
            tables=[table for table in arranged if not layouts.LAYOUTS[table.name].compares],
            statistics=[table for table in arranged if layouts.LAYOUTS[table.name].compares],
            explorer=explored,
            figures={caption_of(stem): figure_drawing.svg_element(contents["svg"]) for stem, contents in drawn.items()},
            provenance=(*_provenance(records), *expense.sentences(sweep, records).items()),
            trials=tuple(_trial_rows(statuses, links)),
            notes=tables.notes,
            made=now(),
            command=redacted(
                shlex.join(["orchestrate", "report", str(sweep.path), "--storage", str(ledger.storage), "--html", PAGE])
            ),
        )
    )


def headline(tables: Tables) -> dict[str, float]:
    """Numbers of the whole sweep, such as ``wins/aann/at_0.75`` or ``wins/aann/auc``, by which sweeps can be
    compared."""
    numbers = {"trials/" + state: float(tables.states[state]) for state in TrialState}
    for it in tables.sweep.deciding.standings if tables.sweep.deciding else ():
        numbers[f"e_value/{it.comparison}"] = it.e
    for wins in tables.wins:
        if wins.wins.percent is not None:
            numbers[f"wins/{wins.method}/{_at(wins.metric)}"] = wins.wins.percent
    for increase in tables.increases:
        if increase.increase.percent is not None:
            numbers[f"increase/{increase.method}/{increase.optimum}/{_at(increase.metric)}"] = increase.increase.percent
    return {re.sub(r"[^\w\-./ ]", "_", name): value for name, value in numbers.items()}  # all that MLflow takes


def _at(metric: str) -> str:
    if metric not in ERRORS:
        return metric
    return "average" if metric == AVERAGE else f"at_{float(Fraction(metric)):.2f}"


def _trial_rows(statuses: Iterable[TrialStatus], links: Mapping[str, str]) -> Iterator[TrialRow]:
    for status in statuses:
        trial, record = status.trial, status.record
        ended = record.provenance if record else {}
        yield TrialRow(
            id=trial.id,
            cell=trial.cell.label,
            state=status.standing,
            errors=errors_of(trial.cell, record) if record and status.state is TrialState.FINISHED else {},
            code=str(ended.get("code_version", "")),
            device=str(ended.get("device_name") or (record.result.device if record else "")),
            seconds=record.result.seconds if record else None,
            attempts=status.attempts,
            url=links.get(trial.id),
            failure=status.failure and visible(status.failure),
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
        **{f"{name}.csv": long.csv(tables) for name, long in render.long_tables(tables).items()},
        "report.json": render.report_json(tables),
    }
