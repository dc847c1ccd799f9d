"""Intervals hold what they estimate as often as they say, and invert the tests that they go with."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.stats.intervals import (
    Interval,
    bootstrap_interval,
    clopper_pearson,
    mean_interval,
    median_interval,
)
from orchestrator.stats.resampling import FEWEST_SUBSETS, bootstrap_means, sign_flip, subset_means


def at_least(wins: int, n: int, chance: float) -> float:
    return sum(math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(wins, n + 1))


# Wins


def test_four_wins_of_four_are_no_certainty() -> None:
    found = clopper_pearson(4, 4)
    assert (round(found.low, 1), found.high) == (39.8, 100)
    assert clopper_pearson(0, 4).high == pytest.approx(100 - found.low)
    assert clopper_pearson(0, 0) is None


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_the_ends_are_where_the_binomial_tails_are_the_level(counts, level) -> None:
    wins, n = counts
    found, tail = clopper_pearson(wins, n, level), (1 - level) / 2
    if wins:
        assert at_least(wins, n, found.low / 100) == pytest.approx(tail, rel=1e-6)
    if wins < n:
        assert 1 - at_least(wins + 1, n, found.high / 100) == pytest.approx(tail, rel=1e-6)


def test_half_a_win_lies_between_none_and_one() -> None:
    none, half, one = (clopper_pearson(wins, 9) for wins in (3, 3.5, 4))
    assert none.low < half.low < one.low
    assert none.high < half.high < one.high


@pytest.mark.parametrize(("won", "tied"), [(0.5, 0.0), (0.3, 0.4), (0.7, 0.2), (0.9, 0.05)])
@pytest.mark.parametrize("n", [5, 13])
def test_the_interval_holds_the_percentage_as_often_as_it_says(won, tied, n) -> None:
    """Over all numbers of wins and ties, ties counting half."""
    covered = 0.0
    for wins, ties in product(range(n + 1), range(n + 1)):
        losses = n - wins - ties
        if losses >= 0:
            chance = (
                math.comb(n, wins) * math.comb(n - wins, ties) * won**wins * tied**ties * (1 - won - tied) ** losses
            )
            found = clopper_pearson(wins + ties / 2, n)
            covered += chance * (found.low <= 100 * (won + tied / 2) <= found.high)
    assert covered >= 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clopper_pearson(5, 4), "5 wins of 4: must be from 0 to 4"),
        (lambda: clopper_pearson(1, 4, 95), "level is 95, must be between 0 and 1"),
        (lambda: mean_interval(np.ones(3), 0), "level is 0, must be between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Means and medians


@settings(max_examples=30)
@given(st.lists(st.integers(-40, 40), min_size=6, max_size=9))
def test_the_mean_is_anywhere_that_the_sign_flip_test_does_not_reject(hundredths) -> None:
    units = np.array(hundredths) / 100
    found = mean_interval(units)
    inner = (found.low + 1e-6, found.high - 1e-6)
    for centre in (found.low - 1e-6, *inner, found.high + 1e-6):
        p = 2 * min(sign_flip(units - centre), sign_flip(centre - units))
        assert (p <= 0.05) == (not found.low <= centre <= found.high)


def test_of_six_units_the_interval_is_their_range_and_of_five_there_is_none() -> None:
    units = np.array([-3.0, 0.5, -1.0, -2.0, 4.0, -0.1])
    assert mean_interval(units) == median_interval(units) == Interval(low=-3, high=4, level=0.95, n=6)
    assert mean_interval(units[:5]) is median_interval(units[:5]) is None
    assert mean_interval(np.array([*units, math.inf])) is None


@pytest.mark.parametrize("n", [8, 30])
def test_unequal_spreads_take_no_coverage(n) -> None:
    """Of 400 samples, a third of whose differences vary ten times as much as the others."""
    rng = np.random.default_rng(0)
    spreads = np.where(np.arange(n) % 3 == 0, 1.0, 0.1)
    found = [mean_interval(units) for units in 0.7 + rng.normal(0, spreads, (400, n))]
    assert np.mean([each.low <= 0.7 <= each.high for each in found]) == pytest.approx(0.95, abs=0.025)


def test_the_median_leaves_out_as_many_as_the_sign_test_allows() -> None:
    """Of 39 the 13th from either end: Pr(at most 12 of 39) = 0.012, of 13 it is 0.027."""
    found = median_interval(np.arange(39.0))
    assert (found.low, found.high) == (12, 26)


# Sign flips


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=9))
def test_a_sign_flip_test_is_an_enumeration(hundredths) -> None:
    sums = [
        sum(sign * size for sign, size in zip(signs, hundredths, strict=True))
        for signs in product([1, -1], repeat=len(hundredths))
    ]
    expected = sum(each <= sum(hundredths) for each in sums) / len(sums)
    assert sign_flip(np.array(hundredths) / 100) == pytest.approx(expected)


def test_many_units_are_drawn_and_the_same_each_time() -> None:
    units = np.random.default_rng(1).normal(-0.3, 1, 30)
    rng = np.random.default_rng(2)
    flipped = (rng.choice([-1.0, 1.0], (200_000, 30)) @ units <= units.sum()).mean()
    assert sign_flip(units) == sign_flip(units.copy()) == pytest.approx(flipped, rel=0.1)


def test_very_many_units_take_little_memory() -> None:
    assert len(subset_means(np.ones(5_000))) == FEWEST_SUBSETS
    assert sign_flip(np.full(5_000, -1.0)) == 1 / (1 + FEWEST_SUBSETS)


# The bootstrap


@pytest.mark.parametrize("n", [2, 32, 33])
def test_draws_that_are_kept_are_those_of_the_generator_which_goes_on_after_them(n) -> None:
    values = np.random.default_rng(1).normal(size=n)
    for seed in (5, 6, 5):
        plain, rng = np.random.default_rng(seed), np.random.default_rng(seed)
        drawn = plain.multinomial(n, np.full(n, 1 / n), size=100)
        expected = values.mean() + drawn @ (values - values.mean()) / n * math.sqrt(n / (n - 1))
        assert np.array_equal(bootstrap_means(values, np.zeros(n), None, rng, 100), expected)
        assert rng.random() == plain.random()


def test_seeds_alone_are_drawn_where_the_cells_are_given() -> None:
    """Cells far apart whose seeds agree: the mean over these cells is known well, that over new cells is not."""
    cells, rng = np.repeat(np.arange(6), 5), np.random.default_rng(0)
    values = 10.0 * cells + rng.normal(0, 0.1, 30)
    these = bootstrap_interval(values, cells, None, np.random.default_rng(1))
    new = bootstrap_interval(values, cells, np.arange(6), np.random.default_rng(1))
    assert these.high - these.low < 0.2
    assert new.high - new.low > 20


@pytest.mark.parametrize(("units", "seeds"), [(13, 1), (13, 3), (6, 2)])
def test_the_bootstrap_holds_the_mean_as_often_as_it_says(units, seeds) -> None:
    rng, hits = np.random.default_rng(0), 0
    cells = np.repeat(np.arange(units), seeds)
    for _ in range(200):
        values = 0.5 + rng.normal(0, 1, units)[cells] + rng.normal(0, 1, units * seeds)
        found = bootstrap_interval(values, cells, np.arange(units), rng)
        hits += found.low <= 0.5 <= found.high
    assert hits / 200 == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize(
    ("cells", "units"),
    [([0, 0, 0, 0, 0, 0, 0, 1], None), ([0, 0, 1, 1, 2, 2], None), ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])],
    ids=["one seed of a cell", "few seeds", "few units"],
)
def test_what_varies_too_little_has_no_bootstrap(cells, units) -> None:
    values = np.arange(float(len(cells)))
    labels = None if units is None else np.array(units)
    assert bootstrap_interval(values, np.array(cells), labels, np.random.default_rng(0)) is None
