"""A trained network as a model of MLflow's: ``mlflow.pyfunc.load_model`` finds its loader here. Imports no MLflow, and
torch only where one is loaded.

Shapes: N images of [C,H,W], L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anytime_core.trainer import TrainedNetwork

BATCH = 500
PARAMS: dict[str, float | bool] = {"budget": 1.0, "all": False}
"""What ``predict`` takes as ``params``, and their defaults."""


def _load_pyfunc(path: str) -> AnytimeModel:
    """MLflow's name for it. ``path`` is a folder with a checkpoint. Raises CheckpointError."""
    from anytime_core import checkpoint
    from anytime_core.config import from_dict
    from anytime_core.cost import trial_costs
    from anytime_core.trainer import load_network

    network, saved = load_network(path), checkpoint.latest(path)
    if saved is None:
        raise FileNotFoundError(path)
    return AnytimeModel(network, trial_costs(from_dict(saved.meta["config"])))


class AnytimeModel:
    """Class probabilities of images, within a budget. ``costs`` are multiply-adds up to each prediction."""

    def __init__(self, network: TrainedNetwork, costs: Sequence[int]) -> None:
        self.network, self.costs = network, costs

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Bytes [N,C,H,W], as the data set has them -> float32 [N,K].

        They come from the latest prediction that costs at most the fraction ``budget`` of the whole network, and no
        more of it is computed; with ``all`` from all predictions so far, [N,L,K]. Raises ValueError if there is none.
        """
        given = PARAMS | (params or {})
        count = self._within(float(given["budget"]))
        parts = [
            self._probabilities(model_input[start : start + BATCH], count)
            for start in range(0, max(1, len(model_input)), BATCH)
        ]
        probabilities = np.concatenate(parts)
        return probabilities if given["all"] else probabilities[:, -1]

    def _within(self, budget: float) -> int:
        """How many predictions a budget is enough for."""
        first, last = self.costs[0], self.costs[-1]
        count = sum(cost < budget * last + 0.5 for cost in self.costs) if 0 < budget <= 1 else 0  # a float is not exact
        if not count:
            allowed = f"must be from {first / last:.4g}, where the first prediction is, to 1"
            raise ValueError(f"budget is {budget:g}, {allowed}")
        return count

    def _probabilities(self, images: Any, count: int) -> np.ndarray:
        """[N,L,K] of the first ``count`` predictions."""
        import torch

        pixels = torch.tensor(np.asarray(images))
        with torch.inference_mode():
            normalised = (pixels.float() - self.network.mean) / self.network.std
            logits = self.network.network(normalised, self.network.predicting_units[count - 1])
            return np.asarray(logits.softmax(2).transpose(0, 1).numpy())
