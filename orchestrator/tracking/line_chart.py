"""Line charts as SVG, written by hand: one comes with every trial, and matplotlib takes 0.2 s of a core to draw it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 900, 360
"""Of all panels, in pixels, as all lengths here."""
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 56, 46
"""Of a panel, around its axes."""
TICKS = 6
GREY = "#555555"
LETTER = 6.5
"""The width of one, about, in a legend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartLine:
    """Points that are no finite numbers are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    marked: bool = False

    @property
    def points(self) -> list[tuple[float, float]]:
        return [point for point in zip(self.x, self.y, strict=True) if all(map(math.isfinite, point))]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartPanel:
    x_label: str
    y_label: str
    lines: Sequence[ChartLine]


def svg(title: str, panels: Sequence[ChartPanel]) -> str:
    """Panels side by side, on white."""
    width = WIDTH / len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, title, size=14),
    ]
    for index, panel in enumerate(panels):
        parts += _panel(panel, index * width + LEFT, (index + 1) * width - RIGHT)
    return "\n".join([*parts, "</svg>\n"])


LEAST = 1e-300
"""Of a range: with less, a tenth of it may be no number."""


def ticks(low: float, high: float) -> list[float]:
    """At most TICKS + 2 round numbers, of which the first is at most ``low`` and the last at least ``high``."""
    if high - low < LEAST:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _panel(panel: ChartPanel, left: float, right: float) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points] or [(0.0, 0.0)]
    across, upward = (ticks(min(values), max(values)) for values in zip(*points, strict=True))
    top, bottom = TOP, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (x - across[0]) / (across[-1] - across[0]),
            bottom - (bottom - top) * (y - upward[0]) / (upward[-1] - upward[0]),
        )

    for tick in across:
        x, _ = place(tick, 0)
        yield _rule(x, top, x, bottom)
        yield _text(x, bottom + 15, f"{tick:.6g}")
    for tick in upward:
        _, y = place(0, tick)
        yield _rule(left, y, right, y)
        yield _text(left - 6, y + 4, f"{tick:.6g}", anchor="end")
    yield _text((left + right) / 2, HEIGHT - 10, panel.x_label)
    yield _text(left - 42, (top + bottom) / 2, panel.y_label, turned=True)
    yield from _legend(panel.lines, left, top - 12)
    for line in panel.lines:
        yield from _curve(line, [place(*point) for point in line.points])


def _curve(line: ChartLine, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.8"{dashes}/>'
    if line.marked or len(points) == 1:
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{line.colour}"/>' for x, y in points)


def _legend(lines: Sequence[ChartLine], x: float, y: float) -> Iterator[str]:
    for line in lines:
        dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
        yield f'<path d="M{x:.1f} {y - 4:.1f}h18" stroke="{line.colour}" stroke-width="1.8"{dashes}/>'
        yield _text(x + 22, y, line.label, anchor="start")
        x += 36 + LETTER * len(line.label)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, *, size: int = 11, anchor: str = "middle", turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{turn}'
    return f'<text {place} fill="{GREY}">{escape(text)}</text>'
