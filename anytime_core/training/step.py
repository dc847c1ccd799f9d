"""One training step that takes nothing from the host and gives it nothing, so that it can be one CUDA graph.

What an epoch needs is on the device before its first step: the draws, the learning rates, a counter of its steps. What
comes of it is summed there, and read once. Shapes: N images, L predictions, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from anytime_core.building import seed_torch
from anytime_core.config import Precision
from anytime_core.data.loader import TrainingData
from anytime_core.model.graphs import Replay
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.precision import autocast, rounded_weights
from anytime_core.randomness import generator
from anytime_core.training.evaluate import ErrorTally, wrong_of
from anytime_core.training.objective import TrainingObjective
from anytime_core.training.optim import Sgd
from anytime_core.training.regimes import Phase
from anytime_core.training.selection import Selection
from anytime_core.training.surgery import Surgeon


class TrainingStep:
    """The step of a phase. ``begin`` prepares an epoch; each call is a step of it; ``read`` waits for the device.

    With ``graph``, the first call captures what ``eager`` does, and each call replays that.
    """

    def __init__(
        self,
        network: AnytimeModule,
        phase: Phase,
        data: TrainingData,
        optimiser: Sgd,
        selection: Selection,
        objective: TrainingObjective,
        *,
        precision: Precision = "float32",
        graph: bool = False,
        surgeon: Surgeon | None = None,
    ) -> None:
        self.network, self.phase, self.data = network, phase, data
        self.optimiser, self.selection, self.precision = optimiser, selection, precision
        self.objective = objective
        self.device = data.images.device
        self.tally = ErrorTally(len(phase.weights), self.device)
        self._at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._rates = torch.zeros(data.steps_per_epoch, device=self.device)
        self._draws = torch.zeros(data.steps_per_epoch, device=self.device)
        noisy = data.steps_per_epoch if selection.rule.noise else 0
        self._noise = torch.zeros(noisy, len(phase.weights), device=self.device)
        self._replay = Replay(graph)
        self._surgeon = surgeon
        self.batch_seconds = 0.0
        """Of an epoch, in making its batches; on the CPU, where a call returns once its work is done."""

    def begin(self, epoch: int, rates: Sequence[float]) -> None:
        """Prepares an epoch, counted from 1, of as many steps as there are learning rates."""
        self.batch_seconds = 0.0
        self.phase.apply(self.network)
        self.data.draw(epoch)
        if self.network.draws:
            seed_torch(self.device, self.data.seed, "network", epoch)
        draws = torch.rand(len(rates), generator=generator(self.data.seed, "selection", epoch))
        self._draws[: len(rates)].copy_(draws)
        if len(self._noise):
            noise = torch.randn(
                len(rates), len(self.phase.weights), generator=generator(self.data.seed, "noise", epoch)
            )
            self._noise[: len(rates)].copy_(noise)
        self._rates[: len(rates)].copy_(torch.tensor(rates, dtype=torch.float32))
        self._at.zero_()
        self.tally.clear()
        if self._surgeon:
            self._surgeon.begin(self.data.seed, epoch, len(rates))
        if self.selection.begin(epoch):
            self._replay.forget()

    def __call__(self, *, eagerly: bool = False) -> None:
        """``eagerly``: call by call."""
        if self._surgeon and self._surgeon.due():
            self._surgeon.measure(lambda: self._forward(dict(self._buffers()))[-1])
        if eagerly:
            self._update()
        else:
            self._replay(self._update, self._state)

    def _buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Copies, for a pass that is to leave running averages as they are."""
        for name, buffer in self.network.named_buffers():
            yield name, buffer.clone()

    def _forward(self, buffers: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The step's labels [N], its logits [L,N,K], losses [L], and what is differentiated [L]."""
        began = time.perf_counter()
        images, labels = self.data.batch(self._at)
        self.batch_seconds += time.perf_counter() - began
        weights = rounded_weights(self.precision, self.network)
        with autocast(self.precision, self.device):
            logits = functional_call(self.network, {**weights, **buffers}, (images, self.phase.depth))
        return labels, logits, *self.objective(logits, labels)

    def _update(self) -> None:
        self.optimiser.zero_grad()
        labels, logits, losses, objective = self._forward({})
        noise = self._noise.index_select(0, self._at)[0] if len(self._noise) else None
        # The gradient of their weighted sum, which itself nobody needs.
        torch.autograd.backward(objective, self.selection.choose(self._draws.index_select(0, self._at), noise))
        rate = self._rates.index_select(0, self._at)
        self.optimiser.step(rate)
        losses, logits = losses.detach(), logits.detach()
        self.selection.learn(losses, rate)
        self.objective.learn(logits, labels)
        self.tally.add(losses, wrong_of(self.objective.answers(logits), labels), len(labels))
        self._at += 1

    def read(self, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean losses and errors in percent of the epoch's first ``steps``, all of them done. Waits for the device."""
        return self.tally.read(steps * self.data.batch_size)

    def _state(self) -> list[Tensor]:
        """All that a step changes."""
        own = [self._at, self.tally.sums, *self.selection.state.values(), *self.objective.state.values()]
        return [*own, *self.network.parameters(), *self.network.buffers(), *self.optimiser.state()]
