"""The ``report:`` section of a sweep file."""

from __future__ import annotations

from pydantic import BaseModel


class Report(BaseModel):
    """What to make of a sweep's trials.

    ``baseline`` is the method that others are compared with, ``p_value`` the test of wins over it, by its name in
    ``significance.TESTS``. ``tables`` and ``figures`` name what to show, as in ``layouts.LAYOUTS`` and
    ``figures.FIGURES``; without any, what suits the sweep.
    """

    baseline: str = "ann"
    tables: list[str] = []
    figures: list[str] = []
    p_value: str = "hoeffding"
