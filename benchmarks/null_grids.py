"""How often tests and intervals are wrong where no method is better: on simulated grids, whose truth is known.

::

    python benchmarks/null_grids.py                  # 2,000 grids of each kind: some minutes on one core
    python benchmarks/null_grids.py --grids 200      # as in the tests

A grid has errors of six methods that are alike, on networks and data sets with effects of the size that Table 6 shows:
of a network, of a data set and its images, of a cell, and of a seed. Errors are whole numbers of wrong answers. Which
of the effects are luck depends on the scope: for new networks the networks' are, for new seeds the seeds' alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import click
import numpy as np
from numpy.typing import NDArray

from orchestrator.stats.effects import Effect, effect
from orchestrator.stats.intervals import Interval
from orchestrator.stats.resampling import generator
from orchestrator.stats.scopes import SCOPES, Grouping, Pair
from orchestrator.stats.significance import LEVEL, TESTS, holm, p_value, two_sided

Floats = NDArray[np.float64]

METHODS = 5
"""That are compared with one baseline: what its seeds have by chance is in all five comparisons."""
DATA_SETS = {"svhn": (2.7, 0.25, 26_032), "cifar10": (8.7, 0.7, 10_000), "cifar100": (35.7, 1.9, 10_000)}
"""Table 6 at half of the cost: the error of ANN, the standard deviation of AANN's error less ANN's, test images."""
SHARES = {"data set": 0.16, "network": 0.2, "cell": 0.3, "seed": 0.34}
"""Of the variance of a difference: of AANN's, at half and at three quarters of the cost, the networks' share is 0.1 and
0.4; the means of data sets vary by 0.2 to 0.5 standard deviations. The rest is of cells and seeds, which one seed does
not tell apart."""
LUCK = {
    "seeds": ("seed",),
    "cells": ("cell", "seed"),
    "networks": ("network", "cell", "seed"),
    "data_sets": ("data set", "cell", "seed"),
}
"""The effects that would be others if what a scope draws anew were drawn again. An effect that would be the same is no
luck but a difference, on average over these networks or data sets; here it is none."""
MISREAD = {**LUCK, "new networks on new data sets": ("data set", "network", "cell", "seed")}
"""What a verdict may be taken to say, though it says it in none of the scopes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A grid of networks x data sets x seeds; data sets beyond three are of the kinds of the three."""

    networks: int
    datasets: int
    seeds: int

    @property
    def pairs(self) -> list[Pair]:
        return [
            (f"data set {d}", f"network {n}", seed)
            for d, n, seed in product(range(self.datasets), range(self.networks), range(self.seeds))
        ]

    def __str__(self) -> str:
        return f"{self.networks} x {self.datasets} x {self.seeds}"


CASES = (
    ("seeds", Shape(13, 3, 1)),
    ("seeds", Shape(2, 1, 5)),
    ("cells", Shape(13, 3, 1)),
    ("cells", Shape(13, 3, 3)),
    ("networks", Shape(13, 3, 1)),
    ("networks", Shape(13, 3, 3)),
    ("data_sets", Shape(13, 3, 1)),
    ("data_sets", Shape(4, 8, 2)),
)
"""A scope, and a grid that is looked at in it."""


def grid(shape: Shape, luck: Sequence[str], rng: np.random.Generator) -> Floats:
    """Errors in percent, ``[method, pair]``; the first method is the baseline. Effects that are not luck are none."""
    kinds = [list(DATA_SETS.values())[d % len(DATA_SETS)] for d in range(shape.datasets)]
    base, spread, images = (np.array(column)[:, None, None] for column in zip(*kinds, strict=True))
    lengths = {"data set": (shape.datasets, 1, 1), "network": (1, shape.networks, 1)}
    lengths |= {"cell": (shape.datasets, shape.networks, 1), "seed": (shape.datasets, shape.networks, shape.seeds)}
    methods = np.zeros((METHODS + 1, *lengths["seed"]))
    for name in luck:
        methods += np.sqrt(SHARES[name] / 2) * rng.standard_normal((METHODS + 1, *lengths[name]))
    difficulty = np.exp(0.25 * rng.standard_normal(lengths["network"]))
    wrong = np.rint((base * difficulty + spread * methods) / 100 * images)
    return np.asarray(100 * np.clip(wrong, 1, images) / images).reshape(METHODS + 1, -1)


# What is counted

INTERVALS: Mapping[str, tuple[Callable[[Effect], Interval | None], float]] = {
    "mean": (lambda found: found.mean_interval, 0.0),
    "median": (lambda found: found.median_interval, 0.0),
    "relative": (lambda found: found.relative_interval, 0.0),
    "bootstrap": (lambda found: found.bootstrap, 0.0),
    "improvement": (lambda found: found.improvement_interval, 50.0),
}
"""Each interval of an effect, and what it should hold."""


def p_values(errors: Floats, grouping: Grouping, test: str) -> list[float]:
    """Two-sided, of each method."""
    found = []
    for own in errors[1:]:
        sides = (p_value(*pair, test, grouping) for pair in ((own, errors[0]), (errors[0], own)))
        found.append(two_sided(*(1.0 if p is None else p for p in sides)))
    return found


def false_verdicts(
    scope: str, shape: Shape, luck: Sequence[str], grids: int, tests: Sequence[str] = tuple(TESTS)
) -> dict[str, tuple[float, float]]:
    """By test, the share of comparisons that are called different, and of grids with one after Holm's correction."""
    grouping = Grouping.of(scope, shape.pairs)
    alone, family = dict.fromkeys(tests, 0), dict.fromkeys(tests, 0)
    for errors in _grids(shape, luck, grids):
        for test in tests:
            found = p_values(errors, grouping, test)
            alone[test] += sum(p <= LEVEL for p in found)
            family[test] += any(p is not None and p <= LEVEL for p in holm(found))
    return {test: (alone[test] / grids / METHODS, family[test] / grids) for test in tests}


def coverage(scope: str, shape: Shape, grids: int) -> dict[str, float | None]:
    """By interval, the share of comparisons in which it holds the truth; None where the units are too few for one."""
    grouping = Grouping.of(scope, shape.pairs)
    hits: dict[str, list[bool]] = {name: [] for name in INTERVALS}
    for errors in _grids(shape, LUCK[scope], grids):
        found = effect(errors[1], errors[0], grouping)
        assert found is not None, "there are pairs"
        for name, (interval_of, truth) in INTERVALS.items():
            if interval := interval_of(found):
                hits[name].append(interval.low <= truth <= interval.high)
    return {name: float(np.mean(each)) if each else None for name, each in hits.items()}


def _grids(shape: Shape, luck: Sequence[str], grids: int) -> Iterator[Floats]:
    for number in range(grids):
        yield grid(shape, luck, generator(number, "null grid", shape, *luck))


def measure(grids: int, only: str | None = None) -> dict[str, list[dict[str, object]]]:
    """Three tables: false verdicts and coverage in each scope, and false verdicts if one claims more than the scope."""
    verdicts, covered, misread = [], [], []
    for scope, shape in CASES:
        if only not in (None, scope):
            continue
        found = false_verdicts(scope, shape, LUCK[scope], grids)
        units = SCOPES[scope].count(shape.pairs)
        place = {"scope": scope, "grid": str(shape), "units": units}
        verdicts += [
            place | {"test": test, "alone": alone, "holm": with_holm} for test, (alone, with_holm) in found.items()
        ]
        covered.append(place | coverage(scope, shape, grids))
    shape = Shape(13, 3, 3)
    for scope, claimed in product(list(SCOPES)[:-1], MISREAD):  # by three data sets nothing is said
        if only not in (None, scope):
            continue
        rate = false_verdicts(scope, shape, MISREAD[claimed], max(grids // 8, 1), ["sign-flip"])["sign-flip"][0]
        misread.append({"tested in": scope, "claimed of": claimed, "false verdicts": rate})
    return {"verdicts": verdicts, "coverage": covered, "misread": misread}


@click.command()
@click.option("--grids", default=2000, show_default=True, type=click.IntRange(min=8))
@click.option("--scope", type=click.Choice(list(SCOPES)), help="This one alone.")
@click.option("--format", "form", default="table", show_default=True, type=click.Choice(["table", "json"]))
def main(grids: int, scope: str | None, form: str) -> None:
    """Count false verdicts and missed truths on simulated grids without any difference between methods."""
    found = measure(grids, scope)
    if form == "json":
        click.echo(json.dumps(found, indent=1))
        return
    shown = [f"{name}, of {grids} grids\n\n{_markdown(rows)}" for name, rows in found.items() if rows]
    click.echo("\n\n".join(shown))


def _markdown(rows: Sequence[Mapping[str, object]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
