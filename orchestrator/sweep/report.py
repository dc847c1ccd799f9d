"""The ``report:`` section of a sweep file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class Report(BaseModel):
    """What to make of a sweep's trials.

    ``baseline`` is the method that others are compared with, ``p_value`` the test of wins over it, by its name in
    ``significance.TESTS``. ``compare`` names what methods are compared by, as in ``quantities.QUANTITIES``; without
    any, the errors of the paper's tables. ``tables`` and ``figures`` name what to show, as in ``layouts.LAYOUTS`` and
    ``figures.FIGURES``; without any, what suits the sweep.

    ``scope`` is to what a verdict generalises, by its name in ``scopes.SCOPES``; without one it is the widest that the
    grid has enough units for. ``scale`` is in what two errors differ: points, or their ratio, in which a data set of
    large errors counts no more than another. ``diverged`` is what a trial that diverged is to its method: a loss, or
    nothing. Differences of at most ``rope`` points are practically equal; those in another unit never are.

    ``explorer`` is whether the page has one, which reads the outcomes of all trials; without a word, if that is soon
    done.
    """

    baseline: str = "ann"
    compare: list[str] = []
    tables: list[str] = []
    figures: list[str] = []
    p_value: str = "hoeffding"
    scope: str | None = None
    scale: Literal["points", "ratios"] = "points"
    diverged: Literal["loss", "drop"] = "loss"
    rope: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    explorer: bool | None = None
