"""What is said of a sweep in words is what its numbers say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from orchestrator.analysis import tables
from orchestrator.analysis.tables import Tables
from orchestrator.report.verdicts import rows as verdict_rows
from orchestrator.report.verdicts import sentences
from orchestrator.report.views import render
from orchestrator.sweep.trial import TrialRecord, TrialState

TEXT = """\
name: small
description: Does it help?
networks: [{n: 2, c: 8}, {n: 3, c: 8}, {n: 4, c: 8}, {n: 5, c: 8}, {n: 6, c: 8}, {n: 7, c: 8}]
datasets: [digits, svhn]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
seeds: [0, 1]
report: {SCOPE}
"""
LEADS = {"ann": (0.0, 0.0), "aann": (-1.3, -1.1), "exp3": (0.02, -0.03)}
"""Points on digits and on svhn."""

Made = tuple[Tables, list[TrialRecord]]


@pytest.fixture
def make(load_text, make_record) -> Callable[..., Made]:
    def made(scope: str = "baseline: ann", diverged: str = "") -> Made:
        sweep = load_text(TEXT.replace("SCOPE", scope))
        records = []
        for trial in sweep.trials:
            cell = trial.cell
            error = 20.0 + cell.n + cell.seed + LEADS[cell.method][cell.dataset == "svhn"]
            lost = (cell.method, cell.n, cell.dataset, cell.seed) == (diverged, 2, "svhn", 0)
            records.append(make_record(trial, None if lost else (error,) * len(trial.config.predicting_units)))
        states = {record.trial_id: record.state for record in records}
        return tables.build(sweep, {record.trial_id: record for record in records}, states), records

    return made


def test_the_block_says_what_was_found_how_surely_and_of_what(make) -> None:
    lines = sentences.block(make()[0])
    assert lines[0] == (
        "aann against ann, errors, 6 networks, 12 cells, 2 seeds, "
        "says something about: new networks of this kind on these data sets"
    )
    assert lines[2] == (
        "  at 1/2   better*    1.2 points lower (95 % 1.2 to 1.2), wins 6 of 6 networks, p 0.031, Holm 0.312"
    )
    assert lines[8] == "  at 1/4   equal      within 0.1 points (95 % 0.01 to 0.01)"
    assert lines[-1] == "*: alone; not with Holm's correction for all 10 verdicts."


def test_of_cells_it_stands_with_the_others(make) -> None:
    lines = sentences.block(make("scope: cells")[0])
    assert "12 cells, 2 seeds, says something about: these cells with new seeds" in lines[0]
    assert lines[2].startswith(
        "  at 1/2   better     1.2 points lower (95 % 1.1 to 1.3), wins 12 of 12 cells, p < 0.001"
    )
    assert not any(line.startswith("*") for line in lines)


def test_each_comparison_is_a_sentence(make) -> None:
    said = sentences.sentences(make("scope: cells")[0])
    assert len(said) == 10
    assert said[1].startswith(
        "On these 12 cells with 2 seeds the error of aann at 1/2 of the cost is lower than that of ann: "
        "1.2 points lower (95 % 1.1 to 1.3), "
    )
    assert "lower in 12 of 12 cells; sign-flip test on cell means p < 0.001, two-sided, Holm" in said[1]
    assert said[1].endswith("; says nothing about other networks or data sets.")
    assert "at the full cost" in said[3]
    assert "on average over all predictions" in said[4]
    assert "is practically that of ann" in said[6]


def test_too_few_units_are_told_to_be_too_few(make) -> None:
    assert "; which does not stand with Holm's correction;" in sentences.sentences(make()[0])[1]
    said = sentences.sentences(make("scope: data_sets")[0])
    assert all("too few for any verdict at 5 %, which needs 6 data sets" in sentence for sentence in said)
    assert all("cannot be told from that of ann" in sentence for sentence in said)


def test_a_divergence_is_told(make) -> None:
    built, records = make("scope: cells", diverged="aann")
    assert "diverged: aann alone in 1 pair" in sentences.sentences(built)[1]
    assert "diverged: aann alone in 1 pair" in sentences.block(built)[2]
    assert "Of 72 trials, 1 diverged, 71 finished." in sentences.methods(built, records)


def test_the_methods_answer_what_a_checklist_asks(make) -> None:
    text = sentences.methods(*make())
    for part in (
        "3 methods (ann, aann, exp3) on 6 networks and 2 data sets (digits, svhn) with 2 seeds (0, 1)",
        "A seed sets the initial weights",
        "errors are of the test images",
        "Training took 0.03 hours in all, one device a trial: cpu; code version unknown.",
        "runs are averaged within each network, which gives 6 networks, taken for independent",
        "two-sided, of a sign-flip test on differences in points with all patterns of signs",
        "corrected by Holm's method for 10 comparisons; no p of so many units is below 0.031",
        "Intervals of a mean difference hold 95 % and invert that test",
        "at most 0.1 points count as practically equal, a trial that diverged loses its pair",
        "say nothing about other data sets",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ("table", ["aann against ann, errors", "\n\nOn these 12 cells"]),
        ("markdown", ["```\naann against ann", "- On these 12 cells"]),
        ("latex", ["\\begin{verbatim}\naann against ann", "95 \\% 1", "\\paragraph{Methods.}"]),
    ],
)
def test_it_goes_into_a_document(make, form, parts) -> None:
    text = sentences.document(*make(), form)
    assert all(part in text for part in parts)
    assert render.report_text(make()[0], form).startswith(sentences.glance(make()[0], form))


def test_machines_get_every_number(make) -> None:
    built, _ = make()
    rows = list(csv.DictReader(io.StringIO(render.LONG["verdicts"].csv(built))))
    assert tuple(rows[0]) == verdict_rows.COLUMNS
    assert [row["verdict"] for row in rows] == ["better"] * 5 + ["equal"] * 5
    content = json.loads(render.report_json(built), parse_constant=pytest.fail)["verdicts"]
    assert (content[1]["mean"], content[1]["smallest_p"]) == (pytest.approx(-1.2), pytest.approx(2 / 64))
    assert content[1]["chance_better"] > 0.99


def test_errors_of_images_held_out_are_called_so(load_text) -> None:
    for datasets, images in (
        ("[digits, svhn]", "the test images."),
        ("[{name: digits, validation: 300}, svhn]", "the test images, and on digits of images held out from training."),
        ("[{name: digits, validation: 300}]", "images held out from training."),
    ):
        sweep = load_text(TEXT.replace("SCOPE", "baseline: ann").replace("[digits, svhn]", datasets))
        built = tables.build(sweep, {}, {trial.id: TrialState.PENDING for trial in sweep.trials})
        assert f"errors are of {images}" in sentences.methods(built, [])


def test_a_report_of_other_tables_than_wins_begins_with_them(make) -> None:
    built, records = make("tables: [errors]")
    assert sentences.glance(built) == ""
    assert render.report_text(built).startswith("Test error in %")
    assert sentences.document(built, records).startswith("aann against ann")
    assert sentences.glance(make("tables: [wins, errors]")[0]).startswith("aann against ann")


def test_without_results_there_is_nothing_to_say(load_text) -> None:
    sweep = load_text(TEXT.replace("SCOPE", "baseline: ann"))
    built = tables.build(sweep, {}, {trial.id: TrialState.PENDING for trial in sweep.trials})
    assert sentences.document(built, []) == "There is nothing to compare with ann yet."
    assert sentences.glance(built, "latex") == ""
