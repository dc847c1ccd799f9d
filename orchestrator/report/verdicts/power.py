"""What a sweep can show before it runs, and what its open comparisons still need: sentences and a table."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.measurements import measure
from orchestrator.analysis.power import Answer, PowerRow, differences, power_rows, spread
from orchestrator.analysis.quantities import QUANTITIES
from orchestrator.analysis.ranking import Field, field
from orchestrator.analysis.tables import Tables
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import metric_words
from orchestrator.stats import power
from orchestrator.stats.power import Spread
from orchestrator.stats.quantities import Quantity
from orchestrator.stats.significance import wins_needed
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.table import Column, Entry, Table
from orchestrator.text import counted

TESTS = ("hoeffding", "sign-test")


def plan_text(sweep: Sweep, ledger: Ledger) -> str:
    """What the finished sweep will be able to tell: the wins over the baseline that it takes, and the differences."""
    cells = len({(cell.dataset, cell.network) for cell in sweep.cells if cell.unit is None})
    seeds = len({cell.seed for cell in sweep.cells})
    return "\n".join([*_wins(sweep.report.baseline, cells), *_differences(sweep, ledger, cells, seeds)])


def is_asked(sweep: Sweep) -> bool:
    """Whether there are methods to compare: some beside the baseline that are trained for all depths."""
    return len({cell.method for cell in sweep.cells if cell.unit is None}) > 1


def _wins(baseline: str, cells: int) -> Iterator[str]:
    needed = {test: wins_needed(cells, test) for test in TESTS}
    words = ", ".join(f"{count or 'more than all'} by {test}" for test, count in needed.items())
    yield f"To be better than {baseline} at 5 %, a method must win, of {counted(cells, 'cell')}: {words}."
    chances = {test: power.chance_needed(cells, test) for test in TESTS}
    likely = ", ".join(f"{100 * chance:.0f} % by {test}" for test, chance in chances.items() if chance)
    if likely:
        yield f"To get there in 80 % of such sweeps, it must win a cell with a chance of {likely}."


def _differences(sweep: Sweep, ledger: Ledger, cells: int, seeds: int) -> Iterator[str]:
    spreads, source = _spreads(sweep, ledger)
    grid = f"{counted(cells, 'cell')} with {counted(seeds, 'seed')}"
    scopes = {
        "these cells with new seeds": {m: power.of_new_seeds(own, cells, seeds) for m, own in spreads.items()},
        "new cells of this kind": {m: power.of_new_cells(own, cells, seeds) for m, own in spreads.items()},
    }
    shown = {about: ", ".join(_listed(least)) for about, least in scopes.items() if any(_listed(least))}
    if not shown:
        yield f"{grid} cannot show how large a difference is; it takes two seeds, or two cells."
        return
    yield f"Differences that {grid} show with a chance of 80 %, in points (spread: {source}):"
    for about, words in shown.items():
        yield f"  {about}: {words}"


def _listed(least: dict[str, float | None]) -> list[str]:
    return [f"{metric} {value:.2f}" for metric, value in least.items() if value is not None]


def _spreads(sweep: Sweep, ledger: Ledger) -> tuple[dict[str, Spread], str]:
    """By metric: of the sweep's own finished trials, or, before two pairs of them differ, of the paper's."""
    records = ledger.records(trial.id for trial in sweep.trials)
    if records:
        states = dict.fromkeys((trial.id for trial in sweep.trials), TrialState.PENDING)
        states |= {trial_id: record.state for trial_id, record in records.items()}
        found = _measured(field(measure(sweep, records, states)), sweep.report.baseline)
        if found:
            return found, "the finished trials"
    return {metric: Spread(seeds=None, cells=own) for metric, own in power.PAPER.items()}, "the paper's Table 6"


def _measured(own: Field, baseline: str) -> dict[str, Spread]:
    others = [method for method in own.compared if method != baseline]
    if baseline not in own.methods:
        return {}
    spreads = {m: spread([differences(own, method, baseline, m) for method in others]) for m in own.metrics}
    return {metric: found for metric, found in spreads.items() if found != Spread(seeds=None, cells=None)}


# How much more


def table(tables: Tables) -> Table:
    """Each comparison with the baseline, what decides it, and what would."""
    baseline = tables.sweep.report.baseline
    scopes = {"these cells, new seeds": "more seeds", "new cells of this kind": "more cells"}
    columns = [
        Column(name=name, group=scope, numeric=name != "verdict")
        for scope, more in scopes.items()
        for name in ("95 %", "verdict", more)
    ]
    points = " in points" if metric_words.all_errors(tables.metrics) else ""
    return Table(
        name="power",
        title=f"Mean difference from {baseline}{points}, and what would decide it",
        columns=(
            *(Column(name=name, numeric=False) for name in ("method", "metric")),
            *(Column(name=name) for name in ("difference", "cells", "seeds")),
            *columns,
        ),
        rows=tuple(_entries(row) for row in power_rows(tables.field, baseline)),
        notes=(
            *metric_words.notes(tables.metrics),
            "95 %: of the mean difference, by Student's t. more: seeds of each cell, or cells, with which a difference "
            "as large as the one seen is found with a chance of 80 %.",
            "A difference that is not yet decided is seen too large as easily as too small: read it as an order of "
            f"magnitude. >{power.MOST}: it would take more. -: too little is known, such as with one seed.",
            "(d diverged): d cells have no difference; see the wins.",
        ),
    )


def _entries(row: PowerRow) -> tuple[Entry, ...]:
    mark = f"{row.diverged} diverged" if row.diverged else ""
    quantity = QUANTITIES[row.metric]
    difference = None if row.difference is None else quantity.difference(row.difference)
    return (
        Entry(value=row.method),
        Entry(value=row.metric),
        Entry(value=difference, digits=quantity.digits, mark=mark),
        Entry(value=row.cells),
        Entry(value=row.seeds),
        *_answer(row.new_seeds, quantity),
        *_answer(row.new_cells, quantity),
    )


def _answer(answer: Answer, quantity: Quantity) -> tuple[Entry, ...]:
    interval = None
    if answer.low is not None and answer.high is not None:
        interval = " to ".join(f"{end:.{quantity.digits}f}" for end in quantity.ends(answer.low, answer.high))
    beyond = f">{power.MOST}" if answer.decision == "undecided" and answer.more is None else None
    return Entry(value=interval), Entry(value=answer.decision), Entry(value=answer.more or beyond)
