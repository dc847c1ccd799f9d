"""Effects are the means, medians, ratios and chances that one works out by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from orchestrator.stats.effects import effect
from orchestrator.stats.scopes import Grouping

PAIRS = list(product(["a", "b"], ["x", "y", "z"], [0, 1]))
OTHER = np.array([10.0, 12, 20, 22, 30, 32, 5, 5, 6, 6, 7, 7])
OWN = OTHER - np.array([1.0, 3, 1, 1, 0, 0, 1, -1, 2, 2, 1, 0])


def test_by_hand_over_cells() -> None:
    found = effect(OWN, OTHER, Grouping.of("cells", PAIRS))
    units = [-2.0, -1, 0, 0, -2, -0.5]
    assert (found.n, found.lower, found.equal) == (6, 4, 2)
    assert found.mean == pytest.approx(np.mean(units))
    assert found.median == pytest.approx(-0.75)
    assert (found.mean_interval.low, found.mean_interval.high) == (-2, 0)
    ratios = np.log(OWN / OTHER).reshape(6, 2).mean(axis=1)
    assert found.relative == pytest.approx(100 * (math.exp(ratios.mean()) - 1))
    assert found.relative_interval.low == pytest.approx(100 * (math.exp(ratios.min()) - 1))


def test_the_chance_of_an_improvement_crosses_the_seeds_of_a_cell() -> None:
    found = effect(OWN, OTHER, Grouping.of("cells", PAIRS))
    cells = []
    for own, other in zip(OWN.reshape(6, 2), OTHER.reshape(6, 2), strict=True):
        cells.append(np.mean([(a < b) + (a == b) / 2 for a in own for b in other]))
    assert found.improvement == pytest.approx(100 * np.mean(cells))
    assert found.improvement_interval.low < found.improvement < found.improvement_interval.high


def test_what_cancels_is_no_difference() -> None:
    """Thirds are rounded, and their sum is not quite 0."""
    pairs = list(product(["a"], ["x", "y"], [0, 1, 2]))
    found = effect([1.0, 1.0, 2.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], Grouping.of("cells", pairs))
    assert found.mean == 0


def test_too_few_units_have_an_effect_and_no_interval_of_it() -> None:
    found = effect(OWN, OTHER, Grouping.of("data_sets", PAIRS))
    assert (found.n, found.mean_interval, found.median_interval, found.relative_interval) == (2, None, None, None)
    assert found.mean == pytest.approx(-11 / 12)
    assert found.improvement_interval.low < found.improvement


def test_trials_that_diverged_and_errors_of_zero_are_left_out_of_what_they_make_infinite() -> None:
    own, other = OWN.copy(), OTHER.copy()
    own[0], other[1] = math.inf, math.inf
    assert effect(own, other, Grouping.of("cells", PAIRS)).n == 5
    own, other = OWN.copy(), OTHER.copy()
    other[:2] = 0
    found = effect(own, other, Grouping.of("cells", PAIRS))
    assert (found.n, found.relative, found.relative_interval) == (6, None, None)
    assert effect([math.inf] * 12, OTHER, Grouping.of("cells", PAIRS)) is None


def test_the_bootstrap_is_of_what_the_scope_draws_anew() -> None:
    """Seeds differ less than networks do here."""
    rng = np.random.default_rng(0)
    pairs = list(product(["a"], map(str, range(7)), range(3)))
    other = np.full(21, 20.0)
    own = other + np.repeat(rng.normal(0, 2, 7), 3) + rng.normal(0, 0.1, 21)
    spans = {
        scope: (found := effect(own, other, Grouping.of(scope, pairs)).bootstrap).high - found.low
        for scope in ("seeds", "networks")
    }
    assert spans["seeds"] < 0.3 < 1 < spans["networks"]
