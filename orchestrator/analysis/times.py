"""What training took, as the ledger's own epochs tell, and how that of two methods compares.

Times are compared only where both trials ran under the same conditions: the same device and as much of it, the same
code and the same torch. What a trial took is not the sum of its epochs, but for each phase its steps times the median
seconds of a step: the first epoch of a phase, in which libraries warm up, and an epoch that something else disturbed
count for little. The seconds of an epoch hold its evaluation.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from anytime_core.config import is_here
from anytime_core.result import EpochMetrics
from orchestrator.analysis.trace import code_of
from orchestrator.sweep.devices import Device, device_of
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord, TrialState

EpochsOf = Callable[[str], Sequence[EpochMetrics]]
"""From the id of a trial to the metrics of its epochs; empty where there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Two trials are as fast as each other only if these are equal. Precision and batch are the sweep's."""

    device: Device
    code: str
    torch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """``ratio`` is what training a method takes, relative to what the baseline takes; ``seconds`` are the method's own,
    a median over ``trials``."""

    ratio: float
    seconds: float
    trials: int


class Times:
    """Of the trials that finished. Epochs are read when they are asked for, and once."""

    def __init__(self, sweep: Sweep, records: Mapping[str, TrialRecord], epochs: EpochsOf) -> None:
        self._records, self._epochs = records, epochs
        self._configs = {trial.id: trial.config for trial in sweep.in_tables}
        self._seconds: dict[str, float | None] = {}

    def seconds(self, trial_id: str) -> float | None:
        """What training a trial took; None where it left no epochs."""
        if trial_id not in self._seconds:
            config = self._configs[trial_id]
            phases = config.phase_steps if is_here(config) else ()
            self._seconds[trial_id] = training_seconds(self._epochs(trial_id), phases)
        return self._seconds[trial_id]

    def cost(self, trial_ids: Iterable[str], baseline_ids: Iterable[str]) -> Cost | None:
        """Of a method's trials beside the baseline's, under the conditions that most of both have in common; None where
        they have none."""
        own, others = self._by_conditions(trial_ids), self._by_conditions(baseline_ids)
        common = [conditions for conditions in own if conditions in others]
        if not common:
            return None
        most = max(common, key=lambda conditions: min(len(own[conditions]), len(others[conditions])))
        seconds = median(own[most])
        trials = min(len(own[most]), len(others[most]))
        return Cost(ratio=seconds / median(others[most]), seconds=seconds, trials=trials)

    def _by_conditions(self, trial_ids: Iterable[str]) -> dict[Conditions, list[float]]:
        groups: dict[Conditions, list[float]] = defaultdict(list)
        for trial_id in trial_ids:
            record = self._records.get(trial_id)
            conditions = _conditions(record) if record and record.state is TrialState.FINISHED else None
            if conditions and (seconds := self.seconds(trial_id)):
                groups[conditions].append(seconds)
        return groups


def _conditions(record: TrialRecord) -> Conditions | None:
    """None where a trial ran in several places, or nobody wrote down where."""
    device = device_of(record)
    torch = str(record.provenance.get("torch") or "unknown")
    return Conditions(device=device, code=code_of(record), torch=torch) if device else None


def training_seconds(epochs: Iterable[EpochMetrics], phase_steps: Sequence[int] = ()) -> float | None:
    """The steps of each phase times the median seconds of a step over its epochs, but for its first one where it has
    others. Without ``phase_steps`` all epochs are of one phase. None where there are no epochs."""
    ends, before = [*accumulate(phase_steps[:-1])], 0
    phases: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for epoch in epochs:
        steps = epoch.step - before
        phases[bisect(ends, before)].append((steps, epoch.seconds / steps))
        before = epoch.step
    return sum(_phase_seconds(each) for each in phases.values()) if phases else None


def _phase_seconds(epochs: Sequence[tuple[int, float]]) -> float:
    """``epochs`` are the steps of each, and the seconds of one of them."""
    return sum(steps for steps, _ in epochs) * median(seconds for _, seconds in epochs[1:] or epochs)
