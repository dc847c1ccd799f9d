"""Checks that all fast paths give the numbers of the plain one, on this device. Exit code 1 if one does not.

::

    python benchmarks/parity.py                    # what a CPU can show: about a minute
    python benchmarks/parity.py --network 7,16     # on CUDA: all of it but compiled units, which take minutes
    python benchmarks/parity.py --network 7,16 --compiled
    python benchmarks/parity.py --network 7,16 --graph      # that a CUDA graph and eager steps agree, alone

In float64 the tolerance is rounding; bfloat16 has 8 binary digits. `the same bits` means all parameters and statistics.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import baselines
import harness
import packing
from anytime_core.config import STRATEGIES, Aann, Exp3, Joint, Midfeat, NoGrad, Opt, Regime, TrialConfig
from anytime_core.data.dataset import Images
from anytime_core.model.graphs import Mode
from anytime_core.model.network import AnytimeResNet, build_resnet
from anytime_core.result import EpochMetrics
from anytime_core.trained import network_hash
from anytime_core.training.evaluate import losses_of
from anytime_core.training.trainer import reproducible, train
from harness import Found, NotHereError, Row
from ours import OurLoop

EXACT = 1e-10
"""Relative, of float64 sums in another order."""
STEPS = 6
MODES: tuple[Mode, ...] = ("graph", "eager")
TESTED = 1_200
"""Images to evaluate on: whole batches, which are replays of a graph, and a rest."""


class DiffersError(Exception):
    """The two sides are not the same."""


@dataclass(frozen=True, slots=True)
class Setting:
    config: TrialConfig
    images: Images
    device: torch.device
    options: argparse.Namespace

    def of(self, regime: Regime, **training: Any) -> TrialConfig:
        return replace(self.config, regime=regime, training=replace(self.config.training, **training))

    def needs_cuda(self) -> None:
        if self.device.type != "cuda":
            raise NotHereError("needs CUDA")

    def batch(self, size: int = 16) -> tuple[Tensor, Tensor]:
        """float64 images and their labels, on the CPU."""
        images = torch.from_numpy(self.images.train_images[:size].copy()).double() / 64 - 2
        return images, torch.from_numpy(self.images.train_labels[:size].copy())


def regimes(config: TrialConfig) -> Iterator[tuple[str, Regime]]:
    """Every strategy, and every other regime."""
    for name, strategy in STRATEGIES.items():
        yield name, Joint(strategy=strategy())
    yield "exp3, after a warm-up", Joint(strategy=Exp3(warm_up_epochs=1))
    yield "opt", Opt(unit=config.resnet.units // 2)
    yield "midfeat", Midfeat()
    yield "no_grad, stages", NoGrad()
    yield "no_grad, stop_gradient", NoGrad(variant="stop_gradient")


# Losses and gradients of one batch


def of_ours(network: AnytimeResNet, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The losses, then the gradients of their sum."""
    losses = losses_of(network.train()(images), labels)
    return [losses.detach(), *torch.autograd.grad(losses.sum(), list(network.parameters()))]


def of_twin(twin: baselines.ResNet, network: AnytimeResNet, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The same of the usual network, in the order and layout of ours."""
    losses = torch.stack([nn.functional.cross_entropy(logits, labels) for logits in twin.train()(images)])
    torch.autograd.backward(losses.sum())
    theirs = {id(ours): own for own, ours in baselines.pairs_of(twin, network)}
    gradients = [theirs[id(parameter)].grad for parameter in network.parameters()]
    turned = [g.t() if theirs[id(p)].ndim == 2 else g for g, p in zip(gradients, network.parameters(), strict=True)]  # type: ignore[union-attr]
    return [losses.detach(), *turned]  # type: ignore[list-item]


def difference(ones: list[Tensor], others: list[Tensor]) -> float:
    """The largest of |one - other| / |other| over tensors."""
    worst = 0.0
    for one, other in zip(ones, others, strict=True):
        one, other = one.detach().cpu().double(), other.detach().cpu().double()
        worst = max(worst, float((one - other).norm() / other.norm().clamp_min(1e-9)))
    return worst if worst == worst else float("inf")


def as_one(tensors: list[Tensor]) -> list[Tensor]:
    """In float32 a number next to 0 can fall on the other side of a ReLU, which a small gradient shows alone."""
    return [torch.cat([tensor.detach().cpu().double().flatten() for tensor in tensors])]


def within(value: float, allowed: float) -> str:
    if not value <= allowed:
        raise DiffersError(f"{value:.2g}, allowed {allowed:g}")
    return f"{value:.2g}, allowed {allowed:g}"


def same(one: str, other: str) -> str:
    if one != other:
        raise DiffersError(f"{one} and {other}")
    return f"the same bits, {one}"


# The checks


def usual_network(setting: Setting) -> str:
    """Batched heads and losses against the loop, in float64: the baselines compute the same."""
    images, labels = (part.to(setting.device) for part in setting.batch())
    network = build_resnet(setting.config).to(setting.device).double()
    found = of_ours(network, images, labels)
    return within(difference(found, of_twin(baselines.twin_of(network), network, images, labels)), EXACT)


def against_float64(setting: Setting, double: bool) -> str:
    """This device against float64 on the CPU."""
    images, labels = setting.batch()
    network = build_resnet(setting.config).double()
    exact = of_ours(network, images, labels)
    network = network.to(setting.device) if double else network.to(setting.device).float()
    found = of_ours(network, images.to(setting.device, network.stem.weight.dtype), labels.to(setting.device))
    if double:
        return within(difference(found, exact), 1e-9)
    return within(difference(as_one(found), as_one(exact)), 2e-2)


def cuda_float64(setting: Setting) -> str:
    setting.needs_cuda()
    return against_float64(setting, double=True)


def float32(setting: Setting) -> str:
    with reproducible():  # convolutions in float32, not tf32
        return against_float64(setting, double=False)


def trained(setting: Setting, config: TrialConfig, mode: Mode, steps: int = STEPS) -> OurLoop:
    loop = OurLoop(config, setting.images, setting.device, mode)
    loop.steps(steps)
    harness.synchronise(setting.device)
    return loop


def bfloat16(setting: Setting) -> str:
    """Losses of the first steps in bfloat16 and in float32."""
    losses = []
    for precision in ("bfloat16", "float32"):
        loop = trained(setting, setting.of(Joint(), precision=precision), "auto", 3)
        losses.append(torch.tensor(loop.run.read()[0]))
    return within(difference([losses[0]], [losses[1]]), 0.05)


def compiled(setting: Setting) -> str:
    """Losses of the first steps with compiled units and without."""
    setting.needs_cuda()  # on a CPU compiling takes minutes
    losses = []
    for compiles in (True, False):
        loop = trained(setting, setting.of(Joint(), precision="bfloat16", compiled=compiles), "auto", 3)
        losses.append(torch.tensor(loop.run.read()[0]))
    return within(difference([losses[0]], [losses[1]]), 0.05)


def graph_and_eager(setting: Setting, regime: Regime, compiles: bool = False) -> str:
    """Two epochs of each phase: every loss and error, and the network."""
    setting.needs_cuda()
    epoch = len(setting.images.train_images) // setting.config.training.batch_size
    training = {"steps": 2 * epoch, "learning_rate": {0: 0.1, epoch: 0.01}, "compiled": compiles}
    config = setting.of(regime, precision="bfloat16", **training)
    found = []
    for mode in MODES:
        epochs: list[Any] = []
        with tempfile.TemporaryDirectory() as folder:
            keys: dict[str, Any] = {"images": setting.images, "device": setting.device, "mode": mode}
            train(config, epochs.append, Path(folder), threads=torch.get_num_threads(), **keys)
            numbers = [(e.train_loss, e.train_error, e.test_loss, e.test_error, e.probabilities) for e in epochs]
            found.append((numbers, network_hash(Path(folder))))
    for number, (one, other) in enumerate(zip(found[0][0], found[1][0], strict=True), start=1):
        if repr(one) != repr(other):  # where both diverged they are the same, too
            raise DiffersError(f"epoch {number}: {one} and {other}")
    return same(found[0][1], found[1][1])


def never_waits(setting: Setting, regime: Regime, mode: Mode, compiles: bool = False) -> str:
    """An epoch of steps in which any wait for the device raises, of each phase."""
    setting.needs_cuda()
    config = setting.of(regime, precision="bfloat16", compiled=compiles)
    loop = OurLoop(config, setting.images, setting.device, mode)
    steps = 0
    for phase in range(len(loop.run.phases)):
        loop.run.enter(phase)
        loop.run.steps_ahead = 0
        loop.steps(1)  # begins the epoch, captures
        harness.synchronise(setting.device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            with reproducible():
                while loop.run.steps_ahead:
                    loop.run.step()
                    steps += 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return f"{steps} steps of {len(loop.run.phases)} phases"


def resumed(setting: Setting) -> str:
    """StoppedError after an epoch and gone on, or not: the same network."""
    epoch = len(setting.images.train_images) // setting.config.training.batch_size
    training = {"steps": 2 * epoch, "learning_rate": {0: 0.1, epoch: 0.01}}
    config = setting.of(Joint(strategy=Aann()), precision=harness.usual_precision(setting.device), **training)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        keys: dict[str, Any] = {"images": setting.images, "device": setting.device, "threads": torch.get_num_threads()}
        train(config, checkpoints=whole, **keys)
        try:
            train(config, _stop, parts, **keys)
        except StoppedError:
            train(config, checkpoints=parts, **keys)
        return same(network_hash(parts), network_hash(whole))


class StoppedError(Exception):
    pass


def _stop(metrics: EpochMetrics) -> None:
    raise StoppedError


def packed(setting: Setting) -> str:
    """Two trials at once, each in a process, and each alone."""
    n, c = setting.options.network
    keys = {"network": (n, c), "steps": STEPS, "images": len(setting.images.train_images)}
    options = argparse.Namespace(**vars(setting.options) | keys)
    with packing.mps(False) as (environment, _):
        _, together = packing.at_once(range(2), options, environment)
        alone = (
            packing.at_once(range(1), options, environment)[1] | packing.at_once(range(1, 2), options, environment)[1]
        )
    return " and ".join(same(together[seed], alone[seed]) for seed in together)


def checks(setting: Setting) -> Iterator[tuple[str, Callable[[], str]]]:
    if setting.options.compiled:
        yield from checks_of_compiled(setting)
        return
    if setting.options.graph:
        yield from checks_of_graphs(setting)
        return
    yield "the usual network and ours, float64", partial(usual_network, setting)
    yield "CUDA and CPU, float64", partial(cuda_float64, setting)
    yield "float32 and float64 on the CPU", partial(float32, setting)
    yield "bfloat16 and float32, losses of 3 steps", partial(bfloat16, setting)
    yield from checks_of_graphs(setting)
    for name, regime in regimes(setting.config):
        for mode in MODES:
            yield f"no wait in a step, {name}, {mode}", partial(never_waits, setting, regime, mode)
    yield "stopped and resumed", partial(resumed, setting)
    yield "two at once and alone", partial(packed, setting)


def checks_of_graphs(setting: Setting) -> Iterator[tuple[str, Callable[[], str]]]:
    for name, regime in regimes(setting.config):
        yield f"graph and eager, {name}", partial(graph_and_eager, setting, regime)


def checks_of_compiled(setting: Setting) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "compiled units and not, losses of 3 steps", partial(compiled, setting)
    for name, regime in (("ann", Joint()), ("midfeat", Midfeat())):
        yield f"compiled, graph and eager, {name}", partial(graph_and_eager, setting, regime, True)
    for mode in MODES:
        yield f"compiled, no wait in a step, {mode}", partial(never_waits, setting, Joint(), mode, True)


def row_of(name: str, check: Callable[[], str]) -> Row:
    try:
        result, detail = "passed", check()
    except NotHereError as error:
        result, detail = "not here", str(error)
    except Exception as error:  # one that fails must not keep the others from running
        result, detail = "FAILED", f"{type(error).__name__}: {str(error)[:300]}"
    harness.say(f"{result:<9}{name}: {detail}")
    return {"check": name, "result": result, "detail": " ".join(detail.split())}


def benchmark(options: argparse.Namespace) -> Found:
    images = harness.random_images(options.data, options.images, TESTED if options.device.type == "cuda" else 200)
    n, c = options.network
    config = harness.trial(n, c, data=options.data, batch=options.batch)
    setting = Setting(config, images, options.device, options)
    rows = [row_of(name, check) for name, check in checks(setting)]
    notes = [f"({n},{c}), batch {options.batch}, {options.images} random images"]
    faults = [f"{row['check']}: {row['detail']}" for row in rows if row["result"] == "FAILED"]
    return {"rows": rows, "notes": notes, "faults": faults, "on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", repeats=1, batch=128 if torch.cuda.is_available() else 16)
    parser.add_argument("--compiled", action="store_true", help="what is said of compiled units, on CUDA, and no more")
    parser.add_argument("--graph", action="store_true", help="that graphs and eager steps agree, and no more")
    parser.set_defaults(images=1024 if torch.cuda.is_available() else 64)
    parser.add_argument("--network", type=harness.size, default=(1, 4), metavar="N,C", help="default: 1,4")
    return parser


if __name__ == "__main__":
    harness.main(benchmark, options())
