"""Differences, percentages of wins and increases are those that one counts pair by pair."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.stats.paired import (
    ROUNDING,
    SCALES,
    RelativeIncrease,
    WinPercentage,
    clipped,
    differences,
    grouped_means,
    log_ratios,
    relative_increase,
    win_percentage,
)
from orchestrator.stats.significance import TESTS, p_value

# Few values, so that there are ties
ERRORS = st.one_of(st.none(), st.just(math.nan), st.just(math.inf), st.sampled_from([1.5, 2.0, 2.5]), st.floats(0, 100))
EQUAL = Fraction(1, 2 * 10**ROUNDING)
"""Points of a difference below which two errors are taken for equal."""
PAIRS = st.lists(st.tuples(ERRORS, ERRORS), max_size=30)


def columns(pairs) -> tuple[list, list]:
    return [own for own, _ in pairs], [other for _, other in pairs]


@given(PAIRS)
def test_wins_are_counted_pair_by_pair(pairs) -> None:
    points, wins, ties, dropped = Fraction(0), 0, 0, 0
    for own, other in pairs:
        if own is None or other is None or own != own or other != other:
            dropped += 1
            continue
        if math.inf in (own, other):  # one that diverged is worse than all but another
            points += Fraction((own < other) * 2 + (own == other), 2)
            wins, ties = wins + (own < other), ties + (own == other)
            continue
        lead = Fraction(other) - Fraction(own)
        assume(abs(abs(lead) - EQUAL) > EQUAL / 1000)  # where floating point itself could go either way
        if lead > EQUAL:
            points, wins = points + 1, wins + 1
        elif lead > -EQUAL:
            points, ties = points + Fraction(1, 2), ties + 1
    n = len(pairs) - dropped
    found = win_percentage(*columns(pairs))
    assert found == WinPercentage(wins=wins, ties=ties, n=n, dropped=dropped)
    assert found.losses == n - wins - ties
    if n:
        assert found.fraction == pytest.approx(float(points / n))
        assert found.percent == pytest.approx(float(100 * points / n))
    else:
        assert found.fraction is found.percent is None


@given(PAIRS)
def test_arrays_are_as_good_as_lists(pairs) -> None:
    own, other = (np.array([math.nan if e is None else e for e in errors]) for errors in columns(pairs))
    assert win_percentage(own, other) == win_percentage(*columns(pairs))
    for scale in SCALES.values():
        assert scale(own, other).tolist() == scale(*columns(pairs)).tolist()


@given(PAIRS)
def test_what_one_wins_the_other_loses(pairs) -> None:
    own, other = columns(pairs)
    there, back = win_percentage(own, other), win_percentage(other, own)
    assert (there.ties, there.n, there.dropped) == (back.ties, back.n, back.dropped)
    assert (there.wins, there.losses) == (back.losses, back.wins)


def test_a_tie_is_half_a_win() -> None:
    assert win_percentage([1, 2, 3, 4], [2, 2, 2, 2]) == WinPercentage(wins=1, ties=1, n=4, dropped=0)
    assert win_percentage([1, 2, 3, 4], [2, 2, 2, 2]).percent == 37.5


def test_a_missing_error_drops_its_pair() -> None:
    found = win_percentage([1, None, 1, math.nan, 1], [2, 2, None, 2, 0])
    assert found == WinPercentage(wins=1, ties=0, n=2, dropped=3)


def test_a_hundred_thousand_pairs_are_counted() -> None:
    own, other = np.random.default_rng(0).integers(0, 10, size=(2, 100_000)).astype(float)
    own[::7] = math.nan
    found = win_percentage(own, other)
    assert found.n + found.dropped == 100_000
    assert found.dropped == math.ceil(100_000 / 7)
    assert found.ties / found.n == pytest.approx(0.1, abs=0.01)
    assert found.wins / found.n == pytest.approx(0.45, abs=0.01)


@pytest.mark.parametrize("pairs", [[], [(None, 1.0)], [(1.0, math.nan), (None, None)]])
def test_where_nothing_can_be_compared_there_is_no_number(pairs) -> None:
    own, other = columns(pairs)
    found = win_percentage(own, other)
    assert found == WinPercentage(wins=0, ties=0, n=0, dropped=len(pairs))
    assert found.percent is found.fraction is None
    assert {p_value(own, other, test) for test in TESTS} == {None}
    assert relative_increase(own, other) == RelativeIncrease(percent=None, n=0, dropped=len(pairs))


@pytest.mark.parametrize("compare", [win_percentage, p_value, relative_increase, *SCALES.values()])
def test_errors_must_come_in_pairs(compare) -> None:
    with pytest.raises(ValueError, match="2 errors against 3: they must come in pairs"):
        compare([1, 2], [1, 2, 3])


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 50)), st.one_of(st.none(), st.integers(0, 5)))))
def test_a_relative_increase_is_the_mean_of_those_that_can_be_taken(pairs) -> None:
    ratios = [Fraction(own, best) - 1 for own, best in pairs if own is not None and best]
    found = relative_increase(*columns(pairs))
    assert (found.n, found.dropped) == (len(ratios), len(pairs) - len(ratios))
    assert found.percent == (pytest.approx(float(100 * sum(ratios) / len(ratios))) if ratios else None)


# Trials that diverged


def test_a_trial_that_diverged_loses_its_pair_and_ties_with_another() -> None:
    own, other = [math.inf, 1.0, math.inf, 1.0], [2.0, math.inf, math.inf, 2.0]
    assert win_percentage(own, other) == WinPercentage(wins=2, ties=1, n=4, dropped=0)
    assert differences(own, other).tolist() == [math.inf, -math.inf, 0, -1]
    assert log_ratios(own, other).tolist() == [math.inf, -math.inf, 0, pytest.approx(-math.log(2), abs=1e-9)]
    assert relative_increase([math.inf, 3.0], [1.0, 2.0]) == RelativeIncrease(percent=50, n=1, dropped=1)


@pytest.mark.parametrize("test", TESTS)
def test_a_divergence_speaks_against_a_method_in_every_test(test) -> None:
    own, other = [1.0 + step / 16 for step in range(12)], [3.0] * 12
    assert p_value([*own, math.inf], [*other, 3.0], test) > p_value([*own, 1.0], [*other, 3.0], test)
    assert p_value([*own, 1.0], [*other, math.inf], test) <= p_value([*own, 4.0], [*other, 3.0], test)


# Means of groups


def test_the_means_of_groups_are_in_the_order_of_their_labels() -> None:
    assert grouped_means(np.array([1.0, 5.0, 2.0, 7.0]), np.array([2, 0, 2, 0])).tolist() == [6, 1.5]
    assert grouped_means(np.array([]), np.array([], dtype=int)).tolist() == []


def test_a_divergence_counts_as_much_as_the_clearest_loss() -> None:
    assert clipped(np.array([math.inf, -2.0, 1.0, -math.inf])).tolist() == [2, -2, 1, -2]
    assert clipped(np.array([math.inf, 0.0])).tolist() == [1, 0]


def test_ratios_let_no_data_set_count_more_for_its_large_errors() -> None:
    assert log_ratios([20.0, 2.0], [10.0, 1.0]) == pytest.approx([math.log(2)] * 2)
    assert log_ratios([0.0, 0.0, 1.0], [0.0, 1.0, 0.0]).tolist() == [0, -math.inf, math.inf]
