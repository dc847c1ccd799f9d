"""What the limits of a command have left of its sweep, and what that would still take."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from orchestrator.execution.placing import here
from orchestrator.execution.sweep_run import SweepRun
from orchestrator.planning import estimate
from orchestrator.planning import plan as planning
from orchestrator.table import duration
from orchestrator.text import counted


def words(run: SweepRun) -> list[str]:
    """A sentence where limits were given and trials are left: how many, the hours of devices that they take, and when
    they would have ended on this machine, as far as that is known. Raises StorageError."""
    limits = run.spending.limits
    sized = planning.sized(run.sweep.trials, cpus=run.settings.cpus, gpus=run.settings.gpus)
    plan = planning.make(sized, run.ledger)
    if not limits or not plan.to_come:
        return []
    outlook = estimate.outlook(plan, run.ledger, [here(plan, run.settings)])
    said = [f"{limits} left {counted(len(plan.to_come), 'trial')}", *_hours(outlook), *_end(run, outlook)]
    used = [f"{used:.3g} {unit}" for unit, used in run.spending.used(time.time()).items()]
    return [", ".join(said)] + ([f"this command used {', '.join(used)}"] if used else [])


def _hours(outlook: estimate.Outlook) -> list[str]:
    hours = [it.hours for it in outlook.to_run]
    known = [each for each in hours if each is not None]
    if len(known) < len(hours):
        return ["whose times are not known"]
    gpus = any(it.entry.trial.resources.gpus for it in outlook.to_run)
    return [f"which take {sum(known):.2g} {'GPU' if gpus else 'CPU'}-hours more"]


def _end(run: SweepRun, outlook: estimate.Outlook) -> list[str]:
    """Nothing for a cluster, whose nodes are not asked any more."""
    if run.settings.address or outlook.makespan is None:
        return []
    at = datetime.now() + timedelta(seconds=outlook.makespan)
    return [f"begun now they would end in {duration(outlook.makespan)}, at {at:%Y-%m-%d %H:%M}"]
