"""A sweep that decides, run without Ray and without a network: who wins a pair is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from stored_sweep import StoredSweep

from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord

TEXT = """
name: decides
networks: [{n: 1, c: 2}, {n: 1, c: 3}]
datasets: [digits, cifar10]
methods:
  ann: {}
  aann: {strategy: aann}
  exp3: {strategy: exp3}
training: {steps: 44, batch_size: 64}
decide: {%s}
"""
TWO = "compare: [aann > ann at AE, exp3 > ann at 1/2], at_most: {seeds: 9}, first: 2"
LOSS, WIN = 10.0, -10.0
BASE = 50.0


@dataclass
class Drawn:
    """Records in which each method but the baseline wins a pair with its chance in ``chances``. Errors depend on the
    trial and ``seed`` alone, not on what was asked before."""

    make_record: Callable[[Trial, tuple[float, ...] | None], TrialRecord]
    chances: Mapping[str, float]
    seed: int = 0
    hours: float | None = None

    def record(self, trial: Trial) -> TrialRecord:
        rng = random.Random(f"{self.seed} {trial.cell.label}")
        chance = self.chances.get(trial.cell.method)
        shift = 0.0 if chance is None else WIN if rng.random() < chance else LOSS
        made = self.make_record(trial, (BASE + shift,) * 3)
        if self.hours is None:
            return made
        result = replace(made.result, seconds=3600 * self.hours)
        return replace(made, result=result, provenance=made.provenance | {"threads": 1})

    def records(self, trials: Iterable[Trial]) -> dict[str, TrialRecord]:
        return {trial.id: self.record(trial) for trial in trials}


def ended(sweep: Sweep, drawn: Drawn) -> Sweep:
    """The sweep once nothing is left to run."""
    records: dict[str, TrialRecord] = {}
    while new := [trial for trial in sweep.chosen(records).trials if trial.id not in records]:
        records |= drawn.records(new)
    return sweep.chosen(records)


@dataclass
class Run(StoredSweep):
    """The sweep in one storage."""

    drawn: Drawn
    trained: list[str] = field(default_factory=list)

    def train(self, trial: Trial) -> None:
        attempt = self.ledger.begin(trial, self.sweep.name)
        checkpoint.save(self.ledger.checkpoints(trial.id), trial.config.steps, Checkpoint({}, {"step": 44}))
        self.ledger.finish(attempt, self.drawn.record(trial))
        self.trained.append(trial.id)

    def finish(self) -> Sweep:
        while trials := self.to_run:
            for trial in trials:
                self.train(trial)
        return self.now
