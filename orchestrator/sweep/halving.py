"""Successive halving: which points of a tuning go on, by how they do along the way.

All points train up to a first rung, the better half of them goes on to the next, at twice as many steps, and so on
until two are left, which train to the end. A rung pauses a trial of the full length: its learning rates are those of
that length, and it goes on from its checkpoint. Jamieson and Talwalkar (2016), with eta = 2. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.sweep.trial import Trial

ETA = 2
"""At each rung one in so many points goes on, to so many times the steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """Each point that is still in is trained up to the end of the epoch that reaches ``step``, and the best ``keeps``
    of them go on."""

    step: int
    keeps: int


def rungs(points: int, steps: int) -> tuple[Rung, ...]:
    """Of so many points, whose trials take so many steps: as many as it takes to leave two. None for one or two."""
    count = max((points - 1).bit_length() - 1, 0)
    return tuple(
        Rung(step=-(-steps // ETA ** (count - index)), keeps=-(-points // ETA ** (index + 1))) for index in range(count)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The errors of a trial so far, in percent, by the step at which an epoch ended, ascending. One that ``diverged``
    has none at that step and after it; one that ``finished`` has nothing more to come."""

    errors: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    diverged: bool = False
    finished: bool = False

    def step(self, rung: int) -> int | None:
        """At which it got to a rung: at the end of the epoch that reached it, or at its own end, where it takes fewer
        steps than others; None where it did not."""
        there = next((step for step in self.errors if step >= rung), None)
        return max(self.errors, default=None) if there is None and self.finished else there

    def reached(self, rung: int) -> bool:
        """Whether what it has at the rung is known: one that diverged before has nothing there, and loses."""
        return self.diverged or self.step(rung) is not None

    def error(self, rung: int, of: Callable[[Sequence[float]], float]) -> float:
        """At a rung that it reached: a number of its errors there; infinite where it diverged before."""
        step = self.step(rung)
        return math.inf if step is None else of(self.errors[step])


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a halving stands. ``left`` are the points that are still in, by their places in the grid. They train up to
    ``rung``, or where there is none to the end. ``lost`` has the others, with the rung that stopped each."""

    left: tuple[int, ...]
    rung: Rung | None
    lost: Mapping[int, Rung]


def halved(points: int, rungs: Sequence[Rung], error: Callable[[int, int], float | None]) -> Standing:
    """By the ``error`` of a point at a rung's step, None where it is not there yet: a rung decides once all that are
    still in have reached it, so in whatever order they do, it decides the same. A tie goes to what is first in the
    grid."""
    left, lost = tuple(range(points)), dict[int, Rung]()
    for rung in rungs:
        errors = {place: found for place in left if (found := error(place, rung.step)) is not None}
        if len(errors) < len(left):
            return Standing(left=left, rung=rung, lost=lost)
        ranked = sorted(left, key=errors.__getitem__)
        lost |= dict.fromkeys(ranked[rung.keeps :], rung)
        left = tuple(sorted(ranked[: rung.keeps]))
    return Standing(left=left, rung=None, lost=lost)


def likely(rank: int, rungs: Sequence[Rung], steps: int) -> int:
    """How far the point gets that is next best to ``rank`` others, by all rungs that are still to decide."""
    return next((rung.step for rung in rungs if rank >= rung.keeps), steps)


def further(one: Trial, other: Trial) -> Trial:
    """Of the same trial in two tunings the one that trains further: what either needs is trained."""
    return max(one, other, key=_reach)


def _reach(trial: Trial) -> tuple[bool, bool, bool, int]:
    pause = trial.pause
    return (True, True, True, 0) if pause is None else (False, not pause.rests, not pause.lost, pause.step)
