"""What a plan will take: time on the devices at hand, and disk. Each figure says where it comes from; none is invented.

The time of a step is, in this order:

- *measured*: the median of the ledger's trials of the same shape (network, data set, regime, batch) on the same device
  with as many threads, or as large a share of the GPU;
- *calibrated*: the median of what steps of the same shape took there that were thrown away (``plan --calibrate``);
- *scaled*: that of the nearest shape of the same kind of network, data set, regime and batch on the same device, by the
  multiply-adds of a step, if they differ by a factor of ``NEAR`` at most;
- *model*: a constant and a rate of multiply-adds, fitted to at least ``ENOUGH`` shapes of the same kind of network on
  the same device that come within a factor of ``REACH`` of it;
- else *unknown*, and with it every sum that it is in.

Scaled and model rest on what was measured and calibrated. A trial's seconds hold its evaluations. An interval runs from
the quickest to the slowest trial or turn; that of a model as far as its points lie off it.

``plan`` and this import neither torch nor Ray.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from heapq import heappop, heappush
from statistics import median
from typing import Literal

from anytime_core.config import (
    AnyNetwork,
    DataConfig,
    Joint,
    NetworkConfig,
    NoGrad,
    Opt,
    TrainingConfig,
    TrialConfig,
    is_here,
)
from anytime_core.data.catalog import dataset_of
from anytime_core.extend import Surgery
from anytime_core.files import plain_files
from anytime_core.memory import is_known, parameter_count
from anytime_core.outcomes import MOST_OF_UINT8
from anytime_core.training.epochs import number_of_epochs, steps_of_epoch
from orchestrator.errors import UsageError
from orchestrator.ledger import calibrations
from orchestrator.ledger.calibrations import Calibration, StepTimes
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning.plan import Plan, PlannedTrial, place, step_work
from orchestrator.sweep.devices import PARTS, Device, device_of
from orchestrator.sweep.limits import Price
from orchestrator.sweep.trial import Resources, Trial, TrialRecord, config_in, config_of
from orchestrator.system.hardware import Node, this_machine

log = logging.getLogger(__name__)

Source = Literal["measured", "calibrated", "scaled", "model", "computed", "unknown"]

NEAR = 2.0
REACH = 10.0
ENOUGH = 3
FLOAT = 4
COPIES = 2
"""A checkpoint holds the weights and the momentum of each."""
OF_AN_OUTCOME, OF_AN_IMAGE = 7, 4
"""Bytes of an image's four numbers at one prediction, and of the image."""
OF_AN_EPOCH, OF_A_UNIT, OF_A_TRIAL = 120, 8_000, 30_000
"""Bytes of what is kept of a prediction in each epoch, of a unit's names, shapes and running means, and of the rest."""


SCHEDULE = ("steps", "learning_rate", "momentum", "weight_decay", "head_decay", "evaluations")
PER_STEP = tuple(field.name for field in fields(TrainingConfig) if field.name not in SCHEDULE)
"""What of the training changes the time of a step: the batch, and whatever is no part of the schedule. Evaluations do
by a few percent, and trials with and without all of them are taken for one shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """All of a trial that its time for a step depends on."""

    network: AnyNetwork
    data: str
    regime: str
    training: tuple[tuple[str, object], ...]

    @property
    def family(self) -> str:
        """Networks of one kind, such as all ResNets: times of others say little."""
        return "" if isinstance(self.network, NetworkConfig) else self.network.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A predicted number; None where it is unknown. ``n`` counts the trials, or turns of steps, that it rests on; it
    lies from ``least`` to ``most``, where more than one say so."""

    value: float | None
    source: Source
    n: int = 0
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        return f"{self.source} (n={self.n})" if self.n else self.source

    def times(self, factor: float) -> Quantity:
        scaled = {name: getattr(self, name) for name in ("value", "least", "most")}
        return replace(self, **{name: value and value * factor for name, value in scaled.items()})


UNKNOWN = Quantity(value=None, source="unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Of one planned trial: ``seconds`` still to run, ``hours`` of a device (of a GPU, or of a CPU core), ``disk`` in
    bytes that it will still take; ``ends`` is when it would have ended, in seconds from now."""

    entry: PlannedTrial
    seconds: Quantity
    disk: Quantity
    ends: float | None = None

    @property
    def hours(self) -> float | None:
        return self.device_hours.value

    @property
    def device_hours(self) -> Quantity:
        """The same with its interval."""
        resources = self.entry.trial.resources
        return self.seconds.times((resources.share or resources.cpus) / 3600)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """Of a plan, in its order. ``nodes`` are the machines that it was made for, ``price`` that of a device's hour."""

    estimates: tuple[Estimate, ...]
    nodes: tuple[Node, ...]
    price: Price | None = None

    @property
    def to_run(self) -> tuple[Estimate, ...]:
        return tuple(it for it in self.estimates if it.entry.comes)

    @property
    def makespan(self) -> float | None:
        """Seconds until all have ended; None where that of one trial is unknown."""
        ends = [it.ends for it in self.to_run]
        return max((end for end in ends if end is not None), default=0.0) if None not in ends else None

    @property
    def sources(self) -> Counter[Source]:
        """How many trials have their seconds from where."""
        return Counter(it.seconds.source for it in self.to_run)


def outlook(
    plan: Plan, ledger: Ledger, nodes: Sequence[Node], speeds: Speeds | None = None, price: Price | None = None
) -> Outlook:
    """The longest first, as far as that is known."""
    speeds = speeds or Speeds.of(ledger)
    disks = _Disks(ledger, speeds)
    device = {resources: device_for(resources, nodes) for resources in {it.trial.resources for it in plan.entries}}
    estimates = [_estimate(entry, speeds, disks, device[entry.trial.resources]) for entry in plan.entries]
    if all(it.seconds.value is not None for it in estimates):
        estimates.sort(key=lambda it: place(it.entry, it.seconds.value or 0))
    running = [it for it in estimates if it.entry.comes]
    ends = dict(zip((it.entry.trial.id for it in running), _ends(running, nodes), strict=True))
    return Outlook(
        estimates=tuple(replace(it, ends=ends.get(it.entry.trial.id)) for it in estimates),
        nodes=tuple(nodes),
        price=price,
    )


def _estimate(entry: PlannedTrial, speeds: Speeds, disks: _Disks, device: Device | None) -> Estimate:
    if not entry.comes:
        nothing = Quantity(value=0.0, source="computed")
        return Estimate(entry=entry, seconds=nothing, disk=nothing)
    step = speeds.step(entry.trial.config, device)
    return Estimate(entry=entry, seconds=step.times(entry.left), disk=disks.of(entry.trial))


def here(trials: Iterable[Trial], slots: int | None = None) -> Node:
    """This machine, with its GPUs if one of the trials wants any, and at most ``slots`` of its CPUs."""
    return this_machine(with_gpus=any(trial.resources.gpus for trial in trials), slots=slots)


def device_for(resources: Resources, nodes: Sequence[Node]) -> Device | None:
    """What a trial would run on: the device of which the nodes that can hold it have most; None if there is none."""
    able = [node for node in nodes if fits_on(resources, [node])]
    if resources.gpus:
        names = Counter(gpu.name for node in able for gpu in node.gpus)
        part = round(resources.share * PARTS)
    else:
        names = Counter(name for node in able for name in [node.cpu] * int(node.cpus))
        part = resources.cpus
    return Device(name=names.most_common(1)[0][0], part=part, gpu=bool(resources.gpus)) if names else None


def shape_of(config: TrialConfig) -> Shape:
    """Seeds, rates, weights and lengths change no step's time."""
    regime = config.regime
    match regime:
        case Joint(strategy=Surgery() as surgery):
            words = f"joint {surgery.name} {surgery.groups} {surgery.every}"
        case Joint():
            words = f"joint {regime.strategy.name}"
        case Opt():
            words = f"opt {regime.unit}"
        case NoGrad():
            words = f"no_grad {regime.variant}"
        case _:
            words = regime.name
    training = tuple((name, getattr(config.training, name)) for name in PER_STEP)
    return Shape(network=config.network, data=_data_of(config.data), regime=words, training=training)


def _data_of(data: DataConfig) -> str:
    """Of a data set of the user's own, which may have changed, also what decides the times."""
    own = data.own
    return f"{data.name} {own.channels}x{own.size} {len(own.class_names)} {own.train_images}" if own else data.name


# Times


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """The seconds of a step of one shape, trial by trial or turn by turn, and its multiply-adds. Those of
    ``calibrated`` steps are without what a trial does once an epoch: that depends on the trial."""

    shape: Shape
    work: float
    seconds: tuple[float, ...]
    calibrated: StepTimes | None = None

    @property
    def source(self) -> Source:
        return "calibrated" if self.calibrated else "measured"

    def of(self, config: TrialConfig, source: Source, factor: float = 1.0) -> Quantity:
        """The seconds of a step of such a trial, times a factor."""
        seconds = self.calibrated.of(config) if self.calibrated else self.seconds
        step = Quantity(value=median(seconds), source=source, n=len(seconds))
        some = step if len(seconds) == 1 else replace(step, least=min(seconds), most=max(seconds))
        return some.times(factor)


class Speeds:
    """What the ledger knows of the time of a step, by device."""

    def __init__(self, measured: Mapping[Device, Mapping[Shape, _Known]], ids: Mapping[Shape, str]) -> None:
        self._measured = measured
        self.ids = ids
        """A finished trial of each shape."""
        self._known: dict[tuple[Device, Shape], Quantity] = {}

    @classmethod
    def of(cls, ledger: Ledger) -> Speeds:
        """From all trials that ended in the ledger, whatever sweep they are of, and all that was calibrated."""
        return cls.from_records(ledger.all_records().values(), calibrations.read(ledger))

    @classmethod
    def from_records(cls, records: Iterable[TrialRecord], calibrated: Iterable[Calibration] = ()) -> Speeds:
        """A shape of which a trial was trained on a device goes by its trials alone. Calibrations come oldest first."""
        alike: dict[str, list[TrialRecord]] = defaultdict(list)
        for record in records:
            if record.result.steps and record.result.seconds > 0:
                alike[_written(record)].append(record)
        seconds: dict[Device, dict[Shape, list[float]]] = defaultdict(lambda: defaultdict(list))
        works: dict[Shape, float] = {}
        ids: dict[Shape, str] = {}
        for group in alike.values():
            example = _readable(group)
            if example is None:
                continue
            trial_id, config = example
            shape = shape_of(config)
            works[shape] = step_work(config, group[0].result.costs)
            ids[shape] = trial_id
            for record in group:
                if device := device_of(record):
                    seconds[device][shape].append(record.result.seconds / record.result.steps)
        known = _calibrated(calibrated)
        for device, shapes in seconds.items():
            known[device] |= {
                shape: _Known(shape=shape, work=works[shape], seconds=tuple(times)) for shape, times in shapes.items()
            }
        return cls(known, ids)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those that something is known of."""
        return tuple(device for device, shapes in self._measured.items() if shapes)

    def trials(self, device: Device) -> int:
        """How many shapes of trials that ran there are known."""
        return sum(it.source == "measured" for it in self._measured.get(device, {}).values())

    def source(self, config: TrialConfig, device: Device) -> Source:
        """Where the time of its very shape comes from."""
        same = self._measured.get(device, {}).get(shape_of(config))
        return same.source if same else "unknown"

    def step(self, config: TrialConfig, device: Device | None) -> Quantity:
        """The seconds of one training step of such a trial, its share of the evaluations included."""
        if device is None:
            return UNKNOWN
        shape = shape_of(config)
        if (known := self._known.get((device, shape))) is None:
            known = self._known[device, shape] = self._step(config, shape, self._measured.get(device, {}))
        return known

    def _step(self, config: TrialConfig, shape: Shape, measured: Mapping[Shape, _Known]) -> Quantity:
        if same := measured.get(shape):
            return same.of(config, same.source)
        alike = [it for it in measured.values() if it.shape.family == shape.family]
        return _scaled(config, shape, alike) or _modelled(config, alike) or UNKNOWN

    def parts(self, config: TrialConfig, gpu: str) -> dict[int, float]:
        """By the share of a GPU of that name, in ten-thousandths: the seconds of a step that were measured."""
        shape = shape_of(config)
        return {
            device.part: value
            for device, shapes in self._measured.items()
            if device.gpu and device.name == gpu and shape in shapes
            if (value := shapes[shape].of(config, "measured").value) is not None
        }


def _written(record: TrialRecord) -> str:
    """The same for trials of one shape, by what is read fast."""
    config, training = record.config, record.config.get("training")
    parts = [config.get(name) for name in ("network", "data", "regime")]
    return f"{parts} {[training.get(name) for name in PER_STEP] if isinstance(training, dict) else training}"


def _readable(group: Iterable[TrialRecord]) -> tuple[str, TrialConfig] | None:
    """The id and the config of the first of some trials of one shape that can be read; warns of those before it."""
    for record in group:
        try:
            return record.trial_id, config_of(record)
        except UsageError as error:
            log.warning("%s; it is left out of what is predicted", error)
    return None


def _calibrated(calibrated: Iterable[Calibration]) -> dict[Device, dict[Shape, _Known]]:
    """The newest of each shape; those whose code is gone are left out."""
    known: dict[Device, dict[Shape, _Known]] = defaultdict(dict)
    for calibration in calibrated:
        for times in calibration.shapes:
            try:
                config = config_in(times.config, "a calibration")
            except UsageError as error:
                log.warning("%s; it is left out of what is predicted", error)
                continue
            if not is_here(config):
                continue
            shape, work = shape_of(config), step_work(config)
            known[calibration.device][shape] = _Known(shape=shape, work=work, seconds=times.step, calibrated=times)
    return known


def _scaled(config: TrialConfig, shape: Shape, measured: Iterable[_Known]) -> Quantity | None:
    """From the nearest of the same kind, if one is near."""
    kind, work = _kind(shape), step_work(config)
    distances = {abs(math.log(work / it.work)): it for it in measured if _kind(it.shape) == kind}
    if not distances or min(distances) > math.log(NEAR):
        return None
    nearest = distances[min(distances)]
    return nearest.of(config, "scaled", work / nearest.work)


def _kind(shape: Shape) -> tuple[object, ...]:
    return shape.data, shape.regime.partition(" ")[0], shape.training


def _modelled(config: TrialConfig, measured: Collection[_Known]) -> Quantity | None:
    """Least squares of the relative errors; neither the constant nor the rate is negative."""
    work, known = step_work(config), [(it.work, it.of(config, "model")) for it in measured]
    points = [(x, step.value) for x, step in known if step.value]
    works = [x for x, _ in points]
    if len({*works}) < ENOUGH or not min(works) / REACH <= work <= max(works) * REACH:
        return None
    constant, rate = fit(points)
    off = [y / (constant + rate * x) for x, y in points]
    step = Quantity(value=1.0, source="model", n=sum(step.n for _, step in known), least=min(off), most=max(off))
    return step.times(constant + rate * work)


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The a, b >= 0 of y = a + b x with the least sum of ((a + b x) / y - 1)^2."""
    # Rows (1/y, x/y) against 1: the normal equations of two unknowns.
    uu = sum(1 / y**2 for _, y in points)
    uv = sum(x / y**2 for x, y in points)
    vv = sum((x / y) ** 2 for x, y in points)
    u, v = sum(1 / y for _, y in points), sum(x / y for x, y in points)
    determinant = uu * vv - uv**2
    if determinant > 1e-12 * uu * vv:
        a, b = (u * vv - v * uv) / determinant, (v * uu - u * uv) / determinant
        if a >= 0 and b >= 0:
            return a, b
    alone = ((0.0, v / vv), (u / uu, 0.0))  # on one of the bounds
    return min(alone, key=lambda ab: sum(((ab[0] + ab[1] * x) / y - 1) ** 2 for x, y in points))


# Makespan


def _ends(running: Sequence[Estimate], nodes: Sequence[Node]) -> list[float | None]:
    """When each would have ended, begun in this order; None for all where one is unknown or fits nowhere."""
    jobs = [(it.seconds.value, it.entry.trial.resources) for it in running]
    if any(seconds is None or not fits_on(resources, nodes) for seconds, resources in jobs):
        return [None] * len(jobs)
    return [*schedule([(seconds or 0.0, resources) for seconds, resources in jobs], nodes)]


def fits_on(resources: Resources, nodes: Sequence[Node]) -> bool:
    """Whether one of the nodes can hold such a trial."""
    return any(node.cpus >= resources.cpus and len(node.gpus) >= resources.share for node in nodes)


def schedule(jobs: Sequence[tuple[float, Resources]], nodes: Sequence[Node]) -> list[float]:
    """When jobs of so many seconds end that begin in this order, each as soon as a node has room; one that waits lets
    no other by. Given longest first on equal slots this is LPT. Each must fit on an empty node."""
    cpus = [node.cpus for node in nodes]
    gpus = [[PARTS] * len(node.gpus) for node in nodes]
    running: list[tuple[float, int, int, int, int]] = []
    now, ends = 0.0, []
    for seconds, resources in jobs:
        part = round(resources.share * PARTS)
        while (place := _place(cpus, gpus, resources.cpus, part)) is None:
            now, node, gpu, threads, given = heappop(running)
            cpus[node] += threads
            if given:
                gpus[node][gpu] += given
        node, gpu = place
        cpus[node] -= resources.cpus
        if part:
            gpus[node][gpu] -= part
        heappush(running, (now + seconds, node, gpu, resources.cpus, part))
        ends.append(now + seconds)
    return ends


def _place(cpus: Sequence[float], gpus: Sequence[Sequence[int]], threads: int, part: int) -> tuple[int, int] | None:
    """Node and GPU with room: the fullest GPU, so that whole ones stay free."""
    able = [node for node, free in enumerate(cpus) if free >= threads]
    if not part:
        return (max(able, key=lambda node: cpus[node]), 0) if able else None
    room = [(free, node, gpu) for node in able for gpu, free in enumerate(gpus[node]) if free >= part]
    return min(room)[1:] if room else None


# Disk


class _Disks:
    """What trials leave on disk: as one of the same shape and length did, or by the count of parameters."""

    def __init__(self, ledger: Ledger, speeds: Speeds) -> None:
        self._ledger, self._speeds = ledger, speeds
        self._known: dict[tuple[Shape, int], Quantity] = {}

    def of(self, trial: Trial) -> Quantity:
        key = shape_of(trial.config), trial.config.steps
        if key not in self._known:
            self._known[key] = self._measured(*key) or _computed(trial)
        return self._known[key]

    def _measured(self, shape: Shape, steps: int) -> Quantity | None:
        """Of a trial that made as many steps, as the metrics grow with them."""
        trial_id = self._speeds.ids.get(shape)
        record = self._ledger.record(trial_id) if trial_id else None
        if not record or record.result.steps != steps:
            return None
        size = sum(path.lstat().st_size for path in plain_files(self._ledger.folder(record.trial_id)))
        return Quantity(value=float(size), source="measured", n=1) if size else None


def _computed(trial: Trial) -> Quantity:
    return Quantity(value=float(disk_of(trial)), source="computed") if is_known(trial.config) else UNKNOWN


def size_of_outcomes(config: TrialConfig) -> int:
    """As if nothing in them could be packed."""
    spec = dataset_of(config.data)
    held_out = spec.validation_images if config.data.own_validation else config.data.validation
    width = OF_AN_OUTCOME + (spec.classes > MOST_OF_UINT8)
    return (spec.test_images + held_out) * (len(config.predicting_units) * width + OF_AN_IMAGE)


def disk_of(trial: Trial) -> int:
    """Bytes that a finished trial leaves: its newest checkpoint, which holds its history, its metrics, and its answers
    to each image where these are kept."""
    config = trial.config
    epochs = number_of_epochs(config.phase_steps, steps_of_epoch(config))
    history = epochs * len(config.predicting_units) * OF_AN_EPOCH
    others = config.predicting_units[-1] * OF_A_UNIT + OF_A_TRIAL
    outcomes = size_of_outcomes(config) if trial.keep.outcomes else 0
    return COPIES * FLOAT * parameter_count(config) + history + others + outcomes
