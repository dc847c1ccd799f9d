"""Shows a plan: each trial, or what those of one network and method take together, and the sums."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.planning.estimate import Estimate, Outlook, Quantity
from orchestrator.report.views.render import Row
from orchestrator.report.views.trial_rows import cell_row
from orchestrator.system.hardware import Node
from orchestrator.table import Column, Entry, Table, duration
from orchestrator.text import counted


def plan_rows(outlook: Outlook) -> list[Row]:
    """One for each trial, in the order in which they would run: seconds, hours of a device and bytes of disk that it
    still takes, and where they come from; ``ends`` in seconds from the start. What is unknown is None, and so is an
    interval where one number alone is known."""
    return [
        {
            **cell_row(entry.trial),
            "action": entry.action,
            "reason": entry.reason,
            "code": None if entry.code is None else str(entry.code),
            "step": entry.step,
            "steps": entry.trial.config.steps,
            "multiply_adds": entry.work,
            "cpus": entry.trial.resources.cpus,
            "gpus": entry.trial.resources.gpus,
            "seconds": None if estimate.seconds.value is None else round(estimate.seconds.value, 1),
            "seconds_from": str(estimate.seconds),
            "seconds_least": None if estimate.seconds.least is None else round(estimate.seconds.least, 1),
            "seconds_most": None if estimate.seconds.most is None else round(estimate.seconds.most, 1),
            "hours": None if estimate.hours is None else round(estimate.hours, 5),
            "ends": None if estimate.ends is None else round(estimate.ends, 1),
            "disk": None if estimate.disk.value is None else round(estimate.disk.value),
            "disk_from": str(estimate.disk),
        }
        for estimate in outlook.estimates
        for entry in [estimate.entry]
    ]


_TRIALS = (
    *(Column(name=name, numeric=False) for name in ("id", "trial", "action")),
    Column(name="time"),
    Column(name="reason", numeric=False),
    *(Column(name=name) for name in ("hours", "least", "most", "MiB", "cpus", "gpus", "from")),
)
_GROUPS = (
    *(Column(name=name, numeric=False) for name in ("network", "method")),
    Column(name="trials"),
    Column(name="what", numeric=False),
    *(Column(name=name) for name in ("hours", "GiB")),
)
LISTED = 40
"""Trials that are listed one by one unless the user asks for more."""


def plan_table(outlook: Outlook, title: str, notes: Sequence[str] = (), *, listed: bool = True) -> Table:
    """For people: why each trial would run or not, and what it takes, or unless they are ``listed`` what those of one
    network and method take together. ``notes`` stand below the sums."""
    columns, rows = (_TRIALS, map(_trial, outlook.estimates)) if listed else (_GROUPS, _groups(outlook))
    more = () if listed else (f"{len(outlook.estimates)} trials; --trials lists them.",)
    return Table(
        name="plan",
        title=title,
        columns=columns,
        rows=tuple(rows),
        notes=(
            *plan_sums(outlook),
            *more,
            *notes,
        ),
    )


def _trial(estimate: Estimate) -> tuple[Entry, ...]:
    entry, seconds, disk = estimate.entry, estimate.seconds.value, estimate.disk.value
    named = (entry.trial.id, entry.trial.cell.label, entry.action)
    if not entry.comes:
        return tuple(Entry(value=value) for value in (*named, None, entry.reason, *[None] * 7))
    gpus = entry.trial.resources.gpus
    taken = (
        *_interval(estimate.device_hours),
        None if disk is None else disk / 2**20,
        entry.trial.resources.cpus,
        gpus if isinstance(gpus, str) else f"{gpus:g}",
        str(estimate.seconds),
    )
    time = None if seconds is None else duration(seconds)
    return tuple(Entry(value=value) for value in (*named, time, entry.reason, *taken))


def _interval(quantity: Quantity) -> tuple[float | None, ...]:
    return quantity.value, quantity.least, quantity.most


def _groups(outlook: Outlook) -> Iterator[tuple[Entry, ...]]:
    """In the order in which the first of each group would run."""
    groups: dict[tuple[str, str], list[Estimate]] = {}
    for estimate in outlook.estimates:
        cell = estimate.entry.trial.cell
        groups.setdefault((cell.network, cell.method), []).append(estimate)
    for place, group in groups.items():
        coming = [estimate for estimate in group if estimate.entry.comes]
        actions = Counter(estimate.entry.action for estimate in group)
        counts = ", ".join(f"{count} {action}" for action, count in actions.items())
        sums = (_total(estimate.hours for estimate in coming), _total(_gib(estimate) for estimate in coming))
        yield tuple(Entry(value=value) for value in (*place, len(group), counts, *sums))


def _gib(estimate: Estimate) -> float | None:
    return None if estimate.disk.value is None else estimate.disk.value / 2**30


def _total(values: Iterable[float | None]) -> float | None:
    """None where one is unknown, or nothing is to come."""
    known = list(values)
    return sum(value for value in known if value is not None) if known and None not in known else None


def plan_sums(outlook: Outlook) -> Iterator[str]:
    """What all trials take together, and where that comes from; nothing where none is to run."""
    if not outlook.to_run:
        return
    devices: dict[str, list[Quantity]] = {}
    for it in outlook.to_run:
        devices.setdefault("GPU-hours" if it.entry.trial.resources.gpus else "CPU-hours", []).append(it.device_hours)
    makespan = "unknown" if outlook.makespan is None else duration(outlook.makespan)
    yield f"makespan on {_described(outlook.nodes)}: {makespan}"
    for name, hours in devices.items():
        yield f"{name}: {_sum(hours)}"
    if price := outlook.price:
        money = [it.device_hours.times(price.amount) for it in outlook.to_run]
        yield f"{price.currency}: {_sum(money)}, at {price.amount:.2f} for an hour of a device"
    sources = ", ".join(f"{count} {source}" for source, count in outlook.sources.most_common())
    yield f"from the time of a step on this device, of so many trials: {sources}"
    if outlook.sources["unknown"]:
        yield "what is unknown, --calibrate measures on the device, in a minute or so"
    disks = [_gib(it) for it in outlook.to_run]
    known = Counter(it.disk.source for it in outlook.to_run)
    unknown = f", unknown {known['unknown']}" if known["unknown"] else ""
    parts = f"measured {known['measured']}, computed from the parameters {known['computed']}{unknown}"
    yield f"GiB of disk: {_sum([Quantity(value=disk, source='computed') for disk in disks])}; {parts}"


def _sum(values: Sequence[Quantity]) -> str:
    """With its interval, if one has any: all may be off to the same side. With what is unknown in it, a sum is only a
    bound."""
    known = [(it.value, it.least or it.value, it.most or it.value) for it in values if it.value is not None]
    if not known:
        return "unknown"
    total, least, most = map(sum, zip(*known, strict=True))
    said = f"{total:.2f}" if least == most else f"{total:.2f} ({least:.2f} to {most:.2f})"
    missing = len(values) - len(known)
    return f"at least {said}, unknown for {missing} of {len(values)}" if missing else said


def _described(nodes: Sequence[Node]) -> str:
    """Such as ``2 nodes (12 CPUs, 4 NVIDIA H100)``."""
    gpus = Counter(gpu.name for node in nodes for gpu in node.gpus)
    cpus = sum(node.cpus for node in nodes)
    parts = [counted(int(cpus), "CPU")] if math.isfinite(cpus) else []
    parts += [f"{count} {name}" for name, count in gpus.items()]
    return f"{counted(len(nodes), 'node')} ({', '.join(parts)})"
