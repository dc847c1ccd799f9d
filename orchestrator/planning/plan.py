"""What would run, what would not, and why: the difference between a sweep and the ledger. Longest trials come first, so
that no long one is left to the end, unless a sweep has them take turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from anytime_core.config import Joint, Midfeat, NoGrad, TrialConfig
from anytime_core.cost import trial_costs
from anytime_core.extend import Surgery
from orchestrator.ledger.ledger import Driver, Ledger, Standing
from orchestrator.sweep.by_code import ByCode
from orchestrator.sweep.retries import Failed, FailureKind, without_numbers
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState
from orchestrator.text import counted

Action = Literal["keep", "stop", "run", "resume", "retry", "running", "wait", "leave"]
"""``running``: some driver trains it now. ``wait``: it stands in for a trial that is not chosen yet, or paused until
others are there. ``stop``: others did better, and it goes no further. ``leave``: it has not ended, and is not run for
now."""

TRAINING_PASSES = 3
"""A training step costs about three forward passes: forward, and backward to the activations and to the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """``step`` counts the steps done at the newest checkpoint, ``work`` the multiply-adds still to do. ``failure`` is
    that of the last attempt, ``record`` what is known of a trial that has ended. ``code`` says what trained it, once
    ``other_code.explained`` has looked."""

    trial: Trial
    action: Action
    reason: str
    step: int
    work: int
    failure: Failed | None = None
    record: TrialRecord | None = None
    code: ByCode | None = None

    @property
    def runs(self) -> bool:
        return self.comes and self.action != "wait"

    @property
    def comes(self) -> bool:
        """Whether it runs, now or once it is chosen."""
        return self.action not in ("keep", "stop", "leave")

    @property
    def left(self) -> int:
        """The steps still to make, as far as that is known."""
        return max(self.trial.likely - self.step, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """In the order in which the trials would run; those that are kept come last."""

    entries: tuple[PlannedTrial, ...]

    @property
    def to_run(self) -> tuple[PlannedTrial, ...]:
        return tuple(entry for entry in self.entries if entry.runs)

    @property
    def to_come(self) -> tuple[PlannedTrial, ...]:
        """These, and those that wait for a choice."""
        return tuple(entry for entry in self.entries if entry.comes)

    @property
    def actions(self) -> Counter[Action]:
        return Counter(entry.action for entry in self.entries)


def make(trials: Iterable[Trial], ledger: Ledger, *, with_running: bool = False) -> Plan:
    """Plans by the ledger. ``with_running`` tells a trial that a driver trains now from one that was interrupted.
    Raises StorageError."""
    trials = list(trials)
    standings = ledger.standings(trial.id for trial in trials)
    sweeps = {standing.sweep for standing in standings.values() if standing.sweep} if with_running else ()
    return of_standings(trials, standings, {sweep: ledger.driver(sweep) for sweep in sweeps})


def of_standings(
    trials: Iterable[Trial], standings: Mapping[str, Standing], drivers: Mapping[str, Driver | None] | None = None
) -> Plan:
    """Plans by what the ledger said. ``drivers`` are those that run now, by their sweep: what another driver trains
    looks interrupted."""
    drivers = drivers or {}
    entries = [_planned(trial, standings[trial.id], drivers) for trial in trials]
    return Plan(entries=tuple(sorted(entries, key=lambda entry: place(entry, entry.work))))


def place(entry: PlannedTrial, length: float) -> tuple[bool, int, float]:
    """Sorts what is to run before what is kept, then by turn, and the longest first."""
    return entry.action == "keep", entry.trial.turn, -length


def sized(trials: Iterable[Trial], *, cpus: int | None = None, gpus: float | str | None = None) -> list[Trial]:
    """The trials with the resources that the user gave instead of the sweep's."""
    given = {name: value for name, value in {"cpus": cpus, "gpus": gpus}.items() if value is not None}
    return [replace(trial, resources=replace(trial.resources, **given)) for trial in trials]  # type: ignore[arg-type]


def only_failed(plan: Plan) -> Plan:
    """Leaves all that has not ended but what failed."""
    return among(plan, {entry.trial.id for entry in plan.entries if entry.action == "retry"})


def among(plan: Plan, trial_ids: Container[str]) -> Plan:
    """Leaves all that has not ended but these."""
    entries = (
        replace(entry, action="leave") if entry.comes and entry.trial.id not in trial_ids else entry
        for entry in plan.entries
    )
    return Plan(entries=tuple(entries))


def summary(plan: Plan) -> str:
    """Such as ``28 trials: 20 finished, 7 to run, 1 to resume``."""
    words: dict[Action, str] = {
        "keep": "finished",
        "stop": "stopped early",
        "run": "to run",
        "running": "running",
        "resume": "to resume",
        "retry": "to retry",
        "wait": "not chosen yet",
        "leave": "left as they are",
    }
    counts = ", ".join(f"{plan.actions[action]} {word}" for action, word in words.items() if plan.actions[action])
    return f"{counted(len(plan.entries), 'trial')}: {counts}"


def training_work(trial: Trial, steps: int) -> int:
    """Multiply-adds of the given number of training steps, phases of different cost evened out."""
    return round(step_work(trial.config) * steps) if steps else 0


def step_work(config: TrialConfig, costs: Sequence[int] = ()) -> float:
    """Multiply-adds of one training step. ``costs`` are those that a trial which ended has recorded."""
    known = tuple(costs)
    return config.training.batch_size * _image_work(replace(config, seed=0), known)  # a seed changes no cost


@lru_cache(maxsize=1024)
def _image_work(config: TrialConfig, known: tuple[int, ...]) -> float:
    """Multiply-adds of training on one image."""
    costs = known or trial_costs(config)
    match config.regime:
        case Midfeat():  # the second phase has no backward pass to speak of
            return costs[-1] * (TRAINING_PASSES + 1) / 2
        case NoGrad(variant="stages"):  # a stage runs up to its head, and back through its own units
            backward = (TRAINING_PASSES - 1) * costs[-1]
            return (sum(costs) + backward) / len(costs)
        case Joint(strategy=Surgery(groups=groups, every=every)):  # a forward pass, and one back for each group
            return costs[-1] * (TRAINING_PASSES + (1 + (TRAINING_PASSES - 1) * groups) / every)
        case _:
            return TRAINING_PASSES * costs[-1]


def _planned(trial: Trial, standing: Standing, drivers: Mapping[str, Driver | None]) -> PlannedTrial:
    step = trial.config.steps if standing.state.ended else standing.step
    failure = _failure(standing)
    state = standing.under(drivers.get(standing.sweep))
    action, reason = _decision(state, standing.sweep, failure, step, trial)
    left = max(trial.likely - step, 0)
    return PlannedTrial(
        trial=trial,
        action=action,
        reason=reason,
        step=step,
        work=training_work(trial, left),
        failure=failure,
        record=standing.record,
    )


def _failure(standing: Standing) -> Failed | None:
    """Older versions did not write down of what kind it was."""
    if standing.failure is None:
        return None
    kind = FailureKind(standing.kind) if standing.kind in list(FailureKind) else FailureKind.BUG
    return Failed(kind=kind, error=standing.failure, signature=standing.signature or without_numbers(standing.failure))


def failed(failure: Failed, step: int, trial: Trial) -> str:
    return f"failed ({failure.kind}) at step {step} of {trial.config.steps}: {failure.error}"


def _decision(state: TrialState, sweep: str, failure: Failed | None, step: int, trial: Trial) -> tuple[Action, str]:
    match state:
        case _ if trial.awaits:
            return "wait", trial.awaits
        case TrialState.FINISHED:
            return "keep", "finished"
        case TrialState.DIVERGED:
            return "keep", "diverged: its loss is no longer a number, and would be so again"
        case _ if trial.pause and trial.pause.rests:
            return "stop" if trial.pause.lost else "wait", trial.pause.rests
        case TrialState.FAILED:
            return "retry", failed(failure, step, trial) if failure else "failed"
        case TrialState.RUNNING:
            return "running", f"sweep {sweep} trains it now, from step {step} of {trial.config.steps}"
        case TrialState.INTERRUPTED | TrialState.PAUSED:
            return "resume", f"{state}; goes on from step {step} of {trial.config.steps}{_pauses(trial)}"
        case _:
            return "run", f"never ran{_pauses(trial)}"


def _pauses(trial: Trial) -> str:
    """Where its tuning has it pause."""
    return f"; pauses at step {trial.pause.step}" if trial.pause else ""
