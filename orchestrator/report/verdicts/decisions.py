"""Shows how the comparisons of a sweep stand that it is to decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.planning.added_seeds import AddedSeeds, Range
from orchestrator.sweep.deciding import Deciding, Decision, Standing
from orchestrator.text import counted

COLUMNS = ("comparison", "decision", "e_value", "threshold", "wins", "losses", "ties", "seeds", "most_seeds")
"""Of the rows for machines."""


def decision_rows(deciding: Deciding | None) -> list[dict[str, Any]]:
    """One for each comparison."""
    return [
        {
            "comparison": str(it.comparison),
            "decision": str(it.decision),
            "e_value": it.e,
            "threshold": it.threshold,
            "wins": it.wins,
            "losses": it.losses,
            "ties": it.ties,
            "seeds": it.seeds,
            "most_seeds": len(deciding.seeds) if deciding else 0,
        }
        for it in (deciding.standings if deciding else ())
    ]


def decision_lines(deciding: Deciding | None, added: AddedSeeds | None = None) -> list[str]:
    """A line for each comparison: ``aann > ann at 1/2   e 14.2 of 20   7 seeds, 1 to 4 more expected``."""
    if deciding is None:
        return []
    width = max((len(str(it.comparison)) for it in deciding.standings), default=0)
    return [f"{it.comparison!s:<{width}}   {in_words(it, deciding, added)}" for it in deciding.standings]


def in_words(it: Standing, deciding: Deciding, added: AddedSeeds | None = None) -> str:
    """How one comparison stands."""
    after, reached = f"after {_seeds(it, deciding)}", f"e {it.e:.3g} of {it.threshold:.3g}"
    match it.decision:
        case Decision.OPEN:
            more = f", {_more(added.seeds[it.comparison])}" if added and it.comparison in added.seeds else ""
            return f"{reached}, {after}{more}"
        case Decision.BETTER:
            return f"decided: better {after}"
        case Decision.NO_BETTER:
            return f"no better: most pairs gain at most {deciding.rope:g} points, {after}"
        case Decision.OUT_OF_REACH:
            return f"out of reach {after}: {reached}"
        case Decision.SPENT:
            spent = ": the hours are spent" if it.seeds < len(deciding.seeds) else ""
            return f"undecided {after}, {reached}{spent}"


def plan_notes(deciding: Deciding | None, added: AddedSeeds | None) -> Iterator[str]:
    """What is certain to run of a sweep that decides, and what may."""
    if deciding and added:
        open_ = sum(it.is_open for it in deciding.standings)
        yield (
            f"to decide {counted(open_, 'comparison')}, up to {counted(added.most, 'more trial')} may follow these; "
            f"{_around(added.trials)} by simulation{', without the limit on hours' if deciding.at_most else ''}"
        )
    yield from decision_lines(deciding, added)


def _seeds(it: Standing, deciding: Deciding) -> str:
    return f"{it.seeds} of at most {counted(len(deciding.seeds), 'seed')}"


def _more(more: Range) -> str:
    return f"{more.low} more expected" if more.low == more.high else f"{more.low} to {more.high} more expected"


def _around(trials: Range) -> str:
    return f"{trials.mean:.0f} are expected ({trials.low} to {trials.high})"
