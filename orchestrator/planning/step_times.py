"""How long steps of trials may take on machines of several kinds, of which nobody knows yet which trial gets which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.planning.estimate import Speeds, device_for
from orchestrator.sweep.trial import Trial
from orchestrator.system.hardware import Node


def slowest(trials: Iterable[Trial], speeds: Speeds, nodes: Sequence[Node]) -> dict[str, float]:
    """Returns by trial id the seconds of a step on the slowest kind of node that can hold the trial, as far as the
    ledger knows its speed there. Leaves out trials that no node can hold, or whose speed is known on none."""
    found = {}
    for trial in trials:
        devices = {device_for(trial.resources, [node]) for node in nodes}
        steps = [speeds.step(trial.config, device).value for device in devices]
        if known := [step for step in steps if step]:
            found[trial.id] = max(known)
    return found
