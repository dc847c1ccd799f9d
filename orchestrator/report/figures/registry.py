"""The figures that a sweep may ask for, by name.

To add one: a function that gives its panels, and a line in FIGURES with its caption. The panels are those that a sweep
can have; a panel of which nothing has run yet has no curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.analysis.answers import Answers, Taken
from orchestrator.analysis.curves import Panel, Results, nothing, read
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.figures import curves, decisions, outcomes, ranking
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.report.layouts import policies
from orchestrator.sweep.grid import Sweep

NO_RESULTS = "none of its trials has results yet"
NO_OUTCOMES = "none of its trials has outcomes; `orchestrate outcomes` keeps those of trials that ended without"


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure that a sweep may ask for: its caption, and the function that gives its panels. ``takes`` is what one of
    outcomes takes of each trial."""

    caption: str
    panels: Callable[[Results], list[Panel]]
    takes: Taken | None = None


FIGURES: dict[str, FigureKind] = {
    "units": FigureKind("Error by number of units", curves.units),
    "last_units": FigureKind("Error at the last units", curves.last_units),
    "cost": FigureKind("Error by cost", curves.cost),
    "train_loss": FigureKind("Training loss by cost", curves.train_loss),
    "sequence": FigureKind("A sequence of networks, and the best optima no deeper", curves.sequence),
    "weights": FigureKind("Weights of the losses", curves.weights),
    "periods": FigureKind("Error by cost, with predictions more or less often", curves.periods),
    "choices": FigureKind("Which loss is amplified, over the epochs", curves.choices),
    "profiles": FigureKind(
        "Performance profiles: in which share of the cells, each with its seeds averaged, a method errs at most so "
        "much more than the reference. Says nothing of other data sets",
        ranking.profiles,
    ),
    "matrix": FigureKind(
        "Every method against every other, cell by cell, each with its seeds averaged: mean difference, "
        "wins/ties/losses, two-sided p by Wilcoxon's test, bold up to 5 %. The p-values are not corrected for their "
        "number, and take cells for independent",
        ranking.matrix,
    ),
    "strengths": FigureKind(
        "Strengths after Bradley and Terry, ties after Davidson: how often each method wins a cell, seeds averaged, "
        "against the baseline, by all comparisons together. Says nothing of the size of a difference",
        ranking.strengths,
    ),
    "ranks": FigureKind(
        "Mean ranks over the cells, each with its seeds averaged; Nemenyi's test at 5 % cannot tell apart what a bar "
        "spans. Who is in the field changes ranks, and so what a bar spans",
        ranking.ranks,
    ),
    "decisions": FigureKind(
        "Evidence for each comparison, pair by pair: an e-value is what a bet of 1 against the baseline has become. "
        "Where its line reaches the upper one, the first method is better, however often one has looked",
        decisions.decisions,
    ),
    "policies": FigureKind(
        "Accuracy by mean cost of an image, leaving by each exit policy. budgeted has MSDNet's thresholds, found on "
        "held-out images where there are some, else on one half of the test images for the other; confidence, entropy "
        "and patience have one for all predictions. random is blind, the oracle the best that can be",
        outcomes.policies,
        takes=policies.exit_curves_of,
    ),
    "reliability": FigureKind(
        "Reliability: how often answers are right that are so confident, in 15 bins of equal width, seeds pooled. "
        "Below the diagonal a network is surer than it is right",
        outcomes.reliability_diagrams,
        takes=outcomes.reliability_by_fraction,
    ),
    "truth": FigureKind(
        "Probability of the true class by cost, mean of all images. A mean may rise while that of many images falls: "
        "see the table monotonicity",
        outcomes.truth,
        takes=outcomes.truth_by_cost,
    ),
    "overthinking": FigureKind(
        "Overthinking: images that are right, and that some prediction so far had right. What lies between, later "
        "predictions have spoilt",
        outcomes.overthinking,
        takes=outcomes.shares_by_cost,
    ),
}


def kind_of(stem: str) -> tuple[str, str] | None:
    """The name in FIGURES and the page that the stem of a file stands for, such as ("cost", "cifar10") for
    ``cost-cifar10``; None where it is no figure of ours."""
    fitting = [name for name in FIGURES if stem == name or stem.startswith(f"{name}-")]
    name = max(fitting, key=len, default=None)
    return (name, stem.removeprefix(name).removeprefix("-")) if name else None


def caption_of(stem: str) -> str:
    """Such as ``Error by cost (cifar10)``, of a figure in several files. Raises KeyError for what is no figure."""
    name, page = kind_of(stem) or (stem, "")
    return FIGURES[name].caption + (f" ({page})" if page else "")


def panels(name: str, sweep: Sweep, ledger: Ledger, answers: Answers | None = None) -> list[Panel]:
    """Those of a figure, with what has run so far. ``answers`` may have been read for others, too. Raises UnsuitedError
    where that is nothing, and ValueError for a name that is not in FIGURES."""
    if name not in FIGURES:
        raise ValueError(f"no figure is named {name!r}; allowed: {', '.join(FIGURES)}")
    shown = FIGURES[name].panels(read(sweep, ledger, answers))
    if not any(panel.curves for panel in shown):
        raise UnsuitedError(NO_OUTCOMES if FIGURES[name].takes else NO_RESULTS)
    return shown


def suited(sweep: Sweep) -> list[str]:
    """The names of the figures that a sweep can have once it has run. Those of outcomes, which take long to read, are
    drawn only where they are asked for."""
    return [name for name, kind in FIGURES.items() if not kind.takes and _suits(name, sweep)]


def taken(sweep: Sweep) -> list[Taken]:
    """What the figures that a sweep asks for take of the outcomes of each trial."""
    return [takes for name in sweep.report.figures if (takes := FIGURES[name].takes)]


def _suits(name: str, sweep: Sweep) -> bool:
    try:
        return bool(FIGURES[name].panels(nothing(sweep)))
    except UnsuitedError:
        return False
