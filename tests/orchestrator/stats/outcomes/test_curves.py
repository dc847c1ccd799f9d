"""Areas and points are those of plain loops over images, and of closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from answered import drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.stats.outcomes.curves import (
    Curve,
    accuracies,
    anytime_auc,
    area,
    errors,
    first,
    image_aucs,
    reached,
    relative_costs,
)

small = st.tuples(st.integers(0, 500), st.integers(1, 5), st.integers(1, 12), st.integers(2, 4))


@settings(max_examples=40)
@given(small)
def test_the_area_is_a_mean_over_interruptions(sizes) -> None:
    """One at each unit of cost: it finds the latest prediction that was made."""
    outcomes = drawn_outcomes(*sizes)
    total, right = outcomes.costs[-1], 0.0
    for moment in range(total):
        made = [k for k, cost in enumerate(outcomes.costs) if cost <= moment]
        for image, label in enumerate(outcomes.labels):
            right += bool(made) and outcomes.classes[made[-1], image] == label
    assert anytime_auc(outcomes) == pytest.approx(100 * right / total / len(outcomes.labels), abs=1e-9)
    assert anytime_auc(outcomes) == pytest.approx(image_aucs(outcomes).mean())


def test_a_perfect_network_reaches_all_but_its_first_cost() -> None:
    outcomes = drawn_outcomes(0, 4, 50, 3, scale=0.0)
    outcomes.classes[:] = outcomes.labels
    assert anytime_auc(outcomes) == pytest.approx(100 * (1 - relative_costs(outcomes)[0]))
    assert accuracies(outcomes).tolist() == [100] * 4
    assert errors(outcomes).tolist() == [0] * 4


@settings(max_examples=40)
@given(small, st.randoms(use_true_random=False))
def test_what_exits_reach_is_a_mean_over_images(sizes, random) -> None:
    outcomes = drawn_outcomes(*sizes)
    exits = np.array([random.randrange(sizes[1]) for _ in outcomes.labels])
    cost = right = 0.0
    for image, k in enumerate(exits):
        cost += outcomes.costs[k] / outcomes.costs[-1]
        right += outcomes.classes[k, image] == outcomes.labels[image]
    assert reached(outcomes, exits) == pytest.approx((cost / len(exits), 100 * right / len(exits)))


def test_images_leave_at_the_first_chance_or_at_the_end() -> None:
    leaving = np.array([[False, True, False], [True, True, False], [False, False, False]])
    assert first(leaving).tolist() == [1, 0, 2]


def test_the_area_of_a_curve_is_that_of_its_trapezoids_in_the_order_of_cost() -> None:
    curve = Curve(
        settings=np.arange(4.0), costs=np.array([0.5, 0.25, 0.5, 0.75]), accuracies=np.array([60, 40, 50, 90])
    )
    assert area(curve) == pytest.approx(0.25 * (40 + 60) / 2 + 0.25 * (50 + 90) / 2 + 0.25 * 90)
