"""MSDNet against a forward pass in NumPy, against counts that others published, and against what its fields say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_layers import Arrays, assert_computes, convolved, read_out
from trials import digits_trial

from anytime_core.building import built, counted_costs
from anytime_core.config import Joint, WeightingConfig
from anytime_core.networks import MSDNet
from anytime_core.networks.shapes import KERNEL
from anytime_core.training.trainer import train

TINY: dict[str, Any] = {"channels": 2, "growth": 2, "head_channels": 4}
SMALL = [
    MSDNet(blocks=2, base=2, step=1, **TINY),
    MSDNet(blocks=3, base=1, step=1, spacing="linear", **TINY),
    MSDNet(blocks=3, base=2, step=2, prune="min", **TINY),
    MSDNet(blocks=2, base=2, step=2, reduction=0, **TINY),
    MSDNet(blocks=2, base=1, step=3, growth_factors=(1, 3), bottleneck_factors=(2, 1), **TINY),
    MSDNet(blocks=1, base=1, prune="min", **TINY),
    MSDNet(blocks=2, base=1, step=1, growth_factors=(2,), bottleneck_factors=(1,), **TINY),
]


# The forward pass


def plain_forward(network: MSDNet, state: Arrays, x: np.ndarray, training: bool) -> list[np.ndarray]:
    """Section 4 of the paper, one scale after the other: the logits of each prediction."""
    how, scales, logits = {"training": training}, [], []
    for scale in range(len(network.growth_factors)):
        x = convolved(x, state, f"bodies.0.0.scales.{scale}", 2 if scale else 1, **how)
        scales.append(x)
    ends = _layers_before_a_prediction(network)
    for layer in range(1, ends[-1] + 1):
        name = f"bodies.{layer - 1}" if layer > 1 else "bodies.0.1"
        before, scales = scales, _layer(network, layer, ends[-1], state, name, scales, training)
        if _narrowed(network, layer, ends[-1], len(scales) < len(before)):
            names = (f"{name}.transition.{scale}" for scale in range(len(scales)))
            scales = [convolved(scale, state, own, **how) for scale, own in zip(scales, names, strict=True)]
        if layer in ends:
            y, head = scales[-1], f"heads.{layer - 1}"
            for index in range(2):
                y = convolved(y, state, f"{head}.convolutions.{index}", 2, **how)
            logits.append(read_out(y, state, f"{head}.readout.linear"))
    return logits


def _layers_before_a_prediction(network: MSDNet) -> list[int]:
    ends = [network.base]
    for block in range(1, network.blocks):
        ends.append(ends[-1] + (network.step if network.spacing == "even" else network.step * block + 1))
    return ends


def _layer(
    network: MSDNet, layer: int, depth: int, state: Arrays, name: str, scales: list[np.ndarray], training: bool
) -> list[np.ndarray]:
    """All scales are kept in the first S-th of the layers, all but one in the second, and so on; or as many as there
    are layers left."""
    parts = len(network.growth_factors)
    part = -(-layer // -(-depth // parts))
    kept = parts - part + 1 if network.prune == "max" else min(parts, depth - layer + 1)
    joined, strided = [], 0
    for scale in range(kept):
        place = len(scales) - kept + scale
        new = []
        if place:
            new.append(_bottleneck(scales[place - 1], state, f"{name}.strided.{strided}", 2, training))
            strided += 1
        new.append(_bottleneck(scales[place], state, f"{name}.regular.{scale}", 1, training))
        joined.append(np.concatenate([scales[place], *new], axis=1))
    return joined


def _bottleneck(x: np.ndarray, state: Arrays, name: str, stride: int, training: bool) -> np.ndarray:
    x = convolved(x, state, name, training=training)
    return convolved(x, state, name, stride, training=training, first=3)


def _narrowed(network: MSDNet, layer: int, depth: int, dropped: bool) -> bool:
    if not network.reduction:
        return False
    return dropped if network.prune == "max" else layer in (depth // 3, 2 * depth // 3)


@pytest.mark.parametrize("training", [False, True], ids=["answers", "trains"])
@pytest.mark.parametrize("network", SMALL, ids=lambda network: network.label)
def test_the_forward_pass_is_that_of_the_paper(network: MSDNet, training: bool) -> None:
    assert_computes(network, plain_forward, training)


# Costs


FACTORS = st.integers(1, 3).flatmap(
    lambda count: st.tuples(*[st.lists(st.integers(1, 3), min_size=count, max_size=count)] * 2)
)


@settings(max_examples=15)
@given(
    FACTORS,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(["even", "linear"]),
    st.sampled_from(["max", "min"]),
    st.sampled_from([0, 0.5, 0.7, 1]),
    st.integers(1, 12),
)
def test_costs_and_parameters_in_closed_form_are_those_counted(
    factors: Any, blocks: int, base: int, step: int, spacing: Any, prune: Any, reduction: float, size: int
) -> None:
    network = MSDNet(
        blocks=blocks,
        base=base,
        step=step,
        spacing=spacing,
        prune=prune,
        reduction=reduction,
        growth_factors=tuple(factors[0]),
        bottleneck_factors=tuple(factors[1]),
        channels=4,
        growth=2,
        head_channels=3,
    )
    assert network.costs(5, 2, size) == counted_costs(network, 5, 2, size)
    held = network.footprint(5, 2, size)
    assert held.parameters == sum(parameter.numel() for parameter in built(network, 5, 2, size).parameters())


@pytest.mark.parametrize("network", [MSDNet(), MSDNet(blocks=5, base=1, step=1, spacing="linear")])
def test_the_published_networks_cost_what_torch_counts(network: MSDNet) -> None:
    assert network.costs(100, 3, 32) == counted_costs(network, 100, 3, 32)


def test_the_network_of_cifar_has_the_published_parameters() -> None:
    """The log of a training in github.com/kalviny/MSDNet-PyTorch, check_msdnet/log.txt: 10 blocks, 4 layers and then 2
    each; how many they are, and what comes into each prediction."""
    network = MSDNet(blocks=10)
    assert network.footprint(10, 3, 32).parameters == 4_839_544
    widths = [network.layers()[stage - 1].outputs[-1] for stage in network.predicting_stages]
    assert widths == [160, 208, 256, 164, 212, 260, 308, 188, 236, 284]


def test_layers_cost_what_was_published_of_the_network_of_imagenet() -> None:
    """What issue 10 of github.com/kalviny/MSDNet-PyTorch prints, in millions, at each of 5 predictions: its counter
    adds an operation for each number that passes a ReLU or a pooling, and one for each bias.

    The stem and the predictions, which are others there, are written out here: a 7x7 convolution and a pooling of 3x3
    before the first scale, and predictions as wide as what comes into them.
    """
    network = MSDNet(
        blocks=5, base=7, step=7, channels=32, growth=16, growth_factors=(1, 2, 4, 4), bottleneck_factors=(1, 2, 4, 4)
    )
    sides = [56, 28, 14, 7]
    operations, parameters = 32 * 112**2 * (49 * 3 + 1) + 9 * 32 * 56**2, 32 * (49 * 3 + 2)
    for (inputs, outputs), side in zip(network.stem(3)[1:], sides[1:], strict=True):
        operations += outputs * side**2 * (KERNEL * inputs + 1)
        parameters += outputs * (KERNEL * inputs + 2)
    found = []
    for number, layer in enumerate(network.layers(), 1):
        kept = sides[layer.finest :]
        convolutions = [
            (kernel, inputs, outputs, side)
            for scale, paths in enumerate(layer.paths, layer.finest)
            for path in paths
            for kernel, inputs, outputs, side in (
                (1, path.inputs, path.inner, sides[scale - path.strided]),
                (KERNEL, path.inner, path.outputs, sides[scale]),
            )
        ]
        convolutions += [(1, *pair, side) for pair, side in zip(layer.narrowed, kept, strict=False)]
        if number in network.predicting_stages:
            width = layer.outputs[-1]
            convolutions += [(KERNEL, width, width, 4), (KERNEL, width, width, 2)]
            operations += 4 * width + (width + 1) * 1000
            parameters += (width + 1) * 1000
        operations += sum(outputs * side**2 * (kernel * inputs + 1) for kernel, inputs, outputs, side in convolutions)
        parameters += sum(outputs * (kernel * inputs + 2) for kernel, inputs, outputs, _ in convolutions)
        if number in network.predicting_stages:
            found.append((round(operations / 1e6, 2), round(parameters / 1e6, 2)))
    assert found == [(615.69, 8.76), (1436.39, 20.15), (2283.21, 31.73), (2967.42, 41.86), (3253.79, 62.31)]


# Its fields


@pytest.mark.parametrize(
    ("spacing", "expected"), [("even", [4, 6, 8, 10]), ("linear", [4, 7, 12, 19])], ids=["even", "linear"]
)
def test_predictions_lie_as_the_spacing_says(spacing: Any, expected: list[int]) -> None:
    network = MSDNet(blocks=4, spacing=spacing)
    assert [*network.predicting_stages] == expected
    assert network.depth == expected[-1]
    gaps = [after - before for before, after in pairwise(expected)]
    assert (len({*gaps}) == 1) == (spacing == "even")


@pytest.mark.parametrize(
    ("network", "label"),
    [
        (MSDNet(), "msdnet 7"),
        (MSDNet(blocks=5, base=1, step=1, spacing="linear"), "msdnet 5 linear"),
        (MSDNet(blocks=5, spacing="linear"), "msdnet 5 linear base=4 step=2"),
        (MSDNet(reduction=0, growth_factors=(1, 2, 2)), "msdnet 7 growth_factors=1-2-2 reduction=0"),
    ],
)
def test_a_label_says_what_is_unusual(network: MSDNet, label: str) -> None:
    assert network.label == label


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"blocks": 0, "growth": 2.5, "reduction": 2},
            "blocks is 0, must be between 1 and 1000; growth is 2.5, must be a whole number; "
            "reduction is 2, must be between 0 and 1",
        ),
        ({"spacing": "wide"}, "spacing is 'wide', must be one of even, linear"),
        ({"prune": "all"}, "prune is 'all', must be one of max, min"),
        ({"growth_factors": ()}, "growth_factors is empty, must hold a number for each scale"),
        ({"growth_factors": (1, 2)}, "bottleneck_factors holds 3 numbers, growth_factors 2"),
        ({"growth": 3, "growth_factors": (1, 1, 2)}, "growth * growth_factors.1 is 3, must be even"),
        ({"blocks": 100, "spacing": "linear"}, "there are 10003 layers, must be at most 1000"),
        ({"reduction": 0.01}, "reduction is 0.01, which leaves a transition no channel"),
    ],
)
def test_what_can_be_no_network_is_refused_all_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        MSDNet(**fields)
    assert str(error.value) == message


def test_equal_networks_have_equal_fields_however_they_are_written() -> None:
    assert MSDNet(reduction=1, growth_factors=[1, 2, 4]) == replace(MSDNet(), reduction=1.0)  # type: ignore[arg-type]


# It learns


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_are_learned_and_errors_fall_along_its_predictions(seed: int) -> None:
    network = MSDNet(blocks=3, base=1, step=2, channels=2, growth=4, head_channels=8, reduction=0)
    rates = {0: 0.1, 150: 0.01, 200: 0.001}
    regime = Joint(weights=WeightingConfig(name="constant", normalize="none"))
    config = digits_trial(regime, network=network, steps=220, batch_size=64, rates=rates, seed=seed)
    errors = train(config, threads=1).errors
    assert errors[-1] < 12  # percent; guessing gives 90
    assert errors[0] > errors[1] > errors[2]
