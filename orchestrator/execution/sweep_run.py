"""What one command on a sweep has at hand, and what it says in the end of trials that have not ended."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from orchestrator.execution.console import remark
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import Location
from orchestrator.places import Places, Room
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import Plan, PlannedTrial
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.limits import Limits, Spending
from orchestrator.sweep.notify import Notifier, Notify
from orchestrator.sweep.retries import FailureTally
from orchestrator.system.shutdown import PATIENCE
from orchestrator.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings(Room):
    """Where things are and how much a trial may use: nothing that changes a number."""

    storage: Location
    data_root: Path
    check_md5: bool = True
    wait_for_nodes: bool = False
    """Whether trials may ask for what no node of the cluster has yet, as an autoscaler will add one."""

    @classmethod
    def of(cls, places: Places, room: Room, **more: Any) -> Self:
        """``more`` are the other fields."""
        return cls(storage=places.storage, data_root=places.data_root, **asdict(room), **more)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSettings(RunSettings):
    """The same of a command that trains, and tells MLflow and people."""

    tracking_uri: str
    limits: Limits = field(default_factory=Limits)
    grace: float = PATIENCE
    """Seconds that running trials have to save their state once the command is told to stop."""
    retry_failed: bool = False
    rerun: tuple[str, ...] = ()
    """The trials that are trained again first, by id."""
    snapshot: bool = False
    """Whether the storage keeps the sources."""
    notify: Notify | None = None
    command: str = ""
    """How the user called it, to be said where it is to be given again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """A sweep under way, and all that the driver's parts share.

    ``ledger`` holds its trials, and knows the attempts of this driver by the id ``driver``. ``tally`` counts what has
    failed, ``spending`` what the command has used of its limits. ``tracker`` writes to MLflow, ``console`` and
    ``notifier`` tell people. ``snapshot`` is the name of what the storage keeps of the sources, if it does.
    """

    sweep: Sweep
    settings: SweepSettings
    ledger: Ledger
    tally: FailureTally
    tracker: Tracker
    console: Console
    notifier: Notifier
    driver: str
    snapshot: str = ""
    spending: Spending = field(default_factory=lambda: Spending(Limits(), 0.0))

    def say(self, text: str) -> None:
        """Prints a remark that is not one of the sweep's results."""
        remark(self.console, text)

    @property
    def is_spent(self) -> bool:
        """Whether a limit of the command has nothing left."""
        return self.spending.left(time.time()) <= 0

    def troubles(self) -> list[str]:
        """What has not ended, and why, by the ledger as it is now. Raises StorageError."""
        sweep = chosen(self.sweep, self.ledger)
        return troubles(planning.make(sweep.trials, self.ledger), self.tally, self.settings.command)


def troubles(plan: Plan, tally: FailureTally, command: str) -> list[str]:
    """What has not ended, and why: a line for each cause; and how to go on."""
    if not plan.to_come:
        return []
    lines = [f"{len(plan.to_come)} of {len(plan.entries)} trials have not ended; the same command goes on with them"]
    lines += [f"  {command}"] if command else []
    causes: dict[str, list[tuple[PlannedTrial, str]]] = defaultdict(list)
    for entry in plan.to_come:
        cause, words = _cause(entry, tally)
        causes[cause].append((entry, words))
    for cases in sorted(causes.values(), key=len, reverse=True):
        entry, words = cases[0]
        such = "" if len(cases) == 1 else f"{len(cases)} trials, such as "
        lines.append(f"  {such}{entry.trial.cell.label} ({entry.trial.id}): {words}")
    if command and (tally.failures or any(entry.failure for entry in plan.to_come)):
        lines += ["the failed ones alone are tried again by", f"  {command} --retry-failed"]
    return lines


def _cause(entry: PlannedTrial, tally: FailureTally) -> tuple[str, str]:
    """What a trial has in common with others that have not ended, and the words for it."""
    method = entry.trial.cell.method
    if failure := tally.failures.get(entry.trial.id):  # which may not have been written down
        return f"{failure.kind} {failure.signature}", planning.failed(failure, entry.step, entry.trial)
    if entry.failure:
        return f"{entry.failure.kind} {entry.failure.signature}", entry.reason
    if entry.action == "run" and method in tally.stopped:
        return f"held {method}", f"not begun: too many of {method} failed in the same way"
    return entry.action, entry.reason
