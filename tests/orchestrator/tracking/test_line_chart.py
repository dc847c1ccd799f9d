"""Charts are sound SVG that holds what was given, at the place where it belongs."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.tracking.line_chart import TICKS, ChartLine, ChartPanel, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"
finite = st.floats(-1e6, 1e6, allow_nan=False)


@example(0.0, 5e-324)
@given(finite, finite)
def test_ticks_are_few_even_and_hold_the_range_between_them(one: float, other: float) -> None:
    low, high = sorted((one, other))
    if 0 < high - low < 1e-6 * max(abs(low), abs(high)):
        return  # no digits are left for what lies between
    found = ticks(low, high)
    slack = 1e-6 * (found[-1] - found[0])
    assert 2 <= len(found) <= TICKS + 2
    assert found[0] <= low + slack
    assert high - slack <= found[-1]
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)


def drawn(*panels: ChartPanel, title: str = "ann (1,4) & <b>") -> ElementTree.Element:
    return ElementTree.fromstring(svg(title, panels))


def points(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    lines = root.iter(f"{SVG}polyline")
    return [[tuple(map(float, p.split(","))) for p in line.get("points", "").split()] for line in lines]  # type: ignore


def test_points_lie_where_the_ticks_say() -> None:
    line = ChartLine(label="test", x=[0, 1, 2], y=[100, 50, 0], colour="red")
    (found,) = points(drawn(ChartPanel(x_label="epoch", y_label="error", lines=[line])))
    (left, top), (middle, centre), (right, bottom) = found
    assert (middle, centre) == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.1)
    assert left < right
    assert top < bottom


def test_text_is_escaped_and_what_is_no_number_is_left_out() -> None:
    line = ChartLine(label="a<b", x=[1, 2, 3], y=[1, math.nan, math.inf], colour="red")
    root = drawn(
        ChartPanel(x_label="epoch", y_label="error", lines=[line]), ChartPanel(x_label="x", y_label="y", lines=[])
    )
    assert [len(found) for found in points(root)] == [1]
    assert len(list(root.iter(f"{SVG}circle"))) == 1  # or a single point would not be seen
    assert {"ann (1,4) & <b>", "a<b", "epoch", "error"} <= {text.text for text in root.iter(f"{SVG}text")}
