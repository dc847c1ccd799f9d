"""The trial that tests train unless they say otherwise: a tiny network on the digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anytime_core.config import DataConfig, Joint, NetworkConfig, Regime, TrainingConfig, TrialConfig

RATES = {0: 0.1, 5: 0.01}


def digits_trial(
    regime: Regime | None = None,
    *,
    n: int = 1,
    c: int = 4,
    period: int = 1,
    steps: int = 10,
    batch_size: int = 32,
    rates: Mapping[int, float] = RATES,
    **changes: Any,
) -> TrialConfig:
    """A config of ``n`` units a block and ``c`` channels; ``changes`` are those of TrialConfig's other fields, or of
    these where more than that is to differ."""
    values: dict[str, Any] = {
        "network": NetworkConfig(n=n, c=c, period=period),
        "data": DataConfig(name="digits", pad=1),
        "regime": regime or Joint(),
        "training": TrainingConfig(steps=steps, batch_size=batch_size, learning_rate=dict(rates)),
    }
    return TrialConfig(**values | changes)
