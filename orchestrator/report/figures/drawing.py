"""The paper's figures of any sweep, drawn from the ledger: as wide as a column or a page, safe for the colour-blind,
and the same bytes each time.

matplotlib is imported where it draws, so that the names of figures cost nothing; pyplot, which keeps a state of its
own, never is. What the figures show is in ``panels``.
"""

from __future__ import annotations

import io
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, pairwise
from operator import mul
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from anytime_core.files import LocalFolder
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.curves import Curve, Kind, Panel
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.figures import FIGURES, painters, suited
from orchestrator.report.figures import panels as panels_of
from orchestrator.report.figures.looks import NOTE, Look
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.sweep.grid import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "FORMATS",
    "as_svg",
    "draw",
    "drawn",
    "reason",
    "rendered",
    "save",
    "suited",
    "svg_element",
    "write",
]

FORMATS = ("png", "svg")
DPI = 300
COLUMN, PAGE, HEIGHT = 3.35, 7.0, 9.2
"""In inches: the widths of one column and of both, and what a page holds from top to bottom."""
MOST_PANELS = 15
"""On one page, in three columns."""
MOST_COLUMNS: dict[Kind, int] = {"matrix": 2}
"""Of panels that need more than a third of a page; others stand in three."""

# Okabe and Ito's colours, grey for the yellow, which paper swallows; black is for what the others are held against.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DEPTHS = "viridis"
SPREAD = "± s.d. over seeds"
BAND = "95 % of resamples"
LONGEST_LABEL = 44
"""Characters of a label in a line of the legend: as many as one column holds."""
LINE = 0.15
"""Height of a line of text, in inches."""
MOST_TITLE_LINES = 4
MOST_MARKERS = 15
"""On one curve; more would hide its line."""

STYLE: dict[str, Any] = {
    "font.size": 8,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "savefig.dpi": DPI,
    "svg.fonttype": "none",  # text stays text: small, to be searched, in whatever sans-serif there is
    "svg.hashsalt": "orchestrate",
}


def draw(name: str, sweep: Sweep, ledger: Ledger, answers: Answers | None = None) -> dict[str, Figure]:
    """The pages of a figure, by the stem of their file; none where ``reason`` says why. ``answers`` may have been read
    for others, too. Raises ValueError for a name that is not in FIGURES."""
    try:
        panels = panels_of(name, sweep, ledger, answers)
    except UnsuitedError:
        return {}
    return drawn(name, panels, _methods(sweep))


def drawn(name: str, panels: Sequence[Panel], methods: Mapping[str, bool] | None = None) -> dict[str, Figure]:
    """The pages of any panels, by the stem of their file. ``methods``, all of a sweep's and which are references, give
    each the same look in all figures."""
    looks = _looks((curve for panel in panels for curve in panel.curves), methods)
    with _style():
        return {stem: _page(page, looks) for stem, page in pages(name, panels).items()}


def reason(name: str, sweep: Sweep, ledger: Ledger, answers: Answers | None = None) -> str | None:
    """Why a sweep has nothing of a figure to draw; None if it has."""
    try:
        panels_of(name, sweep, ledger, answers)
    except UnsuitedError as error:
        return str(error)
    return None


def save(figures: Mapping[str, Figure], folder: Path | LocalFolder, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes each figure in each format, whole or not at all; the paths that were written."""
    return [path for stem, figure in figures.items() for path in write(stem, rendered(figure, formats), folder)]


def rendered(figure: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The content of a file in each format."""
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"no format is named {', '.join(unknown)}; allowed: {', '.join(FORMATS)}")
    return {name: _bytes(figure, name) for name in formats}


def write(stem: str, contents: Mapping[str, bytes], folder: Path | LocalFolder) -> list[Path]:
    """Writes what ``rendered`` made of one figure; the paths that were written."""
    place = folder if isinstance(folder, LocalFolder) else LocalFolder(folder)
    for name, content in contents.items():
        place.write(f"{stem}.{name}", content)
    return [place.path / f"{stem}.{name}" for name in contents]


def as_svg(figure: Figure) -> str:
    """An ``svg`` element for a page, on white whatever the page's own background."""
    return svg_element(_bytes(figure, "svg"))


def svg_element(content: bytes) -> str:
    """What is in an SVG file, without what makes it a file."""
    text = content.decode()
    return text[text.index("<svg") :]


def _bytes(figure: Figure, kind: str) -> bytes:
    """Without a date or a version, so that equal figures are equal files."""
    buffer = io.BytesIO()
    nameless = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    with _style():
        figure.savefig(buffer, format=kind, metadata=nameless)
    return buffer.getvalue()


def _style() -> AbstractContextManager[None]:
    """Ours alone, whatever the user's own settings are."""
    if "matplotlib" not in sys.modules:
        _import_matplotlib()
    import matplotlib.style

    return matplotlib.style.context(["default", STYLE])


def _import_matplotlib() -> None:
    """Imports it as if the user had set nothing. It would check a backend that is never used here, such as the one that
    a notebook leaves in MPLBACKEND for what it starts; and it warns of fonts and of folders that it cannot write."""
    ours = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    before = {name: os.environ.get(name) for name in ours}
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    os.environ.update(ours)
    try:
        import matplotlib  # noqa: F401
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


# Pages


def pages(name: str, panels: Sequence[Panel]) -> dict[str, list[Panel]]:
    """All panels on one page if it holds them; else pages for each data set, numbered if there are several. Panels of
    one group stay together if a page holds them."""
    if len(panels) <= MOST_PANELS:
        return {name: list(panels)}
    stems: dict[str, list[Panel]] = {}
    for first, some in groupby(sorted(panels, key=_dataset), key=_dataset):
        parts = list(_packed(list(some)))
        stem = f"{name}-{first}" if first else name
        stems |= {stem if len(parts) == 1 else f"{stem}-{index}": part for index, part in enumerate(parts, 1)}
    return stems


def _dataset(panel: Panel) -> str:
    return panel.group[0] if panel.group else ""


def _packed(panels: Sequence[Panel]) -> list[list[Panel]]:
    """As few pages as hold them, about equally full."""
    groups = [list(some) for _, some in groupby(panels, key=lambda panel: panel.group)]
    most = max(1, MOST_PANELS // max(map(len, groups)))
    each = math.ceil(len(groups) / math.ceil(len(groups) / most))
    parts = [list(chain(*groups[start : start + each])) for start in range(0, len(groups), each)]
    return [part[start : start + MOST_PANELS] for part in parts for start in range(0, len(part), MOST_PANELS)]


def _page(panels: Sequence[Panel], looks: Mapping[str, Look]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), MOST_COLUMNS.get(panels[0].kind, 3))
    rows = math.ceil(len(panels) / columns)
    width = COLUMN if columns == 1 else PAGE
    legend = _Legend.of(panels, looks, width)
    figure = Figure(
        figsize=(width, min(rows * _height(panels, width / columns), HEIGHT) + LINE * legend.lines),
    )
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, panel in enumerate(panels):
        _panel(places[place], panel, looks, width / columns)
        _share_labels(places[place], panels, place, columns)
        if panel.full_cost and panel.curves:
            _multiply_adds(places[place], panel.full_cost, labelled=place < columns)
        _annotate(places[place], _note(panel, width / columns))
    for empty in places[len(panels) :]:
        empty.remove()
    legend.draw(figure, looks)
    if any(panel.kind == "stack" and panel.curves for panel in panels):
        _colour_bar(figure, places[: len(panels)], panels)
    # Laid out once, and by no engine of the figure's own: that would lay it out again for each file, start from the
    # last time, and end a hair beside it.
    ConstrainedLayoutEngine().execute(figure)
    return figure


def _height(panels: Sequence[Panel], width: float) -> float:
    """Of one row of panels, in inches."""
    notes = max(len(_note(panel, width)) for panel in panels)
    above = 2 * LINE if any(panel.full_cost for panel in panels) else 0
    titles = max(len(_title(panel, width)) for panel in panels) - 1
    return 0.6 + 0.6 * width + LINE * (notes + titles) + above


def _share_labels(axes: Axes, panels: Sequence[Panel], place: int, columns: int) -> None:
    """A label that the panel to the left, or the one below, has too stands there alone."""
    panel, left = panels[place], panels[place - 1]
    below = panels[place + columns] if place + columns < len(panels) else None
    if place % columns and left.y_label == panel.y_label:
        axes.set_ylabel("")
    if below and below.x_label == panel.x_label:
        axes.set_xlabel("")


@dataclass(frozen=True, slots=True)
class _Legend:
    """Below all panels, where it hides nothing."""

    labels: tuple[str, ...]
    spread: str
    most_columns: int

    @classmethod
    def of(cls, panels: Sequence[Panel], looks: Mapping[str, Look], width: float) -> _Legend:
        curves = [curve for panel in panels if panel.kind in ("lines", "steps") for curve in panel.curves]
        shown = {curve.label for curve in curves}
        words = {BAND: any(curve.band for curve in curves), SPREAD: any(curve.spread for curve in curves)}
        spread = next((text for text, there in words.items() if there), "")
        labels = tuple(label for label in looks if label in shown)
        longest = min(max(map(len, (*labels, spread)), default=0), LONGEST_LABEL)
        return cls(labels, spread, max(1, int(width / (0.5 + 0.06 * longest))))

    @property
    def entries(self) -> int:
        return len(self.labels) + bool(self.spread)

    @property
    def rows(self) -> int:
        return math.ceil(self.entries / self.most_columns)

    @property
    def lines(self) -> int:
        """Of text, where each row may hold a label of several."""
        return self.rows * max((len(wrap(label, LONGEST_LABEL)) for label in self.labels), default=1)

    def draw(self, figure: Figure, looks: Mapping[str, Look]) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles: list[Any] = [
            Line2D([], [], label="\n".join(wrap(label, LONGEST_LABEL)), **_line(looks[label])) for label in self.labels
        ]
        if self.spread:
            handles.append(Patch(color="#888888", alpha=0.35, linewidth=0, label=self.spread))
        if handles:
            columns = math.ceil(self.entries / self.rows)
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def _colour_bar(figure: Figure, places: list[Axes], panels: Sequence[Panel]) -> None:
    """Which prediction a layer of a stack is: by number, or where panels differ in theirs, by its place among them."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.ticker import MaxNLocator

    sizes = {len(panel.curves) for panel in panels if panel.curves}
    size = max(sizes)
    scale = BoundaryNorm([index + 0.5 for index in range(size + 1)], size)
    colours = ScalarMappable(scale, ListedColormap(_depth_colours(size)))
    bar = figure.colorbar(colours, ax=places, label="prediction", aspect=40, ticks=MaxNLocator(integer=True))
    if len(sizes) > 1:
        bar.set_ticks([1, size], labels=["first", "last"])
    bar.ax.minorticks_off()


# Panels


def _panel(axes: Axes, panel: Panel, looks: Mapping[str, Look], width: float) -> None:
    axes.set(title="\n".join(_title(panel, width)), xlabel=panel.x_label, ylabel=panel.y_label)
    PAINTERS[panel.kind](axes, panel, looks)
    if panel.log_y:
        axes.set_yscale("log")
    if panel.y_top:
        axes.set_ylim(top=panel.y_top)
    if not panel.curves:
        axes.text(0.5, 0.5, "no results yet", transform=axes.transAxes, ha="center", va="center", **NOTE)


def _annotate(axes: Axes, note: Sequence[str]) -> None:
    """Below the axis and its label, if it has one."""
    below: dict[str, Any] = {"xytext": (0, -30 if axes.get_xlabel() else -18), "textcoords": "offset points"}
    if note:
        axes.annotate("\n".join(note), (0.5, 0), xycoords="axes fraction", ha="center", va="top", **below, **NOTE)


def _title(panel: Panel, width: float) -> list[str]:
    """The title in lines that fit above a panel of this width in inches: its names are the user's, of any length."""
    return wrap(panel.title, int(15 * width - 8), max_lines=MOST_TITLE_LINES, placeholder=" ...") or [""]


def _note(panel: Panel, width: float) -> list[str]:
    """The notes in lines that fit below a panel of this width in inches."""
    return [line for note in panel.notes for line in wrap(note, int(20 * width - 10))]


def _multiply_adds(axes: Axes, full_cost: int, *, labelled: bool) -> None:
    """A second axis above: what the relative cost is in absolute terms."""
    millions = full_cost / 1e6
    above = axes.secondary_xaxis("top", functions=(partial(mul, millions), partial(mul, 1 / millions)))
    above.set_xlabel("multiply-adds (millions)" if labelled else "", fontsize=7)
    above.tick_params(labelsize=6)
    if axes.get_xscale() == "log":
        above.xaxis.set_major_formatter("{x:g}")


def _lines(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    for curve in panel.curves:
        look = looks[curve.label]
        axes.plot(curve.x, curve.y, markevery=_marked(curve), **_line(look))
        if curve.spread and curve.reference:
            axes.errorbar(curve.x, curve.y, curve.spread, fmt="none", ecolor=look.colour, elinewidth=0.8, capsize=1.5)
        elif curve.spread:
            axes.fill_between(curve.x, *_band(curve), color=look.colour, alpha=0.2, linewidth=0)
    if panel.full_cost is None:
        _whole_numbers(axes)


def _steps(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """An answer stands until the next prediction, the last one to the right edge."""
    if panel.log_x:
        axes.set_xscale("log")
    end = 1.03 * max((x for curve in panel.curves for x in curve.x), default=1)
    for curve in panel.curves:
        look, x, y = looks[curve.label], (*curve.x, end), (*curve.y, curve.y[-1])
        axes.plot(x, y, drawstyle="steps-post", markevery=_marked(curve), **_line(look))
        if curve.spread or curve.band:
            low, high = ((*edge, edge[-1]) for edge in _band(curve))
            axes.fill_between(x, low, high, step="post", color=look.colour, alpha=0.2, linewidth=0)
    if panel.log_x:
        axes.xaxis.set_major_formatter("{x:g}")
    first = min((x for curve in panel.curves for x in curve.x), default=0)
    axes.set_xlim(None if panel.log_x else min(0, first), end)


def _bars(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    for curve in panel.curves:
        axes.bar(curve.x, curve.y, color=looks[curve.label].colour, width=0.75)
        axes.set_xlim(curve.x[0] - 0.7, curve.x[-1] + 0.7)
    axes.grid(False, axis="x")
    _whole_numbers(axes)


def _stack(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """As pixels: its layers leave no seams between them, and the file stays small. What holds at the start of the last
    epoch stands to its end."""
    import numpy as np
    from matplotlib.collections import PolyCollection

    if panel.curves:
        x = [*panel.curves[0].x, panel.curves[0].x[-1] + 1]
        edges = np.cumsum([[0.0] * len(x), *([*curve.y, curve.y[-1]] for curve in panel.curves)], axis=0)
        layers = [np.column_stack([x + x[::-1], [*low, *high[::-1]]]) for low, high in pairwise(edges)]
        colours = _depth_colours(len(layers))
        axes.add_collection(PolyCollection(layers, facecolors=colours, lw=0, antialiased=False, rasterized=True))
        axes.set(xlim=(x[0], x[-1]), ylim=(0, 1))
    axes.grid(False)
    _whole_numbers(axes)


PAINTERS: dict[Kind, Callable[[Axes, Panel, Mapping[str, Look]], None]] = {
    "lines": _lines,
    "steps": _steps,
    "bars": _bars,
    "stack": _stack,
    "matrix": painters.matrix,
    "strengths": painters.strengths,
    "ranks": painters.ranks,
}


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))


def _marked(curve: Curve) -> list[int]:
    """The points that have a marker, the last always."""
    count = len(curve.x)
    return list(range(count - 1, -1, -math.ceil(count / MOST_MARKERS)))


def _band(curve: Curve) -> tuple[Sequence[float], Sequence[float]]:
    if curve.band:
        return curve.band
    pairs = list(zip(curve.y, curve.spread, strict=True))
    return [y - spread for y, spread in pairs], [y + spread for y, spread in pairs]


def _methods(sweep: Sweep) -> dict[str, bool]:
    """All methods, in the order of the sweep, and which are references."""
    return {cell.method: cell.unit is not None for cell in sweep.cells}


def _looks(curves: Iterable[Curve], methods: Mapping[str, bool] | None = None) -> dict[str, Look]:
    """One for each label, in the order of rank and appearance; references are black. Where curves are methods, all
    methods of the sweep have theirs, so that one looks alike in all figures."""
    labels = {curve.label: curve.reference for curve in sorted(curves, key=lambda curve: curve.rank)}
    if methods and labels.keys() <= methods.keys():
        labels = dict(methods)
    others, references = ([label for label, black in labels.items() if black is wanted] for wanted in (False, True))
    looks = {label: _look(place) for place, label in enumerate(others)}
    return looks | {label: _reference(place) for place, label in enumerate(references)}


def _reference(place: int) -> Look:
    dashes, markers = ("--", ":", "-.", "-"), ("x", "+", "1", "2", "3", "4", "|", "_")
    return Look("black", dashes[place % len(dashes)], markers[place % len(markers)])


def _look(place: int) -> Look:
    return Look(
        colour=COLOURS[place % len(COLOURS)],
        dashes=DASHES[(place + 2 * (place // len(COLOURS))) % len(DASHES)],
        marker=MARKERS[place % len(MARKERS)],
    )


def _line(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.dashes, "marker": look.marker}


def _depth_colours(size: int) -> list[Any]:
    import matplotlib

    return [matplotlib.colormaps[DEPTHS](index / max(size - 1, 1)) for index in range(size)]
