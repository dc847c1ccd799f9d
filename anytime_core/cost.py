"""Multiply-adds up to each prediction, and which prediction is the latest at a fraction of the cost (section 4.1).

Convolutions and linear layers are counted, as torch's own FLOP counter does; batch norms, ReLUs and sums are not.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from anytime_core.config import NetworkConfig, Transition, TrialConfig
from anytime_core.data.catalog import dataset_of

BLOCKS = 3
KERNEL = 9  # 3x3


def downsampled(size: int) -> int:
    """Side of an image after a 3x3 convolution with stride 2 and padding 1."""
    return (size - 1) // 2 + 1


def unit_costs(
    n: int, c: int, *, in_channels: int = 3, image_size: int = 32, transition: Transition = "convolution"
) -> list[int]:
    """Multiply-adds of one image in each of the 3n units; a stem or transition belongs to the unit that follows it."""
    costs = []
    size, before = image_size, KERNEL * in_channels * c * image_size**2
    for block in range(BLOCKS):
        channels = c << block
        if block:
            size = downsampled(size)
            before = KERNEL * (channels // 2) * channels * size**2
        convolution = KERNEL * channels**2 * size**2
        # The pooling transition's one is the first of the two convolutions of its unit.
        first = convolution if block and transition == "pooling" else 2 * convolution
        costs += [before + first] + [2 * convolution] * (n - 1)
    return costs


def head_cost(n: int, c: int, unit: int, num_classes: int) -> int:
    """Multiply-adds of the linear layer that predicts from the given 1-based unit."""
    return (c << ((unit - 1) // n)) * num_classes


def costs_at(
    n: int,
    c: int,
    units: Sequence[int],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    transition: Transition = "convolution",
) -> list[int]:
    """Multiply-adds up to and including the prediction of each of the given ascending, 1-based units."""
    body = unit_costs(n, c, in_channels=in_channels, image_size=image_size, transition=transition)
    costs, heads = [], 0
    for unit in units:
        heads += head_cost(n, c, unit, num_classes)
        costs.append(sum(body[:unit]) + heads)
    return costs


def prediction_costs(
    n: int, c: int, period: int = 1, num_classes: int = 10, *, in_channels: int = 3, image_size: int = 32
) -> list[int]:
    """Multiply-adds of one image up to and including each prediction of AnytimeResNet(n, c, period)."""
    units = NetworkConfig(n=n, c=c, period=period).predicting_units
    return costs_at(n, c, units, num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def trial_costs(config: TrialConfig) -> list[int]:
    """Multiply-adds of one image of the trial's data set up to each prediction that it trains."""
    spec, network = dataset_of(config.data), config.network
    return costs_at(
        network.n,
        network.c,
        config.predicting_units,
        num_classes=spec.classes,
        in_channels=spec.channels,
        image_size=spec.size,
        transition=network.transition,
    )


def milestone_index(costs: Sequence[int], fraction: Fraction) -> int | None:
    """Index of the latest prediction whose cost is at most ``fraction`` of the last one's; None before the first."""
    reached = [index for index, cost in enumerate(costs) if cost <= fraction * costs[-1]]
    return reached[-1] if reached else None
