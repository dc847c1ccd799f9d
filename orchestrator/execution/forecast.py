"""What would run of a sweep, why, and what that takes: on this machine, or on a cluster that is asked what it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.cluster import capacity
from orchestrator.errors import UsageError
from orchestrator.ledger import calibrations
from orchestrator.ledger.ledger import Ledger
from orchestrator.places import Room
from orchestrator.planning import changed_data, changes, estimate, named_devices, other_code, packing
from orchestrator.planning import plan as planning
from orchestrator.planning.estimate import Outlook, Speeds
from orchestrator.planning.plan import Plan
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.limits import Price, limits_of
from orchestrator.sweep.trial import Trial
from orchestrator.system.hardware import Node
from orchestrator.tracking.delivered import last_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a plan is asked for beside what the ledger knows: to ``calibrate`` for so many seconds first, to plan for
    ``devices`` that are not here, such as ``4xH100``, and what an hour of a device costs, if not the sweep's price."""

    calibrate: float | None = None
    devices: str | None = None
    price: str | None = None

    def price_of(self, sweep: Sweep) -> Price | None:
        """Raises UsageError."""
        return limits_of(None, (), self.price or sweep.price).price


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """``notes`` are what to know of the ``outlook`` for the ``plan``."""

    plan: Plan
    outlook: Outlook
    notes: tuple[str, ...]


def forecast(
    sweep: Sweep, ledger: Ledger, room: Room, asked: Asked | None = None, tell: Callable[[str], object] = lambda _: None
) -> Forecast:
    """Trains nothing unless it is to calibrate, which it tells. Raises UsageError, StorageError, ClusterError."""
    asked = asked or Asked()
    price = asked.price_of(sweep)
    if asked.devices and room.address and not asked.calibrate:
        raise UsageError(f"--devices {asked.devices!r} plans for a cluster that is not here: leave out --address")
    plan = planning.make(planning.sized(sweep.trials, cpus=room.cpus, gpus=room.gpus), ledger, with_running=True)
    before = last_trials(ledger, sweep.name)
    plan = other_code.explained(changes.explained(plan, ledger, before, sweep.extensions))
    trials, speeds, said = [entry.trial for entry in plan.to_come], Speeds.of(ledger), list[str]()
    if asked.calibrate or not asked.devices:
        nodes = capacity.machines_for(trials, room.address, room.slots)
        notes = packing.notes_on_faults(trials, nodes)
    if asked.calibrate:
        tell(f"calibrating for about {asked.calibrate:.0f} s: steps of the sweep's trials that are thrown away")
        said = _calibrated(packing.pack(plan, nodes, speeds).plan, sweep, ledger, nodes, room, asked.calibrate)
        speeds = Speeds.of(ledger)
    if asked.devices:
        nodes = [_named(asked.devices, speeds, trials)]
        notes = _origins(nodes[0], ledger, speeds)
    packed = packing.pack(plan, nodes, speeds)
    return Forecast(
        plan=plan,
        outlook=estimate.outlook(packed.plan, ledger, nodes, speeds, price),
        notes=(
            *changed_data.notes(sweep, before, ledger),
            *other_code.notes(plan),
            *said,
            *packing.notes_on_limits(nodes),
            *packed.notes,
            *notes,
        ),
    )


def _calibrated(
    plan: Plan, sweep: Sweep, ledger: Ledger, nodes: Sequence[Node], room: Room, seconds: float
) -> list[str]:
    from orchestrator.execution import calibration
    from orchestrator.execution.placing import worker_context
    from orchestrator.execution.sweep_run import RunSettings

    calibration.check_writable(ledger)
    found = calibration.batches([entry.trial for entry in plan.to_come], nodes, Speeds.of(ledger))
    if not found:
        return ["nothing to calibrate: trials of each shape were trained here, or none fits here"]
    settings = RunSettings(storage=ledger.storage, data_root=Path(), **asdict(room))
    where = worker_context(sweep, settings, ledger)
    if room.address:
        return calibration.calibrate_at(room.address, found, where, ledger, seconds)
    return calibration.calibrate(found, where, ledger, seconds)


def _named(text: str, speeds: Speeds, trials: Sequence[Trial]) -> Node:
    node = named_devices.node_of(text, speeds.devices)
    named_devices.refuse_misfits(text, node, trials)
    return node


def _origins(node: Node, ledger: Ledger, speeds: Speeds) -> list[str]:
    """Where what is known of a device that is not here comes from."""
    name = node.gpus[0].name if node.gpus else node.cpu
    trained = sum(speeds.trials(device) for device in speeds.devices if device.name == name)
    known = [f"{trained} shapes of trials that ran on it"] if trained else []
    known += [
        f"{len(it.shapes)} shapes calibrated at {it.time[:10]} on {it.host} with torch {it.on.get('torch', '?')}"
        for it in calibrations.read(ledger)
        if it.device.name == name
    ]
    return [f"{name} was not asked; the ledger knows {'; '.join(known)}"]
