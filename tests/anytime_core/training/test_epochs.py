"""Fewer evaluations change no network, and are where the arithmetic says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from trials import digits_trial

from anytime_core.config import Aann, Joint, Midfeat, NoGrad, TrialConfig, to_dict
from anytime_core.result import EpochMetrics
from anytime_core.trained import network_hash
from anytime_core.training.epochs import is_evaluated, number_of_epochs
from anytime_core.training.trainer import Checkpoints, train

BATCHES = 1437 // 32
"""Steps of an epoch of the digits."""


def evaluated(epochs: int, evaluations: int | None) -> list[int]:
    return [epoch for epoch in range(1, epochs + 1) if is_evaluated(epoch, epochs, evaluations)]


@pytest.mark.parametrize("epochs", [1, 2, 7, 20, 164])
def test_so_many_epochs_are_evaluated_evenly_and_the_last_one_always(epochs: int) -> None:
    for evaluations in (1, 2, 3, 5, 20, 200):
        found = evaluated(epochs, evaluations)
        assert len(found) == min(evaluations, epochs)
        assert found[-1] == epochs
        # The k-th one is the first epoch by which k of the shares have passed.
        expected = {-(-Fraction(share * epochs, evaluations) // 1) for share in range(1, evaluations + 1)}
        assert set(found) == expected
    assert evaluated(epochs, None) == list(range(1, epochs + 1))


def test_epochs_are_counted_phase_by_phase() -> None:
    assert number_of_epochs((10, 10), 4) == 6
    assert number_of_epochs((3,), 10) == 1


def trained(config: TrialConfig, tmp_path) -> tuple[list[EpochMetrics], tuple[float, ...], str]:
    epochs: list[EpochMetrics] = []
    result = train(config, epochs.append, Checkpoints(folder=tmp_path), threads=1)
    return epochs, result.errors, network_hash(tmp_path)


@pytest.mark.parametrize("regime", [Joint(), Joint(strategy=Aann(gamma=0.5)), Midfeat(), NoGrad(variant="stages")])
def test_the_network_is_the_same_to_the_bit(regime, tmp_path) -> None:
    config = digits_trial(regime, steps=3 * BATCHES + 5)
    every = trained(config, tmp_path / "every")
    fewer = replace(config, training=replace(config.training, evaluations=2))
    some = trained(fewer, tmp_path / "some")
    assert some[1:] == every[1:]
    count = number_of_epochs(config.phase_steps, BATCHES)
    assert [epoch.epoch for epoch in some[0] if epoch.evaluated] == evaluated(count, 2)
    for one, other in zip(every[0], some[0], strict=True):
        assert one.train_loss == other.train_loss
        if other.evaluated:
            assert (one.test_loss, one.test_error) == (other.test_loss, other.test_error)
        else:
            assert other.test_loss == other.test_error == ()
            assert not other.diverged


def test_a_trial_that_says_nothing_keeps_its_identity() -> None:
    config = digits_trial()
    assert "evaluations" not in to_dict(config)["training"]
    with pytest.raises(ValueError, match="evaluations is 0, must be"):
        replace(config.training, evaluations=0)
