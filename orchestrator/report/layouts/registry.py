"""The tables that a sweep may ask for, by name. To add one: a function that arranges it, and a line in LAYOUTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.analysis import compared
from orchestrator.analysis.answers import Taken
from orchestrator.analysis.tables import Tables
from orchestrator.report.layouts import decisions, field, noise, outcomes, paper, policies, ranking, tuning
from orchestrator.sweep.grid import Sweep
from orchestrator.table import Table


@dataclass(frozen=True, slots=True)
class Layout:
    """A table that a sweep may ask for. Those that ``compare`` methods stand apart from those of errors. ``takes`` is
    what a table of outcomes takes of each trial."""

    arrange: Callable[[Tables], Table]
    compares: bool = False
    takes: Taken | None = None


LAYOUTS: dict[str, Layout] = {
    "decisions": Layout(decisions.decisions, compares=True),
    "errors": Layout(paper.errors),
    "methods": Layout(paper.methods),
    "periods": Layout(paper.periods),
    "sequence": Layout(paper.sequence),
    "wins": Layout(paper.wins, compares=True),
    "increases": Layout(paper.increases, compares=True),
    "ranking": Layout(ranking.ranking, compares=True),
    "matrix": Layout(ranking.matrix, compares=True),
    "tuning": Layout(tuning.tuning),
    "field": Layout(field.field, takes=field.area_of),
    "budgeted": Layout(outcomes.budgeted, takes=outcomes.budgeted_numbers),
    "calibration": Layout(outcomes.calibration, takes=outcomes.calibration_numbers),
    "overthinking": Layout(outcomes.overthinking, takes=outcomes.overthinking_numbers),
    "monotonicity": Layout(outcomes.monotonicity, takes=outcomes.monotonicity_numbers),
    "classes": Layout(outcomes.classes, takes=outcomes.last_confusions),
    "policies": Layout(policies.policies, takes=policies.exit_curves_of),
    "answers": Layout(policies.answers, takes=policies.errors_by_answer),
    "predictions": Layout(noise.predictions, takes=noise.at_fractions),
    "image_noise": Layout(noise.image_noise, takes=noise.wrong_at_the_end, compares=True),
}


def arrange(tables: Tables) -> tuple[Table, ...]:
    """The tables that the sweep asks for, or those that suit it, each by its name in LAYOUTS."""
    names = tables.sweep.report.tables or _suited(tables)
    return tuple(replace(LAYOUTS[name].arrange(tables), name=name) for name in names)


def taken(sweep: Sweep) -> list[Taken]:
    """What the comparisons and tables that a sweep asks for take of the outcomes of each trial."""
    return [*compared.taken(sweep), *(takes for name in sweep.report.tables if (takes := LAYOUTS[name].takes))]


def _suited(tables: Tables) -> list[str]:
    suits = {
        "decisions": tables.sweep.deciding is not None,
        "errors": True,
        "wins": bool(tables.wins),
        "increases": bool(tables.increases),
        "ranking": ranking.suited(tables),
    }
    return [name for name, suited in suits.items() if suited]
