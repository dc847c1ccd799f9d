"""Generators named by a seed and a purpose."""

from __future__ import annotations

from itertools import product

import torch

from anytime_core.randomness import generator


def draw(*purpose: object) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=generator(*purpose)).tolist())


def test_the_same_name_draws_the_same_numbers() -> None:
    assert draw(3, "data", 5) == draw(3, "data", 5)


def test_names_that_differ_anywhere_draw_other_numbers() -> None:
    names = [*product(range(20), ("data", "init"), range(20)), (1, "data", "1"), (11, "data"), (1, "1data")]
    assert len({draw(*name) for name in names}) == len(names)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw(0, "data")
    assert torch.equal(before, torch.get_rng_state())
