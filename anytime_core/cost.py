"""Multiply-adds up to each prediction, and which prediction is the latest at a fraction of the cost (section 4.1).

Convolutions and linear layers are counted, as torch's own FLOP counter does; batch norms, ReLUs and sums are not.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from importlib import import_module

from anytime_core.config import AnyNetwork, NetworkConfig, Opt, Transition, TrialConfig
from anytime_core.data.catalog import dataset_of
from anytime_core.extend import ExtensionError, Network
from anytime_core.networks.shapes import KERNEL, downsampled

BLOCKS = 3


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
    if isinstance(network, NetworkConfig):
        return resnet_costs(network, config.predicting_units, spec.classes, spec.channels, spec.size)
    if isinstance(config.regime, Opt):
        return [own_costs(ending_at(network, config.regime.unit), spec.classes, spec.channels, spec.size)[-1]]
    return [*own_costs(network, spec.classes, spec.channels, spec.size)]


def network_costs(network: AnyNetwork, classes: int, channels: int, size: int) -> Sequence[int]:
    """Multiply-adds of one image, ``size`` pixels wide and high, up to each prediction. Raises ValueError."""
    if isinstance(network, NetworkConfig):
        return resnet_costs(network, network.predicting_units, classes, channels, size)
    return own_costs(network, classes, channels, size)


def resnet_costs(network: NetworkConfig, units: Sequence[int], classes: int, channels: int, size: int) -> list[int]:
    """As ``costs_at``."""
    return costs_at(
        network.n,
        network.c,
        units,
        num_classes=classes,
        in_channels=channels,
        image_size=size,
        transition=network.transition,
    )


@lru_cache(maxsize=256)
def own_costs(network: AnyNetwork, classes: int, channels: int, size: int) -> tuple[int, ...]:
    """As the network of an extension says, or as they are counted. Raises ExtensionError for what no costs can be."""
    own = _present(network)
    if not isinstance(own.predictions, int) or own.predictions < 1:
        raise ExtensionError(f"network {own.name} has {own.predictions!r} predictions, must have at least 1")
    try:
        given = own.costs(classes, channels, size)
    except (Exception, SystemExit) as error:  # an extension may raise anything
        raise ExtensionError(f"network {own.name}: costs raises {type(error).__name__}: {error}") from error
    if given is None:  # a room that imports torch, which planning does not need otherwise
        given = import_module("anytime_core.building").counted_costs(own, classes, channels, size)
    costs = tuple(given)
    ascending = all(isinstance(cost, int) for cost in costs) and sorted({0, *costs}) == [0, *costs]
    if not ascending or len(costs) != own.predictions:
        raise ExtensionError(
            f"network {own.name} costs {list(costs)} multiply-adds, must be {own.predictions} ascending whole numbers, "
            "one up to each prediction: yield the predictions one by one, or give costs"
        )
    return costs


def ending_at(network: AnyNetwork, prediction: int) -> Network:
    """The network of an extension's that ends at a prediction. Raises ExtensionError where it offers none."""
    own = _present(network)
    shorter = own.up_to(prediction)
    if not isinstance(shorter, Network):
        raise ExtensionError(f"network {own.name} has no up_to({prediction}), the network that opt trains")
    return shorter


def _present(network: AnyNetwork) -> Network:
    if not isinstance(network, Network):
        raise ExtensionError(f"{network} is not here, or has changed; nothing can be computed with it")
    return network


def nearest_index(costs: Sequence[int], fraction: Fraction) -> int:
    """Index of the prediction whose cost is nearest to ``fraction`` of the last one's; of two, the later."""
    return min(range(len(costs)), key=lambda index: (abs(costs[index] - fraction * costs[-1]), -index))


def milestone_index(costs: Sequence[int], fraction: Fraction) -> int | None:
    """Index of the latest prediction whose cost is at most ``fraction`` of the last one's; None before the first."""
    reached = [index for index, cost in enumerate(costs) if cost <= fraction * costs[-1]]
    return reached[-1] if reached else None
