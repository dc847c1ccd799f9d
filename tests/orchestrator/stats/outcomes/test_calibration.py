"""Calibration, scores, temperatures and AUROC against loops over images and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from answered import drawn_costs, drawn_logits, drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.outcomes import of_logits, softmax
from orchestrator.stats.outcomes.calibration import (
    COLDEST,
    HOTTEST,
    LEAST,
    auroc,
    brier,
    brier_bounds,
    calibration_errors,
    confidence_brier,
    nll,
    nll_of_logits,
    reliability,
    temperature,
    temperatures,
)

small = st.tuples(st.integers(0, 500), st.integers(1, 3), st.integers(1, 40), st.integers(2, 4))


# Bins


@settings(max_examples=40)
@given(small, st.integers(1, 20))
def test_bins_of_equal_width_are_those_of_a_loop(sizes, bins) -> None:
    outcomes = drawn_outcomes(*sizes)
    for k, found in enumerate(calibration_errors(outcomes, bins)):
        members: dict[int, list[int]] = {}
        for image, confidence in enumerate(outcomes.confidence[k].astype(float).tolist()):
            place = next(b for b in range(bins) if confidence <= (b + 1) / bins or b == bins - 1)
            members.setdefault(place, []).append(image)
        expected = 0.0
        for inside in members.values():
            mean = sum(float(outcomes.confidence[k, i]) for i in inside) / len(inside)
            right = sum(bool(outcomes.right[k, i]) for i in inside) / len(inside)
            expected += 100 * len(inside) / len(outcomes.labels) * abs(mean - right)
        assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(small, st.integers(1, 20))
def test_bins_of_equal_mass_are_those_of_a_loop(sizes, bins) -> None:
    seed, predictions, images, classes = sizes
    logits, labels = drawn_logits(seed, predictions, images, classes)
    outcomes = of_logits(np.round(logits), labels, drawn_costs(predictions))  # with ties
    for k, found in enumerate(calibration_errors(outcomes, bins, "mass")):
        pairs = sorted(zip(outcomes.confidence[k].tolist(), outcomes.right[k].tolist(), strict=True))
        shared = [np.mean([right for other, right in pairs if other == confidence]) for confidence, _ in pairs]
        expected = 0.0
        for b in range(bins):
            inside = [i for i in range(images) if i * bins // images == b]
            if inside:
                gap = np.mean([pairs[i][0] for i in inside]) - np.mean([shared[i] for i in inside])
                expected += 100 * len(inside) / images * abs(gap)
        assert found == pytest.approx(expected, abs=1e-9)


def test_bins_hold_as_many_images_and_do_not_depend_on_their_order() -> None:
    outcomes = drawn_outcomes(0, 1, 100, 3, 30.0)  # most confidences are 1
    turned = outcomes.of_images(np.random.default_rng(0).permutation(100))
    first, second = (reliability(each.confidence[0], each.right[0], 15, "mass") for each in (outcomes, turned))
    assert set(first.images.tolist()) == {6, 7}
    assert first.accuracy.tolist() == second.accuracy.tolist()
    assert first.error == second.error


def test_an_empty_bin_has_no_point_and_a_calibrated_network_no_error() -> None:
    confidence, right = np.array([0.5, 0.5, 1.0]), np.array([True, False, True])
    found = reliability(confidence, right, 4)
    assert found.images.tolist() == [0, 2, 0, 1]
    assert np.isnan(found.accuracy[[0, 2]]).all()
    assert found.confidence[[1, 3]].tolist() == found.accuracy[[1, 3]].tolist() == [50, 100]
    assert found.error == 0


# Scores


@settings(max_examples=40)
@given(small)
def test_scores_from_logits_are_exact_and_from_outcomes_close(sizes) -> None:
    logits, labels = drawn_logits(*sizes)
    outcomes = of_logits(logits, labels, drawn_costs(len(logits)))
    low, high = brier_bounds(outcomes, sizes[3])
    for k, rows in enumerate(logits):
        chances = [[math.exp(score - max(row)) for score in row] for row in rows.astype(float).tolist()]
        chances = [[each / sum(row) for each in row] for row in chances]
        images = len(labels)
        loss = sum(-math.log(row[label]) for row, label in zip(chances, labels, strict=True)) / images
        squares = [
            sum((p - (c == label)) ** 2 for c, p in enumerate(row)) for row, label in zip(chances, labels, strict=True)
        ]
        top = [(max(row) - (row.index(max(row)) == label)) ** 2 for row, label in zip(chances, labels, strict=True)]
        assert nll_of_logits(rows, labels) == pytest.approx(loss, abs=1e-12)
        assert nll(outcomes)[k] == pytest.approx(loss, abs=0.02)
        assert brier(softmax(rows), labels) == pytest.approx(sum(squares) / images, abs=1e-12)
        assert confidence_brier(outcomes)[k] == pytest.approx(sum(top) / images, abs=2e-3)
        assert low[k] - 2e-3 <= sum(squares) / images <= high[k] + 2e-3
        if sizes[3] == 2:
            assert low[k] == pytest.approx(high[k], abs=2e-3)


def test_what_is_left_is_spread_evenly_or_in_pieces() -> None:
    """p = 0.4 for class 0, 0.1 for the true class 1; 0.5 is left for three classes."""
    outcomes = of_logits(np.log([[[0.4, 0.1, 0.3, 0.1, 0.1]]]), np.array([1]), [1])
    low, high = brier_bounds(outcomes, 5)
    assert low[0] == pytest.approx(0.9**2 + 0.4**2 + 3 * (0.5 / 3) ** 2, abs=1e-3)
    assert high[0] == pytest.approx(0.9**2 + 0.4**2 + 0.4**2 + 0.1**2, abs=1e-3)


def test_a_probability_of_0_costs_what_it_can_have_been_at_most() -> None:
    outcomes = of_logits(np.array([[[0.0, 30.0]]]), np.array([0]), [1])
    assert outcomes.of_truth[0, 0] == 0
    assert nll(outcomes)[0] == -math.log(LEAST) == pytest.approx(17.33, abs=0.01)
    assert np.float16(np.float32(LEAST)) == 0
    assert np.float16(np.float32(LEAST * 1.001)) > 0


# Temperatures


@pytest.mark.parametrize("warmed", [0.2, 1.0, 5.0])
def test_the_temperature_that_was_put_on_is_found(warmed) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits)])
    assert temperature(warmed * logits, labels) == pytest.approx(warmed, rel=0.05)


@settings(max_examples=40)
@given(small)
def test_no_other_temperature_fits_better(sizes) -> None:
    logits, labels = drawn_logits(*sizes)
    for rows, found in zip(logits.astype(np.float64), temperatures(logits, labels), strict=True):
        assert COLDEST <= found <= HOTTEST
        best = nll_of_logits(rows / found, labels)
        for factor in (0.5, 0.99, 1.01, 2):
            other = min(max(found * factor, COLDEST), HOTTEST)
            assert best <= nll_of_logits(rows / other, labels) + 1e-12


def test_the_loss_is_level_at_the_temperature() -> None:
    logits, labels = drawn_logits(0, 2, 200, 5, 10.0)
    found = temperature(logits[1], labels)
    assert COLDEST < found < HOTTEST
    around = [nll_of_logits(logits[1].astype(float) * (1 / found + step), labels) for step in (-1e-4, 1e-4)]
    assert (around[1] - around[0]) / 2e-4 == pytest.approx(0, abs=1e-6)


def test_where_there_is_no_best_temperature_it_ends() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert temperature(logits, np.array([0, 1])) == COLDEST
    assert temperature(logits, np.array([1, 0])) == HOTTEST
    assert temperature(np.zeros((3, 2)), np.array([0, 1, 1])) == HOTTEST


# AUROC


@settings(max_examples=40)
@given(small)
def test_auroc_counts_pairs_of_a_right_and_a_wrong_answer(sizes) -> None:
    seed, predictions, images, classes = sizes
    logits, labels = drawn_logits(seed, predictions, images, classes)
    logits = np.round(logits / 3)  # with ties
    for row, found in zip(logits, auroc(of_logits(logits, labels, drawn_costs(predictions))), strict=True):
        scores, right = np.round(softmax(row).max(axis=1), 12), row.argmax(axis=1) == labels
        wins = [(a > b) + (a == b) / 2 for a in scores[right] for b in scores[~right]]
        assert found == pytest.approx(100 * np.mean(wins) if wins else np.nan, nan_ok=True)


def test_auroc_of_a_confident_network_is_that_of_its_unrounded_probabilities() -> None:
    logits, labels = drawn_logits(0, 2, 3000, 4, 8.0)
    outcomes = of_logits(logits, labels, drawn_costs(2))
    assert (outcomes.confidence == 1).mean() > 0.2
    for row, found in zip(logits, auroc(outcomes), strict=True):
        scores, right = softmax(row).max(axis=1), row.argmax(axis=1) == labels
        wins = (scores[right][:, None] > scores[~right]) + (scores[right][:, None] == scores[~right]) / 2
        assert found == pytest.approx(100 * wins.mean(), abs=0.05)
