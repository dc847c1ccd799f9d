"""Our trainer, step by step: the one place in the benchmarks that knows how its steps are run."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

import harness
from anytime_core.config import TrialConfig
from anytime_core.data.dataset import Images
from anytime_core.model.graphs import Mode
from anytime_core.training.trainer import build_run, reproducible


class OurLoop:
    """Whole steps of a trial: batch, forward, losses, backward, update, strategy, metrics. Epochs follow one another
    without an evaluation. ``mode`` is ``eager`` or, on CUDA, ``graph``. With ``fastest``, which ``train`` has not,
    cuDNN may take algorithms of other bits each time."""

    def __init__(
        self,
        config: TrialConfig,
        images: Images,
        device: torch.device,
        mode: Mode = "auto",
        *,
        fastest: bool = False,
    ) -> None:
        self.run = build_run(config, images, device, mode=mode)
        self._settings = harness.fastest_algorithms if fastest else reproducible

    def steps(self, count: int) -> None:
        """Does not wait for the device."""
        with self._settings():
            for _ in range(count):
                if not self.run.steps_ahead:
                    self.run.begin_epoch()
                self.run.step()

    def evaluate(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Losses and errors on the test images. Waits for the device."""
        with self._settings():
            return self.run.evaluate()


def bits_of(network: nn.Module) -> str:
    """Identifies all parameters and statistics."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
