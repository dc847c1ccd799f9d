"""The table of the field holds what the ledger has of each method: errors, areas, times of training, chosen values."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from statistics import fmean

import pytest

from anytime_core.cost import trial_costs
from orchestrator.report import layouts
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.stats.outcomes.metrics import METRICS

TEXT = """\
name: field
networks: [{n: 2, c: 2}]
datasets: [{name: digits, validation: 0}]
methods:
  ann: {}
  aann: {strategy: aann, tune: {grid: {gamma: [0.5, 1]}}}
  adaloss: {strategy: adaloss, tune: {grid: {floor: [0.1, 0.3], momentum: [0.9]}}}
  opt: {regime: opt, at: [1]}
seeds: [0, 1]
training: {steps: 66, batch_size: 64}
report: {tables: [field]}
"""
PACES = {"ann": 1.0, "aann": 1.2, "adaloss": 0.9}
HERE = {"device_name": "a CPU", "threads": 1, "sources": "abc", "torch": "2.13"}


@pytest.fixture
def trained(load_text, ledger, make_record, make_epochs):
    """Tables of the text, all of whose trials have ended: the higher gamma or floor is, the higher the error. Epochs
    last as long as those of the method do, and adaloss ran on another device where ``elsewhere``."""

    def end(trial, elsewhere: bool) -> None:
        strategy, method = trial.config.regime.strategy, trial.cell.method.split(" ")[0]
        error = 40.0 + 10 * getattr(strategy, "gamma", 0) + 10 * getattr(strategy, "floor", 0) + trial.cell.seed
        units, costs, attempt = trial.config.predicting_units, trial_costs(trial.config), ledger.begin(trial)
        pace = PACES[method] if trial.cell.method == method else 50.0
        ledger.write_epochs(attempt, units, costs, [replace(it, seconds=pace) for it in make_epochs(3, len(units))])
        away = {"device_name": "another CPU"} if elsewhere and method == "adaloss" else {}
        record = make_record(trial, tuple(error - index for index in range(len(units))))
        ledger.finish(attempt, replace(record, provenance=HERE | away))

    def made(*, elsewhere: bool = False):
        sweep = load_text(TEXT)
        for _ in ("tuning", "results"):
            records = ledger.records(trial.id for trial in sweep.trials)
            for trial in sweep.trials:
                if trial.id not in records and not trial.awaits and trial.cell.unit is None:
                    end(trial, elsewhere)
            sweep = sweep.chosen(ledger.records(trial.id for trial in sweep.trials))
        return read_tables(sweep, ledger)

    return made


def lines(tables):
    (table,) = layouts.arrange(tables)
    names = [column.name for column in table.columns]
    return {row[names.index("method")].value: dict(zip(names, row, strict=True)) for row in table.rows}, table


def test_a_line_has_the_errors_the_cost_and_the_chosen_values_of_a_method(trained) -> None:
    found, table = lines(trained())
    assert [*found] == ["ann", "aann", "adaloss"]  # an optimum is many networks
    assert {name: line["cost"].value for name, line in found.items()} == pytest.approx(PACES)
    assert [line["tuned"].value for line in found.values()] == [None, "0.5", "0.1/0.9"]
    assert [line["1"].value for line in found.values()] == pytest.approx([35.5, 40.5, 36.5])
    assert [line["1"].best for line in found.values()] == [True, False, False]
    assert table.title.startswith("Methods on digits, (2,2): test error")
    assert "tuned: aann gamma; adaloss floor/momentum." in table.notes
    assert any(note.startswith("AUC -: no outcomes") for note in table.notes)
    assert max(map(len, render.table_text(table).split("\n\n")[0].splitlines())) <= 80


def test_times_of_another_device_are_not_compared(trained) -> None:
    found, table = lines(trained(elsewhere=True))
    assert found["adaloss"]["cost"].value is None
    assert found["aann"]["cost"].value == pytest.approx(1.2)
    assert any(
        note.startswith("cost -: no trial of the method, with times of its epochs, finished") for note in table.notes
    )


def test_machines_get_the_chosen_values_by_name_and_the_seconds(trained) -> None:
    rows = list(csv.DictReader(io.StringIO(render.long_table("field").csv(trained()))))
    (row,) = [row for row in rows if row["method"] == "adaloss"]
    assert (row["tuned"], row["baseline"], row["timed_trials"]) == ("floor=0.1 momentum=0.9", "ann", "2")
    assert float(row["cost"]) == pytest.approx(0.9)
    assert float(row["seconds"]) == pytest.approx(3 * 0.9)


def test_the_area_is_the_mean_over_seeds_and_the_largest_is_best(answered) -> None:
    ended = answered(
        "name: areas\nnetworks: [{n: 2, c: 2}, {n: 1, c: 2}]\ndatasets: [{name: digits, validation: 0}]\n"
        "methods: {ann: {}, aann: {strategy: aann}}\nseeds: [0, 1]\ntraining: {steps: 44, batch_size: 64}\n"
        "report: {tables: [field]}\n"
    )
    (table,) = layouts.arrange(read_tables(ended.sweep, ended.ledger))
    for network in ("(1,2)", "(2,2)"):
        rows = [row for row in table.rows if row[1].value == network]
        found = [row[2].value for row in rows]
        areas = [fmean(METRICS["auc"].of(one) for one in ended.of(method, network=network)) for method in found]
        assert [row[8].value for row in rows] == pytest.approx(areas)
        assert [row[8].best for row in rows] == [round(area, 1) == round(max(areas), 1) for area in areas]


def test_before_anything_has_run_the_table_says_so(load_text, ledger) -> None:
    found, table = lines(read_tables(load_text(TEXT), ledger))
    assert found["aann"]["tuned"].mark == "pending"
    assert {line["1"].mark for line in found.values()} == {"pending"}
    assert not any("-:" in note for note in table.notes)
