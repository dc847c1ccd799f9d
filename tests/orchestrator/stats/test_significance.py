"""P-values are the paper's, the closed form's, or an enumeration's."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytime_core.result import average_error
from orchestrator.stats.paired import win_percentage
from orchestrator.stats.significance import (
    COUNTING,
    EXACT_RANKS,
    TESTS,
    dependence,
    hoeffding,
    hoeffding_as_published,
    holm,
    p_value,
    sign_test,
    threshold,
    two_sided,
    wilcoxon,
    wins_needed,
)


def compared(wins: int, ties: int, losses: int) -> tuple[list[float], list[float]]:
    return [1.0] * wins + [2.0] * ties + [3.0] * losses, [2.0] * (wins + ties + losses)


# Tests: Hoeffding's bounds


@pytest.mark.parametrize(
    ("test", "five_percent", "one_in_a_thousand"),
    [("hoeffding", 0.696, 0.798), ("hoeffding-as-published", 0.598, 0.649)],
)
def test_the_thresholds_of_39_experiments(test, five_percent, one_in_a_thousand) -> None:
    """The paper's footnote gives 0.598 (as 0.0598) and 0.65, from an exponent four times Hoeffding's."""
    bound = {"hoeffding": hoeffding, "hoeffding-as-published": hoeffding_as_published}[test]
    for expected, level in ((five_percent, 0.05), (one_in_a_thousand, 0.001)):
        exact = threshold(39, test, level)
        assert exact == pytest.approx(expected, abs=0.0005)
        assert bound(exact, 39) == pytest.approx(level)
        assert bound(exact - 0.001, 39) > level > bound(exact + 0.001, 39)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 300))
def test_hoeffdings_bounds_are_the_closed_form(wins, ties, losses) -> None:
    n = wins + ties + losses
    excess = max(Fraction(2 * wins + ties, 2 * n) - Fraction(1, 2), 0)
    pairs = compared(wins, ties, losses)
    assert p_value(*pairs) == p_value(*pairs, "hoeffding") == pytest.approx(math.exp(-2 * n * excess**2))
    assert p_value(*pairs, "hoeffding-as-published") == pytest.approx(math.exp(-2 * n * (2 * excess) ** 2))


@pytest.mark.parametrize("bound", [hoeffding, hoeffding_as_published])
def test_winning_no_more_than_half_says_nothing(bound) -> None:
    assert [bound(fraction, 39) for fraction in (0, 0.25, 0.5)] == [1, 1, 1]
    assert bound(0.51, 39) < 1


# Tests: the sign test


@given(st.integers(0, 30), st.integers(0, 10), st.integers(0, 30))
def test_a_sign_test_counts_the_flips_of_a_coin(wins, ties, losses) -> None:
    flips = wins + losses
    exact = Fraction(sum(math.comb(flips, heads) for heads in range(wins, flips + 1)), 2**flips)
    assert sign_test(wins, losses) == pytest.approx(float(exact))
    if flips + ties:
        assert p_value(*compared(wins, ties, losses), "sign-test") == pytest.approx(float(exact))


# Tests: Wilcoxon's


def enumerated_wilcoxon(differences: list[int]) -> Fraction:
    """Over all signs that the sizes could have had: how often the ranks of the losses sum to no more."""
    sizes = [abs(difference) for difference in differences if difference]
    ranks = [
        Fraction(1 + 2 * sum(other < size for other in sizes) + sum(other == size for other in sizes), 2)
        for size in sizes
    ]
    found = sum(rank for rank, difference in zip(ranks, filter(None, differences), strict=True) if difference > 0)
    sums = [
        sum(rank for rank, lost in zip(ranks, signs, strict=True) if lost)
        for signs in product([0, 1], repeat=len(ranks))
    ]
    return Fraction(sum(one <= found for one in sums), len(sums))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8))
def test_wilcoxons_test_is_an_enumeration_of_signs(differences) -> None:
    """Zeros and equal sizes included; in hundredths, which floating point does not hold exactly."""
    own = [50 + difference / 100 for difference in differences]
    assert p_value(own, [50.0] * len(own), "wilcoxon") == pytest.approx(float(enumerated_wilcoxon(differences)))


def test_wilcoxons_test_weighs_sizes_which_the_sign_test_does_not() -> None:
    own, other = [1.0, 1.0, 1.0, 9.1], [9.0, 8.0, 7.0, 9.0]
    assert p_value(own, other, "wilcoxon") == pytest.approx(2 / 16)
    assert p_value(own, other, "sign-test") == pytest.approx(5 / 16)


def test_many_equal_sizes_are_counted_exactly() -> None:
    """40 differences of three sizes: a draw of signs finds the same chance."""
    differences = np.repeat([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], [8, 8, 7, 6, 7, 4])
    rng = np.random.default_rng(0)
    sizes = abs(differences)
    ranks = np.array([(1 + 2 * (sizes < size).sum() + (sizes == size).sum()) / 2 for size in sizes])
    sums = rng.integers(0, 2, size=(100_000, len(ranks))) @ ranks
    assert wilcoxon(differences) == pytest.approx((sums <= ranks[differences > 0].sum()).mean(), abs=0.005)


def test_the_exact_and_the_normal_distribution_meet() -> None:
    differences = np.random.default_rng(0).normal(-0.1, 1, EXACT_RANKS)
    exact, normal = wilcoxon(differences), wilcoxon(np.append(differences, 1e-6))
    assert exact == pytest.approx(normal, rel=0.02)


def test_two_sided_is_twice_the_clearer_side() -> None:
    assert [two_sided(0.01, 0.99), two_sided(0.99, 0.01), two_sided(0.7, 0.6)] == [0.02, 0.02, 1]


@pytest.mark.parametrize("test", TESTS)
def test_ties_alone_are_no_evidence(test) -> None:
    assert p_value([2.0] * 20, [2.0] * 20, test) == 1


@pytest.mark.parametrize("test", TESTS)
def test_all_tests_are_one_sided(test) -> None:
    lower, higher = np.linspace(1, 2, 13), np.linspace(3, 5, 13)
    assert p_value(lower, higher, test) < 0.05
    assert p_value(higher, lower, test) == pytest.approx(1, abs=1e-5)


# The paper's own: AANN at 1/4, 1/2, 3/4, 1 and AE, as wins and ties of 39


@pytest.mark.parametrize(
    ("wins", "ties", "percent", "bound", "sign"),
    [
        (26, 0, 66.67, 0.114, 0.027),
        (26, 1, 67.95, 0.081, 0.017),
        (30, 0, 76.92, 0.0035, 0.0005),
    ],
)
def test_the_bounds_are_looser_than_the_exact_test(wins, ties, percent, bound, sign) -> None:
    pairs = compared(wins, ties, 39 - wins - ties)
    assert win_percentage(*pairs).percent == pytest.approx(percent, abs=0.005)
    assert p_value(*pairs, "hoeffding") == pytest.approx(bound, rel=0.01)
    assert p_value(*pairs, "sign-test") == pytest.approx(sign, rel=0.1)


# Power


@pytest.mark.parametrize("test", COUNTING)
@given(n=st.integers(0, 80), level=st.sampled_from([0.05, 0.01, 0.001]))
def test_the_wins_needed_are_the_first_that_suffice(test, n, level) -> None:
    enough = [wins for wins in range(n + 1) if n and p_value(*compared(wins, 0, n - wins), test) <= level]
    assert wins_needed(n, test, level) == (enough[0] if enough else None)


def test_of_39_experiments() -> None:
    """28 of 39 is 0.718, the first above Hoeffding's 0.696."""
    assert {test: wins_needed(39, test) for test in COUNTING} == {
        "hoeffding": 28,
        "hoeffding-as-published": 24,
        "sign-test": 26,
    }
    assert wins_needed(4, "sign-test") is None  # a fair coin falls so one in 16 times
    assert wins_needed(5, "sign-test") == 5


# Holm's correction


@given(st.lists(st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.01, 0.02]))), st.sampled_from([0.01, 0.05]))
def test_holm_rejects_step_by_step(p_values, level) -> None:
    """The textbook's: from the least on, reject while p <= level / (hypotheses left); then none."""
    rejected = set()
    left = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    while left and left[0][0] <= level / len(left):
        rejected.add(left.pop(0)[1])
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    for index, (p, after) in enumerate(zip(p_values, adjusted, strict=True)):
        assert (after is None) == (p is None)
        if after is not None and after != pytest.approx(level, rel=1e-12):
            assert 0 <= p <= after <= 1
            assert (after < level) == (index in rejected)


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx((0.03, None, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.5]) == (1, 1)
    assert holm([]) == ()


# Dependence


def test_pairs_that_share_images_or_draws_are_warned_of() -> None:
    networks = [f"({n},16)" for n in range(13)]
    pairs = [(dataset, network, 0) for dataset in ("cifar10", "cifar100", "svhn") for network in networks]
    assert dependence(pairs) == (
        "39 pairs on 3 data sets with 1 seed share images and random draws: the tests take them for independent"
    )
    assert dependence([("cifar10", "(7,16)", seed) for seed in (0, 1)]) == (
        "2 pairs on 1 data set with 2 seeds share images: the tests take them for independent"
    )
    assert dependence([("cifar10", "(7,16)", 0), ("svhn", "(7,16)", 0)]) == (
        "2 pairs on 2 data sets with 1 seed share random draws: the tests take them for independent"
    )


@pytest.mark.parametrize(
    "pairs", [[], [("digits", "(2,8)", 0)], [("digits", "(2,8)", 0), ("cifar10", "(2,8)", 1)]], ids=len
)
def test_pairs_that_share_nothing_are_not(pairs) -> None:
    assert dependence(pairs) == ""


# What cannot be


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: p_value([1.0], [2.0], "hoefding"),
            "no test here is named 'hoefding'; allowed: hoeffding, hoeffding-as-",
        ),
        (lambda: hoeffding(66.67, 39), "win_fraction is 66.67, must be between 0 and 1"),
        (lambda: hoeffding(-0.1, 39), "win_fraction is -0.1, must be between 0 and 1"),
        (lambda: hoeffding_as_published(math.nan, 39), "win_fraction is nan, must be between 0 and 1"),
        (lambda: hoeffding(0.6, 0), "n is 0, must be at least 1"),
        (lambda: threshold(0), "n is 0, must be at least 1"),
        (
            lambda: threshold(39, "sign-test"),
            "no test here is named 'sign-test'; allowed: hoeffding, hoeffding-as-publ",
        ),
        (lambda: sign_test(-1, 3), "-1 wins and 3 losses: neither may be below 0"),
        (
            lambda: wins_needed(39, "wilcoxon"),
            "named 'wilcoxon'; allowed: hoeffding, hoeffding-as-published, sign-test",
        ),
        (lambda: wins_needed(-1), "n is -1, must be at least 0"),
        (lambda: wins_needed(39, level=5), "level is 5, must be between 0 and 1"),
        (lambda: holm([0.5, 1.5]), "1.5 is no p-value: must be between 0 and 1"),
        (lambda: holm([math.nan]), "nan is no p-value: must be between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wilcoxon_takes_differences_that_are_equal_in_decimals_for_equal() -> None:
    """All three differ by 0.2, one of them the other way: ranks of 2 each, of which no less is as likely as not."""
    own, other = [5.1, 10.1, 0.3], [5.3, 10.3, 0.1]
    assert len({abs(a - b) for a, b in zip(own, other, strict=True)}) > 1
    assert p_value(np.array(own), np.array(other), "wilcoxon") == pytest.approx(0.5)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=60), st.randoms())
def test_equal_numbers_of_wrong_answers_are_a_tie_in_whatever_order_they_are_averaged(counts, random) -> None:
    """Their means differ in the last bits: 100 times a count by the images is rounded before it is summed."""
    moved = list(counts)
    low, high = random.sample(range(len(counts)), 2)
    step = min(moved[low], 10_000 - moved[high])
    moved[low] -= step
    moved[high] += step
    own, other = ([average_error([100 * count / 10_000 for count in each])] for each in (moved, counts))
    assert win_percentage(own, other).ties == 1
    assert {p_value(own, other, test) for test in TESTS} == {1.0}
