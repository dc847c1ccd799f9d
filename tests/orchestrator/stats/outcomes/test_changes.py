"""Overthinking and monotonicity against loops over images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from answered import drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.stats.outcomes.changes import FALLS, falls, overthinking, rises
from orchestrator.stats.outcomes.classes import class_errors, confusions, worst

small = st.tuples(st.integers(0, 500), st.integers(1, 6), st.integers(1, 20), st.integers(2, 4))


@settings(max_examples=40)
@given(small)
def test_overthinking_is_counted_image_by_image(sizes) -> None:
    outcomes = drawn_outcomes(*sizes)
    last, images = sizes[1] - 1, sizes[2]
    firsts = []
    for image, label in enumerate(outcomes.labels):
        right = [int(outcomes.classes[k, image]) == label for k in range(last + 1)]
        firsts.append(right.index(True) if any(right) else None)
    wrong = [int(outcomes.classes[last, image]) != label for image, label in enumerate(outcomes.labels)]
    early = [each is not None and each < last for each in firsts]
    destroyed = sum(a and b for a, b in zip(early, wrong, strict=True))
    found = overthinking(outcomes)
    assert found.wasteful == pytest.approx(100 * sum(early) / images)
    assert found.destructive == pytest.approx(100 * destroyed / images)
    assert found.of_errors == (pytest.approx(100 * destroyed / sum(wrong)) if any(wrong) else None)
    assert found.first_right == pytest.approx([100 * firsts.count(k) / images for k in range(last + 1)])


@settings(max_examples=40)
@given(small)
def test_a_fall_is_from_any_earlier_probability_to_any_later_one(sizes) -> None:
    outcomes = drawn_outcomes(*sizes)
    true = outcomes.of_truth.astype(float)
    for d, found in zip(FALLS, falls(outcomes), strict=True):
        fallen = [
            any(true[i, image] - true[j, image] > d for i in range(sizes[1]) for j in range(i, sizes[1]))
            for image in range(sizes[2])
        ]
        assert found == pytest.approx(100 * np.mean(fallen))


@settings(max_examples=40)
@given(small)
def test_rises_are_those_from_one_prediction_to_the_next(sizes) -> None:
    outcomes = drawn_outcomes(*sizes)
    wrong = [
        sum(int(answer) != label for answer, label in zip(row, outcomes.labels, strict=True))
        for row in outcomes.classes
    ]
    up = [100 * (after - before) / sizes[2] for before, after in pairwise(wrong) if after > before]
    found = rises(outcomes)
    assert (found.count, found.largest) == (len(up), pytest.approx(max(up, default=0)))
    assert found.total == pytest.approx(sum(up))


# Classes


@settings(max_examples=40)
@given(small)
def test_confusions_and_errors_of_classes_are_counts(sizes) -> None:
    outcomes, classes = drawn_outcomes(*sizes), sizes[3] + 1  # the last class has no image
    for k, row in enumerate(outcomes.classes):
        pairs = [(int(label), int(answer)) for label, answer in zip(outcomes.labels, row, strict=True)]
        expected = [[pairs.count((a, b)) for b in range(classes)] for a in range(classes)]
        found = confusions(outcomes, classes, k)
        assert found.tolist() == expected
        counted = [(a, b, expected[a][b]) for a in range(classes) for b in range(classes) if a != b and expected[a][b]]
        assert worst(found, 3) == sorted(counted, key=lambda each: (-each[2], each[0], each[1]))[:3]
        for a in range(classes):
            images = sum(label == a for label, _ in pairs)
            wrong = sum(label == a != answer for label, answer in pairs)
            share = 100 * wrong / images if images else np.nan
            assert class_errors(confusions(outcomes, classes, k))[a] == pytest.approx(share, nan_ok=True)
