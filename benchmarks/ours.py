"""Our trainer, step by step, for the benchmarks: the one place that knows how its steps are run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from anytime_core import optim, trainer
from anytime_core.config import TrialConfig
from anytime_core.data.formats import Images
from anytime_core.evaluate import Tally


class OurLoop:
    """Whole steps of a trial: batches, forward, losses, backward, update, strategy, metrics."""

    def __init__(self, config: TrialConfig, images: Images, device: torch.device) -> None:
        self.run = trainer._Run.start(config, images, device)
        self.run.phase.apply(self.run.network)
        self.run.selection.begin(1)
        self.tally = Tally(len(self.run.phase.weights), device)
        self.batches = self._batches()
        self.done = 0

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = 1
        while True:
            yield from self.run.train_data.epoch(epoch)
            epoch += 1

    def steps(self, count: int) -> None:
        draws = torch.rand(count).to(self.run.device)
        for draw in draws:
            images, labels = next(self.batches)
            optim.set_rate(self.run.optimiser, self.run.rate_at(self.done))
            losses, wrong = self.run._train_step(trainer._channels_last(images), labels, draw)
            self.tally.add(losses, wrong, len(labels))
            self.done += 1
