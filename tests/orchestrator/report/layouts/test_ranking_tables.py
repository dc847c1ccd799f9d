"""Tables of all methods at once, in every form that the other tables have."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from orchestrator.analysis.tables import Tables
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.status import read_tables
from orchestrator.report.views import render

TEXT = """\
name: three
networks: [{n: 1, c: 8}, {n: 2, c: 8}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64}
report: {tables: [ranking, matrix]}
"""
BETTER = {"ann": 0.0, "aann": -1.5, "exp3": 1.0}


@pytest.fixture
def made(load_text, ledger, make_record) -> Callable[[str], Tables]:
    """The tables of a sweep whose methods are as far apart everywhere as ``BETTER`` says."""

    def tables(text: str = TEXT, diverged: str = "") -> Tables:
        sweep = load_text(text)
        for trial in sweep.trials:
            errors = tuple(20 + BETTER[trial.cell.method] for _ in trial.config.predicting_units)
            end(ledger, trial, make_record(trial, None if trial.cell.method == diverged else errors))
        return read_tables(sweep, ledger)

    return tables


def end(ledger: Ledger, trial, record) -> None:
    ledger.finish(ledger.begin(trial), record)


def test_each_method_has_its_wins_against_the_baseline(made) -> None:
    lines = render.report_text(made()).splitlines()
    aann = next(line.split() for line in lines if line.startswith(" aann"))
    assert aann[:3] == ["aann", "wins", "%"]
    assert aann[-1] == "100.00"
    baseline = [line.split() for line in lines if line.startswith(" ann ")]
    assert baseline[0][-1] == "50.00"
    assert baseline[2][-1] == "2"


def test_two_cells_bound_nothing(made) -> None:
    rows = {(row["method"], row["metric"]): row for row in json.loads(render.report_json(made()))["ranking"]}
    assert rows["aann", "AE"] | {"strength": None} == {
        "method": "aann",
        "reference": "ann",
        "metric": "AE",
        "win_percent": 100,
        "percent_low": pytest.approx(0, abs=1),
        "percent_high": 100,
        "strength": None,
        "strength_low": rows["aann", "AE"]["strength_low"],
        "strength_high": None,
        "cells": 2,
    }


def test_each_pair_has_its_difference_wins_and_p(made) -> None:
    text = render.report_text(made())
    assert re.search(r"ann +aann +difference .* 1\.50$", text, re.M)
    assert re.search(r"ann +aann +w/t/l .* 0/0/2$", text, re.M)
    assert re.search(r"aann +exp3 +p .* 0\.500$", text, re.M)


def test_a_diverged_trial_loses_and_has_no_difference(made) -> None:
    text = render.report_text(made(diverged="exp3"))
    assert re.search(r"ann +exp3 +w/t/l .* 2/0/0$", text, re.M)
    assert re.search(r"ann +exp3 +difference .* 2 diverged$", text, re.M)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_both_tables_are_shown_in_every_form(made, form: str) -> None:
    text = render.report_text(made(), form)
    assert "Bradley-Terry" in text
    assert "0/0/2" in text


@pytest.mark.parametrize(("name", "count"), [("ranking", 3 * 5), ("matrix", 3 * 5)])
def test_both_have_a_row_for_each_number(made, name: str, count: int) -> None:
    tables = made()
    assert len(list(csv.DictReader(io.StringIO(render.LONG[name].csv(tables))))) == count
    assert all(tuple(row) == render.LONG[name].columns for row in render.LONG[name].rows(tables))


def test_of_two_methods_the_table_says_why_it_is_empty(made) -> None:
    text = TEXT.replace(", exp3: {strategy: exp3}", "")
    assert "3 to 16 methods can be ranked, optima aside, and these are 2." in render.report_text(made(text))


@pytest.mark.parametrize(("dropped", "shown"), [("", True), (", exp3: {strategy: exp3}", False)])
def test_the_ranking_is_shown_unasked_from_three_methods_on(made, dropped: str, shown: bool) -> None:
    text = TEXT.replace("report: {tables: [ranking, matrix]}\n", "").replace(dropped or "\0", "")
    assert ("Bradley-Terry" in render.report_text(made(text))) is shown
