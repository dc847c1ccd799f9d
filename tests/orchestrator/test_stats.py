"""Percentages of wins and their p-values are the paper's, or the closed form's."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.stats import WinPercentage, p_value, win_percentage

# Few values, so that there are ties
ERRORS = st.one_of(st.none(), st.just(math.nan), st.sampled_from([1.5, 2.0, 2.5]), st.floats(0, 100))


# Wins


@given(st.lists(st.tuples(ERRORS, ERRORS), max_size=30))
def test_wins_are_counted_pair_by_pair(pairs) -> None:
    points, wins, ties, dropped = Fraction(0), 0, 0, 0
    for own, other in pairs:
        if own is None or other is None or own != own or other != other:
            dropped += 1
        elif own < other:
            points, wins = points + 1, wins + 1
        elif not other < own:
            points, ties = points + Fraction(1, 2), ties + 1
    n = len(pairs) - dropped
    found = win_percentage([own for own, _ in pairs], [other for _, other in pairs])
    assert (found.wins, found.ties, found.n, found.dropped) == (wins, ties, n, dropped)
    if n:
        assert found.fraction == pytest.approx(float(points / n))
        assert found.percent == pytest.approx(float(100 * points / n))
    else:
        assert found.fraction is found.percent is None


@given(st.lists(st.tuples(ERRORS, ERRORS), min_size=1, max_size=30))
def test_what_one_wins_the_other_loses(pairs) -> None:
    own, other = [first for first, _ in pairs], [second for _, second in pairs]
    there, back = win_percentage(own, other), win_percentage(other, own)
    assert (there.ties, there.n, there.dropped) == (back.ties, back.n, back.dropped)
    assert there.wins + back.wins + there.ties == there.n
    if there.fraction is not None and back.fraction is not None:
        assert there.fraction + back.fraction == pytest.approx(1)


def test_a_tie_is_half_a_win() -> None:
    assert win_percentage([1, 2, 3, 4], [2, 2, 2, 2]) == WinPercentage(wins=1, ties=1, n=4, dropped=0)
    assert win_percentage([1, 2, 3, 4], [2, 2, 2, 2]).percent == 37.5


def test_a_missing_error_drops_its_pair() -> None:
    found = win_percentage([1, None, 1, math.nan, 1], [2, 2, None, 2, 0])
    assert found == WinPercentage(wins=1, ties=0, n=2, dropped=3)


@pytest.mark.parametrize("pairs", [[], [(None, 1.0)], [(1.0, math.nan), (None, None)]])
def test_where_nothing_can_be_compared_there_is_no_percentage(pairs) -> None:
    found = win_percentage([own for own, _ in pairs], [other for _, other in pairs])
    assert found == WinPercentage(wins=0, ties=0, n=0, dropped=len(pairs))
    assert found.percent is found.fraction is found.p_value() is None


def test_errors_must_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="2 errors against 3: they must come in pairs"):
        win_percentage([1, 2], [1, 2, 3])


# Table 5 of the paper, in the order 1/4, 1/2, 3/4, 1 and AE, and of how many experiments
TABLE_5 = {
    "aann": ([66.67, 67.95, 76.92, 55.13, 65.38], 39),
    "exp3": ([31.58, 48.68, 71.05, 47.37, 55.26], 38),
    "avgl": ([39.47, 53.95, 55.26, 27.63, 65.79], 38),
    "milestone": ([69.44, 47.22, 50.00, 15.28, 30.56], 36),
    "rwm": ([38.24, 47.06, 61.76, 52.94, 58.82], 34),
}


@pytest.mark.parametrize("method", TABLE_5)
def test_the_papers_table_5_follows_from_its_table_6(method) -> None:
    with (Path(__file__).parent / "table6.csv").open() as file:
        rows = list(csv.DictReader(file))
    errors = {
        (row["method"], row["metric"], row["n"], row["c"], row["dataset"]): float(row["error_pct"]) for row in rows
    }
    experiments = sorted({key[2:] for key in errors})
    assert len(experiments) == 39
    percents, n = TABLE_5[method]
    for metric, percent in zip(["1/4", "1/2", "3/4", "1", "AE"], percents, strict=True):
        own, baseline = ([errors.get((name, metric, *one)) for one in experiments] for name in (method, "ann"))
        found = win_percentage(own, baseline)
        assert found.percent == pytest.approx(percent, abs=0.005)
        assert (found.n, found.dropped) == (n, 39 - n)


# P-values


@pytest.mark.parametrize(
    ("method", "five_percent", "one_in_a_thousand"),
    [("hoeffding", 0.696, 0.798), ("hoeffding-as-published", 0.598, 0.649)],
)
def test_the_thresholds_of_39_experiments(method, five_percent, one_in_a_thousand) -> None:
    """The paper's footnote gives 0.598 (as 0.0598) and 0.65, from an exponent four times Hoeffding's."""
    for threshold, level in ((five_percent, 0.05), (one_in_a_thousand, 0.001)):
        assert p_value(threshold - 0.001, 39, method) > level > p_value(threshold + 0.001, 39, method)
        distance = math.sqrt(-math.log(level) / (2 * 39))  # exp(-2 n t^2) = level
        exact = 0.5 + distance if method == "hoeffding" else 0.5 + distance / 2
        assert exact == pytest.approx(threshold, abs=0.0005)
        assert p_value(exact, 39, method) == pytest.approx(level)


@pytest.mark.parametrize(
    ("percent", "expected", "digits"),
    [(66.67, 0.114, 3), (67.95, 0.081, 3), (76.92, 0.0035, 4), (55.13, 0.81, 2), (65.38, 0.158, 3)],
)
def test_of_the_papers_five_percentages_of_aann_one_is_significant(percent, expected, digits) -> None:
    """At 1/4, 1/2, 3/4, all of the cost and AE, in 39 experiments."""
    found = p_value(percent / 100, 39)
    assert round(found, digits) == expected
    assert (found < 0.05) == (percent == 76.92)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 300))
def test_a_p_value_is_the_closed_form(wins, ties, n) -> None:
    n += wins + ties
    found = WinPercentage(wins=wins, ties=ties, n=n, dropped=7)
    excess = max(Fraction(2 * wins + ties, 2 * n) - Fraction(1, 2), 0)
    assert found.p_value() == found.p_value("hoeffding") == pytest.approx(math.exp(-2 * n * excess**2))
    assert found.p_value("hoeffding-as-published") == pytest.approx(math.exp(-2 * n * (2 * excess) ** 2))


@pytest.mark.parametrize("method", ["hoeffding", "hoeffding-as-published"])
def test_winning_no_more_than_half_says_nothing(method) -> None:
    for fraction in (0, 0.25, 0.5):
        assert p_value(fraction, 39, method) == 1
    assert p_value(0.51, 39, method) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.6, 39, "hoefding"), "no p-value is named 'hoefding'; allowed: hoeffding, hoeffding-as-published"),
        ((1.1, 39), "win_fraction is 1.1, must be between 0 and 1"),
        ((-0.1, 39), "win_fraction is -0.1, must be between 0 and 1"),
        ((66.67, 39), "win_fraction is 66.67, must be between 0 and 1"),
        ((math.nan, 39), "win_fraction is nan, must be between 0 and 1"),
        ((0.6, 0), "n is 0, must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        p_value(*arguments)
