"""The feedback network against a forward pass in NumPy, and its costs against appendix C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain_layers import Arrays, assert_computes, batch_norm, convolution, convolved, read_out
from trials import digits_trial

from anytime_core.building import built, counted_costs
from anytime_core.cost import unit_costs
from anytime_core.networks import Feedback
from anytime_core.training.trainer import train

SMALL = [Feedback(iterations=2, c=2), Feedback(iterations=1, cells=1, c=2), Feedback(iterations=3, cells=1, c=1)]


# The forward pass


def plain_forward(network: Feedback, state: Arrays, x: np.ndarray, training: bool) -> list[np.ndarray]:
    """Block by block, each cell with its own weights for all iterations: the logits of each prediction."""
    stage, logits = 0, []
    for block in range(3):
        first = stage
        x = convolved(x, state, f"bodies.{first}.0.convolution", 2 if block else 1, training=training)
        hidden, memory = ([np.zeros_like(x) for _ in range(network.cells)] for _ in range(2))
        given = x
        for _ in range(network.iterations):
            x = given
            for cell in range(network.cells):
                name = f"bodies.{first + cell}" + (".cell" if cell else ".1.cell")
                hidden[cell], memory[cell] = _cell(state, name, x, hidden[cell], memory[cell])
                x = hidden[cell]
                stage += 1
            head = f"heads.{stage - 1}"
            seen = np.maximum(batch_norm(x, state, f"{head}.norm", training), 0)
            logits.append(read_out(seen, state, f"{head}.readout.linear"))
    return logits


def _cell(state: Arrays, name: str, x: np.ndarray, hidden: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, ...]:
    """Equation 3 of Shi et al. 2015, one gate after the other."""
    weights = zip(
        np.split(state[f"{name}.given.weight"], 4),
        np.split(state[f"{name}.hidden.weight"], 4),
        np.split(state[f"{name}.given.bias"], 4),
        strict=True,
    )
    inward, forget, outward, new = (
        convolution(x, given) + convolution(hidden, own) + bias[:, None, None] for given, own, bias in weights
    )
    memory = _sigmoid(forget) * memory + _sigmoid(inward) * np.tanh(new)
    return _sigmoid(outward) * np.tanh(memory), memory


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("training", [False, True], ids=["answers", "trains"])
@pytest.mark.parametrize("network", SMALL, ids=lambda network: network.label)
def test_the_forward_pass_is_that_of_the_papers(network: Feedback, training: bool) -> None:
    assert network.predictions == 3 * network.iterations
    assert_computes(network, plain_forward, training)


# Costs


@pytest.mark.parametrize("c", [16, 32])
def test_two_cells_cost_as_much_as_eight_residual_units_of_as_many_channels(c: int) -> None:
    """Appendix C: a cell is eight convolutions, or four units; a prediction comes every 16 convolutions."""
    iterations = 3
    network, units = Feedback(iterations=iterations, c=c), unit_costs(8 * iterations, c)
    stages = network.stage_costs(10, 3, 32)
    between = [sum(body for body, _ in stages[first : first + 2]) for first in range(0, len(stages), 2)]
    assert between == [sum(units[first : first + 8]) for first in range(0, len(units), 8)]
    assert [*network.predicting_stages] == [*range(2, 6 * iterations + 1, 2)]


@pytest.mark.parametrize("network", [*SMALL, Feedback()], ids=lambda network: network.label)
def test_costs_and_parameters_in_closed_form_are_those_counted(network: Feedback) -> None:
    for image in ((10, 3, 32), (3, 1, 7)):
        assert network.costs(*image) == counted_costs(network, *image)
        parameters = built(network, *image).parameters()
        assert network.footprint(*image).parameters == sum(parameter.numel() for parameter in parameters)


def test_more_iterations_cost_more_and_have_no_more_parameters_but_of_their_predictions() -> None:
    few, many = (Feedback(iterations=count, c=8) for count in (1, 4))
    held = [network.footprint(10, 3, 32).parameters for network in (few, many)]
    assert held[1] - held[0] == 3 * sum(2 * width + (width + 1) * 10 for width in (8, 16, 32))
    assert many.costs(10, 3, 32)[-1] > 3.9 * few.costs(10, 3, 32)[-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"iterations": 0, "cells": 1.5, "c": 5000},
            "iterations is 0, must be between 1 and 100; cells is 1.5, must be a whole number; "
            "c is 5000, must be between 1 and 4096",
        )
    ],
)
def test_what_can_be_no_network_is_refused_all_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        Feedback(**fields)
    assert str(error.value) == message


# It learns


@pytest.mark.slow
def test_digits_are_learned() -> None:
    config = digits_trial(network=Feedback(iterations=2, c=4), steps=200, batch_size=64, rates={0: 0.1, 150: 0.01})
    errors = train(config, threads=1).errors
    assert errors[-1] < 15  # percent; guessing gives 90
    assert errors[0] > errors[-1]
