"""Methods that are written short are those that are written out."""

from __future__ import annotations

import re

import pytest

from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep

TEXT = """\
name: short
networks: [{n: 1, c: 2}]
datasets: [digits]
training: {steps: 44, batch_size: 64}
methods:
  ann: ann
  it: %s
"""


@pytest.fixture
def methods(load_text):
    """The ids of the trials of each method, without its own name."""

    def methods(said: str) -> dict[str, list[str]]:
        sweep: Sweep = load_text(TEXT % said)
        found: dict[str, list[str]] = {}
        for cell, trial_id in sweep.cells.items():
            if cell.method != "ann":
                found.setdefault(cell.method.removeprefix("it").strip(), []).append(trial_id)
        return found

    return methods


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("aann", "{strategy: {name: aann}}"),
        ("opt", "{regime: opt}"),
        ("midfeat", "{regime: midfeat}"),
        ("no_grad", "{regime: no_grad}"),
        ("adaloss", "{strategy: adaloss}"),
        ("{strategy: aann, gamma: 2}", "{strategy: {name: aann, gamma: 2}}"),
        ("{strategy: exp3, gamma: 1, exploration: 0.2}", "{strategy: {name: exp3, gamma: 1, exploration: 0.2}}"),
        (
            "{strategy: aann, gamma: 2, weights: linear}",
            "{strategy: {name: aann, gamma: 2}, weights: {name: linear}}",
        ),
    ],
)
def test_short_and_long_are_the_same_trials(methods, short: str, long: str) -> None:
    assert methods(short) == methods(long)


def test_a_grid_of_names_is_one_method_for_each_combination(methods) -> None:
    found = methods("{grid: {weights: [constant, linear], strategy: [ann, aann]}}")
    assert found == {
        f"weights={weights} strategy={strategy}": methods(f"{{strategy: {strategy}, weights: {weights}}}")[""]
        for weights in ("constant", "linear")
        for strategy in ("ann", "aann")
    }


def test_names_and_numbers_stand_in_one_grid(methods) -> None:
    found = methods("{strategy: aann, grid: {weights: [linear, sieve], gamma: [1, 2]}}")
    assert found["weights=linear gamma=2"] == methods("{strategy: aann, gamma: 2, weights: linear}")[""]
    assert len(found) == 4


def test_a_name_in_a_grid_that_the_method_has_keeps_its_parameters(methods) -> None:
    found = methods("{strategy: aann, gamma: 2, grid: {strategy: [aann, exp3]}}")
    assert found["strategy=aann"] == methods("{strategy: aann, gamma: 2}")[""]
    assert found["strategy=exp3"] == methods("exp3")[""]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("aan", "methods.it: no strategy or regime is named 'aan'; allowed: ann, aann, milestone"),
        ("3", "methods.it: given 3; must be a mapping"),
        ("{strategy: aann, gamma: -2}", "methods.it.strategy: gamma is -2.0, must be at least 0"),
        ("{strategy: aann, gama: 2}", "methods.it.gama: unknown key"),
        ("{strategy: exp3, steps: 2}", "methods.it.steps: unknown key"),
        ("{strategy: aann, grid: {strategy: [ann], gamma: [1]}}", "methods.it: grid: strategy and gamma set the same"),
        ("{grid: {weights: [constant, foo]}}", "methods.it: no weights are named 'foo'; allowed: constant, linear"),
        (
            "{grid: {strategy: [linear]}}",
            "methods.it: grid.strategy: no strategy is named 'linear'; allowed: ann, aann",
        ),
        ("{strategy: aann, grid: {gamma: [a]}}", "methods.it: grid.gamma: given 'a'; must be a number"),
        ("{strategy: aann, grid: {weights: [1]}}", "methods.it: grid.weights: given 1.0; must be a name"),
        (
            "{strategy: aann, gamma: 2, grid: {strategy: [ann, exp3]}}",
            "methods.it: grid.strategy: the method has strategy aann; must be among the names, or be left out",
        ),
        ("{grid: {weights: [linear, opt(99)]}}", "methods.it.grid.weights.1: network (1,2): opt(99): there are only"),
        ("{grid: {weights: [linear, linear]}}", "methods.it: grid: weights holds one value twice"),
    ],
)
def test_what_is_no_method_is_refused_with_its_line(methods, said: str, message: str) -> None:
    with pytest.raises(SweepError, match=f"line 7: {re.escape(message)}"):
        methods(said)
