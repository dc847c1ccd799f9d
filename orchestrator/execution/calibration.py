"""Measures how long steps of a sweep's trials take on the devices at hand, and keeps that in the ledger.

As many processes measure at once as trials would run at once on a device: they share its memory and its clock, too.
Each shape gets the same part of the time; the order spreads over the sizes of each kind of network, so that what is cut
off lies between shapes that were measured.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from anytime_core.config import TrialConfig
from anytime_core.files import LocalFolder
from orchestrator.errors import UsageError
from orchestrator.execution.stopwatch import Answer, measure
from orchestrator.execution.worker import WorkerContext
from orchestrator.ledger import calibrations
from orchestrator.ledger.bundle import BundleStorage
from orchestrator.ledger.calibrations import Calibration
from orchestrator.ledger.ledger import Ledger, now
from orchestrator.ledger.storage import storage_at
from orchestrator.planning.estimate import Shape, Speeds, fits_on, shape_of
from orchestrator.planning.plan import step_work
from orchestrator.sweep.devices import PARTS, Device
from orchestrator.sweep.trial import Resources, Trial
from orchestrator.system.environment import prepare_ray
from orchestrator.system.hardware import Node
from orchestrator.system.sources import code_version
from orchestrator.table import duration
from orchestrator.text import counted

START_SECONDS = 120.0
"""For a process to import torch, and as long again to end what it has begun."""
MAIN = "from orchestrator.execution.stopwatch import main; main()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What is measured on one device: ``configs``, one of each shape, by ``at_once`` processes with these resources."""

    node: Node
    device: Device
    resources: Resources
    configs: tuple[TrialConfig, ...]
    at_once: int

    @property
    def jobs(self) -> list[bytes]:
        """Of each process."""
        return [pickle.dumps(self.configs[place :: self.at_once]) for place in range(self.at_once)]


def check_writable(ledger: Ledger) -> None:
    """Raises UsageError for a bundle, StorageError for a storage that cannot be written."""
    if isinstance(storage_at(ledger.storage), BundleStorage):
        raise UsageError(f"--calibrate keeps what it measures, and {ledger.storage} is a bundle; name a --storage")
    ledger.make()


def batches(trials: Collection[Trial], nodes: Sequence[Node], speeds: Speeds) -> list[Batch]:
    """What there is to measure: every shape that no trial has been trained of on that device. Of several nodes of one
    kind the first is taken."""
    found = []
    for resources in dict.fromkeys(trial.resources for trial in trials):
        own = [trial for trial in trials if trial.resources == resources]
        for device, node in _kinds(nodes, resources).items():
            configs = tuple(_in_order(own, device, speeds))
            at_once = min(_room(node, resources), len(own), len(configs))
            if configs:
                found.append(Batch(node=node, device=device, resources=resources, configs=configs, at_once=at_once))
    return found


def _kinds(nodes: Sequence[Node], resources: Resources) -> dict[Device, Node]:
    kinds: dict[Device, Node] = {}
    for node in nodes:
        if fits_on(resources, [node]):
            name = node.gpus[0].name if resources.gpus else node.cpu
            part = round(resources.share * PARTS) if resources.gpus else resources.cpus
            kinds.setdefault(Device(name=name, part=part, gpu=bool(resources.gpus)), node)
    return kinds


def _room(node: Node, resources: Resources) -> int:
    """How many trials a node's CPUs, or one of its GPUs, hold at once."""
    by_cpus = int(node.cpus // resources.cpus)
    return max(min(by_cpus, int(1 / resources.share)) if resources.gpus else by_cpus, 1)


def _in_order(trials: Iterable[Trial], device: Device, speeds: Speeds) -> Iterator[TrialConfig]:
    """One config of each shape; first what was never calibrated, and of that the ends and the middles of each kind."""
    examples: dict[Shape, TrialConfig] = {}
    for trial in trials:
        if speeds.source(trial.config, device) != "measured":
            examples.setdefault(shape_of(trial.config), trial.config)
    kinds: dict[tuple[str, str], list[TrialConfig]] = {}
    for shape, config in examples.items():
        kinds.setdefault((shape.family, shape.regime.partition(" ")[0]), []).append(config)
    ranked = [
        (speeds.source(config, device) == "calibrated", place, config)
        for alike in kinds.values()
        for place, config in enumerate(_spread(sorted(alike, key=step_work)))
    ]
    return (config for _, _, config in sorted(ranked, key=lambda it: it[:2]))


def _spread(items: Sequence[TrialConfig]) -> Iterator[TrialConfig]:
    """The first, the last, the middle, the middles of both halves, and so on."""
    yield from items[:1]
    yield from items[1:][-1:]
    spans = [(0, len(items) - 1)]
    for low, high in spans:
        if high - low > 1:
            middle = (low + high) // 2
            yield items[middle]
            spans += [(low, middle), (middle, high)]


def calibrate(found: Sequence[Batch], where: WorkerContext, ledger: Ledger, seconds: float) -> list[str]:
    """Measures on this machine for about so many seconds in all. Returns what to tell. Raises StorageError."""
    notes, shapes = [], sum(len(batch.configs) for batch in found)
    for batch in found:
        share = seconds * len(batch.configs) / shapes
        notes += kept(batch, _here(batch, where, share), ledger)
    return notes


def _here(batch: Batch, where: WorkerContext, seconds: float) -> list[Answer]:
    with ExitStack() as stack:
        processes = [stack.enter_context(_process((where, jobs, batch.resources, seconds))) for jobs in batch.jobs]
        return [_answer(process, START_SECONDS + 2 * seconds) for process in processes]


@contextmanager
def _process(arguments: tuple[object, ...]) -> Iterator[subprocess.Popen[bytes]]:
    with TemporaryFile() as given:
        pickle.dump(arguments, given)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", MAIN], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _answer(process: subprocess.Popen[bytes], seconds: float) -> Answer:
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return Answer(faults=(f"a process has not answered in {duration(seconds)}",))
    if process.returncode:
        return Answer(faults=(f"a process ended with exit code {process.returncode}",))
    answer: Answer = pickle.loads(said)
    return answer


def calibrate_at(
    address: str, found: Sequence[Batch], where: WorkerContext, ledger: Ledger, seconds: float
) -> list[str]:
    """The same on the nodes of a cluster. Raises ClusterError, StorageError."""
    prepare_ray(own_cluster=False)
    from orchestrator.cluster import nodes

    shapes, notes = sum(len(batch.configs) for batch in found), []
    with TemporaryDirectory() as folder, nodes.connected(address, LocalFolder(Path(folder))):
        for batch in found:
            share = seconds * len(batch.configs) / shapes
            calls = [(where, jobs, batch.resources, share) for jobs in batch.jobs]
            task = partial(nodes.call_on, batch.node.name, batch.resources.cpus, batch.resources.share)
            answers = task(measure, calls, START_SECONDS + 2 * share)
            notes += kept(batch, [_told(answer) for answer in answers], ledger)
    return notes


def _told(answer: object) -> Answer:
    return answer if isinstance(answer, Answer) else Answer(faults=(str(answer),))


def kept(batch: Batch, answers: Sequence[Answer], ledger: Ledger) -> list[str]:
    """Keeps what was measured of a device. Returns what to tell: how much that is, and what went wrong."""
    times = tuple(it for answer in answers for it in answer.times)
    faults = dict.fromkeys(fault for answer in answers for fault in answer.faults)
    if on := next((answer.on for answer in answers if answer.times and answer.on), None):
        made = Calibration(
            device=replace(batch.device, name=on["device_name"]),
            on={name: value for name, value in on.items() if name != "device_name"},
            host=batch.node.name,
            code=code_version(),
            time=now(),
            shapes=times,
        )
        calibrations.keep(ledger, made)
    measured = f"{len(times)} of {counted(len(batch.configs), 'shape')}"
    alike = f"{batch.at_once} at once" if batch.at_once > 1 else "one at a time"
    return [f"calibrated on {batch.device.name}: {measured}, {alike}", *(f"not calibrated: {it}" for it in faults)]
