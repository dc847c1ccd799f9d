"""How much of a GPU a trial is given where its resources say ``gpus: auto``: a k-th, with k trials on one GPU.

k is, in this order: 1 where no MPS daemon answers, as programs would only take turns; else of the k that the ledger has
measured for this shape on this GPU, if there are two at least, the one with the most steps a second; else
``BY_CHANNELS``, which nobody has measured yet. It is never more than memory allows: each trial's predicted memory fits
into its share of that of the smallest GPU, so whatever shares come together on a GPU, they fit. A network that
is no ResNet has a GPU alone until two k are measured, and where its memory is unknown.

On CPUs a trial has as many threads as CPUs, so trials never fight for cores. They are not chosen here: another number
of threads gives other bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import floor

from anytime_core.config import NetworkConfig, TrialConfig
from anytime_core.memory import predicted_memory
from orchestrator.errors import ClusterError
from orchestrator.planning.estimate import Speeds, fits_on
from orchestrator.planning.plan import Plan
from orchestrator.sweep.devices import PARTS
from orchestrator.sweep.trial import AUTO, Resources, Trial
from orchestrator.system.hardware import Gpu, Node
from orchestrator.text import counted

BY_CHANNELS = ((16, 4), (32, 2))
"""Up to so many channels, so many trials on a GPU; one of wider networks. A guess from the launches of a step: not
measured."""
USABLE = 0.9
"""Of a GPU's memory that nobody has."""

Memory = Callable[[TrialConfig], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """``k`` trials like this one go on a GPU, and why as many."""

    k: int
    reason: str

    @property
    def gpus(self) -> float:
        """Of a GPU; rounded down, so that k of them are never more than one."""
        return floor(PARTS / self.k) / PARTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A plan in which no share is open any more, and what there is to say about it."""

    plan: Plan
    notes: tuple[str, ...] = ()


def pack(plan: Plan, nodes: Sequence[Node], speeds: Speeds, memory: Memory = predicted_memory) -> Packed:
    """Gives each trial with ``gpus: auto`` its share; all others keep what they ask for."""
    open_ = [entry for entry in plan.entries if entry.trial.resources.gpus == AUTO]
    gpus = [gpu for node in nodes for gpu in node.gpus]
    if not open_ or not gpus:
        return Packed(plan=plan)
    room, mps = smallest(gpus), all(node.mps for node in nodes if node.gpus)
    name = Counter(gpu.name for gpu in gpus).most_common(1)[0][0]
    shares: dict[str, Share] = {}
    for entry in open_:
        config = entry.trial.config
        shares[entry.trial.id] = share(config, room, mps, speeds.parts(config, name), memory(config))
    entries = (
        replace(entry, trial=_given(entry.trial, shares[entry.trial.id])) if entry.trial.id in shares else entry
        for entry in plan.entries
    )
    running = [shares[entry.trial.id] for entry in plan.to_come if entry.trial.id in shares]
    return Packed(plan=Plan(entries=tuple(entries)), notes=tuple(_notes(running, nodes)))


def share(config: TrialConfig, room: int, mps: bool, measured: dict[int, float], need: int) -> Share:
    """``room`` are the bytes that a GPU has, ``need`` those that the trial's process will take, both 0 if unknown;
    ``measured`` the seconds of a step, by ten-thousandths of a GPU."""
    if not mps:
        return Share(k=1, reason="no MPS")
    if not room or not need:
        return Share(k=1, reason="memory unknown")
    most = max(floor(USABLE * room / need), 1)
    rates = {PARTS // part: (PARTS // part) / seconds for part, seconds in measured.items()}
    able = {k: rate for k, rate in rates.items() if k <= most}
    if len(able) > 1:
        return Share(k=max(able, key=lambda k: (able[k], -k)), reason="measured")
    if not isinstance(config.network, NetworkConfig):
        return Share(k=1, reason="not measured")
    usual = next((k for channels, k in BY_CHANNELS if config.network.c <= channels), 1)
    return Share(k=min(usual, most), reason="memory" if most < usual else "by channels, not measured")


def smallest(gpus: Iterable[Gpu]) -> int:
    """Bytes that are free on each of them; 0 where one does not tell."""
    return min((max(gpu.memory - gpu.used, 0) if gpu.memory else 0 for gpu in gpus), default=0)


def _given(trial: Trial, portion: Share) -> Trial:
    return replace(trial, resources=replace(trial.resources, gpus=portion.gpus))


def _notes(shares: Sequence[Share], nodes: Sequence[Node]) -> Iterable[str]:
    for portion, count in sorted(Counter(shares).items(), key=lambda item: item[0].k):
        alone = "one trial a GPU" if portion.k == 1 else f"{portion.k} trials a GPU"
        yield f"{alone} for {counted(count, 'trial')} ({portion.reason})"
    if without := [node.name for node in nodes if node.gpus and not node.mps]:
        yield (
            f"no NVIDIA MPS on {', '.join(without)}: trials on one GPU would only take turns, so each has one alone; "
            "nvidia-cuda-mps-control -d starts it"
        )


# What cannot be had


def faults(trials: Collection[Trial], nodes: Sequence[Node]) -> list[str]:
    """A line for each request that no node can hold, however empty it is."""
    asked: dict[Resources, list[Trial]] = {}
    for trial in trials:
        asked.setdefault(trial.resources, []).append(trial)
    return [_fault(resources, alike) for resources, alike in asked.items() if not fits_on(resources, nodes)]


def refuse(trials: Collection[Trial], nodes: Sequence[Node]) -> None:
    """Raises ClusterError with all faults, if there are any."""
    if lines := faults(trials, nodes):
        raise ClusterError("\n".join([*lines, advice(nodes)]))


def notes_on_faults(trials: Collection[Trial], nodes: Sequence[Node]) -> list[str]:
    """Tells the faults of this machine and refuses nothing: the sweep may be meant for another."""
    return [f"{fault} here: {advice(nodes)}; or --address for a cluster" for fault in faults(trials, nodes)]


def advice(nodes: Sequence[Node]) -> str:
    """What there is, and what to ask for instead."""
    there = "; ".join(f"{node.name} has {node.cpus:g} CPUs and {len(node.gpus)} GPUs{_limits(node)}" for node in nodes)
    options = "--cpus or --gpus" if any(node.gpus for node in nodes) else "--cpus, or --gpus 0 to train on CPUs"
    return f"{there}; change the sweep's resources, or give {options}"


def notes_on_limits(nodes: Sequence[Node]) -> list[str]:
    """Tells what of each machine is not to be used, and why."""
    return [f"{node.name} offers {', '.join(node.limits)}" for node in nodes if node.limits]


def _limits(node: Node) -> str:
    return f" ({', '.join(node.limits)})" if node.limits else ""


def _fault(resources: Resources, trials: Sequence[Trial]) -> str:
    who = "a trial" if len(trials) == 1 else f"each of {len(trials)} trials"
    return f"{who} asks for {resources}, and no node has that"
