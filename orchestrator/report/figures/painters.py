"""Draws a panel of all methods at once: a matrix of pairs, strengths with their intervals, mean ranks.

matplotlib is imported where it draws; see ``drawing``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.analysis.curves import Curve, Panel
from orchestrator.report.figures.looks import Look
from orchestrator.stats.ranking import groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BETTER, WORSE = "#0072B2", "#D55E00"
"""Okabe and Ito's blue and vermilion, which no kind of colour-blindness mixes up."""
PALEST = 0.55
"""Words are read on the darkest colour of a matrix, which is so far from the pure one."""
LONGEST_NAME = 16
"""Letters of a method's name beside an axis."""


# A matrix of pairs


def matrix(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """A square for each method, in its row, against another one, in its column."""
    from matplotlib.colors import LinearSegmentedColormap

    labels = [_short(curve.label) for curve in panel.curves]
    shades = LinearSegmentedColormap.from_list("pairs", [_pale(BETTER), (1.0, 1.0, 1.0), _pale(WORSE)])
    values = np.full((len(labels), len(labels)), np.nan)
    for row, curve in enumerate(panel.curves):
        values[row, list(map(int, curve.x))] = curve.y
    most = max((abs(value) for value in values.ravel() if np.isfinite(value)), default=1.0) or 1.0
    axes.imshow(values, cmap=shades, vmin=-most, vmax=most, aspect="auto")
    axes.xaxis.tick_top()  # notes stand below
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelsize=6)
    axes.grid(False)
    _words(axes, panel.curves)


def _words(axes: Axes, curves: Sequence[Curve]) -> None:
    size = min(6.0, 34.0 / max(len(curves), 1))
    for row, curve in enumerate(curves):
        for column, words, bold in zip(curve.x, curve.words, curve.bold, strict=True):
            style: dict[str, Any] = {"fontweight": "bold" if bold else "normal", "fontsize": size}
            axes.text(column, row, words, ha="center", va="center", linespacing=1.05, **style)


def _pale(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - PALEST * (1 - part) for part in to_rgb(colour))
    return red, green, blue


# Strengths


def strengths(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """A line for each method: its percentage and the interval; the reference is where the line of dashes is."""
    axes.axvline(50, color="black", linewidth=0.6, linestyle="--")
    for place, curve in enumerate(panel.curves):
        look = looks[curve.label]
        low, high = curve.band or (curve.x, curve.x)
        axes.plot([low[0], high[0]], [place, place], color=look.colour, linewidth=1.4, solid_capstyle="butt")
        axes.plot(curve.x, [place], color=look.colour, marker=look.marker, linestyle="", markersize=4)
    axes.set_yticks(range(len(panel.curves)), [_short(curve.label) for curve in panel.curves])
    axes.tick_params(axis="y", length=0, labelsize=6)
    axes.set(xlim=(-2, 102), ylim=(len(panel.curves) - 0.4, -0.6))
    axes.grid(False, axis="y")


# Mean ranks


def ranks(axes: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """A line for each method, best first, and a bar down all of those that cannot be told apart."""
    best_first = sorted(panel.curves, key=lambda curve: curve.x)
    means = np.array([curve.x[0] for curve in best_first])
    for place, curve in enumerate(best_first):
        look = looks[curve.label]
        axes.plot([1, curve.x[0]], [place, place], color="#cccccc", linewidth=0.6)
        axes.plot(curve.x, [place], color=look.colour, marker=look.marker, linestyle="", markersize=4)
    bars = groups(means, panel.critical or 0.0)
    edge = len(best_first) + 0.25
    for column, bar in enumerate(bars):
        x = edge + 0.3 * column
        axes.plot([x, x], [bar[0] - 0.25, bar[-1] + 0.25], color="black", linewidth=2, solid_capstyle="butt")
    axes.set_yticks(range(len(best_first)), [f"{_short(curve.label)}  {curve.x[0]:.2f}" for curve in best_first])
    axes.set_xticks(range(1, len(best_first) + 1))
    axes.tick_params(axis="y", length=0, labelsize=6)
    axes.set(xlim=(0.8, edge + 0.3 * max(len(bars), 1)), ylim=(len(best_first) - 0.4, -0.6))
    axes.grid(False, axis="y")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
