"""To what a verdict generalises, and so what counts as one unit of evidence.

A pair is a seed of a cell, and a cell is a network on a data set. Pairs of one cell share all but the seed, and cells
of one data set share its images. Whoever claims something of new networks has as much evidence as there are networks,
however many seeds each of them has. Networks and data sets are crossed: a verdict on new ones of the one kind takes
those of the other as given.

To add a scope: a line in SCOPES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.stats.paired import Floats, Labels, grouped_means
from orchestrator.text import counted

Pair = tuple[str, str, int]
"""Data set, network and seed."""

FEWEST = 6
"""Units of which the clearest result, two-sided, is below 5 %: 2 / 2^6 = 0.031."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """``unit_of`` names the unit that a pair belongs to; ``noun`` is what a unit is called. ``about`` says to what a
    verdict generalises, ``silent`` to what it does not. With ``seeds_apart`` a unit is a pair and no mean."""

    noun: str
    unit_of: Callable[[Pair], object]
    about: str
    silent: str
    seeds_apart: bool = False

    def count(self, pairs: Iterable[Pair]) -> int:
        return len({self.unit_of(pair) for pair in pairs})

    def counted(self, n: int) -> str:
        """Such as ``13 networks``."""
        return counted(n, self.noun)


SCOPES: dict[str, Scope] = {
    "seeds": Scope(
        noun="pair",
        unit_of=lambda pair: pair,
        about="these cells with new seeds",
        silent="other networks or data sets",
        seeds_apart=True,
    ),
    "cells": Scope(
        noun="cell",
        unit_of=lambda pair: pair[:2],
        about="these cells with new seeds",
        silent="other networks or data sets",
    ),
    "networks": Scope(
        noun="network",
        unit_of=lambda pair: pair[1],
        about="new networks of this kind on these data sets",
        silent="other data sets",
    ),
    "data_sets": Scope(
        noun="data set",
        unit_of=lambda pair: pair[0],
        about="new data sets of this kind with these networks",
        silent="other networks",
    ),
}
"""From the narrowest to the widest."""


def widest(pairs: Sequence[Pair]) -> str:
    """The widest scope with enough units for a verdict at 5 %; the narrowest where none has."""
    able = [name for name, scope in SCOPES.items() if scope.count(pairs) >= FEWEST]
    return able[-1] if able else next(iter(SCOPES))


@dataclass(frozen=True, slots=True)
class Grouping:
    """The cell of each pair, and the unit of each cell; or, where seeds stand apart, each pair a unit of its own."""

    scope: Scope
    cells: Labels
    units: Labels

    @classmethod
    def of(cls, scope: str, pairs: Sequence[Pair]) -> Grouping:
        chosen = SCOPES[scope]
        return cls(chosen, _labels(pair[:2] for pair in pairs), _labels(map(chosen.unit_of, pairs)))

    def restricted(self, kept: Floats | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Grouping:
        """Of those pairs alone."""
        return Grouping(self.scope, self.cells[kept], self.units[kept])

    @property
    def units_of_cells(self) -> Labels:
        """The unit of each cell, in the order of the cells."""
        return self.units[np.unique(self.cells, return_index=True)[1]]

    def means(self, values: Floats) -> Floats:
        """One number for each unit: seeds are averaged within cells, and cells within units."""
        if self.scope.seeds_apart:
            return values
        return grouped_means(grouped_means(values, self.cells), self.units_of_cells)

    def count(self) -> int:
        return len(self.units if self.scope.seeds_apart else np.unique(self.units))


def _labels(names: Iterable[object]) -> Labels:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
