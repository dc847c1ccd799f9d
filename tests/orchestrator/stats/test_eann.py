"""Sequences against step-by-step simulation and the closed forms of proposition 3.1."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from importlib.resources import files
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.config import MILESTONES, NetworkConfig, Transition, opt_unit
from anytime_core.cost import costs_at
from orchestrator.stats.eann import (
    Member,
    Point,
    error_at,
    expected_inflation,
    opt_plus,
    regular_expected_inflation,
    regular_worst_inflation,
    sequence_curve,
    worst_inflation,
)


def test_a_sequence_answers_with_a_member_only_past_the_one_before() -> None:
    first = Member(units=(1, 2, 3), costs=(1, 2, 3), errors=(30, 20, 15))
    second = Member(units=(2, 4, 6), costs=(2, 4, 6), errors=(40, 14, 9))
    points = [Point(1, 30), Point(2, 20), Point(3, 15), Point(3 + 4, 14), Point(3 + 6, 9)]
    assert list(sequence_curve([first, second])) == points


@pytest.mark.parametrize("costs", [(1, 2, 3, 4), (5, 6, 7, 8), (2.9, 3, 3.1, 3.2)])
def test_what_is_past_the_one_before_is_told_by_the_depth_and_not_by_the_cost(costs) -> None:
    """A unit as deep as the last of the one before is not, whatever it costs; the next one is."""
    first = Member(units=(1, 2, 3), costs=(1, 2, 3), errors=(30, 20, 15))
    second = Member(units=(2, 3, 4, 5), costs=costs, errors=(40, 18, 14, 9))
    assert [point.error for point in sequence_curve([first, second])] == [30, 20, 15, 14, 9]
    assert [point.cost for point in sequence_curve([first, second])] == [1, 2, 3, 3 + costs[2], 3 + costs[3]]


@pytest.mark.parametrize("transition", get_args(Transition))
def test_members_of_the_paper_report_from_the_unit_after_the_depth_of_the_one_before(transition) -> None:
    """With pooling, the third unit of n = 3 costs more than all three of n = 1, and yet is no deeper."""
    members = []
    for n in (1, 3, 7):
        units = NetworkConfig(n=n, c=32).predicting_units
        costs = tuple(costs_at(n, 32, units, transition=transition))
        members.append(Member(units=units, costs=costs, errors=tuple(100 * n + unit for unit in units)))
    expected = [*range(101, 104), *range(304, 310), *range(710, 722)]
    assert [point.error for point in sequence_curve(members)] == expected


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True).map(sorted), st.integers(0, 60), st.randoms())
def test_any_budget_gives_what_running_unit_by_unit_gives(depths: list[int], budget: int, random) -> None:
    """Members of these depths in units of cost 1; the rule of section 3.3 word by word."""
    errors = [[random.random() for _ in range(depth)] for depth in depths]
    answer, left = None, budget
    for j, depth in enumerate(depths):
        for i in range(1, depth + 1):
            if left == 0:
                break
            left -= 1
            if j == 0 or i > depths[j - 1]:
                answer = errors[j][i - 1]
    steps = [tuple(range(1, depth + 1)) for depth in depths]
    members = [Member(units=s, costs=s, errors=tuple(e)) for s, e in zip(steps, errors, strict=True)]
    assert error_at(sequence_curve(members), budget) == answer


def inflation_of_a_long_sequence(
    base: float, *, regular: bool = False, members: int = 30, points: int = 20_000
) -> tuple[float, float]:
    """Mean and worst ratio of what is spent to the optimum that is matched, by the midpoint rule over all budgets that
    end in the last member, which is where almost all of them end."""
    before, last = base ** (members - 1), base**members
    spent = (last - 1) / (base - 1)  # by all members before the last
    ratios = []
    for k in range(points):
        z = (k + 0.5) / points * last
        matched = before if z <= before or regular else z
        ratios.append((spent + z) / matched)
    return sum(ratios) / points, max(ratios)


@pytest.mark.parametrize("base", [1.5, 2, 3, 8])
def test_the_closed_forms_are_the_limits_of_long_sequences(base: float) -> None:
    mean, worst = inflation_of_a_long_sequence(base)
    assert expected_inflation(base) == pytest.approx(mean, rel=1e-3)
    assert worst_inflation(base) == pytest.approx(worst, rel=1e-3)


@pytest.mark.parametrize("base", [1.5, 2, 3])
def test_regular_networks_inflate_more(base: float) -> None:
    mean, worst = inflation_of_a_long_sequence(base, regular=True)
    assert regular_expected_inflation(base) == pytest.approx(mean, rel=1e-3)
    assert regular_worst_inflation(base) == pytest.approx(worst, rel=1e-3)


def test_the_numbers_of_the_paper() -> None:
    assert round(expected_inflation(2), 4) == 2.4431
    assert worst_inflation(2) == 3
    assert regular_worst_inflation(2) == 4
    assert regular_expected_inflation(1 + math.sqrt(2)) == pytest.approx(1.5 + math.sqrt(2))


def test_opt_plus_is_the_best_optimum_that_is_no_deeper() -> None:
    optima = {5: 30.0, 11: 12.0, 16: 13.0, 21: 11.0}
    limits = {Fraction(75, 4): 12.0, 4: None, 5: 30.0, 21: 11.0, 20.9: 12.0}
    assert {limit: opt_plus(optima, limit) for limit in limits} == limits


OPT_PLUS = {
    "svhn": [1.79, 1.68, 1.66, 1.66],
    "cifar10": [5.82, 5.23, 4.73, 4.73],
    "cifar100": [25.81, 23.63, 22.66, 22.66],
}
"""Table 3: at 1/4, 1/2, 3/4 and all of the 75 units of n = 25."""


@pytest.mark.parametrize("dataset", OPT_PLUS)
def test_the_papers_opt_plus_follows_from_the_optima_of_its_table_6(dataset) -> None:
    with (files("orchestrator.paper.reference") / "table6.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if (row["method"], row["c"], row["dataset"]) == ("opt", "32", dataset)
        ]
    optima: dict[int, float] = {}
    for row in rows:
        unit = opt_unit(int(row["n"]), Fraction(row["metric"]))
        optima[unit] = min(optima.get(unit, 100.0), float(row["error_pct"]))
    assert {int(row["n"]) for row in rows} == {7, 9, 13, 17, 25}
    assert [opt_plus(optima, 75 * fraction) for fraction in MILESTONES] == OPT_PLUS[dataset]


@pytest.mark.parametrize(
    ("units", "costs", "errors", "said"),
    [
        ((), (), (), "0 units, 0 costs, 0 errors: must be as many, at least one"),
        ((1, 2), (1, 2), (3,), "as many"),
        ((1,), (1, 2), (3, 4), "1 units, 2 costs, 2 errors: must be as many"),
        ((1, 2), (2, 1), (3, 4), "costs are .* ascending"),
        ((1, 2), (1, 1), (3, 4), "costs are .* ascending"),
        ((2, 1), (1, 2), (3, 4), "units are .* ascending"),
    ],
)
def test_a_member_that_cannot_be_is_refused(units, costs, errors, said) -> None:
    with pytest.raises(ValueError, match=said):
        Member(units=units, costs=costs, errors=errors)


def test_members_must_grow_and_bases_be_above_1() -> None:
    for depth in (2, 3):
        with pytest.raises(ValueError, match=rf"members are \[3, {depth}\] units deep, must be ascending"):
            sequence_curve([Member(units=(unit,), costs=(unit,), errors=(1,)) for unit in (3, depth)])
    with pytest.raises(ValueError, match="base is 1, must be above 1"):
        expected_inflation(1)
