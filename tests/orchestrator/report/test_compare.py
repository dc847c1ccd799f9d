"""What compares methods says which metric it is of, in which unit, and which way is better."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import pytest

from anytime_core.outcomes import Outcomes
from orchestrator.analysis import tables
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.compared import taken
from orchestrator.analysis.curves import Panel, Results
from orchestrator.analysis.tables import Tables
from orchestrator.report import layouts, publish
from orchestrator.report.figures import ranking
from orchestrator.report.verdicts import power, sentences
from orchestrator.report.views import render
from orchestrator.sweep.trial import TrialRecord, TrialState
from orchestrator.table import Table

TEXT = """\
name: answered
networks: [{n: 2, c: 8}, {n: 3, c: 8}, {n: 4, c: 8}, {n: 5, c: 8}, {n: 6, c: 8}, {n: 7, c: 8}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
report: {compare: [1/2, auc, nll, confidence_brier], WISHES}
"""
WRONG = {"ann": 40, "aann": 36, "exp3": 42}
"""Of 100 images at the first prediction, which costs half of the network."""
OF_TRUTH = {"ann": 0.25, "aann": 0.5, "exp3": 0.25}

Made = tuple[Tables, list[TrialRecord], Results]


def outcomes(method: str) -> Outcomes:
    wrong = np.arange(100) < np.array([[WRONG[method]], [20]])
    numbers = partial(np.full, (2, 100), dtype=np.float16)
    return Outcomes(
        labels=np.zeros(100, np.int64),
        costs=(50, 100),
        classes=wrong.astype(np.uint8),
        confidence=numbers(0.5),
        of_truth=numbers(OF_TRUTH[method]),
        entropy=numbers(0.5),
    )


@pytest.fixture
def make(load_text, make_record) -> Callable[..., Made]:
    """The AUC of a method is half its accuracy at the first prediction; errors in the records are those of the last."""

    def made(wishes: str = "p_value: sign-test", lacking: str = "") -> Made:
        sweep = load_text(TEXT.replace("WISHES", wishes))
        methods = {trial.id: trial.cell.method for trial in sweep.trials}
        records = {each.id: make_record(each, (20.0,) * len(each.config.predicting_units)) for each in sweep.trials}

        def kept(trial_id: str) -> Mapping[str, Outcomes]:
            return {} if methods[trial_id] == lacking else {"test": outcomes(methods[trial_id])}

        answers = Answers(sweep, kept, taken(sweep))
        built = tables.build(sweep, records, dict.fromkeys(records, TrialState.FINISHED), answers)
        configs = {trial.id: trial.config for trial in sweep.trials}
        results = Results(sweep=sweep, configs=configs, records=records, epochs=lambda _: (), answers=answers)
        return built, list(records.values()), results

    return made


def shown(built: Tables, name: str) -> Table:
    return layouts.LAYOUTS[name].arrange(built)


def lines(table: Table) -> dict[tuple[Any, ...], list[Any]]:
    """The numbers of each line by its words."""
    words = len([*takewhile(lambda column: not column.numeric, table.columns)])
    return {tuple(e.value for e in row[:words]): [e.value for e in row[words:]] for row in table.rows}


def test_the_block_says_better_where_the_better_number_is(make) -> None:
    said = sentences.block(make()[0])
    assert said[0].startswith("aann against ann, 6 networks, 6 cells, 1 seed, says something about: ")
    assert said[1] == "  at 1/2           equal      within 0.1 points (95 % 0.00 to 0.00)"
    assert said[2].startswith(
        "  auc              better*    2.0 points higher (95 % 2.0 to 2.0), wins 6 of 6 networks, p 0.031"
    )
    assert said[3].startswith(
        "  nll              better*    0.69 nats lower (95 % 0.6931 to 0.6931), wins 6 of 6 networks"
    )
    assert said[4].startswith("  confidence_brier equal      within 0 (95 % 0.0000 to 0.0000)")
    assert said[8].startswith("  auc              worse*     1.0 points lower (95 % 1.0 to 1.0), wins 0 of 6 networks")
    assert said[11] == "auc: higher is better."


def test_sentences_have_the_metrics_own_words(make) -> None:
    said = sentences.sentences(make("rope: 0.5")[0])
    assert said[0].startswith(
        "On these 6 cells with 1 seed the error of aann at 1/2 of the cost is practically that of ann"
    )
    assert "the auc of aann is higher and so better than that of ann: 2.0 points higher (95 % 2.0 to 2.0), " in said[1]
    assert f"{100 * (2 / 70):.2g} % of what ann lacks of 100 %; higher in 6 of 6 networks;" in said[1]
    assert "chances of better, equal within 0.5 points, and worse 1.00, 0.00, 0.00" in said[1]
    assert "the nll of aann is lower than that of ann: 0.69 nats lower" in said[2]
    assert "lower in 6 of 6 networks;" in said[2]
    assert "chances of better and worse 1.00, 0.00" in said[2]  # nobody can say what is equal in nats
    assert "the auc of exp3 is lower and so worse than that of ann: 1.0 points lower" in said[5]
    assert "higher in 0 of 6 networks;" in said[5]


def test_the_methods_say_what_is_compared(make) -> None:
    built, records, _ = make("rope: 0.5")
    said = sentences.methods(built, records)
    assert (
        "Methods are compared by these metrics. 1/2: error at 1/2 of the cost; in %, lower is better. auc: mean "
        in said
    )
    assert "of a sign-flip test on differences with all patterns" in said
    assert "0.5 points count as practically equal (of nll, confidence_brier only the same numbers)" in said


@pytest.mark.parametrize("name", ["wins", "ranking", "matrix"])
def test_tables_have_a_column_for_each_metric_and_say_what_it_is(make, name) -> None:
    table = shown(make()[0], name)
    assert [column.name for column in table.columns if column.numeric] == ["1/2", "auc", "nll", "confidence_brier"]
    said = [note for note in table.notes if note.endswith(" is better.")]
    assert said[1].endswith("wrong before the first prediction; in %, higher is better.")
    assert said[2:] == [
        "nll: cross-entropy, mean of all predictions; in nats, lower is better.",
        "confidence_brier: mean square of confidence less whether right, mean of all predictions; lower is better.",
    ]


def test_numbers_of_the_tables_have_the_metrics_own_sign(make) -> None:
    built = make()[0]
    assert lines(shown(built, "wins"))["aann", "wins %"] == [50, 100, 100, 50]
    assert lines(shown(built, "wins"))["exp3", "wins %"] == [50, 0, 50, 50]
    assert lines(shown(built, "ranking"))["aann", "wins %"] == [50, 100, 100, 50]
    matrix = lines(shown(built, "matrix"))
    assert matrix["ann", "aann", "difference"] == [0, pytest.approx(-2), pytest.approx(np.log(2), abs=1e-8), 0]
    assert matrix["aann", "exp3", "w/t/l"] == ["0/6/0", "6/0/0", "6/0/0", "0/6/0"]
    by_place = lines(power.table(built))
    assert by_place["aann", "auc"][0] == pytest.approx(2)
    assert power.table(built).title == "Mean difference from ann, and what would decide it"


def test_machines_get_differences_of_the_metric_itself(make) -> None:
    built = make()[0]
    content = json.loads(render.report_json(built), parse_constant=pytest.fail)
    rows = {(row["method"], row["metric"]): row for row in content["verdicts"]}
    auc, nll = rows["aann", "auc"], rows["aann", "nll"]
    assert [auc[name] for name in ("verdict", "mean", "mean_low", "mean_high")] == ["better", *[pytest.approx(2)] * 3]
    assert [auc[name] for name in ("lower", "improvement", "rope", "chance_worse")] == [0, 100, 0.1, 0]
    assert [nll[name] for name in ("lower", "improvement", "rope")] == [6, 100, 0]
    assert {row["metric"] for row in content["wins"]} == {"1/2", "auc", "nll", "confidence_brier"}
    assert [row["1/2"] for row in content["errors"][:1]] == [20]  # errors stay what they are
    pairs = csv.DictReader(io.StringIO(render.LONG["matrix"].csv(built)))
    assert [float(row["difference"]) for row in pairs if row["metric"] == "auc"] == pytest.approx([-2, 1, 3])
    numbers = publish.headline(built)
    assert (numbers["wins/aann/auc"], numbers["wins/aann/at_0.50"]) == (100, 50)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_a_report_of_metrics_goes_into_every_document(make, form) -> None:
    built, records, _ = make("tables: [errors, wins, ranking, matrix]")
    text = render.report_text(built, form) + sentences.document(built, records, form)
    assert "auc" in text
    assert "2.0 points higher" in text


def test_figures_are_of_the_metrics(make) -> None:
    results = make()[2]

    def panel(of: Callable[[Results], list[Panel]], title: str) -> Panel:
        return {each.title: each for each in of(results)}[title]

    auc, nll = (panel(ranking.matrix, title) for title in ("auc (higher is better)", "nll (lower is better)"))
    assert auc.curves[1].words[0].startswith("+2.00\n6/0/0")
    assert auc.curves[1].y[0] < 0, "one colour for what is better"
    assert auc.notes[0].startswith("row less column in points, wins/ties/losses")
    assert nll.curves[1].words[0].startswith("-0.6931\n6/0/0")
    assert nll.notes[0].startswith("row less column in nats, wins/ties/losses")
    assert panel(ranking.profiles, "auc (higher is better)").x_label == "100 - auc above that of ann (%)"
    ranks = panel(ranking.ranks, "auc (higher is better)")
    assert {curve.label: curve.x[0] for curve in ranks.curves} == {"aann": 1, "ann": 2, "exp3": 3}
    strengths = panel(ranking.strengths, "error at 1/2 of the cost")
    assert {curve.x[0] for curve in strengths.curves} == {50}


def test_what_lacks_outcomes_is_said_and_has_a_dash(make) -> None:
    built = make(lacking="exp3")[0]
    wins = lines(shown(built, "wins"))
    assert wins["exp3", "wins %"] == [50, None, None, None]
    assert wins["exp3", "pairs"] == ["6", "0 (-6)", "0 (-6)", "0 (-6)"]
    assert "dropped for lack of a number" in " ".join(shown(built, "wins").notes)
    assert "6 finished trials without outcomes, or with damaged ones" in render.report_text(built)


def test_sizes_are_of_ratios_where_the_report_asks_for_them(make) -> None:
    notes = shown(make("scale: ratios, p_value: wilcoxon")[0], "wins").notes
    assert any("of the ratios of numbers, or of what they lack of 100 % where higher is better" in n for n in notes)
