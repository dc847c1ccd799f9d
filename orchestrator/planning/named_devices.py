"""A cluster that is not here, such as ``4xH100``, of devices that the ledger has speeds of."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from orchestrator.errors import UsageError
from orchestrator.planning.estimate import fits_on
from orchestrator.sweep.devices import PARTS, Device
from orchestrator.sweep.trial import Trial
from orchestrator.system.hardware import Gpu, Node

FORM = re.compile(r"\s*(\d{1,6})\s*[xX]\s*(\S.*?)\s*")
ALLOWED = "allowed: a number of GPUs, or of CPU cores, and a name or a part of one, such as 4xH100"


def node_of(text: str, known: Collection[Device]) -> Node:
    """One machine with so many of a known device. CPUs beside GPUs are as many as trials ask for, as nobody can ask it.

    Raises UsageError for what is no such number, and for a name that none of the known devices has, or several have.
    """
    given = FORM.fullmatch(text)
    if not given or not int(given[1]):
        raise UsageError(f"--devices {text!r}: {ALLOWED}")
    count, device = int(given[1]), _device(text, given[2], known)
    if not device.gpu:
        return Node(name=device.name, cpu=device.name, cpus=count)
    shared = any(it.part < PARTS for it in known if it.name == device.name)
    gpus = (Gpu(name=device.name, memory=0),) * count
    return Node(name=device.name, cpu="", cpus=math.inf, gpus=gpus, mps=shared)


def _device(text: str, name: str, known: Collection[Device]) -> Device:
    """One of that name, with any share."""
    found = {it.name: it for it in known if name.casefold() in it.name.casefold()}
    exact = [it for it in found.values() if it.name.casefold() == name.casefold()]
    if len(exact or found) != 1:
        names = ", ".join(sorted(found or {it.name for it in known})) or "none"
        why = "several devices have this in their names" if found else "nothing is known of such a device"
        raise UsageError(
            f"--devices {text!r}: {why}; known: {names}. `orchestrate plan SWEEP.yaml --calibrate` there measures one, "
            "and `orchestrate import` brings that here"
        )
    return exact[0] if exact else next(iter(found.values()))


def refuse_misfits(text: str, node: Node, trials: Sequence[Trial]) -> None:
    """Raises UsageError for trials that want a GPU of a CPU, or the other way round, or more than there is."""
    asked = dict.fromkeys(trial.resources for trial in trials)
    if any(bool(it.gpus) != bool(node.gpus) or not fits_on(it, [node]) for it in asked):
        wanted = "; ".join(map(str, asked))
        options = "--gpus 1, or auto" if node.gpus else "--gpus 0 and --cpus"
        raise UsageError(f"--devices {text!r}: a trial asks for {wanted}; give {options}")
