"""Verdicts for machines: a row for each, with every number that ``sentences`` puts into words."""

from __future__ import annotations

from orchestrator.analysis.tables import Tables
from orchestrator.analysis.verdicts import TEST, Verdict, verdicts
from orchestrator.stats.intervals import Interval
from orchestrator.stats.sequential import e_value
from orchestrator.stats.significance import smallest_p

COLUMNS = (
    *("method", "baseline", "metric", "verdict", "scope", "units", "cells", "seeds_least", "seeds_most"),
    *("mean", "mean_low", "mean_high", "median", "median_low", "median_high", "bootstrap_low", "bootstrap_high"),
    *("relative", "relative_low", "relative_high", "improvement", "improvement_low", "improvement_high"),
    *("lower", "equal", "p", "holm", "smallest_p", "e_value", "rope", "chance_better", "chance_equal", "chance_worse"),
    *("dropped", "diverged_method", "diverged_baseline", "diverged_both"),
)


def rows(tables: Tables) -> list[dict[str, str | int | float | None]]:
    """A row for each verdict: differences of the metric in its unit, points where that is percent, and in percent of
    the baseline's, or of what that lacks of 100 % where higher is better; p-values two-sided. ``lower`` counts the
    units whose number is lower, be that better or worse; ``e_value`` is the evidence of its wins and losses."""
    return [row(each) for each in verdicts(tables)]


def row(verdict: Verdict) -> dict[str, str | int | float | None]:
    """One of them, for machines."""
    found, chances = verdict.effect, verdict.posterior
    values: dict[str, str | int | float | None] = {
        "method": verdict.method,
        "baseline": verdict.baseline,
        "metric": verdict.metric,
        "verdict": verdict.word,
        "scope": verdict.scope,
        "units": verdict.units,
        "cells": verdict.cells,
        "seeds_least": verdict.seeds[0],
        "seeds_most": verdict.seeds[1],
        "p": verdict.p,
        "holm": verdict.adjusted,
        "smallest_p": min(1.0, 2 * smallest_p(verdict.units, TEST)),
        "rope": verdict.rope,
        "dropped": verdict.dropped,
        **dict(zip(COLUMNS[-3:], verdict.diverged, strict=True)),
    }
    if found:
        values |= {name: getattr(found, name) for name in ("mean", "median", "relative", "improvement")}
        losses = verdict.units - verdict.wins - found.equal
        values |= {"e_value": float(e_value(verdict.wins, losses))} | _ends(found.mean_interval, "mean")
        values |= {"lower": found.lower, "equal": found.equal}
        values |= _ends(found.median_interval, "median") | _ends(found.relative_interval, "relative")
        values |= _ends(found.improvement_interval, "improvement") | _ends(found.bootstrap, "bootstrap")
    if chances:
        values |= {f"chance_{name}": getattr(chances, name) for name in ("better", "equal", "worse")}
    return {name: values.get(name) for name in COLUMNS}


def _ends(interval: Interval | None, name: str) -> dict[str, str | int | float | None]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high} if interval else {}
