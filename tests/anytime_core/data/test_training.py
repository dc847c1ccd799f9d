"""A few epochs of training on the first true images of each data set, read from its own files."""

from __future__ import annotations

import math

import pytest

from anytime_core.config import DataConfig, NetworkConfig, TrainingConfig, TrialConfig
from anytime_core.data.cache import load
from anytime_core.data.catalog import DATASETS
from anytime_core.training.trainer import train


@pytest.mark.parametrize(
    ("name", "images", "epochs", "fall"),
    [("cifar10", 5438, 2, 0.1), ("cifar100", 1117, 3, 0.08), ("svhn", 883, 3, 0.08)],
)
def test_training_on_true_files_learns(name, images, epochs, fall, real_root, tmp_path, monkeypatch) -> None:
    """The loss of every prediction falls; on CIFAR-10, below ln 10, which is that of a guess."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = DATASETS[name]
    assert len(load(name, real_root, check_md5=False).train_images) == images
    config = TrialConfig(
        network=NetworkConfig(n=1, c=4),
        data=DataConfig(name=name, pad=spec.pad, flip=spec.flip),
        training=TrainingConfig(steps=epochs * (images // 32), batch_size=32, learning_rate={0: 0.1}),
    )
    reported = []
    result = train(config, reported.append, images=load(name, real_root, check_md5=False), threads=1)
    assert (result.state, len(reported), len(result.errors)) == ("finished", epochs, 3)
    for before, after in zip(reported[0].train_loss, reported[-1].train_loss, strict=True):
        assert after < before - fall
    if name == "cifar10":
        assert all(loss < math.log(10) - 0.1 for loss in reported[-1].train_loss + reported[-1].test_loss)
        assert all(error < 82 for error in result.errors)
        assert result.errors[-1] < 75
