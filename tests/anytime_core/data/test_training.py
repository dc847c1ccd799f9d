"""An epoch of training on the first true images of each data set, read from its own files."""

from __future__ import annotations

import pytest

from anytime_core.catalog import DATASETS
from anytime_core.config import DataConfig, NetworkConfig, TrainingConfig, TrialConfig
from anytime_core.data.cache import load
from anytime_core.trainer import train


@pytest.mark.parametrize(("name", "images"), [("cifar10", 5438), ("cifar100", 1117), ("svhn", 883)])
def test_an_epoch_on_true_files(name, images, real_root, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = DATASETS[name]
    assert len(load(name, real_root, check_md5=False).train_images) == images
    config = TrialConfig(
        network=NetworkConfig(n=1, c=2),
        data=DataConfig(name=name, pad=spec.pad, flip=spec.flip),
        training=TrainingConfig(steps=images // 64, batch_size=64, learning_rate={0: 0.05}),
    )
    epochs = []
    result = train(config, epochs.append, data_root=real_root, check_md5=False, threads=1)
    assert (result.state, len(epochs), len(result.errors)) == ("finished", 1, 3)
    guess = 100 - 100 / spec.classes
    assert result.errors[-1] < guess + 5
    assert all(loss < 1e4 for loss in epochs[0].test_loss)
