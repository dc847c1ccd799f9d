"""A trained network as a model of MLflow's: ``mlflow.pyfunc.load_model`` finds its loader here. Imports no MLflow, and
torch only where one is loaded.

Shapes: N images of [C,S,S], L predictions, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anytime_core.predictor import AnytimePredictor

BATCH = 500
PARAMS: dict[str, float | bool] = {"budget": 1.0, "all": False}
"""What ``predict`` takes as ``params``, and their defaults."""


def _load_pyfunc(path: str) -> AnytimeModel:
    """MLflow's name for it. ``path`` is a folder with a checkpoint. Raises CheckpointError."""
    from anytime_core.predictor import AnytimePredictor
    from anytime_core.trained import load_network

    return AnytimeModel(AnytimePredictor(load_network(path)))


class AnytimeModel:
    """Class probabilities of images, within a budget."""

    def __init__(self, predictor: AnytimePredictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Images [N,C,S,S], such as bytes, as the data set has them -> float32 [N,K].

        They come from the latest prediction that costs at most the fraction ``budget`` of the whole network, and no
        more of it is computed; with ``all`` from all predictions so far, [N,L,K]. Raises ValueError if there is none,
        and for other images.
        """
        given, images = PARAMS | (params or {}), self.predictor.spec.batch(model_input)
        parts = [
            self._probabilities(images[start : start + BATCH], float(given["budget"]))
            for start in range(0, len(images), BATCH)
        ]
        probabilities = np.concatenate(parts)
        return probabilities if given["all"] else probabilities[:, -1]

    def _probabilities(self, images: np.ndarray, budget: float) -> np.ndarray:
        """[N,L,K] of the predictions within the budget."""
        # `predict` has checked all images together. With `brightest`, a batch may be dark.
        brightest = self.predictor.spec.brightest
        answers = list(self.predictor.refine(images, budget=budget, brightest=brightest)) if 0 < budget <= 1 else []
        if not answers:
            costs = self.predictor.costs(images.shape[-1])
            allowed = f"must be from {costs[0] / costs[-1]:.4g}, where the first prediction is, to 1"
            raise ValueError(f"budget is {budget:g}, {allowed}")
        return np.stack([answer.probabilities.numpy() for answer in answers], 1)
