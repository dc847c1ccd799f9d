"""The closed forms of power are what simulated experiments find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as students

from orchestrator.stats import power
from orchestrator.stats.power import Spread
from orchestrator.stats.resampling import generator
from orchestrator.stats.significance import wins_needed

TABLES = 4000
SPREAD = Spread(seeds=1.5, cells=0.7)


def simulated(difference: float, cells: int, seeds: int, of_cells: float, *purpose: object) -> np.ndarray:
    """Differences [table, cell, seed] of a true mean, with the spreads of ``SPREAD``."""
    rng = generator(0, "power", cells, seeds, *purpose)
    own = difference + of_cells * rng.normal(size=(TABLES, cells, 1))
    return own + SPREAD.seeds * rng.normal(size=(TABLES, cells, seeds))


def found(means: np.ndarray, errors: np.ndarray, freedom: int) -> float:
    """In which share of the tables a t-test finds the difference."""
    return float((np.abs(means / errors) > students.ppf(0.975, freedom)).mean())


@pytest.mark.parametrize(("cells", "seeds"), [(2, 3), (4, 2), (4, 5), (39, 2)])
def test_new_seeds_show_that_difference_in_four_of_five_tables(cells: int, seeds: int) -> None:
    least = power.of_new_seeds(SPREAD, cells, seeds)
    tables = simulated(least, cells, seeds, of_cells=0)
    within = tables.var(axis=2, ddof=1).mean(axis=1)
    share = found(tables.mean(axis=(1, 2)), np.sqrt(within / (cells * seeds)), cells * (seeds - 1))
    assert share == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("cells", "seeds"), [(5, 1), (5, 3), (13, 2), (39, 1)])
def test_new_cells_show_that_difference_in_four_of_five_tables(cells: int, seeds: int) -> None:
    least = power.of_new_cells(SPREAD, cells, seeds)
    means = simulated(least, cells, seeds, of_cells=SPREAD.cells).mean(axis=2)
    share = found(means.mean(axis=1), means.std(axis=1, ddof=1) / math.sqrt(cells), cells - 1)
    assert share == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("difference", [0.2, -0.7, 3.0])
def test_the_seeds_needed_are_the_fewest_that_show_the_difference(difference: float) -> None:
    needed = power.seeds_needed(difference, SPREAD, cells=6)
    assert power.of_new_seeds(SPREAD, 6, needed) <= abs(difference)
    assert needed == 2 or power.of_new_seeds(SPREAD, 6, needed - 1) > abs(difference)


def test_as_many_seeds_as_are_needed_find_the_difference() -> None:
    needed = power.seeds_needed(0.6, SPREAD, cells=6)
    tables = simulated(0.6, 6, needed, of_cells=0)
    within = tables.var(axis=2, ddof=1).mean(axis=1)
    share = found(tables.mean(axis=(1, 2)), np.sqrt(within / (6 * needed)), 6 * (needed - 1))
    assert 0.77 < share < 0.86


def test_the_cells_needed_are_the_fewest_that_show_the_difference() -> None:
    needed = power.cells_needed(0.8, SPREAD, seeds=3)
    assert power.of_new_cells(SPREAD, needed, 3) <= 0.8 < power.of_new_cells(SPREAD, needed - 1, 3)


def test_no_number_of_seeds_shows_what_is_not_there() -> None:
    assert power.seeds_needed(0.0, SPREAD, cells=6) is None
    assert power.seeds_needed(1.0, Spread(seeds=None, cells=1.0), cells=6) is None


def test_one_seed_or_one_cell_shows_nothing() -> None:
    assert power.of_new_seeds(SPREAD, cells=39, seeds=1) is None
    assert power.of_new_cells(SPREAD, cells=1, seeds=9) is None


@pytest.mark.parametrize(("n", "test"), [(39, "sign-test"), (39, "hoeffding"), (200, "sign-test"), (5, "sign-test")])
def test_a_method_that_wins_with_that_chance_wins_enough_in_four_of_five(n: int, test: str) -> None:
    chance, wins = power.chance_needed(n, test), wins_needed(n, test)
    assert binom.sf(wins - 1, n, chance) == pytest.approx(0.8, abs=1e-4)
    won = generator(0, "wins", n).binomial(n, chance, size=20_000)
    assert (won >= wins).mean() == pytest.approx(0.8, abs=0.01)


def test_of_too_few_experiments_no_chance_suffices() -> None:
    assert power.chance_needed(4, "sign-test") is None


@pytest.mark.parametrize(("n", "hoeffding", "sign_test"), [(39, 28, 26), (13, None, 10), (4, None, None)])
def test_the_wins_needed_hold_their_level_under_luck(n: int, hoeffding: int | None, sign_test: int | None) -> None:
    """And one win less does not, of the exact test."""
    expected = {"hoeffding": hoeffding or wins_needed(n, "hoeffding"), "sign-test": sign_test}
    for test, wins in expected.items():
        assert wins_needed(n, test) == wins
        if wins:
            lucky = generator(0, "luck", n).binomial(n, 0.5, size=200_000)
            assert (lucky >= wins).mean() <= 0.05
    if sign_test:
        assert (lucky >= sign_test - 1).mean() > 0.05


@pytest.mark.parametrize(("wins", "chance"), [(0, 0.0), (1, 0.0), (3, 1.0), (2, 0.3)])
def test_the_chance_of_so_many_wins_is_scipys(wins: int, chance: float) -> None:
    assert power.at_least(wins, 3, chance) == pytest.approx(binom.sf(wins - 1, 3, chance))
