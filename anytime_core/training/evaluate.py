"""Losses and errors of all predictions at once. L predictions, N images, K classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from anytime_core.config import Precision
from anytime_core.data.loader import EvaluationData
from anytime_core.model.graphs import Replay
from anytime_core.model.precision import autocast
from anytime_core.training.keeper import Keeper


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each prediction: logits [L,N,K], labels [N] -> [L]"""
    predictions, images, _ = logits.shape
    every = labels.expand(predictions, -1).reshape(-1)
    return cross_entropy(logits.flatten(0, 1), every, reduction="none").view(predictions, images).mean(1)


def wrong_of(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images each prediction gets wrong: logits [L,N,K], labels [N] -> [L]"""
    return (logits.argmax(2) != labels).sum(1)


class ErrorTally:
    """Mean losses and error rates over many batches, summed on the device and read once."""

    def __init__(self, predictions: int, device: torch.device) -> None:
        # Rows: sum of losses, wrong answers. In float64 counts are exact, and sums far more so than single losses.
        self.sums = torch.zeros(2, predictions, dtype=torch.float64, device=device)

    def clear(self) -> None:
        self.sums.zero_()

    def add(self, losses: Tensor, wrong: Tensor, images: int) -> None:
        """The mean losses and the wrong answers of a batch, both [L]."""
        self.sums += torch.stack([losses.double() * images, wrong.double()])

    def read(self, images: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Losses and errors in percent, one of each a prediction, over that many images. Waits for the device."""
        losses, wrong = (self.sums / images).tolist()
        return tuple(losses), tuple(100 * share for share in wrong)


class Evaluation:
    """Mean loss and error in percent of the first ``predictions``, up to unit ``depth``, over the data in one pass, of
    what ``answers`` makes of the logits [L,N,K].

    With ``graph``, whole batches are replays of one CUDA graph, which the first call captures.
    """

    def __init__(
        self,
        network: nn.Module,
        data: EvaluationData,
        predictions: int,
        depth: int | None = None,
        *,
        precision: Precision = "float32",
        graph: bool = False,
        answers: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> None:
        self.network, self.data, self.depth, self.precision = network, data, depth, precision
        self._answers = answers
        self.device = data.images.device
        self.tally = ErrorTally(predictions, self.device)
        self._at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._replay = Replay(graph)
        self._keeper: Keeper | None = None

    @torch.no_grad()
    def __call__(self, keeper: Keeper | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Losses and errors of all predictions. Waits for the device once, in the end. A ``keeper`` keeps the answers
        to each image, of batches call by call, which give the same bits."""
        self.network.eval()
        self._at.zero_()
        self.tally.clear()
        self._keeper = keeper
        for _ in range(self.data.whole_batches):
            if keeper:
                self.eager()
            else:
                self._replay(self.eager, lambda: [self._at, self.tally.sums])
        images, labels = self.data.rest
        if len(labels):
            self._add(images, labels)
        self._keeper = None
        return self.tally.read(len(self.data))

    @torch.no_grad()
    def eager(self) -> None:
        """One whole batch, call by call."""
        self._add(*self.data.batch(self._at))
        self._at += 1

    def _add(self, images: Tensor, labels: Tensor) -> None:
        with autocast(self.precision, self.device):
            logits = self._answers(self.network(images, self.depth))
        self.tally.add(losses_of(logits, labels), wrong_of(logits, labels), len(labels))
        if self._keeper:
            self._keeper.add(logits)
