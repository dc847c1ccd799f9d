"""Multi-scale dense networks: MSDNet (Huang, Chen, Li, Wu, van der Maaten, Weinberger, arXiv 1703.09844, section 4 and
appendix A).

A layer computes features on several scales at once. The finest scale, 0, has the image's pixels, each other one half of
the side of the one before it. On scale s a layer adds ``growth * growth_factors[s]`` channels to all that the layers
before it computed on that scale, half of them from there and half, by a strided convolution, from scale s - 1. So the
coarsest scale, from which all predictions are made, knows of coarse shapes from the first layer on.

Shapes of one image: W times growth_factors[s] channels on scale s, with S_s x S_s pixels there; K classes. Imports no
torch, so that a sweep is planned without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from math import ceil, floor
from typing import TYPE_CHECKING, Any, Literal, get_args

from anytime_core.bounds import refuse
from anytime_core.extend import Footprint, StagedNetwork, ours
from anytime_core.networks.fields import one_of, share, told, whole, wholes
from anytime_core.networks.shapes import KERNEL, downsampled

if TYPE_CHECKING:
    from torch import nn

MOST_LAYERS, MOST_FACTOR = 1000, 64
KEPT_OF_ONE = 2
"""What a convolution gives is kept for its batch norm, and what comes out of that for what is behind it."""
Spacing = Literal["even", "linear"]
Prune = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """A bottleneck of one scale: 1x1 to ``inner`` channels, then 3x3, each with a batch norm and a ReLU. ``strided``
    comes from the next finer scale."""

    inputs: int
    inner: int
    outputs: int
    strided: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer's ``paths`` on each scale from ``finest`` on; a finer one that comes in ends here. ``narrowed`` holds
    what comes into the transition behind the layer and out of it on each scale, if there is one; ``joined`` the
    channels before it, ``outputs`` those behind it."""

    finest: int
    paths: tuple[tuple[Path, ...], ...]
    narrowed: tuple[tuple[int, int], ...]
    joined: tuple[int, ...]
    outputs: tuple[int, ...]


@ours("msdnet", version="1")
@dataclass(frozen=True, kw_only=True)
class MSDNet(StagedNetwork):
    """The defaults are the anytime network for CIFAR of the authors' later code, github.com/kalviny/MSDNet-PyTorch; its
    budgeted one is ``blocks=5, base=1, step=1, spacing="linear"``. In brackets the names there.

    ``blocks`` (nBlocks) end in a prediction each: the first after ``base`` layers, the others after ``step`` more, or
    with ``linear`` ``spacing`` (lin_grow) the i-th of them after i times ``step`` plus 1 more. ``channels`` (nChannels)
    is W before the first layer, ``growth`` (growthRate) what a layer adds to it. The 1x1 convolution of a path has
    ``bottleneck_factors`` (bnFactor) times as many channels as the path gives, of the scale that it comes from, but
    never more than come in.

    The finest scales end before the network does (``prune``): with ``max`` one after each S-th part of the layers, of S
    scales; with ``min`` as late as the last prediction allows. A transition keeps the share ``reduction`` of the
    channels, by 1x1 convolutions behind the layer at which a scale ends, or, with ``min``, behind a third and two
    thirds of the layers; 0 is none. A prediction is made from two strided 3x3 convolutions of ``head_channels``, the
    mean over all pixels and a linear layer.

    Each layer is a stage, so it can be interrupted between layers; the first one holds the stem.
    """

    blocks: int = 7
    base: int = 4
    step: int = 2
    spacing: Spacing = "even"
    channels: int = 16
    growth: int = 6
    growth_factors: tuple[int, ...] = (1, 2, 4)
    bottleneck_factors: tuple[int, ...] = (1, 2, 4)
    prune: Prune = "max"
    reduction: float = 0.5
    head_channels: int = 128

    def __post_init__(self) -> None:
        for name in ("growth_factors", "bottleneck_factors"):  # JSON has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        refuse(*self._wrong_numbers(), *self._wrong_words())
        object.__setattr__(self, "reduction", float(self.reduction))
        refuse(*self._misfits())

    def _wrong_numbers(self) -> Iterator[str | None]:
        for name in ("blocks", "base", "step"):
            yield whole(name, getattr(self, name), MOST_LAYERS)
        for name in ("channels", "growth", "head_channels"):
            yield whole(name, getattr(self, name))
        for name in ("growth_factors", "bottleneck_factors"):
            yield from wholes(name, getattr(self, name), MOST_FACTOR)
        yield share("reduction", self.reduction)

    def _wrong_words(self) -> Iterator[str | None]:
        yield one_of("spacing", self.spacing, get_args(Spacing))
        yield one_of("prune", self.prune, get_args(Prune))

    def _misfits(self) -> Iterator[str]:
        """Of fields that are sound one by one."""
        if len(self.bottleneck_factors) != self.scales:
            yield f"bottleneck_factors holds {len(self.bottleneck_factors)} numbers, growth_factors {self.scales}"
        for index, factor in enumerate(self.growth_factors[1:], 1):  # half of what a layer adds comes from either scale
            if self.growth * factor % 2:
                yield f"growth * growth_factors.{index} is {self.growth * factor}, must be even"
        if self.depth > MOST_LAYERS:
            yield f"there are {self.depth} layers, must be at most {MOST_LAYERS}"
        elif len(self.bottleneck_factors) == self.scales and any(0 in layer.outputs for layer in self.layers()):
            yield f"reduction is {self.reduction:g}, which leaves a transition no channel"

    # How many layers there are

    @property
    def label(self) -> str:
        """Such as ``msdnet 7`` or ``msdnet 5 linear``, with what is at no published setting's value."""
        spaced: dict[str, Any] = {"spacing": self.spacing} | ({} if self.spacing == "even" else {"base": 1, "step": 1})
        words = ["msdnet", str(self.blocks), *(["linear"] if self.spacing == "linear" else [])]
        return " ".join([*words, *told(self, blocks=self.blocks, **spaced)])

    @property
    def predicting_stages(self) -> Sequence[int]:
        further = [self.step if self.spacing == "even" else self.step * block + 1 for block in range(1, self.blocks)]
        return [*accumulate([self.base, *further])]

    @property
    def depth(self) -> int:
        """How many layers there are, in closed form, as blocks may be too many to be listed."""
        further = self.blocks - 1
        spaced = self.step * further if self.spacing == "even" else self.step * further * self.blocks // 2 + further
        return self.base + spaced

    @property
    def scales(self) -> int:
        return len(self.growth_factors)

    def _scales_behind(self, layer: int) -> int:
        """How many scales come out of a layer, counted from 1; of layer 0, which is the stem, all."""
        if not layer:
            return self.scales
        if self.prune == "min":
            return min(self.scales, self.depth - layer + 1)
        return self.scales - (layer - 1) // ceil(self.depth / self.scales)

    def _narrows(self, layer: int, drops: bool) -> bool:
        if not self.reduction:
            return False
        return drops if self.prune == "max" else layer in (self.depth // 3, 2 * self.depth // 3)

    def layers(self) -> Sequence[Layer]:
        """All of them, in order."""
        found, width = [], self.channels
        for number in range(1, self.depth + 1):
            layer = self._layer(number, width)
            width = layer.outputs[-1] // self.growth_factors[-1]
            found.append(layer)
        return found

    def _layer(self, number: int, width: int) -> Layer:
        """``width`` is W before it."""
        kept = self._scales_behind(number)
        finest, drops = self.scales - kept, kept < self._scales_behind(number - 1)
        joined = width + self.growth
        narrowed = floor(self.reduction * joined) if self._narrows(number, drops) else joined
        factors = self.growth_factors[finest:]
        return Layer(
            finest=finest,
            paths=tuple(
                tuple(self._paths(scale, width, alone=scale == finest and not drops))
                for scale in range(finest, self.scales)
            ),
            narrowed=tuple((joined * f, narrowed * f) for f in factors) if self._narrows(number, drops) else (),
            joined=tuple(joined * factor for factor in factors),
            outputs=tuple(narrowed * factor for factor in factors),
        )

    def _paths(self, scale: int, width: int, *, alone: bool) -> Iterator[Path]:
        added = self.growth * self.growth_factors[scale]
        if not alone:
            yield self._path(scale - 1, width, added // 2, strided=True)
        yield self._path(scale, width, added if alone else added // 2, strided=False)

    def _path(self, source: int, width: int, outputs: int, *, strided: bool) -> Path:
        inputs = width * self.growth_factors[source]
        inner = min(inputs, self.bottleneck_factors[source] * outputs)
        return Path(inputs=inputs, inner=inner, outputs=outputs, strided=strided)

    def stem(self, channels: int) -> list[tuple[int, int]]:
        """What comes into the convolution of each scale and out of it, before the first layer; all but the first are
        strided."""
        outputs = [self.channels * factor for factor in self.growth_factors]
        return [*zip([channels, *outputs], outputs, strict=False)]

    # What it computes, costs and keeps

    def stages(self, classes: int, channels: int, size: int) -> Sequence[tuple[nn.Module, nn.Module | None]]:
        msdnet: Any = import_module("anytime_core.model.msdnet")  # which imports torch
        built: Sequence[tuple[nn.Module, nn.Module | None]] = msdnet.stages(self, classes, channels)
        return built

    def stage_costs(self, classes: int, channels: int, size: int) -> Sequence[tuple[int, int]]:
        sides, predicting = self._sides(size), {*self.predicting_stages}
        costs = []
        for number, layer in enumerate(self.layers(), 1):
            body = _layer_cost(layer, sides) + (0 if number > 1 else self._stem_cost(channels, sides))
            head = self._head_cost(layer.outputs[-1], classes, sides[-1]) if number in predicting else 0
            costs.append((body, head))
        return costs

    def footprint_of(self, heads: Sequence[int], classes: int, channels: int, size: int) -> Footprint:
        sides, all_layers = self._sides(size), self.layers()[: heads[-1]]
        stem = self.stem(channels)
        parameters = sum(_parameters(KERNEL, *pair) for pair in stem) + sum(map(_layer_parameters, all_layers))
        kept = KEPT_OF_ONE * sum(outputs * side**2 for (_, outputs), side in zip(stem, sides, strict=True))
        largest = kept
        for number, layer in enumerate(all_layers, 1):
            joined = [count * side**2 for count, side in zip(layer.joined, sides[layer.finest :], strict=True)]
            # What is joined is kept where something is computed from it: behind the last layer the coarsest alone is.
            kept += _layer_kept(layer, sides) + (sum(joined) if layer.narrowed or number < heads[-1] else joined[-1])
            largest = max(largest, sum(joined))
        of_heads = sum(self._head_parameters(all_layers[number - 1].outputs[-1], classes) for number in heads)
        kept += len(heads) * self._head_kept(sides[-1])
        return Footprint(parameters=parameters + of_heads, kept=kept, largest=largest, of_heads=of_heads)

    def _sides(self, size: int) -> list[int]:
        """S_s of each scale."""
        return [*accumulate(range(1, self.scales), lambda side, _: downsampled(side), initial=size)]

    def _stem_cost(self, channels: int, sides: Sequence[int]) -> int:
        return sum(KERNEL * a * b * side**2 for (a, b), side in zip(self.stem(channels), sides, strict=True))

    def _head_cost(self, inputs: int, classes: int, side: int) -> int:
        first, second = downsampled(side), downsampled(downsampled(side))
        width = self.head_channels
        return KERNEL * width * (inputs * first**2 + width * second**2) + width * classes

    def _head_parameters(self, inputs: int, classes: int) -> int:
        width = self.head_channels
        return _parameters(KERNEL, inputs, width) + _parameters(KERNEL, width, width) + (width + 1) * classes

    def _head_kept(self, side: int) -> int:
        first, second = downsampled(side), downsampled(downsampled(side))
        return self.head_channels * (KEPT_OF_ONE * (first**2 + second**2) + 1)


def _sourced(layer: Layer, sides: Sequence[int]) -> Iterator[tuple[Path, int, int]]:
    """Each path of a layer with the side that it comes from and the one that it leads to."""
    for scale, paths in enumerate(layer.paths, layer.finest):
        for path in paths:
            yield path, sides[scale - path.strided], sides[scale]


def _layer_cost(layer: Layer, sides: Sequence[int]) -> int:
    bottlenecks = sum(
        path.inner * (path.inputs * source**2 + KERNEL * path.outputs * side**2)
        for path, source, side in _sourced(layer, sides)
    )
    narrowed = zip(layer.narrowed, sides[layer.finest :], strict=False)
    return bottlenecks + sum(inputs * outputs * side**2 for (inputs, outputs), side in narrowed)


def _layer_kept(layer: Layer, sides: Sequence[int]) -> int:
    bottlenecks = sum(path.inner * source**2 + path.outputs * side**2 for path, source, side in _sourced(layer, sides))
    narrowed = zip(layer.narrowed, sides[layer.finest :], strict=False)
    return KEPT_OF_ONE * (bottlenecks + sum(outputs * side**2 for (_, outputs), side in narrowed))


def _layer_parameters(layer: Layer) -> int:
    paths = (path for paths in layer.paths for path in paths)
    bottlenecks = (_parameters(1, p.inputs, p.inner) + _parameters(KERNEL, p.inner, p.outputs) for p in paths)
    return sum(bottlenecks) + sum(_parameters(1, *pair) for pair in layer.narrowed)


def _parameters(kernel: int, inputs: int, outputs: int) -> int:
    """Of a convolution and its batch norm."""
    return (kernel * inputs + 2) * outputs
