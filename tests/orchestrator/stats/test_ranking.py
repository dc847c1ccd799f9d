"""Rankings of all methods agree with other libraries on fixed tables, and with what brute force makes of small ones."""

from __future__ import annotations

import json
import math
from itertools import pairwise as neighbours
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import friedmanchisquare, studentized_range

from orchestrator.stats import ranking
from orchestrator.stats.pairwise import pair_differences
from orchestrator.stats.resampling import generator

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_ranking" / "tables.json").read_text())
TABLES = {name: np.array(table["errors"]) for name, table in GOLDEN["tables"].items()}
Numbers = NDArray[np.float64]
MANY = 10**6


def differences(errors: Numbers) -> Numbers:
    return pair_differences(errors[:, :, None])


def placed(wins: Numbers, ties: Numbers | None = None, cells: int = MANY) -> ranking.Strengths:
    """Of one problem, relative to its first method."""
    ties = np.zeros(wins.shape) if ties is None else ties
    return ranking.strengths(wins[None].astype(float), ties[None].astype(float), [cells], 0)


def log_likelihood(wins: Numbers, ties: Numbers, log_strengths: Numbers, log_nu: float) -> float:
    """As Davidson wrote it, pair by pair."""
    total, strengths, nu = 0.0, np.exp(log_strengths), math.exp(log_nu)
    for i, j in product(range(len(wins)), repeat=2):
        both = strengths[i] + strengths[j] + nu * math.sqrt(strengths[i] * strengths[j])
        total += wins[i, j] * math.log(strengths[i] / both)
        if i < j:
            total += ties[i, j] * math.log(nu * math.sqrt(strengths[i] * strengths[j]) / both)
    return total


# Strengths


@pytest.mark.parametrize("name", TABLES)
def test_strengths_without_ties_are_those_of_choix(name: str) -> None:
    own = differences(TABLES[name])
    wins = (own < 0).sum(axis=0)
    assert placed(wins).strength[0] == pytest.approx(GOLDEN["tables"][name]["bradley_terry"], abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_strengths_with_ties_and_missing_cells_are_most_likely(seed: int) -> None:
    """Another maximiser, of the likelihood as Davidson wrote it, finds the same."""
    rng = generator(seed, "ties")
    wins = rng.integers(0, 7, size=(4, 4)).astype(float)
    ties = np.triu(rng.integers(1, 4, size=(4, 4)).astype(float), 1)
    ties += ties.T
    wins[0, 3] = wins[3, 0] = ties[0, 3] = ties[3, 0] = 0  # these two never met
    np.fill_diagonal(wins, 0)
    found = minimize(
        lambda free: -log_likelihood(wins, ties, np.array([0.0, *free[:3]]), free[3]), np.zeros(4), tol=1e-10
    )
    assert placed(wins, ties).strength[0] == pytest.approx([0.0, *found.x[:3]], abs=1e-3)


def test_an_interval_ends_where_the_likelihood_has_fallen_by_what_chi_squared_says() -> None:
    """Of two methods it is that of a coin: 9 heads of 12."""
    found = placed(np.array([[0, 3], [9, 0]]))
    assert found.strength[0, 1] == pytest.approx(math.log(9 / 3), abs=1e-4)
    for end in (found.low[0, 1], found.high[0, 1]):
        heads = 1 / (1 + math.exp(-end))
        fallen = 9 * math.log(0.75 / heads) + 3 * math.log(0.25 / (1 - heads))
        assert 2 * fallen == pytest.approx(3.8415, abs=1e-3)
    assert found.score[0] == pytest.approx([0.5, 0.75], abs=1e-4)
    assert found.score_low[0, 1] == pytest.approx(1 / (1 + math.exp(-found.low[0, 1])), abs=1e-4)


def test_a_score_counts_ties_as_halves() -> None:
    """Of two methods all that is observed is reproduced: 4 wins, 6 ties, 2 losses."""
    found = placed(np.array([[0, 2], [4, 0]]), np.array([[0, 6], [6, 0]]))
    assert found.score[0, 1] == pytest.approx((4 + 3) / 12, abs=1e-4)
    assert found.score_low[0, 1] < found.score[0, 1] < found.score_high[0, 1]


def test_a_method_that_won_all_is_infinitely_strong_above_a_bound() -> None:
    found = placed(np.array([[0, 0, 2], [8, 0, 8], [6, 0, 0]]))
    assert found.strength[0, 1] == math.inf
    assert found.high[0, 1] == math.inf
    assert 0 < found.low[0, 1] < 4
    assert found.score[0, 1] == found.score_high[0, 1] == 1
    assert 0.5 < found.score_low[0, 1] < 1
    assert found.strength[0, 2] == pytest.approx(math.log(6 / 2), abs=1e-3)  # not moved by the one above


def test_a_method_that_lost_all_is_infinitely_weak_below_a_bound() -> None:
    found = placed(np.array([[0, 8], [0, 0]]))
    assert (found.strength[0, 1], found.low[0, 1]) == (-math.inf, -math.inf)
    assert -4 < found.high[0, 1] < 0
    assert found.score[0, 1] == found.score_low[0, 1] == 0


@pytest.mark.parametrize(("won", "sure"), [(1, False), (4, False), (5, False), (6, True)])
def test_winning_all_of_few_cells_is_as_sure_as_a_sign_test_says(won: int, sure: bool) -> None:
    """A coin gives 5 of 5, or none, in 6 % and 6 of 6 in 3 %."""
    found = placed(np.array([[0, 0], [won, 0]]), cells=won)
    assert bool(found.low[0, 1] > 0) is sure
    assert found.high[0, 1] == math.inf


def test_what_nothing_links_to_the_reference_has_no_strength() -> None:
    """Two that both beat a third alone, and were never compared; and one that was in no cell."""
    wins = np.zeros((4, 4))
    wins[0, 2] = wins[1, 2] = 5
    found = placed(wins)
    assert np.isnan(found.strength[0, [1, 3]]).all()
    assert (found.low[0, 1], found.high[0, 1]) == (-math.inf, math.inf)
    assert found.strength[0, 2] == -math.inf


def test_nothing_but_ties_makes_all_equal() -> None:
    ties = np.array([[0, 6, 6], [6, 0, 6], [6, 6, 0]])
    found = placed(np.zeros((3, 3)), ties)
    assert found.strength[0] == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_any_outcomes_have_a_strength_within_its_interval(seed: int) -> None:
    """Few or many comparisons, in a dense table or a sparse one; some fall apart, some have a loser of all."""
    rng = generator(seed, "any")
    methods, density = int(rng.integers(2, 10)), rng.choice([0.05, 0.2, 0.6, 1.0])
    shape = (4, methods, methods)
    wins = rng.poisson(rng.choice([0.3, 1, 5, 40]), shape) * (rng.random(shape) < density) * (1.0 - np.eye(methods))
    ties = np.triu(rng.poisson(rng.choice([0, 0.3, 3, 30]), shape) * (rng.random(shape) < density), 1)
    found = ranking.strengths(wins, ties + ties.swapaxes(1, 2), [20] * 4, 0)
    known = ~np.isnan(found.strength)
    assert (found.low <= found.strength)[known].all()
    assert (found.strength <= found.high)[known].all()
    assert (found.score_low[known] <= found.score[known] + 1e-6).all()
    assert (found.score[known] <= found.score_high[known] + 1e-6).all()


def test_problems_solved_at_once_are_those_solved_alone() -> None:
    made = [ranking.outcomes(differences(TABLES["ties"][rows])) for rows in (slice(0, 12), slice(0, 5), slice(5, 12))]
    wins, ties = (np.array(values) for values in zip(*made, strict=True))
    together = ranking.strengths(wins, ties, [12, 5, 7], 0)
    for index in range(3):
        alone = ranking.strengths(wins[index : index + 1], ties[index : index + 1], [(12, 5, 7)[index]], 0)
        for field in ("strength", "low", "high", "score", "score_low", "score_high"):
            assert getattr(together, field)[index] == pytest.approx(getattr(alone, field)[0], abs=1e-5)


def test_a_pair_counts_for_less_in_a_cell_of_many_methods() -> None:
    errors = np.array([[1.0, 2.0, 2.0], [1.0, 2.0, np.nan]])
    wins, ties = ranking.outcomes(differences(errors))
    assert wins[0].tolist() == pytest.approx([0, 3 / 4 + 3 / 3, 3 / 4])
    assert ties[1].tolist() == pytest.approx([0, 0, 3 / 4])
    assert ties[2, 2] == 0


@pytest.mark.parametrize(("methods", "cells"), [(2, 39), (3, 5), (6, 12)])
def test_intervals_hold_the_truth_as_often_as_they_say(methods: int, cells: int) -> None:
    """Errors with Gumbel noise win as Bradley and Terry have it (Luce 1959), and in a cell they depend on each other as
    ranks do. If pairs counted in full, the ends of six methods would hold the truth in 80 % and not in 95 %."""
    rng, tables = generator(0, "coverage", methods, cells), 200
    truth = np.linspace(0, 1.5, methods)
    errors = -(truth + rng.gumbel(size=(tables, cells, methods)))
    made = [ranking.outcomes(table[:, :, None] - table[:, None]) for table in errors]
    wins, ties = (np.array(values) for values in zip(*made, strict=True))
    found = ranking.strengths(wins, ties, [cells] * tables, 0)
    held = ((found.low <= truth) & (truth <= found.high)).mean(axis=0)[1:]
    assert held.min() > 0.90
    assert held.mean() > 0.935


# Mean ranks


@pytest.mark.parametrize("name", TABLES)
def test_friedmans_test_is_scipys(name: str) -> None:
    found = ranking.mean_ranks(TABLES[name])
    assert found.p_value == pytest.approx(friedmanchisquare(*TABLES[name].T).pvalue)
    assert found.n == len(TABLES[name])


@pytest.mark.parametrize("name", TABLES)
def test_the_critical_difference_is_where_nemenyis_p_value_is_the_level(name: str) -> None:
    errors, p_values = TABLES[name], np.array(GOLDEN["tables"][name]["nemenyi"])
    cells, methods = errors.shape
    found = ranking.mean_ranks(errors)
    apart = np.abs(found.ranks[:, None] - found.ranks)
    statistics = apart / math.sqrt(methods * (methods + 1) / (6 * cells)) * math.sqrt(2)
    assert studentized_range.sf(statistics, methods, np.inf) == pytest.approx(p_values, abs=1e-3)
    assert ((apart >= found.critical_difference) == (p_values <= 0.05)).all()


def test_the_critical_difference_of_demsar_is_found() -> None:
    """Demšar (2006), table 5: q is 2.569 for four methods; of 14 data sets the difference is 1.25."""
    errors = generator(0, "demsar").random((14, 4))
    assert ranking.mean_ranks(errors).critical_difference == pytest.approx(1.25, abs=0.005)


def test_a_diverged_trial_has_the_last_rank_and_equal_errors_share_theirs() -> None:
    found = ranking.mean_ranks(np.array([[1.0, 1.0, np.inf], [2.0, 3.0, 4.0]]))
    assert found.ranks.tolist() == [1.25, 1.75, 3.0]


@pytest.mark.parametrize("shape", [(1, 3), (5, 2)])
def test_too_small_a_table_has_no_mean_ranks(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 cells and 3 methods"):
        ranking.mean_ranks(np.ones(shape))
    assert ranking.mean_ranks(np.ones((2, 3))).p_value == 1


def test_a_table_with_a_gap_has_no_mean_ranks() -> None:
    errors = TABLES["few"].copy()
    errors[2, 1] = np.nan
    with pytest.raises(ValueError, match="must be complete"):
        ranking.mean_ranks(errors)


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_the_largest_that_the_difference_spans(seed: int) -> None:
    rng = generator(seed, "groups")
    ranks, difference = rng.integers(1, 20, size=6) / 4, float(rng.integers(0, 8)) / 4
    spanned = [
        frozenset(i for i in range(6) if low <= ranks[i] <= low + difference) for low in ranks
    ]  # a largest group begins at some rank
    largest = {group for group in spanned if len(group) > 1 and not any(group < other for other in spanned)}
    found = ranking.groups(ranks, difference)
    assert {frozenset(group) for group in found} == largest
    assert len(found) == len(largest)
    assert all(ranks[group[0]] <= ranks[after[0]] for group, after in neighbours(found))
