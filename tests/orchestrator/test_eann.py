"""Sequences against step-by-step simulation and the closed forms of proposition 3.1."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.eann import (
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
    first = Member(costs=(1, 2, 3), errors=(30, 20, 15))
    second = Member(costs=(2, 4, 6), errors=(40, 14, 9))
    points = [Point(1, 30), Point(2, 20), Point(3, 15), Point(3 + 4, 14), Point(3 + 6, 9)]
    assert list(sequence_curve([first, second])) == points


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
    members = [Member(costs=tuple(range(1, d + 1)), errors=tuple(e)) for d, e in zip(depths, errors, strict=True)]
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


@pytest.mark.parametrize(
    ("costs", "errors", "said"),
    [((), (), "at least one"), ((1, 2), (3,), "as many"), ((2, 1), (3, 4), "ascending"), ((1, 1), (3, 4), "ascending")],
)
def test_a_member_that_cannot_be_is_refused(costs, errors, said) -> None:
    with pytest.raises(ValueError, match=said):
        Member(costs=costs, errors=errors)


def test_members_must_grow_and_bases_be_above_1() -> None:
    with pytest.raises(ValueError, match="ascending"):
        sequence_curve([Member(costs=(3,), errors=(1,)), Member(costs=(2,), errors=(1,))])
    with pytest.raises(ValueError, match="base is 1, must be above 1"):
        expected_inflation(1)
