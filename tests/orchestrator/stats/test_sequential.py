"""Evidence that may be looked at at any time keeps its promise, and is as quick as the design says."""

from __future__ import annotations

import random
from statistics import median

import pytest
from scipy.integrate import quad
from scipy.special import beta, betainc

from orchestrator.stats.sequential import THRESHOLD, Evidence, e_value


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 3), (5, 0), (7, 4), (29, 10), (60, 71)])
def test_an_e_value_is_the_integral_and_the_closed_form(wins: int, losses: int) -> None:
    pairs = wins + losses
    integral, _ = quad(lambda p: 2 ** (pairs + 1) * p**wins * (1 - p) ** losses, 0.5, 1, epsabs=1e-13)
    closed = 2.0 ** (pairs + 1) * beta(wins + 1, losses + 1) * (1 - betainc(wins + 1, losses + 1, 0.5))
    assert float(e_value(wins, losses)) == pytest.approx(integral, rel=1e-6)
    assert float(e_value(wins, losses)) == pytest.approx(closed, rel=1e-9)


def test_29_wins_of_39_are_the_fewest_that_decide() -> None:
    assert e_value(29, 10) >= THRESHOLD > e_value(28, 11)


def test_the_next_pair_is_a_fair_bet_under_one_half() -> None:
    """So its mean never rises where no method is better: exactly, at every count."""
    for wins in range(20):
        for losses in range(20):
            assert (e_value(wins + 1, losses) + e_value(wins, losses + 1)) / 2 == e_value(wins, losses)


def test_counts_below_0_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 wins and 2 losses"):
        e_value(-1, 2)


def stops(rng: random.Random, chance: float, most: int = 195) -> int | None:
    """After how many pairs the threshold is reached, looking after each; None if never."""
    wins = 0
    for pairs in range(1, most + 1):
        wins += rng.random() < chance
        if wins * 2 > pairs and e_value(wins, pairs - wins) >= THRESHOLD:
            return pairs
    return None


def test_looking_after_every_pair_errs_in_at_most_5_percent() -> None:
    rng = random.Random(0)
    found = [stops(rng, 0.5) for _ in range(1000)]
    assert sum(stop is not None for stop in found) <= 50


@pytest.mark.parametrize(("chance", "expected"), [(0.7, 37), (0.8, 17), (0.9, 11)])
def test_it_stops_about_as_soon_as_the_design_says(chance: float, expected: int) -> None:
    rng = random.Random(1)
    found = [stops(rng, chance) or 196 for _ in range(1000)]
    assert median(found) == pytest.approx(expected, rel=0.1)


def test_evidence_grows_to_the_same_value_pair_by_pair() -> None:
    rng = random.Random(2)
    for chance in (0.1, 0.5, 0.9):
        evidence = Evidence()
        for _ in range(150):
            evidence.add(rng.random() < chance)
            assert evidence.e == float(e_value(evidence.wins, evidence.losses))
