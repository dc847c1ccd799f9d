"""Outcomes hold what the logits say of each image, and refuse arrays that do not fit together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from answered import drawn_logits
from hypothesis import given, settings
from hypothesis import strategies as st

from anytime_core.outcomes import Outcomes, of_logits, of_probabilities, softmax


def rounded(number: float) -> float:
    return float(np.float16(np.float32(number)))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.1, 3, 40]))
def test_outcomes_are_those_of_plain_loops(seed, predictions, images, classes, scale) -> None:
    logits, labels = drawn_logits(seed, predictions, images, classes, scale)
    found = of_logits(logits, labels, range(1, predictions + 1))
    for k in range(predictions):
        for i in range(images):
            scores = [float(score) for score in logits[k, i]]
            raised = [math.exp(score - max(scores)) for score in scores]
            chances = [each / math.fsum(raised) for each in raised]
            answer = scores.index(max(scores))
            entropy = -math.fsum(p * math.log(p) for p in chances if p)
            assert found.classes[k, i] == answer
            assert found.right[k, i] == (answer == labels[i])
            assert found.confidence[k, i] == pytest.approx(rounded(max(chances)), rel=1e-3)
            assert found.of_truth[k, i] == pytest.approx(rounded(chances[labels[i]]), rel=1e-3, abs=1e-7)
            assert found.entropy[k, i] == pytest.approx(rounded(entropy), rel=1e-3, abs=1e-7)


def test_torch_gives_the_same_bits_on_a_cpu() -> None:
    logits, labels = drawn_logits(0, 4, 5000, 10)
    found = of_logits(logits, labels, [1, 2, 3, 4])
    probabilities = torch.softmax(torch.from_numpy(logits).double(), dim=2)
    confidence = probabilities.max(dim=2).values.half().numpy()
    assert np.array_equal(found.confidence, confidence)
    assert np.array_equal(found.classes, torch.from_numpy(logits).argmax(dim=2).numpy())
    rounded_once = probabilities.max(dim=2).values.numpy().astype(np.float16)
    assert 0 < (rounded_once != confidence).sum() < 20


def test_the_first_of_equal_logits_is_the_answer() -> None:
    found = of_logits(np.array([[[1.0, 2.0, 2.0]]]), np.array([2]), [1])
    assert (found.classes[0, 0], found.right[0, 0]) == (1, False)
    assert found.confidence[0, 0] == found.of_truth[0, 0]


def test_seven_bytes_of_each_image_and_eight_above_256_classes() -> None:
    for classes, size in ((10, 7), (256, 7), (257, 8)):
        logits, labels = drawn_logits(0, 2, 3, classes)
        found = of_logits(logits, labels, [1, 2])
        kept = (found.classes, found.confidence, found.of_truth, found.entropy)
        assert sum(array.nbytes for array in kept) == size * 2 * 3


def test_probabilities_give_what_their_logits_give() -> None:
    logits, labels = drawn_logits(1, 3, 20, 5)
    ours, theirs = of_logits(logits, labels, [1, 2, 3]), of_probabilities(softmax(logits), labels, [1, 2, 3])
    for name in ("labels", "costs", "classes", "confidence", "of_truth", "entropy"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_certain_network_has_no_entropy() -> None:
    found = of_logits(np.array([[[0.0, 1e4]]]), np.array([0]), [1])
    assert (found.confidence[0, 0], found.of_truth[0, 0], found.entropy[0, 0]) == (1, 0, 0)
    assert not np.signbit(found.entropy[0, 0])


def test_images_can_be_chosen_and_repeated() -> None:
    logits, labels = drawn_logits(2, 2, 4, 3)
    found, chosen = of_logits(logits, labels, [1, 2]), [3, 3, 0]
    expected = of_logits(logits[:, chosen], labels[chosen], [1, 2])
    assert np.array_equal(found.of_images(np.array(chosen)).confidence, expected.confidence)
    counted = replace(found, product_right=(2, 3))
    assert counted.of_images(np.array(chosen)).product_right is None  # nobody counted these
    assert np.array_equal(found.of_images(np.array([True, False, True, False])).labels, labels[[0, 2]])


FITTING = of_logits(*drawn_logits(0, 2, 3, 4), [5, 9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"costs": (9, 5)}, r"costs are \[9, 5\], must be above 0 and ascend"),
        ({"costs": (0, 5)}, r"must be above 0"),
        ({"product_right": (1,)}, r"product_right are \[1\], must be 2 counts of up to \d+ images"),
        ({"product_right": (0, 99)}, r"product_right are \[0, 99\], must be 2 counts"),
        ({"costs": (5,)}, r"confidence are \[2, 3\], must be \[L, N\] = \[1, 3\]"),
        ({"labels": np.zeros(3, np.int32)}, "labels are int32, must be int64"),
        ({"labels": np.zeros(0, np.int64)}, r"labels are int64 \[0\], must be \[N\]"),
        ({"classes": np.zeros((2, 3), np.int64)}, "classes are int64, must be uint8 or uint16"),
        ({"entropy": np.zeros((2, 3))}, "entropy are float64, must be float16"),
        ({"of_truth": np.full((2, 3), np.nan, np.float16)}, "of_truth must be finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message) -> None:
    assert isinstance(FITTING, Outcomes)
    with pytest.raises(ValueError, match=message):
        replace(FITTING, **change)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3, int), r"must be \[L, N, K\]"),
        (np.zeros((1, 0, 2)), np.zeros(0, int), "none of them 0"),
        (np.zeros((1, 2, 2)), np.zeros(3, int), r"labels are int64 \[3\], must be \[N\] = \[2\]"),
        (np.zeros((1, 2, 2)), np.array([0, 2]), "labels must be from 0 to 1"),
        (np.full((1, 2, 2), np.inf), np.array([0, 1]), "must be finite"),
    ],
)
def test_logits_without_outcomes_are_refused(logits, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        of_logits(logits, labels, range(1, len(logits) + 1))
