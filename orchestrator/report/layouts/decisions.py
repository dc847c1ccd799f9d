"""The comparisons that a sweep is to decide, as a table."""

from __future__ import annotations

from orchestrator.analysis.tables import Tables
from orchestrator.sweep.deciding import Decision, Standing
from orchestrator.table import Column, Entry, Table
from orchestrator.text import counted

MEANINGS = {
    Decision.OPEN: "open: seeds are added until it is decided",
    Decision.BETTER: "better: the first method has the lower error",
    Decision.NO_BETTER: "no better: in most pairs it gains no more than {rope:g} points",
    Decision.OUT_OF_REACH: "out of reach: winning every pair that is left would not decide it",
    Decision.SPENT: "undecided: the seeds or the hours are used up",
}


def decisions(tables: Tables) -> Table:
    """A line for each comparison, in the order of the sweep file."""
    deciding = tables.sweep.deciding
    standings = deciding.standings if deciding else ()
    most, rope = (len(deciding.seeds), deciding.rope) if deciding else (0, 0.0)
    meanings = [MEANINGS[each].format(rope=rope) for each in dict.fromkeys(it.decision for it in standings)]
    return Table(
        name="decisions",
        title="Decisions by e-values, which hold whenever one looks",
        columns=(
            Column(name="comparison", numeric=False),
            Column(name="decision", numeric=False),
            *(Column(name=name) for name in ("e", "needs", "wins", "losses", "ties", "seeds")),
        ),
        rows=tuple(map(_row, standings)),
        notes=(*(f"{meaning[0].upper()}{meaning[1:]}." for meaning in meanings), f"At most {counted(most, 'seed')}."),
    )


def _row(it: Standing) -> tuple[Entry, ...]:
    return (
        Entry(value=str(it.comparison)),
        Entry(value=str(it.decision), best=it.decision is Decision.BETTER),
        Entry(value=it.e),
        Entry(value=it.threshold, digits=0),
        *(Entry(value=count) for count in (it.wins, it.losses, it.ties, it.seeds)),
    )
