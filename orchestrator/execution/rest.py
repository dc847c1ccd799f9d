"""Says what is left of a sweep that the limits of its command cut short, and what that would still take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.execution.placing import here
from orchestrator.execution.sweep_run import SweepRun
from orchestrator.planning import estimate
from orchestrator.planning import plan as planning
from orchestrator.system.hardware import Node
from orchestrator.table import duration
from orchestrator.text import counted


def words(run: SweepRun, nodes: Sequence[Node]) -> list[str]:
    """Nothing unless limits have held trials back. Else a sentence: how many, how many hours of devices they take, and
    when they would end on the ``nodes`` of the cluster that was given, or else on this machine, as far as that is
    known. Raises StorageError."""
    spending, settings = run.spending, run.settings
    trials = [trial for trial in run.sweep.trials if trial.id in spending.held]
    plan = planning.make(planning.sized(trials, cpus=settings.cpus, gpus=settings.gpus), run.ledger)
    if not plan.to_come:
        return []
    said = [f"{spending.limits} left {counted(len(plan.to_come), 'trial')}"]
    outlook = estimate.outlook(plan, run.ledger, nodes if settings.address else [here(plan, settings)])
    said += [*_hours(outlook), *_end(outlook)]
    used = [f"{used:.3g} {unit}" for unit, used in spending.used(time.time()).items()]
    return [", ".join(said)] + ([f"this command used {', '.join(used)}"] if used else [])


def _hours(outlook: estimate.Outlook) -> list[str]:
    hours = [it.hours for it in outlook.to_run]
    known = [each for each in hours if each is not None]
    if len(known) < len(hours):
        return ["whose times are not known"]
    gpus = any(it.entry.trial.resources.gpus for it in outlook.to_run)
    return [f"which take {sum(known):.2g} {'GPU' if gpus else 'CPU'}-hours more"]


def _end(outlook: estimate.Outlook) -> list[str]:
    if outlook.makespan is None:
        return []
    at = datetime.now() + timedelta(seconds=outlook.makespan)
    return [f"begun now they would end in {duration(outlook.makespan)}, at {at:%Y-%m-%d %H:%M}"]
