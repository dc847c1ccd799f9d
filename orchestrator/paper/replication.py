"""What ``orchestrate paper`` shows: the paper's percentages, from its own Table 6 and as printed, what its test of them
gets wrong, which of its claims survive a sound one, and what its appendix C computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.analysis.measurements import Measurements, triples
from orchestrator.analysis.tables import WinRow, increase_rows, win_rows
from orchestrator.paper import appendix, reference
from orchestrator.paper.claims import (
    BASELINE,
    LEVELS,
    PRINTED_THRESHOLDS,
    Percentages,
    by_scope,
    claims,
    contradictions,
)
from orchestrator.stats import significance
from orchestrator.sweep.metrics import AVERAGE, METRICS
from orchestrator.table import Column, Entry, Table

TITLES = {
    "table5": "Tables 2a and 5: wins over ANN in %, ties counting half",
    "table2b": "Table 2b: mean relative increase in error over OPT, in %",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """``agreeing`` of the ``printed`` percentages come out of Table 6 to the printed decimals."""

    tables: tuple[Table, ...]
    agreeing: int
    printed: int


def build() -> Paper:
    measured = reference.table6()
    wins = list(win_rows(measured, BASELINE))
    increases = list(increase_rows(measured))
    computed = {
        "table5": {(row.method, row.metric): row.wins.percent for row in wins},
        "table2b": {(row.method, row.metric): row.increase.percent for row in increases},
    }
    pairs = {
        "table5": {row.method: row.wins.n for row in wins},
        "table2b": {row.method: row.increase.n for row in increases if row.metric != AVERAGE},  # OPT has none
    }
    agreement = [reference.agrees(computed[table].get(place), number) for table, place, number in _printed()]
    return Paper(
        tables=(
            *(_beside(table, computed[table], pairs[table]) for table in TITLES),
            thresholds(pairs["table5"]["aann"]),
            p_values(measured, wins),
            claims(measured, wins),
            by_scope(measured, wins),
            contradictions(computed["table5"]),
            appendix.predictions(),
            appendix.inflations(),
        ),
        agreeing=sum(agreement),
        printed=len(agreement),
    )


def _printed() -> Iterator[tuple[str, tuple[str, str], Decimal]]:
    for table in TITLES:
        for place, number in reference.printed(table).items():
            yield table, place, number


# The golden numbers


def _beside(table: str, computed: Percentages, pairs: Mapping[str, int]) -> Table:
    """A line for each method, the metrics side by side."""
    printed = reference.printed(table)
    methods = dict.fromkeys(method for method, _ in printed)
    metrics = [metric for metric in METRICS if any(place[1] == metric for place in printed)]
    return Table(
        name=table,
        title=f"{TITLES[table]}; computed from Table 6, and as printed",
        columns=(
            Column(name="method", numeric=False),
            Column(name="n"),
            *(Column(name=name, group=metric) for metric in metrics for name in ("computed", "printed")),
            Column(name="agree"),
        ),
        rows=tuple(
            (
                Entry(value=method),
                Entry(value=pairs.get(method)),
                *_golden(computed, printed, [(method, metric) for metric in metrics]),
            )
            for method in methods
        ),
        notes=("n: experiments that have both errors. !: not the printed number.",),
    )


def _golden(
    computed: Percentages, printed: Mapping[tuple[str, str], Decimal], places: Sequence[tuple[str, str]]
) -> Iterator[Entry]:
    agree = [reference.agrees(computed.get(place), printed[place]) for place in places]
    for place, agrees in zip(places, agree, strict=True):
        yield Entry(value=computed.get(place), mark="" if agrees else "!")
        yield Entry(value=float(printed[place]))
    yield Entry(value=f"{sum(agree)} of {len(agree)}")


# What the footnote gets wrong


def thresholds(n: int) -> Table:
    """From which percentage of wins on a result is significant, by each test that counts wins."""
    printed = (Entry(value="as printed"), *(e for text in PRINTED_THRESHOLDS for e in (Entry(value=text), Entry())))
    return Table(
        name="thresholds",
        title=f"What the footnote gets wrong: the share X of {n} experiments to win, and how many these are",
        columns=(
            Column(name="test", numeric=False),
            *(Column(name=name, group=f"at {100 * level:g} %") for level in LEVELS for name in ("X", "wins")),
        ),
        rows=(printed, *((Entry(value=test), *_thresholds(n, test)) for test in significance.COUNTING)),
        notes=(
            "hoeffding-as-published: exp(-2 n (2X - 1)^2), footnote 4, whose 0.598 section 4.4 misprints.",
            "hoeffding: exp(-2 n (X - 1/2)^2), the additive bound that Hoeffding proved.",
            "sign-test: exact, where there are no ties.",
        ),
    )


def _thresholds(n: int, test: str) -> Iterator[Entry]:
    for level in LEVELS:
        wins = significance.wins_needed(n, test, level)
        exact = significance.threshold(n, test, level) if test in significance.BOUNDS else None
        yield Entry(value=exact if exact is not None or wins is None else wins / n, digits=3)
        yield Entry(value=wins)


def p_values(measured: Measurements, wins: Sequence[WinRow]) -> Table:
    """Each place of Table 5 under each test, without and with Holm's correction over them all."""
    return Table(
        name="p_values",
        title=f"P-values of Table 5, one-sided: the method has lower errors than {BASELINE}",
        columns=(
            *(Column(name=name, numeric=False) for name in ("method", "metric")),
            Column(name="wins %"),
            Column(name="n"),
            *(Column(name=name, group=test) for test in significance.TESTS for name in ("p", "Holm")),
        ),
        rows=tuple((*_place(row), *_tested(row)) for row in wins),
        notes=(
            f"Holm: corrected for all {len(wins)} places. 0.0000: less than half of 0.0001.",
            f"{significance.dependence(triples(measured.experiments))}.",
        ),
    )


def _place(row: WinRow) -> tuple[Entry, ...]:
    return Entry(value=row.method), Entry(value=row.metric), Entry(value=row.wins.percent), Entry(value=row.wins.n)


def _tested(row: WinRow) -> Iterator[Entry]:
    for test in significance.TESTS:
        yield Entry(value=row.p_values[test], digits=4)
        yield Entry(value=row.adjusted[test], digits=4)
