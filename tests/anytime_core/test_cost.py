"""Multiply-adds against torch's own counter and against sums written out; milestones against brute force."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from anytime_core.config import MILESTONES, NetworkConfig
from anytime_core.cost import costs_at, milestone_index, prediction_costs, unit_costs
from anytime_core.model.network import AnytimeResNet
from anytime_core.networks.shapes import downsampled

DEPTHS = [2, 3, 5, 7, 9, 13, 17, 25]


def counted(network: AnytimeResNet, channels: int, size: int) -> int:
    """Multiply-adds of one image: torch counts two operations for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, channels, size, size))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("n", "c", "period", "classes", "channels", "size"),
    [
        (1, 4, 1, 10, 3, 32),
        (1, 4, 3, 10, 3, 32),
        (2, 3, 1, 100, 3, 32),
        (3, 8, 2, 10, 1, 28),
        (3, 8, 1, 10, 1, 8),
        (2, 5, 4, 7, 2, 9),
        (5, 2, 7, 10, 3, 32),
    ],
)
def test_costs_are_those_that_torch_counts(n, c, period, classes, channels, size) -> None:
    """Up to each prediction: those of the network that ends there."""
    units = NetworkConfig(n=n, c=c, period=period).predicting_units
    costs = prediction_costs(n, c, period, classes, in_channels=channels, image_size=size)
    assert len(costs) == len(units)
    for index, cost in enumerate(costs):
        network = AnytimeResNet(n, c, classes, in_channels=channels, predicting_units=units[: index + 1])
        assert cost == counted(network, channels, size)
    assert costs[-1] == counted(AnytimeResNet(n, c, classes, period, channels), channels, size)


@pytest.mark.parametrize("unit", range(1, 10))
def test_costs_of_an_optimum_have_one_head(unit) -> None:
    network = AnytimeResNet(3, 4, 10, predicting_units=[unit])
    assert costs_at(3, 4, [unit]) == [counted(network, 3, 32)]


@pytest.mark.parametrize(("n", "c"), [(7, 16), (9, 128), (25, 32)])
def test_every_regular_unit_costs_the_same(n, c) -> None:
    costs = unit_costs(n, c)
    stem, transitions = 9 * 3 * c * 1024, [9 * c * 2 * c * 256, 9 * 2 * c * 4 * c * 64]
    regular = 18 * c**2 * 1024
    first = {0: regular + stem, n: regular + transitions[0], 2 * n: regular + transitions[1]}
    assert costs == [first.get(unit, regular) for unit in range(3 * n)]


def test_the_defaults_are_those_of_cifar10() -> None:
    heads = 10 * (16 + 32 + 64)
    stem, transitions = 9 * 3 * 16 * 1024, 9 * 16 * 32 * 256 + 9 * 32 * 64 * 64
    assert prediction_costs(1, 16)[-1] == stem + transitions + 3 * 18 * 256 * 1024 + heads


@pytest.mark.parametrize("size", range(1, 40))
def test_sides_after_a_stride_are_those_of_torch(size) -> None:
    image, kernel = torch.zeros(1, 1, size, size), torch.zeros(1, 1, 3, 3)
    assert downsampled(size) == conv2d(image, kernel, stride=2, padding=1).shape[2]


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("period", [1, 3])
def test_milestones_are_the_latest_within_the_cost(n, period) -> None:
    costs = prediction_costs(n, 16, period)
    for quarters, fraction in enumerate(MILESTONES, start=1):
        expected = None
        for index, cost in enumerate(costs):
            if 4 * cost <= quarters * costs[-1]:
                expected = index
        assert milestone_index(costs, fraction) == expected


UNITS = {
    (1, 1): [None, 1, 2, 3],
    (3, 1): [2, 4, 6, 9],
    (5, 1): [3, 7, 11, 15],
    (7, 1): [5, 10, 15, 21],
    (9, 1): [6, 13, 20, 27],
    (13, 1): [9, 19, 29, 39],
    (17, 1): [12, 25, 38, 51],
    (25, 1): [18, 37, 56, 75],
    (25, 3): [18, 36, 54, 75],
}


@pytest.mark.parametrize(("n", "period"), UNITS)
@pytest.mark.parametrize("c", [16, 32])
@pytest.mark.parametrize("classes", [10, 100])
def test_milestones_of_the_papers_networks(n, period, c, classes) -> None:
    units = NetworkConfig(n=n, c=c, period=period).predicting_units
    costs = prediction_costs(n, c, period, classes)
    indices = [milestone_index(costs, fraction) for fraction in MILESTONES]
    assert [None if index is None else units[index] for index in indices] == UNITS[n, period]


def test_milestones_of_known_costs() -> None:
    costs = [25, 49, 50, 76, 100]
    assert [milestone_index(costs, fraction) for fraction in MILESTONES] == [0, 2, 2, 4]


def test_there_is_none_before_the_first_prediction() -> None:
    assert milestone_index([26, 100], Fraction(1, 4)) is None
    assert milestone_index(prediction_costs(5, 16, period=15), Fraction(3, 4)) is None
    assert milestone_index(prediction_costs(5, 16, period=15), Fraction(1)) == 0


@pytest.mark.parametrize(("n", "size"), [(1, 32), (3, 8), (2, 9)])
def test_costs_with_pooling_are_those_that_torch_counts(n, size) -> None:
    """Its average pooling is not counted, as sums are not."""
    network = {"image_size": size, "transition": "pooling"}
    costs = costs_at(n, 4, range(1, 3 * n + 1), **network)
    for unit in range(1, 3 * n + 1):
        built = AnytimeResNet(n, 4, 10, predicting_units=range(1, unit + 1), transition="pooling")
        assert costs[unit - 1] == counted(built, 3, size)
