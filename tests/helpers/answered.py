"""Random logits and their outcomes, as of a network that learns a little from prediction to prediction."""

from __future__ import annotations

import numpy as np

from anytime_core.outcomes import Outcomes, of_logits


def drawn_logits(seed: int, predictions: int, images: int, classes: int, scale: float = 3.0):
    """Logits [L, N, K] in float32, and labels [N]; the logit of the true class rises."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (predictions, images, classes)).astype(np.float32)
    labels = rng.integers(0, classes, images)
    logits[:, np.arange(images), labels] += scale * np.linspace(0, 1, predictions, dtype=np.float32)[:, None]
    return logits, labels


def drawn_costs(predictions: int) -> list[int]:
    """Not evenly spaced."""
    return [10 * k + k * k for k in range(1, predictions + 1)]


def drawn_outcomes(seed: int, predictions: int, images: int, classes: int, scale: float = 3.0) -> Outcomes:
    return of_logits(*drawn_logits(seed, predictions, images, classes, scale), drawn_costs(predictions))
