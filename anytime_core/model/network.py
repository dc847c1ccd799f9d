"""AnytimeResNet (section 4.1): a stem, three blocks of residual units, and predictions along the way.

Shapes: N images, C channels, H x W pixels, L predictions, K classes, U predictions of one block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, pad

from anytime_core.config import NetworkConfig, NoGrad, Opt, Transition, TrialConfig, of_ours
from anytime_core.cost import BLOCKS, resnet_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.errors import ConfigError
from anytime_core.extend import Network
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.own import OwnModule
from anytime_core.randomness import generator


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


class Norm(nn.BatchNorm2d):
    """A batch norm that does not count its batches: nobody reads the count, and it would cost a kernel each step."""

    def forward(self, x: Tensor) -> Tensor:
        moments = self.running_mean, self.running_var
        return batch_norm(x, *moments, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps)


class Unit(nn.Module):
    """BN - 3x3 - BN - ReLU - 3x3 - BN plus the identity; no ReLU after the sum (Han et al. 2017).

    One that ``shrinks`` takes images of twice the side and half the channels, and adds their 2x2 averages among zeros.
    """

    def __init__(self, channels: int, shrinks: bool = False) -> None:
        super().__init__()
        before = channels // 2 if shrinks else channels
        self.shrinks = shrinks
        self.residual = nn.Sequential(
            Norm(before),
            conv3x3(before, channels, stride=2 if shrinks else 1),
            Norm(channels),
            nn.ReLU(inplace=True),
            conv3x3(channels, channels),
            Norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.residual(x)
        residual += shrunk(x) if self.shrinks else x  # what no gradient needs is written over
        return residual


class _PooledReLU(torch.autograd.Function):
    """Keeps its input, which the unit after it keeps anyway, and nothing else; its gradient is laid out as the input.

    A step of (3, 16) takes 0.87 of the time that it takes with torch's own two (one CPU core, median of 5).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.relu(x).mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        (x,) = ctx.saved_tensors
        each: Tensor = (gradients[0] / (x.shape[2] * x.shape[3])).to(x.dtype)
        passed: Tensor = torch.ops.aten.threshold_backward(each[:, :, None, None].expand_as(x), x, 0)
        return passed


def pooled_relu(x: Tensor) -> Tensor:
    """[N,C,H,W] -> [N,C]: the mean over its pixels of what is above 0, in float32 at least."""
    pooled: Tensor = _PooledReLU.apply(x)  # type: ignore[no-untyped-call]
    return pooled


class _ScaledGradient(torch.autograd.Function):
    """Its input; the gradient comes back times ``factor``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def with_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, of whose gradient that much comes back; of 0 none, and nothing before it is computed for it."""
    if factor == 1:
        return x
    return x.detach() if factor == 0 else _ScaledGradient.apply(x, factor)  # type: ignore[no-untyped-call]


def shrunk(x: Tensor) -> Tensor:
    """[N,C,H,W] -> [N,2C,H/2,W/2], rounded up: averages, with zeros for half of the channels on either side."""
    channels = x.shape[1]
    before = channels // 2
    return pad(avg_pool2d(x, 2, ceil_mode=True), (0, 0, 0, 0, before, channels - before))


class Heads(nn.Module):
    """The linear layers of all predictions of one block, as one batched product. Each has parameters of its own, so
    that one can be trained without another."""

    def __init__(self, count: int, channels: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.ParameterList(nn.Parameter(torch.empty(channels, classes)) for _ in range(count))
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(classes)) for _ in range(count))

    def forward(self, pooled: Tensor) -> Tensor:
        """[U,N,C] -> [U,N,K], of the first U heads; in the precision of their parameters whatever the convolutions'."""
        heads = len(pooled)
        weight, bias = torch.stack(list(self.weight)[:heads]), torch.stack(list(self.bias)[:heads])
        with torch.autocast(pooled.device.type, enabled=False):
            return torch.baddbmm(bias[:, None], pooled, weight)


class Block(nn.Module):
    """``depth`` units at one resolution, after a transition; without one, the first unit shrinks.

    ``predicting`` are the 0-based units of this block whose ReLU-ed, globally pooled output is predicted from. If
    ``isolated``, no gradient comes back to any of them from the units after it. ``flow`` holds for each of them the
    factors of the gradients that come back to it from its head and from the units after it.
    """

    def __init__(
        self,
        transition: nn.Module | None,
        depth: int,
        channels: int,
        predicting: Sequence[int],
        classes: int,
        isolated: bool = False,
    ) -> None:
        super().__init__()
        self.transition = transition or nn.Identity()
        self.units = nn.ModuleList(Unit(channels, shrinks=transition is None and not i) for i in range(depth))
        self.predicting = tuple(sorted(predicting))
        self.heads = Heads(len(predicting), channels, classes) if predicting else None
        self.flow = dict.fromkeys(self.predicting, (1.0, 0.0 if isolated else 1.0))

    def forward(self, x: Tensor, depth: int) -> tuple[Tensor, Tensor | None]:
        """Of the first ``depth`` units: [N,C',H',W'] -> features [N,C,H,W] and logits [U,N,K], or None where nothing is
        predicted."""
        pooled = []
        for index, unit in zip(range(depth), self.units, strict=False):
            x = unit(x if index else self.transition(x))
            if index in self.predicting:
                to_head, to_rest = self.flow[index]
                pooled.append(with_gradient(pooled_relu(x), to_head))
                x = with_gradient(x, to_rest)
        logits = self.heads(torch.stack(pooled)) if self.heads is not None and pooled else None
        return x, logits


def _ascending(units: Sequence[int], last: int) -> tuple[int, ...]:
    if not units or sorted({*units}) != list(units) or not 1 <= units[0] <= units[-1] <= last:
        raise ValueError(f"predicting_units is {tuple(units)}, must be ascending units from 1 to {last}")
    return tuple(units)


class AnytimeResNet(AnytimeModule):
    """The network of ``NetworkConfig(n, c, period)``; any image size and channel count.

    ``predicting_units`` (1-based, ascending) replaces those of the period; units past the last of them are not built,
    so ``(k,)`` is the network of OPT at depth k. ``isolated`` stops the gradient behind each unit that predicts
    (section 4.2, the authors' code). ``seed`` draws the parameters: the same for a unit however deep the network is.
    """

    def __init__(
        self,
        n: int,
        c: int,
        num_classes: int,
        period: int = 1,
        in_channels: int = 3,
        *,
        predicting_units: Sequence[int] | None = None,
        transition: Transition = "convolution",
        isolated: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.shape = NetworkConfig(n=n, c=c, period=period, transition=transition)
        regular = self.shape.predicting_units
        self.predicting_units = regular if predicting_units is None else _ascending(predicting_units, BLOCKS * n)
        self.n, self.classes, self.channels = n, num_classes, in_channels
        self.pools = transition == "pooling"
        with torch.random.fork_rng(devices=[]):  # torch draws parameters of its own, which are not kept
            self.stem = conv3x3(in_channels, c)
            blocks = [self._block(index, c, num_classes, isolated) for index in range(BLOCKS) if self._depth(index)]
            self.blocks = nn.ModuleList(blocks)
        self._initialise(seed)

    def _depth(self, block: int) -> int:
        return min(max(self.predicting_units[-1] - block * self.n, 0), self.n)

    def _predicting(self, block: int) -> list[int]:
        local = (unit - 1 - block * self.n for unit in self.predicting_units)
        return [index for index in local if 0 <= index < self.n]

    def _block(self, index: int, c: int, classes: int, isolated: bool) -> Block:
        channels = c << index
        transition: nn.Module | None = conv3x3(channels // 2, channels, stride=2) if index else nn.Identity()
        if index and self.pools:
            transition = None
        return Block(transition, self._depth(index), channels, self._predicting(index), classes, isolated)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Convolutions N(0, 2 / (9 C_out)), linear weights N(0, 2 / C_in), biases 0; batch norms as torch has them."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                std = math.sqrt(2 / (9 * module.out_channels))
                module.weight.normal_(0, std, generator=generator(seed, "init", name))
            elif isinstance(module, Block) and module.heads is not None:
                for weight, local in zip(module.heads.weight, module.predicting, strict=True):
                    std = math.sqrt(2 / weight.shape[0])
                    weight.normal_(0, std, generator=generator(seed, "init", name, "head", local))

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        """[N,channels,H,W] -> logits [L,N,K], or of the predictions up to unit ``depth`` alone."""
        x = self.stem(x)
        logits, left = [], depth or self.predicting_units[-1]
        for block in self.blocks:
            if left > 0:
                x, predicted = block(x, left)
                left -= self.n
                if predicted is not None:
                    logits.append(predicted)
        return torch.cat(logits)

    def costs(self, size: int) -> tuple[int, ...]:
        return tuple(resnet_costs(self.shape, self.predicting_units, self.classes, self.channels, size))

    def let_flow(self, factors: Sequence[tuple[float, float]]) -> None:
        left = iter(factors)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.flow = {index: next(left) for index in block.predicting}

    def unit_parameters(self, unit: int) -> frozenset[str]:
        """The names of the parameters of a 1-based unit; those of a stem or transition belong to the unit after it."""
        block, index = divmod(unit - 1, self.n)
        before = () if index else (("stem.",) if block == 0 else (f"blocks.{block}.transition.",))
        return self._below(*before, f"blocks.{block}.units.{index}.")

    def head_parameters(self, unit: int) -> frozenset[str]:
        """The names of the parameters of the head of a 1-based unit that predicts."""
        block, index = divmod(unit - 1, self.n)
        place = self._predicting(block).index(index)
        return frozenset((f"blocks.{block}.heads.weight.{place}", f"blocks.{block}.heads.bias.{place}"))

    def _below(self, *prefixes: str) -> frozenset[str]:
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(prefixes))


def build_network(config: TrialConfig) -> AnytimeModule:
    """The untrained network of a trial, on the CPU. Raises ConfigError for one whose code is not here."""
    if isinstance(config.network, NetworkConfig):
        return build_resnet(config)
    if isinstance(config.network, Network):
        return _build_own(config, config.network)
    if of_ours(config.network):
        raise ConfigError(f"{config.network} is not that of this package any more; the version that trained it has it")
    raise ConfigError(
        f"{config.network} is not here, or has changed; give a command the sweep file, which names its extension; here "
        'orchestrator.extensions.use("FILE.py") makes the extension known'
    )


def _build_own(config: TrialConfig, shape: Network) -> OwnModule:
    spec = dataset_of(config.data)
    alone = config.regime.unit if isinstance(config.regime, Opt) else None
    network = OwnModule(shape, spec.classes, spec.channels, spec.size, alone=alone, seed=config.seed)
    if _isolates(config):
        network.let_flow([(1.0, 0.0)] * shape.predictions)
    return network


def _isolates(config: TrialConfig) -> bool:
    return isinstance(config.regime, NoGrad) and config.regime.variant == "stop_gradient"


def build_resnet(config: TrialConfig) -> AnytimeResNet:
    spec, shape = dataset_of(config.data), config.resnet
    network = AnytimeResNet(
        shape.n,
        shape.c,
        spec.classes,
        in_channels=spec.channels,
        predicting_units=config.predicting_units,
        transition=shape.transition,
        isolated=_isolates(config),
        seed=config.seed,
    )
    # A step of (3, 16) on 64 images of 32x32: 0.24 s, else 0.28 s (one CPU core, median of 5).
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def as_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Copies of arrays, by the same names, for ``load_state_dict``."""
    return {name: torch.tensor(array) for name, array in arrays.items()}
