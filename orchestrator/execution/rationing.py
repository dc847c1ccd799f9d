"""Which trials the limits of a command hold back.

What cannot end or reach a checkpoint in time does not begin. What runs ends at the last checkpoint that it can reach.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

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
    """Follows the trials of a round. A trial needs the seconds of an epoch, which ends with a checkpoint where it must,
    or of its rest where that is less: as the last epoch of its kind took, or as was predicted. One of which nothing is
    known may begin while anything is left."""

    def __init__(
        self,
        spending: Spending,
        planned: Sequence[PlannedTrial],
        step_seconds: Mapping[str, float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spending, self._clock = spending, clock
        self._kinds = {entry.trial.id: _kind(entry) for entry in planned} if spending.limits else {}
        self._needs: dict[Kind, float] = {}
        for entry in planned if spending.limits else ():
            if step := step_seconds.get(entry.trial.id):
                steps = min(entry.left, steps_of_epoch(entry.trial.config))
                self._needs.setdefault(self._kinds[entry.trial.id], step * steps)
        self._waiting, self._running = set(self._kinds), set[str]()
        self._held: frozenset[str] = frozenset()
        self._looked = -LOOK_SECONDS

    def began(self, trial_id: str) -> None:
        if trial_id in self._kinds:
            self._spending.began(trial_id, self._kinds[trial_id][0], self._clock())
            self._waiting.discard(trial_id)
            self._running.add(trial_id)

    def progressed(self, trial_id: str, epochs: Sequence[EpochMetrics]) -> None:
        if trial_id in self._kinds:
            last = epochs[-1]
            self._needs[self._kinds[trial_id]] = last.seconds + (last.checkpoint_seconds or 0.0)

    def ended(self, trial_id: str) -> None:
        """It does not run any more; it may begin again."""
        self._spending.ended(trial_id, self._clock())
        self._running.discard(trial_id)

    @property
    def held(self) -> frozenset[str]:
        """They stay so."""
        now = self._clock()
        if self._kinds and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._held |= self._too_long(now)
        return self._held

    @property
    def over(self) -> bool:
        """Whether no trial may begin or go on."""
        return bool(self._kinds) and self.held >= self._waiting | self._running

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


def _kind(entry: PlannedTrial) -> Kind:
    return entry.trial.resources, shape_of(entry.trial.config)
