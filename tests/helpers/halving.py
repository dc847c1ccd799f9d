"""A sweep that halves the points of a tuning, run without Ray and without a network: its numbers are drawn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stored_sweep import StoredSweep

from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord

TUNED = """
name: tuned
networks: [{n: 1, c: 2}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann, tune: {grid: {gamma: [0.25, 0.5, 1, 2, 4]}, halving: true}}
  exp3: {strategy: exp3, tune: {grid: {gamma: [0.25, 0.5]}}}
seeds: [0, 1]
training: {steps: 88, batch_size: 64, learning_rate: {0: 0.1, 44: 0.01}}
report: {baseline: ann, tables: [field, tuning, errors]}
"""
EPOCH = 22


@dataclass
class Run(StoredSweep):
    """The sweep in one storage. ``steps`` counts those that each trial has made here; errors are drawn by ``seed``."""

    make_epochs: Callable[..., list[EpochMetrics]]
    make_record: Callable[..., TrialRecord]
    seed: int = 0
    steps: Counter[str] = field(default_factory=Counter)

    def go_on(self, which: int) -> bool:
        """Trains one of those that are to run as far as they go now; whether there was any."""
        if trials := self.to_run:
            self.train(trials[which % len(trials)])
        return bool(trials)

    def finish(self) -> Sweep:
        while self.go_on(0):
            pass
        return self.now

    def train(self, trial: Trial) -> None:
        attempt, saved = self.ledger.begin(trial, self.sweep.name), self.ledger.checkpoints(trial.id)
        self.steps[trial.id] += trial.until - self.ledger.step(trial.id)
        epochs = [self._drawn(trial, it) for it in self.make_epochs(trial.until // EPOCH, 3)]
        self.ledger.write_epochs(attempt, trial.config.predicting_units, [1, 2, 3], epochs)
        checkpoint.save(saved, trial.until, Checkpoint({}, {"step": trial.until}))
        if trial.until < trial.config.steps:
            self.ledger.pause(attempt, trial.until)
        else:
            self.ledger.finish(attempt, self.make_record(trial, epochs[-1].test_error))

    def _drawn(self, trial: Trial, epoch: EpochMetrics) -> EpochMetrics:
        rng = random.Random(f"{self.seed} {trial.id} {epoch.step}")
        return replace(epoch, test_error=tuple(rng.uniform(0, 50) for _ in range(3)))
