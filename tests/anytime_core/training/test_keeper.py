"""What is kept of each image is what the logits of the trained network say, in training and from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trials import digits_trial

from anytime_core import load_images, load_network, train
from anytime_core.config import Joint, Midfeat, NoGrad, Opt, TrialConfig
from anytime_core.errors import CheckpointError
from anytime_core.outcomes import PROBABILITIES, Outcomes, of_logits
from anytime_core.training.keeper import Keeper
from anytime_core.training.trainer import outcomes_of
from orchestrator.stats.outcomes.policies import product

ARRAYS = ("labels", "classes", *PROBABILITIES)


def assert_same(one: Outcomes, other: Outcomes) -> None:
    assert (one.costs, one.product_right) == (other.costs, other.product_right)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def kept_of(config: TrialConfig, folder: Path) -> tuple[Mapping[str, Outcomes], tuple[float, ...]]:
    found: list[Mapping[str, Outcomes]] = []
    result = train(config, checkpoints=folder, device="cpu", threads=1, on_outcomes=found.append)
    (kept,) = found
    return kept, result.errors


def with_product(logits: np.ndarray, labels: np.ndarray, costs: tuple[int, ...]) -> Outcomes:
    """What all logits say at once, Product Anytime counted from its probabilities."""
    outcomes = of_logits(logits, labels, costs)
    return replace(outcomes, product_right=tuple(map(int, product(logits, outcomes).right.sum(1))))


@pytest.mark.parametrize("sizes", [[7], [3, 4], [1] * 7])
def test_batches_add_up_to_the_outcomes_of_all_logits(sizes) -> None:
    draws = np.random.default_rng(0)
    logits, labels = draws.normal(scale=5, size=(3, 7, 300)).astype(np.float32), draws.integers(300, size=7)
    keeper, first = Keeper(3, torch.tensor(labels), 300), 0
    for size in sizes:
        keeper.add(torch.tensor(logits[:, first : first + size]))
        first += size
    assert_same(keeper.outcomes((1, 2, 3)), with_product(logits, labels, (1, 2, 3)))


def test_product_anytime_is_counted_where_classes_are_ruled_out() -> None:
    """By one prediction, by all of them, and all classes by a prediction."""
    draws = np.random.default_rng(1)
    logits = draws.normal(-1, 1, size=(4, 500, 3)).astype(np.float32)
    labels = draws.integers(3, size=500)
    keeper = Keeper(4, torch.tensor(labels), 3)
    keeper.add(torch.tensor(logits))
    expected = with_product(logits, labels, (1, 2, 3, 4))
    assert_same(keeper.outcomes((1, 2, 3, 4)), expected)
    assert (logits < 0).all(2).any(1).all()
    assert expected.product_right != tuple(expected.right.sum(1))


def test_what_is_no_number_counts_as_nothing() -> None:
    keeper = Keeper(1, torch.tensor([0, 1]), 2)
    keeper.add(torch.tensor([[[float("inf"), 0.0], [0.0, 1.0]]]))
    kept = keeper.outcomes((1,))
    assert [kept.confidence[0, 0], kept.of_truth[0, 0], kept.entropy[0, 0]] == [0, 0, 0]
    assert kept.confidence[0, 1] > 0.7


@pytest.mark.parametrize("regime", [Joint(), Opt(unit=2), Midfeat(), NoGrad(), NoGrad(variant="stop_gradient")])
def test_they_are_the_answers_of_the_network_that_is_saved(regime, tmp_path) -> None:
    kept, errors = kept_of(digits_trial(regime, steps=12, batch_size=256), tmp_path)
    assert kept.keys() == {"test"}
    images = load_images("digits", None)
    with torch.no_grad():
        logits = load_network(tmp_path)(torch.tensor(images.test_images)).numpy()
    assert_same(kept["test"], with_product(logits, images.test_labels, kept["test"].costs))
    assert tuple(100 * (1 - kept["test"].right.mean(1))) == pytest.approx(errors)


def test_a_trial_on_held_out_images_keeps_these_too(tmp_path) -> None:
    config = digits_trial(steps=12, batch_size=256)
    config = replace(config, data=replace(config.data, validation=100))
    kept, errors = kept_of(config, tmp_path)
    assert {split: len(outcomes.labels) for split, outcomes in kept.items()} == {"validation": 100, "test": 359}
    assert tuple(100 * (1 - kept["validation"].right.mean(1))) == pytest.approx(errors)
    np.testing.assert_array_equal(kept["validation"].labels, load_images("digits", None).train_labels[-100:])


def test_from_a_checkpoint_they_are_the_same_bits(tmp_path) -> None:
    config = digits_trial(steps=12, batch_size=256)
    kept, _ = kept_of(config, tmp_path)
    assert_same(kept_of(config, tmp_path)[0]["test"], kept["test"])  # which had ended
    images = load_images("digits", None)
    assert_same(outcomes_of(config, tmp_path, images=images, device="cpu", threads=1)["test"], kept["test"])


def test_keeping_them_changes_no_bit_of_a_trial(tmp_path) -> None:
    config = digits_trial(steps=12, batch_size=256)
    _, errors = kept_of(config, tmp_path / "kept")
    assert train(config, checkpoints=tmp_path / "plain", device="cpu", threads=1).errors == errors
    first, second = (
        {name: value.numpy().tobytes() for name, value in load_network(tmp_path / name).state_dict().items()}
        for name in ("kept", "plain")
    )
    assert first == second


def test_a_trial_that_has_not_ended_has_none(tmp_path) -> None:
    def report(metrics: object) -> None:
        raise KeyboardInterrupt

    config = digits_trial(steps=12, batch_size=256)
    with pytest.raises(KeyboardInterrupt):
        train(config, report, tmp_path, device="cpu", threads=1)
    with pytest.raises(CheckpointError, match="is at step 5 of 12"):
        outcomes_of(config, tmp_path, images=load_images("digits", None), device="cpu", threads=1)
