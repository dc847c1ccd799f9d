"""Which networks of a sweep make a sequence of growing depth (section 4.6): the same for tables and figures. Anytime
ResNets alone do: of a network of an extension's nobody knows which others differ from it in depth alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anytime_core.result import TrialResult
from orchestrator.stats import eann
from orchestrator.sweep.trial import Cell

LEAST_GROWTH = 1.5
"""A network that is less than this times as deep as a member is left out of its sequence."""


def resnets(cells: Iterable[Cell]) -> list[Cell]:
    """Those of networks that have n units and c channels."""
    return [cell for cell in cells if not cell.own]


def passed_over(cells: Iterable[Cell]) -> list[str]:
    """The other networks, for a note that they are left out."""
    return list(dict.fromkeys(cell.network for cell in cells if cell.own))


def families(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells of each data set whose networks differ in depth alone, in the order of the cells."""
    groups: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in resnets(cells):
        groups.setdefault((cell.dataset, cell.c, cell.transition), []).append(cell)
    return list(groups.values())


def members(family: Sequence[Cell]) -> dict[str, int]:
    """The networks that make a sequence, shallow to deep, and their n; of two of one depth, the first of the sweep."""
    depths: dict[str, int] = {}
    depth = 0
    for n, network in sorted({cell.n: cell.network for cell in reversed(family)}.items()):
        if n >= LEAST_GROWTH * depth:
            depths[network] = depth = n
    return depths


def member(result: TrialResult) -> eann.Member:
    """A finished trial as a member of a sequence."""
    return eann.Member(units=result.units, costs=result.costs, errors=result.errors)
