"""Exits of each policy, and answers of several predictions, against loops over images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from answered import drawn_costs, drawn_logits, drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.outcomes import of_logits
from orchestrator.stats.outcomes.curves import accuracies, reached, relative_costs
from orchestrator.stats.outcomes.policies import (
    POLICIES,
    by_confidence,
    by_entropy,
    by_patience,
    caching,
    oracle,
    oracle_point,
    policy_curve,
    product,
    product_probabilities,
    random_curve,
)

small = st.tuples(st.integers(0, 500), st.integers(1, 6), st.integers(1, 15), st.integers(2, 4))


def leave(outcomes, may) -> list[int]:
    """The first prediction k at which ``may(k, image)``, or the last."""
    last = len(outcomes.costs) - 1
    return [next((k for k in range(last) if may(k, image)), last) for image in range(len(outcomes.labels))]


@settings(max_examples=40)
@given(small, st.floats(0, 1.2))
def test_thresholds_of_confidence_and_entropy(sizes, threshold) -> None:
    outcomes = drawn_outcomes(*sizes)
    confident = leave(outcomes, lambda k, i: float(outcomes.confidence[k, i]) >= threshold)
    certain = leave(outcomes, lambda k, i: float(outcomes.entropy[k, i]) <= threshold)
    assert by_confidence(outcomes, threshold).tolist() == confident
    assert by_entropy(outcomes, threshold).tolist() == certain


@settings(max_examples=40)
@given(small, st.integers(0, 6))
def test_patience_waits_for_so_many_predictions_that_agree(sizes, patience) -> None:
    outcomes = drawn_outcomes(*sizes)

    def agreed(k: int, image: int) -> bool:
        row = outcomes.classes[max(k - patience, 0) : k + 1, image].tolist()
        return k >= patience and len(set(row)) == 1

    assert by_patience(outcomes, patience).tolist() == leave(outcomes, agreed)


@settings(max_examples=40)
@given(small)
def test_no_policy_is_more_right_than_the_oracle_nor_as_right_for_less(sizes) -> None:
    outcomes = drawn_outcomes(*sizes)
    right = [[int(outcomes.classes[k, i]) == label for k in range(sizes[1])] for i, label in enumerate(outcomes.labels)]
    assert oracle(outcomes).tolist() == [row.index(True) if any(row) else 0 for row in right]
    best = oracle_point(outcomes)
    assert best[1] == pytest.approx(100 * sum(any(row) for row in right) / len(right))
    for policy in POLICIES.values():
        curve = policy_curve(outcomes, policy)
        assert (curve.accuracies <= best[1] + 1e-9).all()
        assert (curve.costs[curve.accuracies >= best[1]] >= best[0] - 1e-12).all()


ONE_BY_ONE = {"confidence": by_confidence, "entropy": by_entropy, "patience": by_patience}


@settings(max_examples=40)
@given(small, st.sampled_from([*POLICIES]), st.lists(st.sampled_from([-1, 0, 0.25, 0.7, 1, 1.5, 2, 3, np.inf])))
def test_all_settings_at_once_give_what_each_gives(sizes, name, chosen) -> None:
    outcomes = drawn_outcomes(*sizes)
    curve = policy_curve(outcomes, POLICIES[name], np.array(chosen, np.float64))
    expected = [reached(outcomes, ONE_BY_ONE[name](outcomes, setting)) for setting in chosen]
    found = list(zip(curve.costs, curve.accuracies, strict=True))
    assert found == [pytest.approx(point) for point in expected]


@pytest.mark.parametrize("name", POLICIES)
def test_a_ladder_leads_from_the_first_prediction_to_the_last(name) -> None:
    outcomes = drawn_outcomes(1, 5, 300, 4)
    curve = policy_curve(outcomes, POLICIES[name])
    costs, right = relative_costs(outcomes), accuracies(outcomes)
    assert (curve.costs[0], curve.accuracies[0]) == pytest.approx((costs[0], right[0]))
    assert (curve.costs[-1], curve.accuracies[-1]) == pytest.approx((1, right[-1]))
    assert (np.diff(curve.costs) >= 0).all()
    again = policy_curve(outcomes, POLICIES[name], curve.settings[1:3])
    assert again.costs.tolist() == curve.costs[1:3].tolist()


def test_random_exits_are_what_many_draws_come_to() -> None:
    outcomes, shares = drawn_outcomes(2, 3, 200, 3), np.array([[0.5, 0.2, 0.3], [0, 0, 1.0]])
    found = random_curve(outcomes, shares)
    rng = np.random.default_rng(0)
    draws = np.mean([reached(outcomes, rng.choice(3, 200, p=shares[0])) for _ in range(2000)], axis=0)
    assert (found.costs[0], found.accuracies[0]) == pytest.approx(tuple(draws), rel=0.01)
    assert (found.costs[1], found.accuracies[1]) == pytest.approx((1, accuracies(outcomes)[-1]))


# Answers of several predictions


@settings(max_examples=30)
@given(small)
def test_caching_answers_as_the_most_confident_so_far(sizes) -> None:
    outcomes = drawn_outcomes(*sizes)
    found = caching(outcomes)
    sure = [list(zip(*rows, strict=True)) for rows in zip(outcomes.confidence, -outcomes.entropy, strict=True)]
    for image in range(len(outcomes.labels)):
        best = 0
        for k in range(sizes[1]):
            if sure[k][image] >= sure[best][image]:
                best = k
            for name in ("classes", "confidence", "of_truth", "entropy"):
                assert getattr(found, name)[k, image] == getattr(outcomes, name)[best, image]


def test_caching_tells_apart_what_float16_has_as_equally_sure() -> None:
    """Both are kept as 1."""
    logits = np.array([[[20.0, 0.0]], [[0.0, 12.0]]])
    outcomes = of_logits(logits, np.array([0]), [1, 2])
    assert outcomes.confidence.tolist() == [[1.0], [1.0]]
    assert caching(outcomes).classes.tolist() == [[0], [0]]


@settings(max_examples=30)
@given(small)
def test_product_anytime_is_a_product_of_powers(sizes) -> None:
    logits, labels = drawn_logits(*sizes)
    predictions, images, classes = logits.shape
    found = product_probabilities(logits)
    for image in range(images):
        factors = [1.0] * classes
        for k in range(predictions):
            scores = [float(score) for score in logits[k, image]]
            factors = [f * max(s, 0.0) ** ((k + 1) / predictions) for f, s in zip(factors, scores, strict=True)]
            raised = [math.exp(score - max(scores)) for score in scores]
            expected = factors if any(factors) else raised
            assert found[k, image] == pytest.approx([each / sum(expected) for each in expected], abs=1e-12)
    costs = drawn_costs(predictions)
    ours = product(logits, of_logits(logits, labels, costs))
    assert ours.classes.tolist() == found.argmax(axis=2).tolist()


def test_a_product_of_fifty_predictions_neither_overflows_nor_vanishes() -> None:
    logits = np.full((51, 1, 3), 1e30)
    logits[:, :, 1] = 1e-30
    logits[:, :, 2] = -1
    assert product_probabilities(logits)[-1, 0] == pytest.approx([1, 0, 0])
    assert product_probabilities(logits[:, :, [1, 1, 2]])[-1, 0] == pytest.approx([0.5, 0.5, 0])
