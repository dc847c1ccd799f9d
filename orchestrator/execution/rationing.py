"""Which trials the limits of a command hold back.

What cannot end or reach a checkpoint in time does not begin. What runs ends at the last checkpoint that it can reach.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from anytime_core.result import EpochMetrics
from anytime_core.training.epochs import steps_of_epoch
from orchestrator.planning.estimate import Shape, shape_of
from orchestrator.planning.plan import PlannedTrial
from orchestrator.sweep.limits import Spending
from orchestrator.sweep.trial import Resources

LOOK_SECONDS = 0.5
"""Between two looks at the limits."""
PATIENCE = 30.0
"""Seconds after a limit in which what runs may still reach its checkpoint: how long an epoch takes is a guess."""

Kind = tuple[Resources, Shape]
"""Trials that take the same of a machine, and as long for an epoch."""


class Ration:
    """Follows the trials of a round. To get anywhere, a trial needs the time of one epoch, or of all it has left where
    that is less: an epoch can end with a checkpoint. That time is what the last epoch of its kind took, else what was
    predicted. A trial of an unknown kind may begin while anything is left."""

    def __init__(
        self,
        spending: Spending,
        planned: Sequence[PlannedTrial],
        step_seconds: Mapping[str, float],
        shares: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``step_seconds`` are known of some trials; ``shares`` says how many times its resources a trial is given."""
        self._spending, self._clock = spending, clock
        self._kinds: dict[str, Kind] = {}
        self._needs: dict[Kind, float] = {}
        for entry in planned if spending.limits else ():
            trial = entry.trial
            kind = self._kinds[trial.id] = _kind(entry, (shares or {}).get(trial.id, 1))
            if step := step_seconds.get(trial.id):
                self._needs.setdefault(kind, step * min(entry.left, steps_of_epoch(trial.config)))
        self._waiting, self._running = set(self._kinds), set[str]()
        self._held: frozenset[str] = frozenset()
        self._looked = -LOOK_SECONDS

    def began(self, trial_id: str) -> bool:
        """Whether it may: beside what runs now, as several may begin between two looks."""
        if trial_id not in self._kinds:
            return True
        now, kind = self._clock(), self._kinds[trial_id]
        if self._spending.left(now, kind[0]) <= self._needs.get(kind, 0.0):
            self._hold({trial_id})
            return False
        self._spending.began(trial_id, kind[0], now)
        self._waiting.discard(trial_id)
        self._running.add(trial_id)
        return True

    def _hold(self, trial_ids: set[str]) -> None:
        self._held |= trial_ids
        self._spending.held |= trial_ids

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        if trial_id in self._kinds:
            last = epochs[-1]
            self._needs[self._kinds[trial_id]] = last.seconds + (last.checkpoint_seconds or 0.0)

    def ended(self, trial_id: str) -> None:
        """It does not run any more."""
        self._spending.ended(trial_id, self._clock())
        self._running.discard(trial_id)

    def lost(self, trial_id: str) -> None:
        """Its process died, and it is to begin again."""
        self.ended(trial_id)
        if trial_id in self._kinds:
            self._waiting.add(trial_id)

    @property
    def held(self) -> frozenset[str]:
        """They stay so."""
        now = self._clock()
        if self._kinds and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._hold(self._too_long(now))
        return self._held

    @property
    def over(self) -> bool:
        """Whether there are trials, and none of them may begin or go on."""
        still = self._waiting | self._running
        return bool(still) and self.held >= still

    @property
    def overdue(self) -> bool:
        """Whether what still runs is not waited for any longer."""
        return bool(self._kinds) and self._spending.left(self._clock()) < -PATIENCE

    def _too_long(self, now: float) -> set[str]:
        left = self._spending.left(now)
        running = {trial_id for trial_id in self._running if left <= self._needs.get(self._kinds[trial_id], 0.0)}
        by_kind: dict[Kind, set[str]] = defaultdict(set)
        for trial_id in self._waiting - self._held:
            by_kind[self._kinds[trial_id]].add(trial_id)
        late = (kind for kind in by_kind if self._spending.left(now, kind[0]) <= self._needs.get(kind, 0.0))
        return running.union(*(by_kind[kind] for kind in late))


def _kind(entry: PlannedTrial, share: int) -> Kind:
    own = entry.trial.resources
    given = replace(own, cpus=own.cpus * share, gpus=min(own.share * share, 1.0)) if share > 1 else own
    return given, shape_of(entry.trial.config)
