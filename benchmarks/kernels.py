"""Measures the parts of a training step, each beside the plain way to write it: time, and how many kernels it takes.

::

    python benchmarks/kernels.py                          # (3,16), batch 128
    python benchmarks/kernels.py --network 7,16 --compile # with one unit compiled: a minute on a CPU

Both sides of a part compute the same; they take turns. Kernels are those of one call, or one step. The last
rows are whole steps: of each strategy and method beside ANN, of all heads beside one head, of ours beside the usual
loop's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import baselines
import harness
from anytime_core import methods
from anytime_core.config import PARTS, STRATEGIES, Ann, Joint, TrialConfig
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images
from anytime_core.extend import Surgery
from anytime_core.model.graphs import Mode
from anytime_core.model.network import Heads, Unit, build_network
from anytime_core.training.evaluate import losses_of
from counting import kernels_of, unit_of_count
from harness import Found, Row
from ours import OurLoop

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Part:
    """``before`` and ``after`` do the same; what is short is called ``often`` for each step of the others.

    On a CPU a ``compiled`` one has no count: what it does is not dispatched."""

    name: str
    before: Work
    after: Work
    often: int = 1
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    config: TrialConfig
    images: Images
    device: torch.device

    @property
    def classes(self) -> int:
        return DATASETS[self.config.data.name].classes

    @property
    def heads(self) -> int:
        return len(self.config.predicting_units)

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(self.device)

    def labels(self) -> Tensor:
        batch = self.config.training.batch_size
        return torch.randint(self.classes, (batch,), generator=torch.Generator().manual_seed(1)).to(self.device)


# The parts


def heads(setting: Setting) -> Part:
    """The linear layers of one block's units: one a unit, or one batched product; forward and backward."""
    count, channels = setting.config.resnet.n, setting.config.resnet.c
    pooled = setting.randn(count, setting.config.training.batch_size, channels).requires_grad_()
    linears = nn.ModuleList(nn.Linear(channels, setting.classes) for _ in range(count)).to(setting.device)
    batched = Heads(count, channels, setting.classes).to(setting.device)
    with torch.no_grad():
        for linear, weight in zip(linears, batched.weight, strict=True):
            weight.copy_(linear.weight.t())  # type: ignore[operator]

    def loop() -> None:
        _back(torch.stack([linear(features) for linear, features in zip(linears, pooled, strict=True)]))

    return Part("heads of one block, a loop or one product", loop, lambda: _back(batched(pooled)), 50)


def loss(setting: Setting) -> Part:
    """The weighted sum of all losses, each loss and its gradient."""
    batch, labels = setting.config.training.batch_size, setting.labels()
    logits = setting.randn(setting.heads, batch, setting.classes).requires_grad_()
    values = [1 / setting.heads] * setting.heads
    weights = torch.tensor(values, device=setting.device)

    def loop() -> None:
        losses = [weight * cross_entropy(one, labels) for weight, one in zip(values, logits, strict=True)]
        _back(torch.stack(losses))

    return Part(
        "losses, a loop or at once", loop, lambda: torch.autograd.backward(losses_of(logits, labels), weights), 50
    )


def data(setting: Setting) -> Part:
    """A batch: image by image on the host and then to the device, or on the device at once."""
    config = setting.config
    loader, _ = baselines.usual_loader(
        setting.images, config.data.pad, config.data.flip, config.training.batch_size, workers=0, pin=False
    )
    batches, ours = baselines.forever(loader), OurLoop(config, setting.images, setting.device, "eager").run.train_data
    ours.draw(1)
    first = torch.zeros(1, dtype=torch.int64, device=setting.device)
    return Part(
        "a batch, image by image or on the device",
        lambda: [part.to(setting.device) for part in next(batches)],
        lambda: ours.batch(first),
    )


def sgd(setting: Setting) -> Part:
    """The update of all parameters."""
    run = OurLoop(setting.config, setting.images, setting.device, "eager").run
    twin = baselines.twin_of(run.network)
    usual, schedule = baselines.usual_sgd(twin, setting.config.training)
    for parameter in [*twin.parameters(), *run.network.parameters()]:
        parameter.grad = torch.zeros_like(parameter)
    rate = torch.tensor(run.rate_at(0), device=setting.device)
    update = partial(run.optimiser.step, rate)
    # The schedule counts the steps of its optimiser, which must not outlive it.
    return Part("update, PyTorch's default SGD or ours", lambda: (usual.step(), schedule), update, 20)


def unit(setting: Setting) -> Part:
    """Forward and backward of one residual unit, call by call and compiled."""
    channels, size = setting.config.resnet.c, DATASETS[setting.config.data.name].size
    x = setting.randn(setting.config.training.batch_size, channels, size, size)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    eager = Unit(channels).to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled = torch.compile(eager)
    return Part(
        "one unit, eager or compiled", partial(_through, eager, x), partial(_through, compiled, x), compiled=True
    )


def _back(output: Tensor) -> None:
    torch.autograd.backward(output.sum())


def _through(module: Any, x: Tensor) -> None:
    _back(module(x))


# Whole steps


def step_of(setting: Setting, config: TrialConfig, mode: Mode = "auto") -> Work:
    return partial(OurLoop(config, setting.images, setting.device, mode).steps, 1)


def strategies(setting: Setting) -> list[Part]:
    """Of each a step, beside one of ANN."""
    ann = step_of(setting, replace(setting.config, regime=Joint(strategy=Ann())))
    return [
        Part(f"a step, ann or {name}", ann, step_of(setting, replace(setting.config, regime=Joint(strategy=kind()))))
        for name, kind in STRATEGIES.items()
        if kind is not Ann
    ]


def field(setting: Setting) -> list[Part]:
    """Of each of the field's methods a step, beside one of ANN; of those that measure in some steps, ten."""
    ann = step_of(setting, replace(setting.config, regime=Joint(strategy=Ann())))
    kinds = [kind for name in methods.__all__ if (kind := getattr(methods, name)).kind in PARTS]
    return [
        Part(
            f"a step, ann or {kind.kind} {kind.name}",
            ann,
            step_of(setting, replace(setting.config, regime=Joint(**{kind.kind: kind()}))),
            often=10 if issubclass(kind, Surgery) else 1,
        )
        for kind in kinds
    ]


def all_heads(setting: Setting) -> Part:
    network = setting.config.resnet
    last = replace(setting.config, network=replace(network, period=network.units))
    return Part("a step, of the last head or of all", step_of(setting, last), step_of(setting, setting.config))


def graph(setting: Setting) -> Part:
    eager = step_of(setting, setting.config, "eager")
    return Part("our step, call by call or as one graph", eager, step_of(setting, setting.config, "graph"))


def whole(setting: Setting) -> Part:
    """Of a batch that lies on the device: the usual loop's step, and ours."""
    config = setting.config
    network = build_network(config).to(setting.device)
    run = OurLoop(config, setting.images, setting.device, "eager").run
    images = setting.randn(config.training.batch_size, *setting.images.train_images.shape[1:])
    batch: Any = [(images, setting.labels())]
    loop = baselines.UsualLoop(baselines.twin_of(network), run.phase.weights, config.training, batch, setting.device)
    return Part("a step, the usual loop's or ours with its data", loop.step, step_of(setting, config))


def parts_of(setting: Setting, compiles: bool) -> list[partial[list[Part]]]:
    made: list[Callable[[Setting], Part]] = [heads, loss, data, sgd, *([unit] if compiles else [])]
    steps: list[Callable[[Setting], Part]] = [all_heads, whole, *([graph] if setting.device.type == "cuda" else [])]
    return [partial(_alone, make, setting) for make in (*made, *steps)] + [
        partial(strategies, setting),
        partial(field, setting),
    ]


def _alone(make: Callable[[Setting], Part], setting: Setting) -> list[Part]:
    return [make(setting)]


def row_of(part: Part, options: argparse.Namespace) -> Row:
    for work in (part.before, part.after):
        work()
    counted = [part.before] if part.compiled and options.device.type == "cpu" else [part.before, part.after]
    # The fewer of two calls, as one may begin an epoch.
    counts = [min(kernels_of(work, options.device) for _ in range(2)) for work in counted]
    both = {"before": _times(part.before), "after": _times(part.after)}
    turns = harness.in_turns(both, options.steps * part.often, options.repeats, options.device)
    row: Row = {"part": part.name} | harness.spread(turns.wall["before"], "before_ms", 1e3)
    row |= harness.spread(turns.wall["after"], "after_ms", 1e3)
    row |= harness.spread(harness.ratios(turns.wall["after"], turns.wall["before"]), "after_over_before")
    if options.device.type == "cpu":
        row |= harness.spread(harness.ratios(turns.cpu["after"], turns.cpu["before"]), "in_CPU_time")
    return row | dict(zip(("kernels_before", "kernels_after"), counts, strict=False))


def _times(work: Work) -> Callable[[int], None]:
    def run(count: int) -> None:
        for _ in range(count):
            work()

    return run


def benchmark(options: argparse.Namespace) -> Found:
    images, which = harness.images_for(options.data, options.data_root, max(options.images, options.batch), 500)
    n, c = options.network
    config = harness.trial(
        n, c, data=options.data, batch=options.batch, precision=harness.usual_precision(options.device)
    )
    rows, faults = [], []
    for make in parts_of(Setting(config, images, options.device), options.compile):
        try:
            for part in make():
                harness.say(part.name)
                rows.append(row_of(part, options))
        except Exception as error:  # a part that cannot run here
            what = make.args[0].__name__ if make.func is _alone else make.func.__name__
            faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    notes = [
        f"({n},{c}), batch {options.batch}, {which}; steps of ours in {config.training.precision}",
        f"kernels: {unit_of_count(options.device)}, of one call",
        f"n = {options.repeats} turns of {options.steps} calls, A B A B: the median, and least to most",
    ]
    return {"rows": rows, "notes": notes, "faults": faults, "on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", steps=20 if torch.cuda.is_available() else 2)
    parser.add_argument("--network", type=harness.size, default=(3, 16), metavar="N,C", help="default: 3,16")
    parser.add_argument("--compile", action="store_true", help="one unit compiled, too")
    return parser


if __name__ == "__main__":
    harness.main(benchmark, options())
