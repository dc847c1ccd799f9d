"""Curves of all exit policies begin and end where they must, and lie between chance and the oracle."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from answered import drawn_outcomes

from anytime_core.outcomes import Outcomes
from orchestrator.stats.outcomes.budgeted import whole_curve
from orchestrator.stats.outcomes.curves import Curve, accuracies, accuracy_at, area, relative_costs
from orchestrator.stats.outcomes.exits import MEANINGS, exit_curves
from orchestrator.stats.outcomes.policies import oracle_curve, oracle_point


def curves_of(outcomes: Outcomes) -> dict[str, Curve]:
    return exit_curves(outcomes, whole_curve(outcomes))


def test_each_has_a_meaning_and_runs_from_the_first_prediction_to_the_last() -> None:
    outcomes = drawn_outcomes(0, 5, 200, 4)
    found = curves_of(outcomes)
    assert [*found] == [*MEANINGS]
    costs, right = relative_costs(outcomes), accuracies(outcomes)
    for name, curve in found.items():
        assert (curve.costs[0], curve.accuracies[0]) == pytest.approx((costs[0], right[0])), name
        if name != "oracle":
            assert (curve.costs[-1], curve.accuracies[-1]) == pytest.approx((1, right[-1])), name


@pytest.mark.parametrize("seed", range(6))
def test_none_is_above_the_oracle_at_any_cost(seed: int) -> None:
    outcomes = drawn_outcomes(seed, 6, 150, 5)
    found = curves_of(outcomes)
    for cost in np.linspace(relative_costs(outcomes)[0] + 1e-9, 1, 25):
        best = accuracy_at(found["oracle"], cost)
        for name, curve in found.items():
            assert accuracy_at(curve, cost) <= best + 1e-9, (name, cost)
    assert max(map(area, found.values())) == area(found["oracle"])


def test_the_oracle_is_the_best_of_all_ways_to_leave() -> None:
    """By trying every exit of every image: at the cost of each way, none is more accurate than the oracle's curve, and
    each setting of the curve is one of the ways."""
    outcomes = drawn_outcomes(3, 3, 6, 3)
    costs, right = relative_costs(outcomes), outcomes.right
    ways = [
        (np.mean([costs[k] for k in exits]), 100 * np.mean([right[k, i] for i, k in enumerate(exits)]))
        for exits in product(range(3), repeat=6)
    ]
    curve = oracle_curve(outcomes)
    assert all(accuracy <= accuracy_at(curve, cost + 1e-12) + 1e-9 for cost, accuracy in ways)
    for cost, accuracy in zip(curve.costs, curve.accuracies, strict=True):
        assert any((cost, accuracy) == pytest.approx(way) for way in ways)
    assert (curve.costs[-1], curve.accuracies[-1]) == oracle_point(outcomes)


def test_chance_is_a_mean_over_predictions() -> None:
    """Of MSDNet's q = 1, the 20th of its settings, with the end before them: the plain mean."""
    outcomes = drawn_outcomes(2, 5, 120, 4)
    curve = curves_of(outcomes)["random"]
    assert curve.accuracies[20] == pytest.approx(accuracies(outcomes).mean())
    assert curve.costs[20] == pytest.approx(relative_costs(outcomes).mean())


def test_one_prediction_is_a_point() -> None:
    outcomes = drawn_outcomes(0, 1, 40, 3)
    assert {round(area(curve), 9) for curve in curves_of(outcomes).values()} == {0.0}
