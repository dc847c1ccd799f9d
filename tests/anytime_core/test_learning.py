"""The whole trainer on real images: it must learn what is known to be easy."""

from __future__ import annotations

import pytest

from anytime_core.config import Aann, DataConfig, Joint, NetworkConfig, TrainingConfig, TrialConfig
from anytime_core.trainer import train


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_digits_are_learned_and_later_predictions_are_better(seed) -> None:
    config = TrialConfig(
        network=NetworkConfig(n=3, c=8),
        data=DataConfig(name="digits", pad=1),
        regime=Joint(strategy=Aann()),
        training=TrainingConfig(steps=400, batch_size=64, learning_rate={0: 0.1, 200: 0.01, 300: 0.001}),
        seed=seed,
    )
    result = train(config, threads=1)
    assert result.state == "finished"
    assert result.errors[-1] < 5  # percent; guessing gives 90
    assert result.errors[0] > result.errors[-1]
