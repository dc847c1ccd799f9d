"""Budgeted batch classification against a transcription of the protocol in loops over images."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from answered import drawn_costs, drawn_logits, drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.outcomes import of_logits, softmax
from orchestrator.stats.outcomes.budgeted import (
    TWENTIETHS,
    budgeted,
    budgeted_area,
    exits_at,
    leaving,
    shares,
    thresholds,
)
from orchestrator.stats.outcomes.curves import accuracies, anytime_auc, fine_confidence, relative_costs
from orchestrator.stats.outcomes.policies import random_curve


def transcribed_shares(twentieths: int, predictions: int) -> list[Fraction]:
    q = Fraction(twentieths, 20)
    powers = [q**k for k in range(1, predictions + 1)]
    return [power / sum(powers) for power in powers]


def transcribed_thresholds(scores, wanted: list[Fraction], most=math.inf, least=-math.inf) -> list:
    """Walks down the images in the order of their scores and counts those that have not left."""
    predictions, images = len(scores), len(scores[0])
    gone = [False] * images
    limits = [most] * predictions
    for k in range(predictions - 1):
        quota, counted = math.floor(images * wanted[k]), 0
        for image in sorted(range(images), key=lambda i: scores[k][i], reverse=True):
            if not gone[image]:
                counted += 1
                if counted == quota:
                    limits[k] = scores[k][image]
                    break
        for image in range(images):
            if scores[k][image] >= limits[k]:
                gone[image] = True
    limits[-1] = least
    return limits


def transcribed_exit(scores, limits) -> int:
    for k, score in enumerate(scores):
        if score >= limits[k]:
            return k
    raise AssertionError


@settings(max_examples=60)
@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 40), st.sampled_from(TWENTIETHS), st.booleans())
def test_thresholds_are_those_of_the_protocol(seed, predictions, images, twentieths, tied) -> None:
    scores = np.random.default_rng(seed).random((predictions, images))
    scores = np.round(scores, 1) if tied else scores
    limits = thresholds(scores, leaving(images, twentieths, predictions))
    expected = transcribed_thresholds(scores.tolist(), transcribed_shares(twentieths, predictions))
    assert limits.tolist() == pytest.approx(expected, abs=1e-12)
    exits = exits_at(scores, limits)
    assert exits.tolist() == [transcribed_exit(list(column), expected) for column in scores.T.tolist()]


@pytest.mark.parametrize("predictions", [1, 2, 7, 51])
def test_shares_are_geometric_and_add_up(predictions) -> None:
    found = shares(predictions)
    for row, twentieths in zip(found, TWENTIETHS, strict=True):
        assert row == pytest.approx([float(share) for share in transcribed_shares(twentieths, predictions)], abs=1e-12)
        counts = [math.floor(5000 * share) for share in transcribed_shares(twentieths, predictions)]
        assert leaving(5000, twentieths, predictions) == counts
    assert found.sum(axis=1) == pytest.approx(1)


def test_a_share_of_whole_images_is_not_rounded_down() -> None:
    """1 / 49 * 49 is below 1 in floating point."""
    assert math.floor(49 * shares(49)[19][0]) == 0
    assert leaving(49, 20, 49) == [1] * 49


def ranks(outcomes) -> list[list[tuple[float, float]]]:
    """Of images as confident as each other the one of less entropy is ahead."""
    pairs = zip(outcomes.confidence.tolist(), (-outcomes.entropy).tolist(), strict=True)
    return [list(zip(*pair, strict=True)) for pair in pairs]


def curve_by_loops(held_out, test) -> list[tuple[float, float]]:
    points, scores = [], ranks(test)
    for twentieths in TWENTIETHS:
        wanted = transcribed_shares(twentieths, len(test.costs))
        limits = transcribed_thresholds(ranks(held_out), wanted, (math.inf, 0), (-math.inf, 0))
        cost = right = 0.0
        for image, label in enumerate(test.labels):
            k = transcribed_exit([row[image] for row in scores], limits)
            cost += test.costs[k] / test.costs[-1] / len(test.labels)
            right += 100 * (test.classes[k, image] == label) / len(test.labels)
        points.append((cost, right))
    return points


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_that_of_the_protocol_by_loops(seed) -> None:
    test, validation = drawn_outcomes(seed, 4, 30, 3), drawn_outcomes(seed + 100, 4, 25, 3)
    found = budgeted(test, validation)
    assert (found.source, found.held_out) == ("validation", 25)
    points = np.stack([found.curve.costs, found.curve.accuracies], axis=1)
    assert points == pytest.approx(np.array(curve_by_loops(validation, test)), abs=1e-12)


def test_without_validation_images_each_fold_leaves_by_the_others() -> None:
    test = drawn_outcomes(5, 4, 31, 3)
    found = budgeted(test)
    even = np.arange(31) % 2 == 0
    halves = [curve_by_loops(test.of_images(~own), test.of_images(own)) for own in (even, ~even)]
    expected = (16 * np.array(halves[0]) + 15 * np.array(halves[1])) / 31
    assert (found.source, found.held_out) == ("cross-fitted", 16)
    assert np.stack([found.curve.costs, found.curve.accuracies], axis=1) == pytest.approx(expected, abs=1e-12)


def test_a_confident_network_leaves_as_by_its_unrounded_probabilities() -> None:
    """float16 has a third of these confidences as 1, and alone would let all of those leave at once."""
    logits, labels = drawn_logits(0, 6, 3000, 4, 12.0)
    outcomes, exact = of_logits(logits, labels, drawn_costs(6)), softmax(logits).max(axis=2)
    assert (outcomes.confidence == 1).mean() > 0.3
    counts = leaving(3000, 20, 6)
    left, expected = (
        np.bincount(exits_at(each, thresholds(each, counts)), minlength=6)
        for each in (fine_confidence(outcomes), exact)
    )
    assert left == pytest.approx(expected, abs=30)
    rounded = outcomes.confidence.astype(float)
    assert np.bincount(exits_at(rounded, thresholds(rounded, counts)))[0] > 1.5 * expected[0]


def test_one_fold_leaves_no_others() -> None:
    with pytest.raises(ValueError, match="1 folds: must be at least 2"):
        budgeted(drawn_outcomes(0, 2, 3, 2), folds=1)


def test_a_single_image_stays_to_the_last() -> None:
    alone = drawn_outcomes(0, 3, 1, 2)
    assert budgeted(alone).curve.costs.tolist() == [1.0] * len(TWENTIETHS)
    assert 0 <= budgeted_area(alone) <= 100


def test_costs_come_near_to_what_the_shares_ask_for() -> None:
    """Of held-out images like the test images, without ties, each prediction keeps about its share."""
    test, validation = drawn_outcomes(0, 4, 4000, 3, 1.0), drawn_outcomes(1, 4, 4000, 3, 1.0)
    asked = shares(4) @ relative_costs(test)
    assert budgeted(test, validation).curve.costs == pytest.approx(asked, abs=0.02)


def test_confidence_beats_chance_where_it_tells_something() -> None:
    test = drawn_outcomes(0, 5, 2000, 4)
    chosen, blind = budgeted(test).curve, random_curve(test, shares(5))
    assert (np.interp(chosen.costs, blind.costs, blind.accuracies) < chosen.accuracies)[5:-5].all()


def test_the_area_of_a_network_that_never_errs_is_all_from_its_first_cost() -> None:
    test = drawn_outcomes(3, 4, 60, 3)
    test.classes[:] = test.labels
    assert budgeted_area(test) == pytest.approx(100 * (1 - relative_costs(test)[0]))
    assert budgeted_area(test) == pytest.approx(anytime_auc(test))


def test_the_area_runs_through_both_ends() -> None:
    """Of one confidence for all images, all leave together: the thresholds of every setting are at the ends."""
    test = drawn_outcomes(4, 2, 40, 3)
    test.confidence[:], test.entropy[:] = 0.5, 0.6
    first, last = accuracies(test)
    assert budgeted_area(test) == pytest.approx((1 - relative_costs(test)[0]) * (first + last) / 2)
