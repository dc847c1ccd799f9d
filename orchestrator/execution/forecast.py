"""What would run of a sweep, why, and what that takes: on this machine, or on a cluster that is asked what it has."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.cluster import capacity
from orchestrator.ledger.ledger import Ledger
from orchestrator.places import Room
from orchestrator.planning import changed_data, changes, estimate, other_code, packing
from orchestrator.planning import plan as planning
from orchestrator.planning.estimate import Outlook
from orchestrator.planning.plan import Plan
from orchestrator.sweep.grid import Sweep
from orchestrator.tracking.delivered import last_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """``notes`` are what to know of the ``outlook`` for the ``plan``."""

    plan: Plan
    outlook: Outlook
    notes: tuple[str, ...]


def forecast(sweep: Sweep, ledger: Ledger, room: Room) -> Forecast:
    """Starts nothing. Raises StorageError, ClusterError."""
    plan = planning.make(planning.sized(sweep.trials, cpus=room.cpus, gpus=room.gpus), ledger, with_running=True)
    before = last_trials(ledger, sweep.name)
    plan = other_code.explained(changes.explained(plan, ledger, before, sweep.extensions))
    trials = [entry.trial for entry in plan.to_come]
    nodes, speeds = capacity.machines_for(trials, room.address, room.slots), estimate.Speeds.of(ledger)
    packed = packing.pack(plan, nodes, speeds)
    notes = (*packing.notes_on_limits(nodes), *packed.notes, *packing.notes_on_faults(trials, nodes))
    return Forecast(
        plan=plan,
        outlook=estimate.outlook(packed.plan, ledger, nodes, speeds),
        notes=(*changed_data.notes(sweep, before, ledger), *other_code.notes(plan), *notes),
    )
