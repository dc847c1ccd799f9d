"""The ``report:`` section of a sweep file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from orchestrator.stats.significance import TESTS


class Report(BaseModel):
    """What to make of a sweep's trials.

    ``baseline`` is the method that others are compared with, ``p_value`` the test of wins over it. ``tables`` and
    ``figures`` name what to show, as ``orchestrator.report`` has it; none are those that suit the sweep.
    """

    baseline: str = "ann"
    tables: list[str] = []
    figures: list[str] = []
    p_value: Literal[tuple(TESTS)] = "hoeffding"  # type: ignore[valid-type]
