"""Tables arranged as the paper's: what stands where, the best in bold, and what is missing in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import pytest

from anytime_core.cost import trial_costs
from orchestrator.analysis import tables
from orchestrator.report import layouts
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell, TrialState
from orchestrator.table import Entry, Table

HEAD = "name: small\ntraining: {batch_size: 64}\ndatasets: [digits]\n"


@pytest.fixture
def arranged(load_text, make_record) -> Callable[..., tuple[Sweep, Table]]:
    """The first table that the sweep asks for; ``errors_of`` gives a cell's errors, or None for a trial that failed."""

    def made(text: str, errors_of: Callable[[Cell], Iterable[float] | None]) -> tuple[Sweep, Table]:
        sweep = load_text(HEAD + text)
        records, states = {}, {}
        for trial in sweep.trials:
            errors = errors_of(trial.cell)
            states[trial.id] = TrialState.FAILED if errors is None else TrialState.FINISHED
            if errors is not None:
                records[trial.id] = make_record(trial, tuple(errors))
        return sweep, layouts.arrange(tables.build(sweep, records, states))[0]

    return made


def lines(table: Table) -> list[dict[str, Entry]]:
    return [{column.name: entry for column, entry in zip(table.columns, row, strict=True)} for row in table.rows]


def of(table: Table, **place: str) -> dict[str, Entry]:
    """The one line that has these words."""
    (found,) = [line for line in lines(table) if all(line[name].value == word for name, word in place.items())]
    return found


def test_a_line_for_each_method_and_the_best_of_those_for_all_depths_in_bold(arranged) -> None:
    """As shown: 20.004 and 20.001 are both 20.00, and both the best."""
    text = """
networks: [{n: 1, c: 4}]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}, opt: {regime: opt}}
"""
    last = {"ann": 20.004, "aann": 20.001, "exp3": 30.0, "opt": 10.0}
    _, table = arranged(text, lambda cell: [last[cell.method]] if cell.unit else [90, 50, last[cell.method]])
    best = {line["method"].value: line["1"].best for line in lines(table)}
    assert best == {"ann": True, "aann": True, "exp3": False, "opt": False}
    assert [column.group for column in table.columns] == ["", "", *["digits"] * 5]


def test_the_only_method_is_not_the_best(arranged) -> None:
    _, table = arranged(
        "networks: [{n: 1, c: 4}]\nmethods: {ann: {}, opt: {regime: opt}}\n",
        lambda cell: [1] if cell.unit else [3, 2, 1],
    )
    assert not any(entry.best for row in table.rows for entry in row)


def test_what_failed_is_named_in_its_place(arranged) -> None:
    text = "networks: [{n: 1, c: 4}]\nmethods: {ann: {}, aann: {strategy: aann}}\n"
    _, table = arranged(text, lambda cell: None if cell.method == "aann" else [3, 2, 1])
    assert not any(note.startswith("†") for note in table.notes)  # there is no mean of fewer
    assert {(of(table, method="aann")[metric].value, of(table, method="aann")[metric].mark) for metric in METRICS} == {
        (None, "failed")
    }


def test_methods_side_by_side_as_in_table_1(arranged) -> None:
    text = """
networks: [{n: 1, c: 4}]
methods: {constant: {weights: constant}, sieve: {}, opt: {regime: opt, at: all}}
report: {baseline: sieve, tables: [methods]}
"""
    errors = {"constant": [50.0, 40.0, 30.0], "sieve": [60.0, 41.0, 20.0]}
    _, table = arranged(text, lambda cell: [10.0 * cell.unit] if cell.unit else errors[cell.method])
    assert [line["metric"].value for line in lines(table)] == ["AE", "1/4", "1/2", "3/4", "1"]
    average, last = of(table, metric="AE"), of(table, metric="1")
    assert (average["constant"].value, average["sieve"].value, average["opt"].value) == (40, pytest.approx(121 / 3), 20)
    assert (average["constant"].best, average["sieve"].best, average["opt"].best) == (True, False, False)
    assert (last["constant"].best, last["sieve"].best) == (False, True)


def test_periods_side_by_side_as_in_table_4(arranged) -> None:
    text = """
networks: [{n: 1, c: 4}, {n: 1, c: 4, period: 2}, {n: 2, c: 4}, {n: 2, c: 4, period: 5}]
methods: {ann: {}}
report: {tables: [periods]}
"""
    _, table = arranged(
        text, lambda cell: [10.0 * cell.n + cell.period + left for left in range(len(units(cell)), 0, -1)]
    )
    assert [column.name for column in table.columns] == ["data set", "network", "method", "metric", "s=1", "s=2", "s=5"]
    small, large = of(table, network="(1,4)", metric="1"), of(table, network="(2,4)", metric="1")
    assert [small[name].value for name in ("s=1", "s=2", "s=5")] == [12, 13, None]
    assert [large[name].value for name in ("s=1", "s=2", "s=5")] == [22, None, 26]
    assert [small[name].best for name in ("s=1", "s=2", "s=5")] == [True, False, False]


def units(cell: Cell) -> range:
    return range(3 * cell.n, 0, -cell.period)


SEQUENCE = """
networks: [{n: 1, c: 4}, {n: 2, c: 4}, {n: 2, c: 8}]
methods: {aann: {strategy: aann}, opt: {regime: opt, at: all}}
report: {baseline: aann, tables: [sequence]}
"""


def test_a_sequence_answers_with_its_latest_member_past_the_one_before(arranged) -> None:
    """Worked out from the costs: at each fraction of what both members cost, the last answer that is paid for."""
    errors: Mapping[int, list[float]] = {1: [60, 50, 40], 2: [61, 51, 41, 30, 20, 10]}
    sweep, table = arranged(SEQUENCE, lambda cell: [30 - cell.unit] if cell.unit else errors[cell.n])
    costs = {
        trial.cell.n: trial_costs(trial.config)
        for trial in sweep.trials
        if trial.cell.c == 4 and trial.cell.method == "aann"
    }
    answers = list(zip(costs[1], errors[1], strict=True))
    answers += [
        (costs[1][-1] + cost, error) for cost, error in zip(costs[2], errors[2], strict=True) if cost > costs[1][-1]
    ]
    total = costs[1][-1] + costs[2][-1]
    line = of(table, method="sequence of aann")
    assert line["networks"].value == "(1,4) (2,4)"
    for fraction in ("1/4", "1/2", "3/4", "1"):
        assert line[fraction].value == [error for cost, error in answers if cost <= total * Fraction(fraction)][-1]
    assert line["AE"].value == sum(error for _, error in answers) / len(answers)


def test_the_best_optimum_no_deeper_stands_beside_it(arranged) -> None:
    """Depth 1, 3, 4 and 6 of 6: errors fall by one a unit, but for a lucky one; past a failed one nothing is sure."""
    lucky = {(1, 2): 5.0, (2, 4): None}
    _, table = arranged(
        SEQUENCE,
        lambda cell: (
            [60, 50, 40, 30, 20, 10][: 3 * cell.n]
            if not cell.unit
            else None
            if (error := lucky.get((cell.n, cell.unit), 30.0 - cell.unit)) is None
            else [error]
        ),
    )
    line = of(table, method="opt+")
    assert [line[metric].value for metric in METRICS] == [29, 5, None, None, None]
    assert [line[metric].mark for metric in METRICS] == ["", "", "failed", "failed", ""]


def test_sequences_are_means_over_seeds_and_those_with_fewer_are_marked(arranged) -> None:
    """Seed 1 lacks the deepest optimum, seed 2 a member."""
    text = SEQUENCE + "seeds: [0, 1, 2]\n"

    def errors_of(cell: Cell) -> list[float] | None:
        if cell.unit:
            return None if (cell.seed, cell.n, cell.unit) == (1, 2, 6) else [10.0 + cell.seed]
        return None if (cell.seed, cell.n) == (2, 1) else [20.0 + 2 * cell.seed] * (3 * cell.n)

    _, table = arranged(text, errors_of)
    line, best = of(table, method="sequence of aann"), of(table, method="opt+")
    assert {(line[m].value, line[m].spread, line[m].mark) for m in METRICS} == {(21.0, 2**0.5, "†")}
    assert [best[metric].value for metric in METRICS] == [11, 11, 11, 11, None]
    assert [best[metric].mark for metric in METRICS] == ["", "", "", "†", ""]
    assert best["1/4"].spread == 1
    assert any("opt (1,4) (2,4) digits 1: 1 failed" in note for note in table.notes)
    assert any("aann (1,4) (2,4) digits 1 failed" in note for note in table.notes)


def test_a_network_hardly_deeper_is_no_member_as_in_the_figure(arranged) -> None:
    """n = 5 is less than 1.5 times 4; of two of one depth, the first counts; but all optima do."""
    text = """
networks: [{n: 1, c: 4}, {n: 4, c: 4}, {n: 4, c: 4, period: 2}, {n: 5, c: 4}]
methods: {aann: {strategy: aann}, opt: {regime: opt}}
report: {baseline: aann, tables: [sequence]}
"""
    _, table = arranged(text, lambda cell: [30.0 - cell.unit] if cell.unit else [9.0] * len(units(cell)))
    assert [line["networks"].value for line in lines(table)] == ["(1,4) (4,4)"] * 2
    assert of(table, method="sequence of aann")["1"].value == 9
    assert of(table, method="opt+")["1"].value == 30 - 12  # the fifteenth unit is of no member


def test_a_sequence_without_one_of_its_members_has_no_errors(arranged) -> None:
    _, table = arranged(SEQUENCE, lambda cell: [1.0] if cell.unit else None if cell.n == 1 else [6, 5, 4, 3, 2, 1])
    assert {of(table, method="sequence of aann")[metric].value for metric in METRICS} == {None}


# Of which images


@pytest.mark.parametrize(
    ("datasets", "title", "note"),
    [
        ("[digits]", "Test error in %", ""),
        ("[{name: digits, validation: 100}]", "Validation error in %", ""),
        ("[{name: digits, validation: 100}, svhn]", "Error in %", "Validation error: digits; test error: svhn."),
    ],
)
def test_a_table_says_whether_its_errors_are_of_validation_or_test_images(load_text, datasets, title, note) -> None:
    sweep = load_text(
        f"{HEAD.replace('[digits]', datasets)}networks: [{{n: 1, c: 4}}, {{n: 2, c: 4}}]\nmethods: {{ann: {{}}}}\n"
        "report: {tables: [errors, methods, periods, sequence]}\n"
    )
    found = layouts.arrange(tables.build(sweep, {}, dict.fromkeys((t.id for t in sweep.trials), TrialState.PENDING)))
    assert len(found) == 4
    for table in found:
        assert title.lower() in table.title.lower()
        assert ("test" in title.lower()) == ("test" in table.title.lower())
        assert not note or note in table.notes


def test_the_best_method_is_in_bold_where_an_optimum_is_as_good(arranged) -> None:
    _, table = arranged(
        "networks: [{n: 1, c: 4}]\nmethods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt}}\n",
        lambda cell: [10] if cell.unit else [90, 50, 10 if cell.method == "ann" else 20],
    )
    assert {line["method"].value: line["1"].best for line in lines(table)} == {"ann": True, "aann": False, "opt": False}


def test_what_no_prediction_is_cheap_enough_for_is_explained(arranged) -> None:
    """All three predictions of n = 1 cost more than a quarter of the whole."""
    text = "networks: [{n: 1, c: 4}]\nmethods: {ann: {}, opt: {regime: opt, at: all}}\n"
    _, table = arranged(text, lambda cell: [1] if cell.unit else [3, 2, 1])
    assert of(table, method="ann")["1/4"].value is None
    assert "-: no prediction costs so little." in table.notes


def test_optima_of_no_column_are_counted_unless_they_are_in_the_average(load_text) -> None:
    """Of n = 2 the fractions are depths 2, 3, 5 and 6; a third of six units is the second, one sixth the first."""
    for at, expected in (("all", False), ("[1/6, 1/2]", True), ("[1/2, 1]", False)):
        sweep = load_text(f"{HEAD}networks: [{{n: 2, c: 4}}]\nmethods: {{ann: {{}}, opt: {{regime: opt, at: {at}}}}}\n")
        found = tables.build(sweep, {}, dict.fromkeys((t.id for t in sweep.trials), TrialState.PENDING))
        assert any("no column" in note for note in found.notes) is expected, at
