"""Measures how many hours of this device Table 6 takes: short steps of its networks times how many there are.

::

    python benchmarks/grid.py --minutes 3       # on a CPU: the cheapest shapes, the others extrapolated from them
    python benchmarks/grid.py --minutes 8       # on CUDA: those that weigh most first, of each kind in turn

Trials with the same network take the same time, whatever their strategy (`kernels.py` measures that), so 390 trials are
130 shapes. A shape that there is no time for takes as long as the measured one that is most like it, times the ratio of
their multiply-adds. The evaluation after each epoch is in it; starts, checkpoints and an epoch's draws are not,
nor is packing: trials run one at a time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

import torch

import harness
from anytime_core.config import (
    MILESTONES,
    STRATEGIES,
    DataConfig,
    Joint,
    NetworkConfig,
    Opt,
    TrainingConfig,
    TrialConfig,
    opt_unit,
)
from anytime_core.cost import trial_costs
from anytime_core.data.catalog import DATASETS
from anytime_core.data.loader import EVALUATION_BATCH
from harness import Found, Row
from ours import OurLoop

# As sweeps/table6.yaml has them; a test holds that these are its trials.
NETWORKS = (
    *((7, 16), (7, 32), (9, 16), (9, 32), (9, 64), (9, 128), (13, 16), (13, 32), (13, 64)),
    *((17, 16), (17, 32), (25, 16), (25, 32)),
)
DATA = ("cifar10", "cifar100", "svhn")
TRAINING = TrainingConfig(precision="bfloat16")


def table6() -> Iterator[TrialConfig]:
    """Its 390 trials."""
    for (n, c), name in product(NETWORKS, DATA):
        network = NetworkConfig(n=n, c=c, period=3 if n == 25 else 1)
        data = DataConfig(name=name, pad=DATASETS[name].pad, flip=DATASETS[name].flip)
        for strategy in STRATEGIES.values():
            yield TrialConfig(network=network, data=data, regime=Joint(strategy=strategy()), training=TRAINING)
        for fraction in MILESTONES:
            regime = Opt(unit=opt_unit(n, fraction))
            yield TrialConfig(network=replace(network, period=1), data=data, regime=regime, training=TRAINING)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a step's time depends on."""

    n: int
    c: int
    units: tuple[int, ...]
    classes: int

    @classmethod
    def of(cls, trial: TrialConfig) -> Shape:
        return cls(trial.resnet.n, trial.resnet.c, trial.predicting_units, DATASETS[trial.data.name].classes)

    def __str__(self) -> str:
        heads = f"{len(self.units)} heads" if len(self.units) > 1 else "1 head"
        return f"({self.n},{self.c}) to unit {self.units[-1]}, {heads}, {self.classes} classes"


def shapes() -> tuple[dict[Shape, TrialConfig], Counter[Shape]]:
    """A trial of each shape, and how many there are."""
    examples: dict[Shape, TrialConfig] = {}
    counts: Counter[Shape] = Counter()
    for trial in table6():
        shape = Shape.of(trial)
        examples.setdefault(shape, trial)
        counts[shape] += 1
    return examples, counts


def evaluations() -> Counter[Shape]:
    """How many images all trials of a shape evaluate."""
    images: Counter[Shape] = Counter()
    for trial in table6():
        spec, training = DATASETS[trial.data.name], trial.training
        epochs = math.ceil(training.steps / (spec.train_images // training.batch_size))
        images[Shape.of(trial)] += epochs * spec.test_images
    return images


def in_order(costs: dict[Shape, int], counts: Counter[Shape]) -> list[Shape]:
    """Those that weigh most first, but of each width, with one head or many, in turn: what a narrow network takes does
    not follow from a wide one, as launches bound it, not multiply-adds."""
    before: Counter[tuple[int, bool]] = Counter()

    def turn(shape: Shape) -> int:
        kind = (shape.c, len(shape.units) > 1)
        before[kind] += 1
        return before[kind]

    return sorted(sorted(costs, key=lambda shape: -counts[shape] * costs[shape]), key=turn)


def unlike(one: Shape, other: Shape) -> tuple[int, ...]:
    """How little two shapes have in common: width first, then whether they have many heads, then depth."""
    many = (len(one.units) > 1) != (len(other.units) > 1)
    return (abs(one.c - other.c), many, abs(one.units[-1] - other.units[-1]), abs(one.classes - other.classes))


def estimated(shape: Shape, measured: dict[Shape, float], costs: dict[Shape, int]) -> float:
    """Seconds a step, or an image."""
    if shape in measured:
        return measured[shape]
    near = min(measured, key=lambda other: unlike(shape, other))
    return measured[near] * costs[shape] / costs[near]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, turn by turn: of a step of the trial's batch, and of an image that is evaluated."""

    step: list[float]
    image: list[float]


def times_of(trial: TrialConfig, options: argparse.Namespace) -> Times:
    """Batches are of ``--batch`` images, the time of a step is for the trial's 128."""
    cuda = options.device.type == "cuda"
    how = {"precision": harness.usual_precision(options.device), "compiled": options.compiled}
    training = replace(trial.training, batch_size=options.batch, **how)
    tested = EVALUATION_BATCH if cuda else options.batch
    images = harness.random_images(trial.data.name, max(options.images, options.batch), tested)
    loop = OurLoop(replace(trial, training=training), images, options.device)
    steps = harness.in_turns({"": loop.steps}, options.steps, options.repeats, options.device).wall[""]
    loop.evaluate()  # captures
    passes = [harness.seconds_of(loop.evaluate, options.device) for _ in range(options.repeats)]
    share = trial.training.batch_size / options.batch
    return Times([seconds * share for seconds in steps], [seconds / tested for seconds in passes])


def measure(options: argparse.Namespace) -> tuple[dict[Shape, Times], dict[Shape, int], Counter[Shape], list[str]]:
    examples, counts = shapes()
    costs = {shape: trial_costs(trial)[-1] for shape, trial in examples.items()}
    order = in_order(costs, counts) if options.device.type == "cuda" else sorted(costs, key=lambda shape: costs[shape])
    found: dict[Shape, Times] = {}
    faults: list[str] = []
    deadline = time.monotonic() + 60 * options.minutes
    for number, shape in enumerate(order):
        if number >= options.most or (found and time.monotonic() > deadline):
            break
        try:
            found[shape] = times_of(examples[shape], options)
            harness.say(f"{shape}: {1e3 * min(found[shape].step):.3g} ms")
        except torch.OutOfMemoryError as error:
            faults.append(f"{shape}: {error}")
    return found, costs, counts, faults


def benchmark(options: argparse.Namespace) -> Found:
    times, costs, counts, faults = measure(options)
    rows = []
    for c in sorted({c for _, c in NETWORKS}):
        own = [shape for shape in counts if shape.c == c]
        row: Row = {"c": c, "trials": sum(counts[s] for s in own), "shapes": len(own)}
        row |= {"measured": sum(s in times for s in own)} | _hours(own, times, costs, counts)
        rows.append(row)
    every = list(counts)
    totals: Row = {"c": "all", "trials": counts.total(), "shapes": len(every), "measured": len(times)}
    rows.append(totals | _hours(every, times, costs, counts))
    notes = [
        f"{len(times)} of {len(every)} shapes measured, "
        f"{'those that weigh most, of each kind,' if options.device.type == 'cuda' else 'the cheapest'} first; "
        "the others extrapolated by their multiply-adds",
        f"64,000 steps of 128 images and their evaluations; measured with {options.batch}"
        f"{', units compiled' * options.compiled}; n = {options.repeats} turns of {options.steps}",
    ]
    detail = {str(shape): {"trials": counts[shape]} | harness.spread(t.step, "ms", 1e3) for shape, t in times.items()}
    on = harness.surroundings(options.device)
    return {"rows": rows, "notes": notes, "faults": faults, "shapes": detail, "on": on}


def _hours(own: list[Shape], times: dict[Shape, Times], costs: dict[Shape, int], counts: Counter[Shape]) -> Row:
    """By the median, the least and the most of each shape's turns."""
    steps = {shape: TRAINING.steps * counts[shape] for shape in own}
    images = evaluations()
    turns = len(next(iter(times.values())).step)
    hours, evaluating = [], []
    for turn in range(turns):
        step = {shape: sorted(found.step)[turn] for shape, found in times.items()}
        image = {shape: sorted(found.image)[turn] for shape, found in times.items()}
        evaluating.append(sum(images[shape] * estimated(shape, image, costs) for shape in own) / 3600)
        hours.append(evaluating[-1] + sum(steps[shape] * estimated(shape, step, costs) for shape in own) / 3600)
    return harness.spread(hours, "hours") | {"of_which_evaluations": median(evaluating)}


def options() -> argparse.ArgumentParser:
    cuda = torch.cuda.is_available()
    parser = harness.parser(__doc__ or "", repeats=3, steps=20 if cuda else 1)
    parser.set_defaults(images=12_800 if cuda else 5_120)  # no epoch ends while a shape is measured
    parser.add_argument(
        "--minutes", type=float, default=5, help="of measuring; at least one shape; default: %(default)s"
    )
    harness.compiled_units(parser)
    parser.add_argument(
        "--most", type=harness.positive, default=1000, help="shapes to measure; default: all there is time for"
    )
    return parser


if __name__ == "__main__":
    harness.main(benchmark, options())
