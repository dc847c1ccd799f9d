"""Pairs of methods: the exact signed-rank test against scipy and brute force, and differences over common seeds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from orchestrator.stats import pairwise, significance
from orchestrator.stats.resampling import generator

Numbers = NDArray[np.float64]
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("n", [1, 5, 12, 39, 50])
def test_the_signed_rank_test_is_scipys_where_that_is_exact(n: int) -> None:
    differences = generator(n, "signed ranks").normal(0.3, 1, size=n)
    assert pairwise.signed_rank(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


def test_of_many_differences_it_is_scipys_approximation() -> None:
    differences = np.round(generator(0, "many").normal(0.05, 1, size=500), 1)
    expected = wilcoxon(differences, method="approx", zero_method="wilcox", correction=True).pvalue
    assert pairwise.signed_rank(differences) == pytest.approx(expected)


def test_the_approximation_is_close_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = generator(3, "close").normal(0.15, 1, size=significance.EXACT_RANKS)
    exact = pairwise.signed_rank(differences)
    monkeypatch.setattr(significance, "EXACT_RANKS", 0)
    assert pairwise.signed_rank(differences) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("seed", range(10))
def test_with_equal_sizes_it_is_what_all_signs_say(seed: int) -> None:
    differences = generator(seed, "equal").integers(-3, 4, size=9).astype(float)
    assert pairwise.signed_rank(differences) == pytest.approx(by_all_signs(differences))


def by_all_signs(differences: Numbers) -> float:
    moved = differences[differences != 0]
    ranks = rankdata(np.abs(moved))
    sums = [float(ranks[list(signs)].sum()) for signs in product([False, True], repeat=len(moved))]
    won = float(ranks[moved < 0].sum())
    tails = [np.mean([total <= won for total in sums]), np.mean([total >= won for total in sums])]
    return float(min(1.0, 2 * min(tails)))


def test_a_diverged_trial_is_the_largest_difference() -> None:
    infinite, large = np.array([1.0, -2.0, INF, 3.0]), np.array([1.0, -2.0, 99.0, 3.0])
    assert pairwise.signed_rank(infinite) == pairwise.signed_rank(large)


def test_no_difference_has_a_p_value_of_one() -> None:
    assert pairwise.signed_rank(np.zeros(3)) == 1


def test_differences_are_of_means_over_the_seeds_that_both_have() -> None:
    errors = np.array([[[1.0, 3.0, NAN], [4.0, NAN, 9.0]]])
    (found,) = pairwise.pair_differences(errors)
    assert found.tolist() == [[0, -3], [3, 0]]


def test_without_a_common_seed_there_is_no_difference() -> None:
    (found,) = pairwise.pair_differences(np.array([[[1.0, NAN], [NAN, 2.0]]]))
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 0])


def test_a_diverged_seed_loses_the_cell_and_two_of_them_tie() -> None:
    errors = np.array([[[1.0, INF], [4.0, 5.0], [INF, 2.0]]])
    (found,) = pairwise.pair_differences(errors)
    assert found[0].tolist() == [0, INF, 0]
    assert found[1].tolist() == [-INF, 0, -INF]


def test_equal_errors_tie_whatever_their_last_bits() -> None:
    (found,) = pairwise.pair_differences(np.array([[[0.1, 0.2], [0.3, 0.0]]]))
    assert found[0, 1] == 0


def test_a_pairing_counts_what_a_reader_would() -> None:
    found = pairwise.pairing(np.array([-1.0, -2.0, 0.0, 4.0, INF, NAN]))
    assert (found.wins, found.ties, found.losses, found.n) == (2, 1, 2, 5)
    assert found.difference == pytest.approx(0.25)
    assert found.diverged == 1
    assert found.p_value == pytest.approx(by_all_signs(np.array([-1.0, -2.0, 0.0, 4.0, 99.0])))


def test_a_pairing_of_nothing_says_nothing() -> None:
    found = pairwise.pairing(np.array([NAN]))
    assert (found.n, found.difference, found.p_value) == (0, None, None)


def test_a_pair_stays_as_it_is_when_a_third_method_comes() -> None:
    errors = generator(0, "third").random((8, 3, 2))
    alone, beside = pairwise.pair_differences(errors[:, :2]), pairwise.pair_differences(errors)
    assert (alone == beside[:, :2, :2]).all()
