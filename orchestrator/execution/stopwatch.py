"""Times training steps that are thrown away, as a worker makes them: with the trial's threads, on its device, in its
precision. A plan is made of these while no trial has ended yet.

Images are random bytes in the shape of the data set: a step takes as long on them, and the data need not be there. A
step that is too long for the time that there is, as of a wide network on a CPU, is measured on a smaller batch, and a
line through two sizes says how long a whole one takes.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from anytime_core.config import DataConfig, TrialConfig, to_dict
from anytime_core.data.catalog import dataset_of
from orchestrator.execution.worker import WorkerContext, described, unfit
from orchestrator.ledger.calibrations import StepTimes
from orchestrator.sweep.trial import Resources
from orchestrator.system.environment import prepare_torch
from orchestrator.system.provenance import machine

if TYPE_CHECKING:
    from anytime_core.data.dataset import Images
    from anytime_core.training.trainer import Run

WARM_UP, TURNS = 3, 5
"""Steps that are left out, and stretches of steps that are timed."""
AROUND = 20
"""What all that a phase takes is counted as, in steps, the evaluations among it, if each turn is one step."""
SMALLEST, GROWTH = 2, 4
"""Images of the smallest batch, and how many times as large the next one is that is tried."""
PROBES, PATIENCE = 3, 3.0
"""Steps of each size that is tried, and seconds that a shape may take however many there are: a smaller batch is less
sure than a shape left out."""
POOL = 16
"""Batches of random images at most: an epoch is not longer."""
MOST_PHASES = 3
"""Of a regime with more, the first, the middle and the last are measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one process measured, ``on`` what of a device (``provenance.machine``), and what went wrong."""

    times: tuple[StepTimes, ...] = ()
    on: dict[str, str] | None = None
    faults: tuple[str, ...] = ()


def measure(where: WorkerContext, jobs: bytes, resources: Resources, seconds: float) -> Answer:
    """Measures pickled configs, each for its share of the seconds; what there is no time for is left out. Extensions
    are known before the configs are unpickled."""
    prepare_torch()
    if outcome := unfit(where):
        return Answer(faults=(str(outcome.error),))
    configs: Sequence[TrialConfig] = pickle.loads(jobs)
    times, faults = [], dict[str, None]()
    _warm_up(configs[0], resources)
    ends = time.monotonic() + seconds
    for number, config in enumerate(configs):
        left = ends - time.monotonic()
        if left <= 0 and number:
            break
        try:
            times.append(times_of(config, resources, max(left, 0.0) / (len(configs) - number)))
        except Exception as error:  # a plan says unknown where a trial would fail
            faults[described(error)] = None
    return Answer(times=tuple(times), on=machine(gpu=bool(resources.gpus)), faults=tuple(faults))


def _warm_up(config: TrialConfig, resources: Resources) -> None:
    """Does what a process does once: imports, threads, the GPU's own start. What goes wrong is told later."""
    from anytime_core.training.trainer import reproducible

    if not config.training.compiled:
        with suppress(Exception), reproducible(resources.cpus):
            _steps(new_run(config, min(SMALLEST, config.training.batch_size), _device(resources)), 1)


def _device(resources: Resources) -> str:
    return "cuda" if resources.gpus else "cpu"


def times_of(config: TrialConfig, resources: Resources, seconds: float) -> StepTimes:
    """Of one shape, in about so many seconds."""
    from anytime_core.training.trainer import reproducible

    device = _device(resources)
    with reproducible(resources.cpus):
        batch, factor = config.training.batch_size, 1.0
        if device == "cpu" and not config.training.compiled:
            batch, factor = fitting_batch(config, seconds)
        run = new_run(config, batch, device)
        numbers = measured_phases(len(run.phases))
        found = [_phase(run, number, seconds / len(numbers)) for number in numbers]
    tested = _evaluated_images(config) / len(run.test_data)
    begun = dataset_of(config.data).train_images / len(run.train_data.images)
    mean = partial(_weighted, weights(config, numbers))
    return StepTimes(
        config=to_dict(config),
        step=tuple(factor * mean(turn) for turn in zip(*(it.steps for it in found), strict=True)),
        epoch=begun * mean(it.begin for it in found),
        evaluation=tested * mean(it.evaluation for it in found),
    )


def _weighted(shares: Sequence[float], values: Iterable[float]) -> float:
    return sum(share * value for share, value in zip(shares, values, strict=True))


def measured_phases(phases: int) -> list[int]:
    return list(range(phases)) if phases <= MOST_PHASES else [0, phases // 2, phases - 1]


def weights(config: TrialConfig, numbers: Sequence[int]) -> list[float]:
    """The share of all steps that each measured phase stands for: its own, and those of the phases nearest to it."""
    shares = [0.0] * len(numbers)
    for phase, steps in enumerate(config.phase_steps):
        nearest = min(range(len(numbers)), key=lambda place: abs(numbers[place] - phase))
        shares[nearest] += steps / config.steps
    return shares


def fitting_batch(config: TrialConfig, seconds: float) -> tuple[int, float]:
    """How many images of the batch leave time for every turn, and how many times as long the whole batch takes."""
    whole, allowed = config.training.batch_size, max(seconds, PATIENCE)
    points = {(size := min(SMALLEST, whole)): _step(config, size)}
    while size < whole and PROBES * points[size] * min(GROWTH, whole / size) <= allowed / 2:
        size = min(GROWTH * size, whole)
        points[size] = _step(config, size)
    turns = AROUND * min(config.phases, MOST_PHASES)
    fitting = max((size for size, step in points.items() if turns * step <= allowed), default=min(points))
    return fitting, longer(points, fitting, whole)


def longer(points: Mapping[int, float], size: int, whole: int) -> float:
    """How many times as long as one of ``size`` images a whole batch takes, from the seconds of batches of some sizes:
    by the line through the two largest, of one alone in proportion. At least 1, at most in proportion."""
    *_, (few, short), (many, long) = [(0, 0.0), *sorted(points.items())]
    taken = long + (whole - many) * (long - short) / (many - few)
    return min(max(taken / points[size], 1.0), whole / size)


def _step(config: TrialConfig, batch: int) -> float:
    run = new_run(config, batch, "cpu")
    return min(_steps(run, 1) for _ in range(PROBES))


def new_run(config: TrialConfig, batch: int, device: str) -> Run:
    """A trial of this shape before its first step, on random images, with another size of batch."""
    from anytime_core.data.loader import EVALUATION_BATCH
    from anytime_core.training.trainer import build_run

    spec, whole = dataset_of(config.data), batch == config.training.batch_size
    tested = min(_evaluated_images(config), EVALUATION_BATCH if whole else 4 * batch)
    images = random_images(config.data, min(max(spec.train_images, batch), POOL * batch), tested)
    data = replace(config.data, validation=0, own_validation=False)
    if data.own:
        from anytime_core.data.cache import content_hash

        data = replace(data, own=replace(data.own, content=content_hash(images)))
    return build_run(replace(config, data=data, training=replace(config.training, batch_size=batch)), images, device)


def _evaluated_images(config: TrialConfig) -> int:
    spec = dataset_of(config.data)
    return config.data.validation or (spec.validation_images if config.data.own_validation else spec.test_images)


def random_images(data: DataConfig, train: int, test: int) -> Images:
    """Bytes in the shape of a data set."""
    import numpy as np

    from anytime_core.data.dataset import Images

    spec, rng = dataset_of(data), np.random.default_rng(0)
    return Images(
        train_images=rng.integers(0, 256, (train, *spec.image), np.uint8),
        train_labels=rng.integers(0, spec.classes, train, np.int64),
        test_images=rng.integers(0, 256, (test, *spec.image), np.uint8),
        test_labels=rng.integers(0, spec.classes, test, np.int64),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _PhaseTimes:
    """Seconds of a step, turn by turn, of the beginning of an epoch, and of an evaluation."""

    steps: tuple[float, ...]
    begin: float
    evaluation: float


def _phase(run: Run, number: int, seconds: float) -> _PhaseTimes:
    run.enter(number)
    run.steps_ahead = 0
    begin = median(_seconds(run.begin_epoch) for _ in range(3))
    _steps(run, WARM_UP)
    run.evaluate()  # captures its graph
    evaluation = median(_seconds(run.evaluate) for _ in range(3))
    once = _steps(run, 2) / 2
    count = max(1, int(seconds / (TURNS + 1) / once))
    return _PhaseTimes(
        steps=tuple(_steps(run, count) / count for _ in range(TURNS)), begin=begin, evaluation=evaluation
    )


def _steps(run: Run, count: int) -> float:
    """The seconds of so many steps, without what begins an epoch."""
    spent = 0.0
    while count:
        if not run.steps_ahead:
            run.begin_epoch()
        some = min(count, run.steps_ahead)
        spent += _seconds(partial(_some_steps, run, some))
        count -= some
    return spent


def _some_steps(run: Run, count: int) -> None:
    for _ in range(count):
        run.step()
    run.read()  # waits for the device


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Reads what to measure from a pipe, and answers by another: prints of an extension get into neither."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    arguments: tuple[Any, ...] = pickle.load(sys.stdin.buffer)
    with answers:
        pickle.dump(measure(*arguments), answers)
